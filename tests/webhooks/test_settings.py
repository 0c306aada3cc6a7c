"""What is wrong in a table [[webhooks]] is said, without the path of an address and without a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from otp_core.settings import ConfigProblems
from sekisho.settings import load

HERE = 'url = "http://127.0.0.1:8080/hook"'
AUDIT = '[audit]\nseal_key_file = "a.key"\n'
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('name = "a"\nurl = "http://fraud.example.jp/top-secret"', "is no address for a webhook"),
        ('name = "a"\nurl = "https://user:top-secret@fraud.example.jp/"', "holds a user name"),
        ('name = "a"\nurl = "ftp://127.0.0.1/top-secret"', "is no address for a webhook"),
        ('name = "a"\nurl = "https://[::1/top-secret"', "is no address for a webhook"),
        ('name = "a"\nurl = "https://a:99999/top-secret"', "is no address for a webhook"),
        ('name = "a"\nurl = "https://a..b/top-secret"', "is no address for a webhook"),
        (f'name = "../a"\n{HERE}', "is no name"),
        (f'name = "a"\n{HERE}\nevents = ["logon."]', "begins no event"),
        (f'name = "a"\n{HERE}\nca_file = "key"', "ca_file is for https"),
        ('name = "a"\nurl = "https://a.example.jp/"\nca_file = "key"', "holds no CA certificates"),
        (f'name = "a"\n{HERE}\n[[webhooks]]\nname = "a"\n{HERE}\nsecret_file = "key"', "given twice"),
        (f'name = "a"\n{HERE}\ntimeout = 0', "timeout"),
    ],
)
def test_what_is_wrong_in_the_table_is_said(tmp_path: Path, lines: str, problem: str) -> None:
    assert_told(tmp_path, lines, KEY, problem)


@pytest.mark.parametrize(
    ("key", "mode", "problem"),
    [
        ("top-secret\n", 0o600, "holds no key of 24 to 64"),
        (KEY, 0o644, "can be read by everybody"),
        ("", 0o600, "one key"),
    ],
)
def test_a_key_that_cannot_be_used_is_told(tmp_path: Path, key: str, mode: int, problem: str) -> None:
    assert_told(tmp_path, f'name = "a"\n{HERE}', key, problem, mode)


def test_without_a_sealed_trail_there_is_nothing_to_send(tmp_path: Path) -> None:
    assert_told(tmp_path, f'name = "a"\n{HERE}', KEY, r"needs \[audit\]", audit="")


def assert_told(
    folder: Path,
    lines: str,
    key: str,
    problem: str,
    mode: int = 0o600,
    audit: str = '[audit]\nseal_key_file = "a.key"\n',
) -> None:
    (folder / "key").write_text(key)
    (folder / "key").chmod(mode)
    file = folder / "sekisho.toml"
    head, _, more = lines.partition("[[webhooks]]")
    table = f'[[webhooks]]\nsecret_file = "key"\n{head}' + (f"[[webhooks]]{more}" if more else "")
    file.write_text(f'[store]\nurl = "sqlite:////x/s.db"\nmaster_key_file = "m"\n{audit}{table}\n')
    file.chmod(0o600)
    with pytest.raises(ConfigProblems, match=problem) as refusal:
        load(file, environment={})
    assert "top-secret" not in str(refusal.value) and "MfKQ9r8GK" not in str(refusal.value)
