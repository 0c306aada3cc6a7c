"""A real server under every hostile packet of the table, over UDP: the answer that the table names, or silence, each
drop counted under its cause. Afterwards it serves as before, holds nothing, and has no traceback in its log."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.radius.craft import SECRET
from tests.radius.hostile import (
    ASKS,
    CASES,
    LENIENT,
    NAME,
    OPEN,
    PASSWORD,
    STRANGER,
    STRICT,
    TOKEN_NAME,
    UNKNOWN_CLIENT,
    Case,
)
from tests.radius.tools import counted
from tests.radius_peer import Packet, Peers, Reply, access_request, read_reply, readable, status_server
from tests.sekisho import SECRET as SECRET_TEXT
from tests.sekisho import Sekisho, client_table

QUIET = 0.5
"""Seconds after the last answer in which silence has to hold; none of these answers takes a tenth of that."""

NO_WAITING = "[throttle]\npassword_first_delay = 0.0\npassword_max_delay = 0.0\n"


@dataclass(frozen=True)
class Aftermath:
    """What came back for each case, and how the server was afterwards."""

    replies: dict[str, list[bytes]]
    login: str
    status: str
    exit_code: int
    counts: dict[str, int]
    log: str


def clients() -> str:
    return (
        client_table("strict", STRICT, "password")
        + client_table("lenient", LENIENT, "password", require_message_authenticator=False)
        + client_table("open", OPEN, "password", require_message_authenticator=False, limit_proxy_state=False)
        + client_table("asks", ASKS, "challenge")
    )


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    sekisho = Sekisho(tmp_path_factory.mktemp("hostile"), clients=clients(), more=NO_WAITING)
    try:
        first, second = sekisho.customer(PASSWORD, enrolled=False), sekisho.customer(PASSWORD)
        assert (first.contract_id, second.contract_id) == (NAME, TOKEN_NAME)
        sekisho.start()
        replies = send_all(sekisho)
        with Peers(sekisho.where) as peer:
            login = peer.ask(access_request(NAME, PASSWORD, secret=SECRET_TEXT))
            status = peer.ask(status_server(secret=SECRET_TEXT))
        code = sekisho.stop()
        yield Aftermath(replies, name(login), name(status), code, counted(sekisho), sekisho.log_text())
    finally:
        sekisho.close()


def send_all(sekisho: Sekisho) -> dict[str, list[bytes]]:
    """Every case from a socket of its own, then whatever comes back until it is quiet."""
    sockets: dict[socket.socket, str] = {}
    replies: dict[str, list[bytes]] = {case.name: [] for case in CASES}
    for case in CASES:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((case.source, 0))
        made.connect(sekisho.where)
        sockets[made] = case.name
        made.send(case.octets)
    quiet_at = time.monotonic() + QUIET
    while (left := quiet_at - time.monotonic()) > 0:
        for ready in readable(sockets, left):
            replies[sockets[ready]].append(ready.recv(5000))
            quiet_at = time.monotonic() + QUIET
    for made in sockets:
        made.close()
    return replies


def name(reply: Reply | None) -> str:
    return reply.name if reply else "silence"


LETTERS = {"Access-Accept": "A", "Access-Reject": "R", "Access-Challenge": "C"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hostile_packet(aftermath: Aftermath, case: Case) -> None:
    answers = aftermath.replies[case.name]
    if case.expected == "S":
        assert answers == []
        return
    (answer,) = answers
    length = int.from_bytes(case.octets[2:4], "big")
    reply = read_reply(Packet(case.octets[:length], SECRET), answer)
    assert LETTERS[reply.name] == case.expected


def test_every_packet_is_counted_under_its_cause_and_once(aftermath: Aftermath) -> None:
    expected = Counter(f"dropped: {case.reason}" for case in CASES if case.expected == "S")
    assert {cause: count for cause, count in aftermath.counts.items() if cause.startswith("dropped")} == dict(expected)
    assert expected[f"dropped: {UNKNOWN_CLIENT}"] == len([case for case in CASES if case.source == STRANGER])
    logins = Counter(case.expected for case in CASES if case.octets[:1] != b"\x0c")
    assert aftermath.counts["Access-Accept"] == logins["A"] + 1
    assert aftermath.counts["Access-Reject"] == logins["R"]
    assert aftermath.counts["Access-Challenge"] == logins["C"]


def test_afterwards_it_answers_as_before(aftermath: Aftermath) -> None:
    assert (aftermath.login, aftermath.status) == ("Access-Accept", "Access-Accept")


def test_afterwards_nothing_is_left_in_flight_and_it_stops_well(aftermath: Aftermath) -> None:
    assert aftermath.exit_code == 0
    assert "unanswered=0" in aftermath.log


def test_its_log_has_no_traceback_and_no_secret(aftermath: Aftermath) -> None:
    for word in ("Traceback", "an error of our own", "could not be handled", "Exception", PASSWORD, SECRET_TEXT):
        assert word not in aftermath.log


def test_a_wrong_code_is_no_copy_of_a_right_one(sekisho_for_codes: Sekisho) -> None:
    """A gateway with a poor random number generator repeats identifier and authenticator. A packet that is not the same
    octets is no retransmission: its code is looked at."""
    one = sekisho_for_codes.customer()
    same = {"secret": SECRET_TEXT, "identifier": 1, "authenticator": bytes(16)}
    right = access_request(one.contract_id, one.code(), **same)  # type: ignore[arg-type]
    wrong = access_request(one.contract_id, "000000", **same)  # type: ignore[arg-type]
    with Peers(sekisho_for_codes.where, sockets=3) as peers:
        assert name(peers.ask(right, at=0)) == "Access-Accept"
        assert name(peers.ask(wrong, at=1)) == "Access-Reject"
        assert name(peers.ask(right, at=2)) == "Access-Accept", "the same octets are the same login"
    assert len(sekisho_for_codes.audit(one.contract_id, "login.rejected")) == 1


@pytest.fixture
def sekisho_for_codes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    sekisho = Sekisho(tmp_path_factory.mktemp("codes"), clients=client_table("gateway", "127.0.0.1", "code"))
    try:
        yield sekisho.start()
    finally:
        sekisho.close()
