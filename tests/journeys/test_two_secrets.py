"""A client's shared secret is changed while it goes on sending: both are taken, and doctor says which one is used."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sekisho import PASSWORD, SECRET, Sekisho, client_table

NEXT = "the-secret-that-follows-0123456789"


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    """127.0.0.1 has to send a Message-Authenticator, 127.0.0.2 need not; both change their secret."""
    folder = tmp_path_factory.mktemp("changing")
    (folder / "next.secret").write_text(NEXT + "\n")
    (folder / "next.secret").chmod(0o600)
    tables = [
        client_table("strict", "127.0.0.1", "append", next_secret_file='"next.secret"'),
        client_table(
            "lax", "127.0.0.2", "append", next_secret_file='"next.secret"', require_message_authenticator=False
        ),
    ]
    sekisho = Sekisho(folder, clients="\n".join(tables)).start()
    yield sekisho
    sekisho.close()


def answer(sekisho: Sekisho, secret: str, *, source: str = "127.0.0.1", signed: bool = True) -> str:
    one = sekisho.customer()
    attributes = f"User-Name={one.contract_id},User-Password={PASSWORD}{one.code()}"
    attributes += f",Packet-Src-IP-Address={source}" + (",Message-Authenticator=0x00" if signed else "")
    command = ["radclient", "-x", "-r", "1", "-t", "2", f"127.0.0.1:{sekisho.port}", "auth", secret]
    said = subprocess.run(command, input=attributes, capture_output=True, text=True, timeout=60, check=False).stdout
    received = re.search(r"Received (Access-\w+)", said)
    return received[1] if received else "silence"


@pytest.mark.parametrize("secret", [SECRET, NEXT])
def test_both_secrets_are_taken(changing: Sekisho, secret: str) -> None:
    assert answer(changing, secret) == "Access-Accept"


@pytest.mark.parametrize("secret", [SECRET, NEXT])
def test_both_are_taken_without_a_message_authenticator_too(changing: Sekisho, secret: str) -> None:
    assert answer(changing, secret, source="127.0.0.2", signed=False) == "Access-Accept"


def test_a_third_one_is_not(changing: Sekisho) -> None:
    assert answer(changing, "neither-of-the-two-secrets-00000") == "silence"
    # A reply to the unsigned one is signed with the present secret, so radclient does not take it.
    assert answer(changing, "neither-of-the-two-secrets-00000", source="127.0.0.2", signed=False) == "silence"


def doctor(sekisho: Sekisho) -> dict[str, str]:
    command = [sys.executable, "-m", "sekisho", "--config", str(sekisho.config), "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return {line["check"]: line["text"] for line in map(json.loads, done.stdout.splitlines())}


def said_in_time(sekisho: Sekisho, check: str, text: str) -> str:
    """What doctor says of it, once it says this; the workers write every five seconds."""
    end = time.monotonic() + 20
    while text not in (found := doctor(sekisho).get(check, "")) and time.monotonic() < end:
        time.sleep(0.5)
    return found


def test_doctor_says_which_one_is_used_and_who_sent_with_another(changing: Sekisho) -> None:
    for secret in (SECRET, NEXT):
        assert answer(changing, secret) == "Access-Accept"
    answer(changing, "neither-of-the-two-secrets-00000")
    assert "next_secret last at" in said_in_time(changing, "client strict", "next_secret last at")
    assert "127.0.0.1: wrong Message-Authenticator" in said_in_time(changing, "strangers", "127.0.0.1")


def test_it_begins_with_a_reload_and_ends_with_one(tmp_path: Path) -> None:
    sekisho = Sekisho(tmp_path, clients=client_table("vpn", "127.0.0.1", "append")).start()
    try:
        assert answer(sekisho, NEXT) == "silence"
        (tmp_path / "next.secret").write_text(NEXT)
        (tmp_path / "next.secret").chmod(0o600)
        before = sekisho.config.read_text()
        for text, taken in (
            (before.replace('name = "vpn"', 'name = "vpn"\nnext_secret_file = "next.secret"'), {SECRET, NEXT}),
            (before.replace(f'secret = "{SECRET}"', 'secret_file = "next.secret"'), {NEXT}),
        ):
            sekisho.config.write_text(text)
            reload(sekisho)
            assert {secret for secret in (SECRET, NEXT) if answer(sekisho, secret) == "Access-Accept"} == taken
    finally:
        sekisho.close()


def reload(sekisho: Sekisho) -> None:
    since = len(sekisho.log_text())
    assert sekisho.process is not None
    sekisho.process.send_signal(signal.SIGHUP)
    sekisho.wait_for_log("reloaded", since=since)
