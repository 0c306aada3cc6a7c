"""UDP sockets: reading in bounded helpings, replies from the address that was asked, errors for a taken port."""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

import pytest

from otp_core.settings import Address
from radius_server.listen.ports import PortTaken
from radius_server.listen.udp import MAX_DRAINED, Listener, kernel_seconds
from tests.radius_peer import readable

Heard = list[tuple[bytes, Any, bytes]]


def peer(listener: Listener, host: str, source: str = "") -> socket.socket:
    made = socket.socket(listener.socket.family, socket.SOCK_DGRAM)
    made.settimeout(3)
    if source:
        made.bind((source, 0))
    made.connect((host, listener.socket.getsockname()[1]))
    return made


def heard(listener: Listener) -> Heard:
    found: Heard = []
    assert readable([listener.socket], 3)
    listener.drain(lambda _, *what: found.append(what))
    return found


@pytest.mark.parametrize(
    ("listen", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.5"),
        ("0.0.0.0", "127.9.8.7"),
        ("::1", "::1"),
        ("::", "::1"),
        ("::0", "::1"),
        ("0:0:0:0:0:0:0:0", "::1"),
    ],
)
def test_the_answer_comes_from_the_address_that_was_asked(listen: str, asked: str) -> None:
    """The gateway's socket is connected, so it takes datagrams from the address it asked only."""
    listener = Listener(Address(listen, 0))
    with peer(listener, asked) as gateway:
        gateway.send(b"question")
        ((datagram, source, destination),) = heard(listener)
        assert (datagram, source[:2]) == (b"question", gateway.getsockname()[:2])
        assert listener.send(b"answer", source, destination)
        assert gateway.recv(100) == b"answer"
    listener.close()


@pytest.mark.parametrize(("listen", "wild"), [("127.0.0.1", False), ("0.0.0.0", True), ("::1", False), ("::", True)])
def test_only_a_wildcard_needs_to_be_told_where_a_datagram_went(listen: str, wild: bool) -> None:
    listener = Listener(Address(listen, 0))
    with peer(listener, "::1" if ":" in listen else "127.0.0.1") as gateway:
        gateway.send(b"?")
        ((_, _, destination),) = heard(listener)
        assert bool(destination) is wild
    listener.close()


@pytest.mark.parametrize("zeros", ["::", "::0", "0::", "0:0:0:0:0:0:0:0"])
def test_a_wildcard_is_one_however_it_is_written(zeros: str) -> None:
    """Without the destination, a machine with several addresses may reply from another one."""
    listener = Listener(Address(zeros, 0))
    with peer(listener, "::1") as gateway:
        gateway.send(b"?")
        ((_, _, destination),) = heard(listener)
        assert destination[:16] == socket.inet_pton(socket.AF_INET6, "::1")
    listener.close()


def test_two_destinations_of_one_wildcard_are_told_apart() -> None:
    listener = Listener(Address("0.0.0.0", 0))
    with peer(listener, "127.0.0.5", "127.0.0.1") as one, peer(listener, "127.0.0.6", "127.0.0.1") as other:
        one.send(b"5")
        other.send(b"6")
        assert len({destination for _, _, destination in heard(listener)}) == 2
    listener.close()


def test_the_families_stay_apart() -> None:
    v6 = Listener(Address("::", 0))
    v4 = Listener(Address("0.0.0.0", v6.socket.getsockname()[1]))
    with peer(v4, "127.0.0.1") as gateway:
        gateway.send(b"four")
        assert [datagram for datagram, _, _ in heard(v4)] == [b"four"]
        assert not readable([v6.socket], 0.05)
    for listener in (v4, v6):
        listener.close()


def test_a_burst_is_drained_in_bounded_helpings() -> None:
    listener = Listener(Address("127.0.0.1", 0))
    with peer(listener, "127.0.0.1") as gateway:
        for number in range(MAX_DRAINED + 10):
            gateway.send(bytes((number,)))
        assert [datagram[0] for datagram, _, _ in heard(listener)] == list(range(MAX_DRAINED))
        assert [datagram[0] for datagram, _, _ in heard(listener)] == list(range(MAX_DRAINED, MAX_DRAINED + 10))
    listener.close()


def test_more_octets_than_a_packet_may_have_are_seen_to_be_too_many() -> None:
    listener = Listener(Address("127.0.0.1", 0))
    with peer(listener, "127.0.0.1") as gateway:
        gateway.send(bytes(9000))
        ((datagram, _, _),) = heard(listener)
        assert len(datagram) > 4096
    listener.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_that_is_taken_is_told_with_where_to_look(host: str) -> None:
    first = Listener(Address(host, 0))
    address = Address(host, first.socket.getsockname()[1])
    with pytest.raises(PortTaken, match="is taken: does another RADIUS server") as caught:
        Listener(address)
    assert caught.value.errno == errno.EADDRINUSE
    assert str(address) in str(caught.value)
    assert "ss -lunp" in str(caught.value)
    first.close()


