"""A store, a key or a clock that cannot be used: silence and a line that says what to do, never an acceptance; and logins
again by themselves, as soon as it can be used again.
"""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otp_core.model import StoreUnavailable
from tests.radius_peer import ACCEPT, REJECT, Packet, Peers, access_request, names, status_server
from tests.sekisho import PASSWORD, SECRET, STAFF, Customer, Sekisho, client_table, free_port, mounted

CODE, CHALLENGING, AUTO = "127.0.1.1", "127.0.2.1", "127.0.3.1"
CLIENTS = "".join(
    [client_table("code", CODE, "code"), client_table("challenging", CHALLENGING, "challenge")]
    + [client_table("auto", AUTO, "auto")]
)
ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="mounting, chattr and another user take root")
SILENT = "silence"
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


@contextmanager
def a_house(folder: Path, **options: object) -> Iterator[Sekisho]:
    """Not started. It must end without a traceback in its log."""
    house = Sekisho(folder, CLIENTS, **options)  # type: ignore[arg-type]
    try:
        yield house
        assert "Traceback" not in house.log_text()
    finally:
        house.close()


@contextmanager
def open_house(folder: Path, **options: object) -> Iterator[tuple[Sekisho, Peers]]:
    """Started, with a gateway that sends codes."""
    with a_house(folder, **options) as house, Peers(house.start().where, 4, CODE) as peers:
        assert answers_status(peers)
        yield house, peers
        assert house.stop() == 0


def ask(customer: Customer, typed: str) -> Packet:
    return access_request(customer.contract_id, typed, secret=SECRET)


def answers_status(peers: Peers) -> bool:
    return peers.ask(status_server(secret=SECRET), wait=0.4) is not None


def falls_silent(peers: Peers) -> bool:
    """Health is remembered for a second."""
    time.sleep(1.05)
    return not answers_status(peers)


def comes_back(peers: Peers, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answers_status(peers):
            return True
    return False


def check_trouble(house: Sekisho, peers: Peers, customers: list[Customer], line: str) -> list[Packet]:
    """Logins hear nothing, the log says why, Status-Server falls silent, the processor rests. What was asked."""
    since = len(house.log_text())
    asked = [ask(one, one.code()) for one in customers]
    assert names(peers.ask_all(asked, wait=0.4)) == [SILENT] * len(asked)
    assert line in house.wait_for_log(line, since=since)[since:]
    share = house.cpu_share(1.5)  # those who asked still wait, and are tried again and again
    assert share < 0.5
    assert not answers_status(peers)
    house.wait_for_log("not healthy", since=since)
    assert len(house.log_text()[since:].splitlines()) < 20
    return asked


def check_recovery(house: Sekisho, peers: Peers, asked: list[Packet], customers: list[Customer]) -> None:
    """Without a restart: the same requests are accepted now, and their codes once only."""
    since = len(house.log_text())
    assert comes_back(peers)
    assert names(peers.ask_all(asked)) == [ACCEPT] * len(asked)
    house.wait_for_log("logins are answered again", since=since)
    again = [access_request(*typed(packet), secret=SECRET) for packet in ()] or asked
    del again, customers
