"""An upstream that is dead, slow or shares another secret: silence, never an acceptance, and never a wrong password."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.radius.tools import heard, radclient
from tests.radius_peer import Peers, access_request, names, read_reply
from tests.sekisho import PASSWORD, Customer, Sekisho, client_table, free_port
from tests.sekisho import SECRET as SEKISHO_SECRET
from tests.upstreams.raw import ACCEPT as CODE_ACCEPT
from tests.upstreams.raw import CHALLENGE as CODE_CHALLENGE
from tests.upstreams.raw import REJECT as CODE_REJECT
from tests.upstreams.raw import SECRET, STATE, USER_NAME, Asked, RawUpstream, accepts, silent

ACCEPT, REJECT, SILENCE = "Access-Accept", "Access-Reject", "silence"


def tables(*ports: int, name: str = "core", **more: object) -> str:
    """An upstream of raw servers, and the first factor ``name``-passwords."""
    values = {"timeout": 0.3, "tries": 2, "dead_seconds": 1.0, "status_server": False, **more}
    lines = "\n".join(
        f"{key} = {str(value).lower() if isinstance(value, bool) else value}" for key, value in values.items()
    )
    servers = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    return f"""
[[upstreams]]
name = "{name}"
servers = [{servers}]
secret = "{SECRET.decode()}"
{lines}
[[first_factors]]
name = "{name}-passwords"
type = "radius"
upstream = "{name}"
"""


def client(mode: str, factor: str = "core-passwords", **more: object) -> str:
    return client_table(mode, "127.0.0.0/8", mode, nas_identifier=f'"{mode}"', first_factor=f'"{factor}"', **more)


@contextlib.contextmanager
def served(folder: Path, more: str, clients: str) -> Iterator[Sekisho]:
    one = Sekisho(folder, clients=clients, more=more)
    try:
        yield one.start()
    finally:
        one.close()


def ask(sekisho: Sekisho, mode: str, one: Customer, text: str, wait: float = 2.0) -> str:
    """The name of the reply; ``wait``: seconds after which none counts as silence."""
    packet = access_request(one.contract_id, text, secret=SEKISHO_SECRET, more=[(32, mode.encode())])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gateway:
        gateway.connect(("127.0.0.1", sekisho.port))
        gateway.settimeout(wait)
        gateway.send(packet.octets)
        try:
            return read_reply(packet, gateway.recv(5000)).name
        except TimeoutError:
            return SILENCE


def run(sekisho: Sekisho, *words: str, stdin: str = "") -> tuple[int, str]:
    command = [sys.executable, "-m", "sekisho", "--config", str(sekisho.config), *words]
    done = subprocess.run(command, input=stdin.encode(), capture_output=True, timeout=30, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


def test_silence_lies_and_another_secret_are_silence_and_no_failure(tmp_path: Path) -> None:
    modes = ("append", "challenge")
    with (
        RawUpstream(silent) as upstream,
        served(tmp_path, tables(upstream.port), "".join(map(client, modes))) as sekisho,
    ):
        one = sekisho.customer(password="")
        for mode in modes:
            assert ask(sekisho, mode, one, PASSWORD + one.code(), wait=0.8) == SILENCE
        upstream.answer = lambda asked: [asked.reply(CODE_ACCEPT, secret=b"another")]
        for _ in range(2):
            assert ask(sekisho, "append", one, PASSWORD + one.code(), wait=0.8) == SILENCE
        upstream.answer = accepts
        assert ask(sekisho, "append", one, PASSWORD + one.code()) == ACCEPT, "no delay for what nobody typed wrong"
        assert sekisho.audit(one.contract_id, "login.rejected") == []
        log = sekisho.log_text()
    assert "no reply" in log
    assert "is the shared secret right?" in log
    assert PASSWORD not in log and SECRET.decode() not in log


def test_a_gateway_that_repeats_its_authenticator_gets_no_answer_about_another_customer(tmp_path: Path) -> None:
    """taro's password is right for taro. Behind the same identifier and authenticator it says nothing of jiro."""
    taro_alone: list[bytes] = []

    def knows_taro(asked: Asked) -> list[bytes]:
        return [asked.reply(CODE_ACCEPT if asked.values(USER_NAME) == taro_alone else CODE_REJECT)]

    with RawUpstream(knows_taro) as upstream, served(tmp_path, tables(upstream.port), client("password")) as sekisho:
        taro, jiro = sekisho.customer(password=""), sekisho.customer(password="")
        taro_alone.append(taro.contract_id.encode())
        repeated = {"identifier": 7, "authenticator": bytes(16), "secret": SEKISHO_SECRET}
        with Peers(("127.0.0.1", sekisho.port), 3) as gateways:
            for at, (one, answer) in enumerate(((taro, ACCEPT), (jiro, REJECT), (taro, ACCEPT))):
                packet = access_request(one.contract_id, PASSWORD, more=[(32, b"password")], **repeated)  # type: ignore[arg-type]
                assert names([gateways.ask(packet, at=at)]) == [answer], at
        assert len(upstream.logins) == 2, "the copy of the first one is no question more"


