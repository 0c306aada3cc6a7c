"""An upstream that leads back to this server, by a way that the settings do not show."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from otp_core.upstreams.own_mark import OwnMark
from tests.radius.tools import heard, login, radclient
from tests.sekisho import PASSWORD, SECRET, Sekisho, client_table, free_port
from tests.upstreams.freeradius import settings_of


@contextmanager
def roundabout(port: int) -> Iterator[tuple[int, list[bytes]]]:
    """Hands every datagram on to this port of loopback, as a translated address does. Its own port, and what came."""
    came: list[bytes] = []
    ends = threading.Event()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to,
    ):
        here.bind(("127.0.0.1", 0))
        here.settimeout(0.05)
        to.connect(("127.0.0.1", port))

        def hand_on() -> None:
            while not ends.is_set():
                with suppress(TimeoutError, ConnectionError):
                    octets = here.recv(5000)
                    if octets[0] == 1:
                        came.append(octets)
                        to.send(octets)

        thread = threading.Thread(target=hand_on)
        thread.start()
        try:
            yield here.getsockname()[1], came
        finally:
            ends.set()
            thread.join(5)


@pytest.mark.parametrize("shadow", [False, True])
def test_a_request_that_comes_back_is_silence_and_a_line_that_says_why(tmp_path: Path, shadow: bool) -> None:
    own = free_port()
    keys = {"shadow": '"core"'} if shadow else {"first_factor": '"core-passwords"'}
    clients = client_table("everybody", "127.0.0.0/8", "password", **keys)
    with roundabout(own) as (port, came):
        more = settings_of(port, timeout=1.5, tries=1, status_server=False).replace(
            "between-us-and-the-upstream", SECRET
        )
        sekisho = Sekisho(tmp_path, clients=clients, more=more, listen=(f"127.0.0.1:{own}",))
        try:
            one = sekisho.start().customer(password="")
            assert heard(radclient(sekisho.port, login(one.contract_id, PASSWORD))) == "silence"
            sekisho.wait_for_log("has come back: that upstream leads here")
            time.sleep(0.2)  # whatever goes round would go round by now
            assert len(came) == len(set(came)) <= 3, "once for each time that the gateway has asked"
        finally:
            sekisho.close()


def test_a_mark_is_known_where_it_was_drawn_and_nowhere_else() -> None:
    here, there = OwnMark(bytes(32)), OwnMark(bytes(31) + b"\1")
    mark = here.draw()
    assert here.is_ours(mark) and not there.is_ours(mark) and here.draw() != mark
    for other in (b"", mark[:-1], mark + b"\0", os.urandom(16), bytes(16)):
        assert not here.is_ours(other)
