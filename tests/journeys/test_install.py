"""`make install PREFIX=…` as an operator runs it: a release beside the older ones, the way back, what is refused."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SEKISHO", "PYTHON"))}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: two releases in opt/, what would stand in /etc and /var in host/; settings changed between the two."""
    folder = tmp_path_factory.mktemp("install")
    for at in range(2):
        done = make("install", f"PREFIX={folder}/opt", f"DESTDIR={folder}/host")
        assert done.returncode == 0, done.stdout + done.stderr
        if at == 0:
            settings = folder / "host" / "etc" / "sekisho" / "sekisho.toml"
            assert settings.read_text() == (ROOT / "config" / "sekisho.toml").read_text()
            settings.write_text("# mine\n")
    return folder


def releases(place: Path) -> list[str]:
    return sorted(path.name for path in (place / "opt" / "releases").iterdir())


def test_a_release_is_whole_and_does_not_need_the_source(place: Path, tmp_path: Path) -> None:
    program = (place / "opt" / "bin" / "sekisho").resolve()
    ask = "import sekisho.cli, admin_web; print(sekisho.__file__, admin_web.__file__)"
    said = subprocess.run(
        [program.with_name("python"), "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert all(Path(file).is_relative_to(place / "opt" / "releases") for file in said.stdout.split())
    subprocess.run([place / "opt" / "bin" / "sekisho", "init", "--help"], cwd=tmp_path, check=True, capture_output=True)


def test_settings_folders_units_and_completion_are_there(place: Path) -> None:
    host, opt = place / "host", place / "opt"
    assert (host / "etc" / "sekisho" / "sekisho.toml").stat().st_mode & 0o777 == 0o640
    assert (host / "var" / "lib" / "sekisho").stat().st_mode & 0o777 == 0o700
    unit = (host / "etc" / "systemd" / "system" / "sekisho.service").read_text()
    assert f"ExecStart={opt}/bin/sekisho " in unit
    assert "/opt/sekisho" not in unit.replace(str(opt), "")
    assert (host / "usr" / "local" / "bin" / "sekisho").resolve() == (opt / "bin" / "sekisho").resolve()
    bash = host / "etc" / "bash_completion.d" / "sekisho"
    assert "complete -o default -F _sekisho_completion sekisho" in bash.read_text()
    assert (opt / "share" / "zsh" / "site-functions" / "_sekisho").read_text().startswith("#compdef sekisho")


def test_settings_that_are_there_are_left_alone_by_an_upgrade(place: Path) -> None:
    assert (place / "host" / "etc" / "sekisho" / "sekisho.toml").read_text() == "# mine\n"


def test_rollback_goes_back_a_release_and_removes_none(place: Path) -> None:
    older, newer = releases(place)
    link = place / "opt" / "bin"
    assert link.resolve().parent.name == newer
    done = make("rollback", f"PREFIX={place}/opt")
    assert (done.returncode, link.resolve().parent.name) == (0, older), done.stderr
    assert "systemctl restart sekisho" in done.stdout
    subprocess.run([link / "sekisho", "--version"], check=True, capture_output=True)
    done = make("rollback", f"PREFIX={place}/opt")
    assert done.returncode != 0
    assert "there is no release before" in done.stderr
    assert releases(place) == [older, newer]


@pytest.mark.parametrize("prefix", ["opt/sekisho", "/tmp/a b", "/tmp/$(id)"])
def test_a_prefix_that_would_not_work_is_refused(prefix: str) -> None:
    done = make("install", "PREFIX=" + prefix.replace("$", "$$"))
    assert done.returncode != 0
    assert "absolute path" in done.stderr or "letters, digits" in done.stderr


def test_a_release_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    done = make("install", f"PREFIX={tmp_path}/opt", f"DESTDIR={tmp_path}/host", "WHEEL=no-such.whl")
    assert done.returncode != 0
    assert "no-such.whl" in done.stderr
    assert list(tmp_path.iterdir()) == []