def test_one_hung_upstream_of_two_delays_nobody_elses_logins(tmp_path: Path) -> None:
    with RawUpstream(silent) as hung, RawUpstream() as well:
        settings = tables(hung.port, name="hung") + tables(well.port, name="well")
        clients = client("password", "hung-passwords") + client("append", "well-passwords")
        with served(tmp_path, settings, clients) as sekisho:
            slow, quick = sekisho.customer(password=""), sekisho.customer(password="")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gateway:
                for number in range(200):
                    packet = access_request(
                        slow.contract_id, "x", secret=SEKISHO_SECRET, identifier=number, more=[(32, b"password")]
                    )
                    gateway.sendto(packet.octets, ("127.0.0.1", sekisho.port))
            begun = time.monotonic()
            assert ask(sekisho, "append", quick, PASSWORD + quick.code()) == ACCEPT
            assert time.monotonic() - begun < 0.5
            assert len(hung.logins) > 0


def test_status_server_is_silent_for_clients_whose_upstream_is_down_and_for_no_other(tmp_path: Path) -> None:
    port = free_port()
    clients = client("password") + client("append", "local")
    status = {mode: f'NAS-Identifier="{mode}"' for mode in ("password", "append")}
    with served(tmp_path, tables(port, status_server=True), clients) as sekisho:
        sekisho.wait_for_log("an upstream's server does not answer")
        assert heard(radclient(sekisho.port, status["password"], kind="status", wait=1)) == SILENCE
        assert heard(radclient(sekisho.port, status["append"], kind="status")) == ACCEPT
        one = sekisho.customer(password="")
        with RawUpstream(port=port):
            sekisho.wait_for_log("an upstream's server answers again")
            assert heard(radclient(sekisho.port, status["password"], kind="status")) == ACCEPT
            assert ask(sekisho, "password", one, PASSWORD) == ACCEPT, "without a restart"


def test_a_question_that_may_not_be_passed_on_is_refused_and_told_apart(tmp_path: Path) -> None:
    def asks(asked: object) -> list[bytes]:
        return [asked.reply(CODE_CHALLENGE, (STATE, b"pin"))]  # type: ignore[attr-defined]

    with (
        RawUpstream(asks) as upstream,
        served(tmp_path, tables(upstream.port, challenges='"refuse"'), client("challenge")) as sekisho,
    ):
        one = sekisho.customer(password="")
        assert ask(sekisho, "challenge", one, PASSWORD) == REJECT
        (row,) = sekisho.audit(one.contract_id, "login.rejected")
        assert row.reason == "the first factor asks a further question, and may not"
        assert 'challenges = "refuse"' in sekisho.log_text()


@pytest.mark.parametrize(
    ("states", "cause"),
    [((), "it has no State"), ((b"one", b"two"), "it has more than one State")],
    ids=["none", "two"],
)
def test_a_question_that_nobody_can_answer_is_refused_with_a_line(
    tmp_path: Path, states: tuple[bytes, ...], cause: str
) -> None:
    """RFC 2865 section 5.24: one State at most. The server has answered, so it is neither silent nor dead."""
    with (
        RawUpstream(lambda asked: [asked.reply(CODE_CHALLENGE, *((STATE, one) for one in states))]) as upstream,
        served(tmp_path, tables(upstream.port), client("challenge")) as sekisho,
    ):
        assert ask(sekisho, "challenge", sekisho.customer(password=""), PASSWORD) == REJECT
        assert cause in sekisho.log_text()
        assert len(upstream.logins) == 1, "it is not asked again"


def test_the_command_and_the_doctor_tell_a_wrong_secret_from_silence(tmp_path: Path) -> None:
    lying = RawUpstream(lambda asked: [asked.reply(CODE_ACCEPT, secret=b"another")], answers_status=False)
    with RawUpstream() as well, lying:
        nobody = free_port()
        one = Sekisho(
            tmp_path,
            clients=client("password"),
            more=tables(well.port, lying.port, nobody, status_server=True, timeout=0.1),
        )
        try:
            code, said = run(one, "upstream", "list", "--json")
            assert code == 0
            assert json.loads(said) == {
                "name": "core",
                "servers": [f"127.0.0.1:{port}" for port in (well.port, lying.port, nobody)],
                "first_factors": ["core-passwords"],
                "asked_by": ["password"],
            }
            code, said = run(one, "upstream", "test", "core", "--user", "taro", "--password-stdin", stdin="himitsu\n")
            lines = said.splitlines()
            assert code == 1
            assert lines[0].startswith(f"ok    127.0.0.1:{well.port}: Status-Server: Access-Accept after ")
            assert lines[1].startswith(f"ok    127.0.0.1:{well.port}: login: Access-Accept after ")
            told = "a reply with a wrong signature: is the shared secret right?"
            assert lines[2] == f"FAIL  127.0.0.1:{lying.port}: Status-Server: {told}"
            assert "is the shared secret right?" in lines[3]
            assert lines[4] == f"FAIL  127.0.0.1:{nobody}: Status-Server: nobody listens there"
            assert well.logins[0].password == b"himitsu"
            assert "himitsu" not in said
            code, said = run(one, "upstream", "test", "nobody")
            assert (code, "they have: core" in said) == (2, True)
            code, said = run(one, "upstream", "test", "core", "--user", "taro")
            assert (code, "go together" in said) == (2, True)
            _, said = run(one, "doctor")
            assert f"ok    upstream core: 127.0.0.1:{well.port} answers" in said
            assert (
                f"warn  upstream core: 127.0.0.1:{nobody} does not answer Status-Server: nobody listens there" in said
            )
        finally:
            one.close()
