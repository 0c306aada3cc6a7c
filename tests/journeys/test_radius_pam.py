"""A host's login through pam_radius_auth 2.0, run by pamtester without root (libpam-wrapper): it signs nothing, reads
one Reply-Message, and asks its next server only as long as none has answered."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from otp_core.messages import TEXTS, Text
from otp_core.model import Language
from tests.radius.nodes import second_node
from tests.radius.tools import library, oath, program
from tests.sekisho import PASSWORD, SECRET, Sekisho, client_table, free_port

PROMPT = {(language, text): words.encode() for (language, text), words in TEXTS.items()}
FIRST = b"Password: "


@pytest.fixture(scope="module")
def sekisho(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    """It listens where a second node can be told not to; its client is an old one, at risk."""
    clients = client_table("host", "127.0.0.1", "challenge", require_message_authenticator=False)
    folder = tmp_path_factory.mktemp("pam")
    one = Sekisho(folder, clients=clients, listen=(f"127.0.0.1:{free_port()}",))
    try:
        yield one.start()
        one.stop()
        assert one.traceback() == ""
        assert "share_with_message_authenticator=0.0" in one.log_text()
    finally:
        one.close()


class Host:
    """A machine whose service ``otp`` asks these servers in turn."""

    def __init__(self, folder: Path, ports: Sequence[int], seconds: int = 3) -> None:
        folder.mkdir()
        servers = folder / "servers"
        servers.write_text("".join(f"127.0.0.1:{port} {SECRET} {seconds}\n" for port in ports))
        servers.chmod(0o600)
        (folder / "service").mkdir()
        (folder / "service" / "otp").write_text(
            f"auth required {library('pam_radius_auth.so')} conf={servers}\naccount required pam_permit.so\n"
        )
        self._environment = {
            **os.environ,
            "LD_PRELOAD": library("libpam_wrapper.so"),
            "PAM_WRAPPER": "1",
            "PAM_WRAPPER_SERVICE_DIR": str(folder / "service"),
            "PAM_WRAPPER_DEBUGLEVEL": "0",
        }
        self._log = folder / "pamtester.log"

    @contextmanager
    def login(self, user: str) -> Iterator[Conversation]:
        """A login that has asked its first question, or is about to."""
        command = [program("pamtester"), "otp", user, "authenticate"]
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=self._environment
            )
        try:
            yield Conversation(process, self._log)
        finally:
            process.kill()
            process.wait(10)
            assert process.stdin is not None
            process.stdin.close()


class Conversation:
    """What a person sees and types."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log

    def shown(self) -> bytes:
        return self._log.read_bytes()

    def wait_for(self, text: bytes, times: int = 1) -> None:
        end = time.monotonic() + 15
        while self.shown().count(text) < times:
            assert time.monotonic() < end, f"{text!r} was not shown, but: {self.shown()!r}"
            time.sleep(0.02)

    def type(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n".encode())
        self._process.stdin.flush()

    def succeeds(self) -> bool:
        code = self._process.wait(20)
        assert (code == 0) == (b"successfully authenticated" in self.shown())
        return code == 0


def test_two_rounds_with_a_japanese_prompt(sekisho: Sekisho, tmp_path: Path) -> None:
    one = sekisho.customer()
    with Host(tmp_path / "host", [sekisho.port]).login(one.contract_id) as person:
        person.wait_for(FIRST)
        person.type(PASSWORD)
        person.wait_for(PROMPT[Language.JA, Text.CHALLENGE])
        person.type(oath(one))
        assert person.succeeds()
    assert [row.actor for row in sekisho.audit(one.contract_id, "login.accepted")] == ["host"]


def test_a_mistyped_code_is_asked_for_again_in_other_words(sekisho: Sekisho, tmp_path: Path) -> None:
    one = sekisho.customer()
    with Host(tmp_path / "host", [sekisho.port]).login(one.contract_id) as person:
        person.wait_for(FIRST)
        person.type(PASSWORD)
        person.wait_for(PROMPT[Language.JA, Text.CHALLENGE])
        person.type("12 34")
        person.wait_for(PROMPT[Language.JA, Text.CHALLENGE_AGAIN])
        person.type(oath(one))
        assert person.succeeds()


@pytest.mark.parametrize("user_password", [["wrong"], [PASSWORD, "no", "no", "no"]])
def test_a_wrong_password_or_three_times_no_code_is_refused(
    sekisho: Sekisho, tmp_path: Path, user_password: list[str]
) -> None:
    one = sekisho.customer()
    with Host(tmp_path / "host", [sekisho.port]).login(one.contract_id) as person:
        person.wait_for(FIRST)
        for text in user_password:
            person.type(text)
        assert not person.succeeds()
    assert sekisho.audit(one.contract_id, "login.accepted") == []


def test_a_customer_without_a_token_is_let_in_by_the_password(sekisho: Sekisho, tmp_path: Path) -> None:
    one = sekisho.customer(enrolled=False)
    with Host(tmp_path / "host", [sekisho.port]).login(one.contract_id) as person:
        person.wait_for(FIRST)
        person.type(PASSWORD)
        assert person.succeeds()


def test_a_server_that_is_not_there_is_passed_over(sekisho: Sekisho, tmp_path: Path) -> None:
    one = sekisho.customer()
    with Host(tmp_path / "host", [free_port(), sekisho.port], seconds=1).login(one.contract_id) as person:
        log_in(person, oath(one))
        assert person.succeeds()


def test_a_node_that_goes_between_the_rounds_ends_the_login_and_spends_no_code(
    sekisho: Sekisho, tmp_path: Path
) -> None:
    """pam_radius_auth 2.0 forgets its other servers as soon as one has answered: the person begins again, elsewhere."""
    one = sekisho.customer()
    with second_node(sekisho, tmp_path) as (node, port):
        host = Host(tmp_path / "host", [port, sekisho.port], seconds=1)
        with host.login(one.contract_id) as person:
            person.wait_for(FIRST)
            person.type(PASSWORD)
            person.wait_for(PROMPT[Language.JA, Text.CHALLENGE])
            node.kill()
            node.wait(10)
            code = oath(one)
            person.type(code)
            assert not person.succeeds()
        assert sekisho.audit(one.contract_id, "login.accepted") == []
        with host.login(one.contract_id) as person:
            log_in(person, code)
            assert person.succeeds()


def log_in(person: Conversation, code: str) -> None:
    person.wait_for(FIRST)
    person.type(PASSWORD)
    person.wait_for(PROMPT[Language.JA, Text.CHALLENGE])
    person.type(code)