def test_a_wildcard_does_not_slip_in_beside_one_address() -> None:
    first = Listener(Address("127.0.0.1", 0))
    with pytest.raises(PortTaken):
        Listener(Address("0.0.0.0", first.socket.getsockname()[1]))
    first.close()


def test_an_address_that_is_not_this_machines_is_told() -> None:
    with pytest.raises(OSError, match=r"cannot listen at 192\.0\.2\.1:1812: Cannot assign requested address"):
        Listener(Address("192.0.2.1", 1812))


@pytest.mark.parametrize(("listen", "name"), [("127.0.0.1", "127.0.0.1:{}"), ("::1", "[::1]:{}")])
def test_a_listener_is_named_as_its_address_is_written(listen: str, name: str) -> None:
    listener = Listener(Address(listen, 0))
    assert listener.name == name.format(listener.socket.getsockname()[1])
    listener.close()


def test_what_cannot_be_sent_is_lost_and_nothing_worse() -> None:
    listener = Listener(Address("127.0.0.1", 0))
    assert not listener.send(b"x", ("127.0.0.1", 0), b"")
    assert not listener.send(bytes(70_000), ("127.0.0.1", 9), b"")
    listener.close()
    assert not listener.send(b"x", ("127.0.0.1", 9), b"")


# How long a datagram waited


class Clocks:
    """The kernel's own clock, and an uptime that is moved by hand."""

    def __init__(self) -> None:
        self.up = 1000.0
        self.set = 0.0
        """By how much the clock of the stamps was set ahead meanwhile."""

    def stamp_time(self) -> float:
        return kernel_seconds() + self.set

    def uptime(self) -> float:
        return self.up


def waits(listener: Listener) -> list[float]:
    found: list[float] = []
    assert readable([listener.socket], 3)
    listener.drain(lambda one, *_: found.append(one.waited))
    return found


@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_datagram_that_lay_in_the_socket_is_passed_on_with_its_age(listen: str) -> None:
    clocks = Clocks()
    listener = Listener(Address(listen, 0), clocks.stamp_time, clocks.uptime)
    with peer(listener, "::1" if ":" in listen else "127.0.0.1") as gateway:
        gateway.send(b"before the process stood still")
        assert waits(listener) == [0.0]
        gateway.send(b"while it stands still")
        clocks.set = clocks.up = 62.0
        clocks.up += 1000
        (waited,) = waits(listener)
        assert 61.9 < waited < 65
        assert listener.waited == 0.0
        gateway.send(b"afterwards")
        assert waits(listener) == [0.0], "the socket was empty a moment ago"
    listener.close()


def test_a_clock_that_was_set_makes_no_datagram_older_than_the_socket_was_unread() -> None:
    clocks = Clocks()
    listener = Listener(Address("127.0.0.1", 0), clocks.stamp_time, clocks.uptime)
    with peer(listener, "127.0.0.1") as gateway:
        for ahead in (9 * 3600, -9 * 3600):
            gateway.send(b"?")
            clocks.set += ahead
            clocks.up += 0.6
            (waited,) = waits(listener)
            assert waited == (pytest.approx(0.6) if ahead > 0 else 0.0)
    listener.close()


def test_a_datagram_that_comes_after_a_quiet_hour_did_not_wait() -> None:
    clocks = Clocks()
    listener = Listener(Address("127.0.0.1", 0), clocks.stamp_time, clocks.uptime)
    with peer(listener, "127.0.0.1") as gateway:
        clocks.up += 3600
        gateway.send(b"?")
        assert waits(listener) == [0.0]
    listener.close()


def test_only_the_first_one_that_did_not_wait_is_asked_when_it_came() -> None:
    """Also where the socket is never found empty, as under load: being asked costs as much as a login's evaluation."""
    clocks = Clocks()
    asked: list[float] = []

    def stamp_time() -> float:
        asked.append(clocks.up)
        return kernel_seconds() + clocks.set

    listener = Listener(Address("127.0.0.1", 0), stamp_time, clocks.uptime)
    with peer(listener, "127.0.0.1") as gateway:
        for _ in range(4 * MAX_DRAINED):
            gateway.send(b"?")
        clocks.up += 0.7
        for _ in range(2):
            assert waits(listener) == [0.0] * MAX_DRAINED
        assert len(asked) == 1
        clocks.up += 0.6  # meanwhile somebody else may have sent less than this process can read
        assert waits(listener) == [0.0] * MAX_DRAINED
        assert len(asked) == 2
    listener.close()


def test_those_that_waited_are_told_apart_from_those_behind_them() -> None:
    clocks = Clocks()
    listener = Listener(Address("127.0.0.1", 0), clocks.stamp_time, clocks.uptime)
    with peer(listener, "127.0.0.1") as gateway:
        gateway.send(b"before")
        time.sleep(0.7)
        gateway.send(b"just now")
        gateway.send(b"and another")
        clocks.up += 0.7
        first, *others = waits(listener)
        assert first == pytest.approx(0.7, abs=0.1)
        assert others == [0.0, 0.0]
    listener.close()
