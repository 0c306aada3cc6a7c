"""Settings files for tests: written into a folder, read back, reported on with the folder's name left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otp_core.settings import ConfigProblems, Loaded
from sekisho.settings import Settings, load

STORE = '[store]\nurl = "sqlite:///s.db"\nmaster_key_file = "master.key"\n'
SECRET = "kT7v-Zq0b9xWmY3s"
CLIENT = f'[[radius.clients]]\nname = "vpn"\nnetwork = "10.1.0.0/16"\nsecret = "{SECRET}"\n'
BY_FILE = CLIENT.replace(f'secret = "{SECRET}"', 'secret_file = "vpn"')


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "sekisho.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def good(folder: Path, text: str = STORE, environment: dict[str, str] | None = None, **more: Any) -> Loaded[Settings]:
    return load(written(folder, text), environment=environment or {}, **more)


def report(folder: Path, text: str = STORE, environment: dict[str, str] | None = None, **more: Any) -> list[str]:
    with pytest.raises(ConfigProblems) as caught:
        good(folder, text, environment, **more)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def warnings(loaded: Loaded[Settings], folder: Path) -> list[str]:
    return [str(warning).replace(f"{folder}/", "") for warning in loaded.warnings]


def private(path: Path, text: str | bytes = SECRET, mode: int = 0o600) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path
