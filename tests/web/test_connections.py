"""How many connections a listener has, from whom, and who has to go: the rules, and strangers who hold a thousand."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from admin_web.http.connection_limits import (
    MAX_PER_NETWORK,
    PATIENT_SECONDS,
    Connection,
    ConnectionLimiter,
    network_of,
)
from tests.web.portal import Portal, portal

PROXY = "10.0.0.1"


class Hand(asyncio.SelectorEventLoop):
    """A loop that is never run, whose time is moved by hand."""

    now = 1000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def hand() -> Iterator[Hand]:
    loop = Hand()
    yield loop
    loop.close()


class Crowd:
    """Connections by name, and who was dropped."""

    def __init__(self, hand: Hand, most: int) -> None:
        self.hand = hand
        self.limiter = ConnectionLimiter("web", most, lambda address: address == PROXY, hand)
        self.dropped: list[str] = []

    def opens(self, name: str, address: str) -> Connection | None:
        self.hand.now += 0.001
        return self.limiter.admit(address, lambda: self.dropped.append(name))

    def asks(self, name: str, address: str) -> Connection:
        """One that is being answered."""
        connection = self.opens(name, address)
        assert connection is not None
        self.limiter.request_begun(connection)
        self.limiter.request_complete(connection)
        return connection


def test_the_one_that_has_owed_a_request_longest_goes(hand: Hand) -> None:
    crowd = Crowd(hand, 3)
    crowd.asks("busy", "192.0.2.1")
    crowd.opens("silent", "192.0.2.2")
    answered = crowd.asks("answered", "192.0.2.3")
    crowd.limiter.answered(answered)
    hand.now += PATIENT_SECONDS
    crowd.opens("new", "192.0.2.4")
    crowd.opens("newer", "192.0.2.5")
    assert crowd.dropped == ["silent", "answered"] and crowd.limiter.count == 3


def test_before_anybody_has_owed_long_the_largest_crowd_gives_way(hand: Hand) -> None:
    """So thousands of new connections a second do not push out a slow handshake."""
    crowd = Crowd(hand, 5)
    crowd.opens("slow handshake", "192.0.2.1")
    for number in range(20):
        crowd.opens(f"flood {number}", "192.0.2.2")
    assert "slow handshake" not in crowd.dropped and len(crowd.dropped) == 16
    hand.now += PATIENT_SECONDS
    crowd.opens("new", "192.0.2.3")
    assert crowd.dropped[-1] == "slow handshake"


def test_whoever_sends_a_body_slowly_still_owes(hand: Hand) -> None:
    crowd = Crowd(hand, 2)
    slow = crowd.opens("slow body", "192.0.2.1")
    assert slow is not None
    crowd.limiter.request_begun(slow)
    hand.now += PATIENT_SECONDS
    crowd.opens("idle", "192.0.2.2")
    crowd.opens("new", "192.0.2.3")
    assert crowd.dropped == ["slow body"]


def test_a_network_has_its_share_and_replaces_its_own(hand: Hand) -> None:
    crowd = Crowd(hand, 1000)
    crowd.opens("neighbour", "2001:db8:0:1::1")
    for number in range(MAX_PER_NETWORK + 2):
        crowd.opens(f"{number}", f"2001:db8::{number + 1:x}")
    assert crowd.dropped == ["0", "1"] and crowd.limiter.count == MAX_PER_NETWORK + 1
    for number in range(2 * MAX_PER_NETWORK):
        crowd.opens(f"proxied {number}", PROXY)
    assert crowd.dropped == ["0", "1"]


def test_nobody_who_is_being_answered_goes_for_a_newcomer_unless_it_takes_long(hand: Hand) -> None:
    crowd = Crowd(hand, 2)
    crowd.asks("first", "192.0.2.1")
    crowd.asks("second", "192.0.2.2")
    assert crowd.opens("new", "192.0.2.3") is None and crowd.dropped == []
    hand.now += PATIENT_SECONDS
    assert crowd.opens("newer", "192.0.2.4") is not None and crowd.dropped == ["first"]


def test_what_has_ended_is_not_counted(hand: Hand) -> None:
    crowd = Crowd(hand, 1000)
    for number in range(50):
        connection = crowd.asks(f"{number}", f"2001:db8:0:{number}::1")
        for _ in range(2):
            crowd.limiter.closed(connection)
        crowd.limiter.answered(connection)
        crowd.limiter.request_complete(connection)
    assert crowd.limiter.count == 0 and not crowd.limiter.make_room()


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::2", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_network_counts_as_one(address: str, network: str) -> None:
    assert network_of(address) == network


# From outside


def get(bank: Portal, source: str, context: ssl.SSLContext | None = None) -> bytes:
    """The first line of the answer to a page that a customer at this address asks for."""
    with socket.create_connection(("127.0.0.1", bank.port), timeout=60, source_address=(source, 0)) as plain:
        connection = plain if context is None else context.wrap_socket(plain, server_hostname="localhost")
        connection.sendall(b"GET /enrol HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = connection.recv(100)
        if context is not None:
            connection.close()
    return answer.partition(b"\r\n")[0]


@contextlib.contextmanager
def a_thousand(bank: Portal, *, start: bytes, each: int = 100) -> Iterator[list[socket.socket]]:
    """Ten addresses with a hundred connections each, which have sent ``start``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    held = []
    try:
        for host in range(10):
            for _ in range(each):
                source = (f"127.0.1.{host + 1}", 0)
                connection = socket.create_connection(("127.0.0.1", bank.port), timeout=60, source_address=source)
                held.append(connection)
                with contextlib.suppress(ConnectionError):
                    connection.sendall(start)
        yield held
    finally:
        for connection in held:
            connection.close()


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with portal(tmp_path_factory.mktemp("crowded")) as opened:
        yield opened


