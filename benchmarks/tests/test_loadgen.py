"""The load generator against a small server in this process that answers, is silent, or answers late."""

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import packets
from benchmarks.load import Aim, Credential, Door, LoadGenerator, build

SECRET = b"sixteen octets and more"
Answer = Callable[[bytes, int], bytes | None]


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> LoadGenerator:
    return LoadGenerator(tmp_path_factory.mktemp("loadgen"))


@contextmanager
def server(answer: Answer) -> Iterator[tuple[Door, list[tuple[str, int]]]]:
    """Hands each datagram and its number to `answer`; yields the door and the list of senders."""
    senders: list[tuple[str, int]] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.05)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    asked, sender = sock.recvfrom(4096)
                except TimeoutError:
                    continue
                senders.append(sender)
                if (reply := answer(asked, len(senders) - 1)) is not None:
                    sock.sendto(reply, sender)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Door(sock.getsockname()[1], "127.0.0.9", SECRET), senders
        finally:
            over.set()
            thread.join()


def of_code(code: int, asked: bytes) -> bytes:
    return bytes((code, asked[1])) + b"\0\x14" + bytes(16)


def load(aim: Aim, count: int) -> list[bytes]:
    return build(aim, [Credential(f"c{number}", b"123456") for number in range(count)])


def test_every_packet_is_sent_once_and_counted_by_its_answer(generator: LoadGenerator) -> None:
    codes = (packets.ACCEPT, packets.REJECT, packets.CHALLENGE, packets.ACCEPT)
    with server(lambda asked, number: of_code(codes[number % 4], asked)) as (door, senders):
        aim = Aim(door, outstanding=64)
        counts, replies = generator.start(aim, load(aim, 6000), keep=10).finish()
    assert (counts.sent, counts.accepted, counts.rejected, counts.challenged) == (6000, 3000, 1500, 1500)
    assert counts.lost == counts.repeated == counts.stray == 0
    assert len(replies) == 10
    assert len(senders) == 6000
    assert {host for host, _ in senders} == {"127.0.0.9"}
    assert len({port for _, port in senders}) == aim.sockets
    assert 0 < counts.p50_us <= counts.p95_us <= counts.p99_us <= counts.max_us


def test_a_silent_server_loses_everything_after_the_last_try(generator: LoadGenerator) -> None:
    with server(lambda asked, number: None) as (door, senders):
        aim = Aim(door, outstanding=4, timeout=0.05, tries=3, seconds=0.1)
        counts, _ = generator.start(aim, load(aim, 4)).finish()
    assert (counts.sent, counts.lost, counts.repeated, counts.accepted) == (4, 4, 8, 0)
    assert len(senders) == 12


def test_a_lost_answer_is_asked_for_again(generator: LoadGenerator) -> None:
    with server(lambda asked, number: None if number == 0 else of_code(packets.ACCEPT, asked)) as (door, _):
        aim = Aim(door, outstanding=1, timeout=0.05)
        counts, _ = generator.start(aim, load(aim, 100)).finish()
    assert (counts.accepted, counts.repeated, counts.lost) == (100, 1, 0)
    assert counts.max_us >= 50_000


def test_no_more_than_asked_for_are_under_way(generator: LoadGenerator) -> None:
    held: list[bytes] = []

    def hold_eight(asked: bytes, number: int) -> None:
        held.append(asked)

    with server(hold_eight) as (door, _):
        aim = Aim(door, outstanding=8, timeout=0.3, tries=1, seconds=0.2)
        generator.start(aim, load(aim, 100)).finish()
    assert len(held) == 8


def test_an_identifier_is_not_used_again_while_it_is_under_way(generator: LoadGenerator) -> None:
    """The first packet is never answered: packet 8 * 256 would need its identifier on its socket."""
    seen: list[bytes] = []

    def ignore_the_first(asked: bytes, number: int) -> bytes | None:
        seen.append(asked)
        return None if asked == seen[0] else of_code(packets.ACCEPT, asked)

    with server(ignore_the_first) as (door, _):
        aim = Aim(door, outstanding=64, timeout=0.5, tries=2)
        datagrams = load(aim, 8 * 256 + 8)
        counts, _ = generator.start(aim, datagrams).finish()
    assert (counts.accepted, counts.lost) == (len(datagrams) - 1, 1)
    later = seen.index(datagrams[8 * 256])
    assert seen[:later].count(datagrams[0]) == 2


def test_an_open_loop_keeps_its_pace_whatever_comes_back(generator: LoadGenerator) -> None:
    with server(lambda asked, number: of_code(packets.ACCEPT, asked)) as (door, _):
        aim = Aim(door, rate=400, seconds=0.5)
        counts, _ = generator.start(aim, load(aim, 1000)).finish()
    assert 190 <= counts.sent <= 201
    assert counts.accepted == counts.sent


@pytest.mark.parametrize(
    "words",
    [
        ("--to", "192.0.2.1:1812"),
        ("--to", "127.0.0.1:1812", "--from", "192.0.2.1"),
        ("--to", "127.0.0.1:1812", "--seconds", "1000"),
        ("--to", "127.0.0.1:1812", "--outstanding", "257"),
    ],
)
def test_refuses_to_leave_the_loopback_or_its_bounds(
    generator: LoadGenerator, tmp_path: Path, words: tuple[str, ...]
) -> None:
    packets.write_load(tmp_path / "load", [bytes((1, 0)) + bytes(18)])
    command = [str(generator.program), "--packets", str(tmp_path / "load"), *words]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 2
    assert not done.stdout