FORM = b"POST /enrol HTTP/1.1\r\nHost: localhost\r\nOrigin: %b\r\nContent-Length: 100\r\n\r\na="


@pytest.mark.parametrize(
    "start",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", FORM],
    ids=["idle", "slow", "asked", "body"],
)
def test_ten_strangers_with_a_hundred_connections_each_keep_no_customer_out(bank: Portal, start: bytes) -> None:
    start = start.replace(b"%b", bank.origin.encode())
    with a_thousand(bank, start=start) as held:
        for host in range(20):
            assert get(bank, f"127.0.2.{host + 1}") == b"HTTP/1.1 200 OK"
        for connection in held[::7]:  # they come back as soon as they can
            connection.close()
            held.append(socket.create_connection(("127.0.0.1", bank.port), source_address=("127.0.1.1", 0)))
        for host in range(20):
            assert get(bank, f"127.0.2.{host + 1}") == b"HTTP/1.1 200 OK"


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    """A certificate for localhost in a.pem and a.key, and what trusts it."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    files = f"-keyout {tmp_path}/a.key -out {tmp_path}/a.pem"
    subprocess.run([*command.split(), *files.split()], check=True, capture_output=True)
    return ssl.create_default_context(cafile=str(tmp_path / "a.pem"))


TLS = 'tls_certificate = "a.pem"\ntls_key = "a.key"'


def test_handshakes_that_never_begin_use_up_neither_places_nor_files(tmp_path: Path, context: ssl.SSLContext) -> None:
    few_files = ("prlimit", "--nofile=600:600")
    with portal(tmp_path, more=TLS, scheme="https", prefix=few_files) as opened:
        for start in (b"", b"\x16\x03\x01\x02\x00\x01"):
            with a_thousand(opened, start=start, each=110):
                for host in range(10):
                    assert get(opened, f"127.0.2.{host + 1}", context) == b"HTTP/1.1 200 OK"
        log = opened.log()
    assert "fewer connections than the settings allow" in log
    assert "Too many open files" not in log and "Traceback" not in log


def client_hello(context: ssl.SSLContext) -> bytes:
    """The first octets of a client that means it."""
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def web_mib(bank: Portal) -> int:
    """What the process of the pages holds in memory."""
    (pid,) = bank.sekisho.pids("web")
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) // 1024


def test_a_thousand_handshakes_that_never_end_take_little_memory_and_keep_nobody_out(
    tmp_path: Path, context: ssl.SSLContext
) -> None:
    with portal(tmp_path, more=TLS, scheme="https") as opened:
        with a_thousand(opened, start=client_hello(context)):
            for host in range(20):
                assert get(opened, f"127.0.2.{host + 1}", context) == b"HTTP/1.1 200 OK"
            assert web_mib(opened) < 200
        assert "Traceback" not in opened.log()


def test_a_thousand_connections_behind_their_handshake_take_little_memory(
    tmp_path: Path, context: ssl.SSLContext
) -> None:
    with portal(tmp_path, more=TLS, scheme="https") as opened, contextlib.ExitStack() as held:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        for number in range(950):
            source = (f"127.0.1.{number // 95 + 1}", 0)
            plain = socket.create_connection(("127.0.0.1", opened.port), timeout=60, source_address=source)
            held.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
        assert web_mib(opened) < 250
        assert get(opened, "127.0.2.1", context) == b"HTTP/1.1 200 OK"
