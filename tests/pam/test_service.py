"""The socket service with a careless or hostile module: bad frames, floods, half-open connections, time limits.

A real socket and the real service; the dialogues are a few lines each.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from pam_module.connection import ModuleConnection
from pam_module.frame_codec import encode
from pam_module.frames import (
    MAX_FRAMES,
    Abort,
    Answer,
    Op,
    Prompt,
    Result,
    ResultCode,
    Role,
    Start,
    Style,
    Text,
    Wait,
)
from pam_module.service import Limits, Service
from pam_module.unix_socket import SocketTaken, UnixListener
from tests.pam.host import Host, start
from tests.pam.test_frames import BAD

LIMITS = Limits(allow_all_users=False, max_conversations=40, max_per_user=3, prompt_seconds=30)


async def ask_once(start: Start, connection: ModuleConnection) -> Result:
    """Accepts a person who types their own name."""
    user_password = await connection.ask("Name: ", Role.PASSWORD)
    return Result(ResultCode.SUCCESS if user_password == start.user.encode() else ResultCode.AUTH_ERR)


async def ask_for_ever(start: Start, connection: ModuleConnection) -> Result:
    while True:
        await connection.ask("Again: ", Role.NONE)


async def fail(start: Start, connection: ModuleConnection) -> Result:
    raise RuntimeError("a fault of ours")


@contextmanager
def serving(
    folder: Path, converse: Callable[[Start, ModuleConnection], Awaitable[Result]] = ask_once, limits: Limits = LIMITS
) -> Iterator[Path]:
    """The service in a thread with a loop of its own."""
    path, started, stop = folder / "s", threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        listening = UnixListener(path, mode=0o666 if limits.allow_all_users else 0o600)
        service = Service(limits, converse)
        service.open(listening.socket)
        started.set()
        await stop.wait()
        service.shut(listening.socket)
        await service.close(5)
        listening.close()
        assert len(service) == 0

    def thread() -> None:
        loop.run_until_complete(run())
        loop.close()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(thread)
        try:
            assert started.wait(30) or done.result()
            yield path
        finally:
            loop.call_soon_threadsafe(stop.set)
            done.result(60)


def test_a_conversation(tmp_path: Path) -> None:
    with serving(tmp_path) as path, Host(path) as host:
        host.send(start("taro"))
        assert host.hear() == Prompt("Name: ", False, Role.PASSWORD)
        host.send(Answer(b"taro"))
        assert [host.hear(), host.hear()] == [Result(ResultCode.SUCCESS), None]


def test_octet_by_octet_is_as_good(tmp_path: Path) -> None:
    with serving(tmp_path) as path, Host(path) as host:
        for octet in encode(start("taro")):
            host.send(bytes((octet,)))
        host.hear()
        for octet in encode(Answer(b"taro")):
            host.send(bytes((octet,)))
        assert host.result() == Result(ResultCode.SUCCESS)


@pytest.mark.parametrize(
    "vector",
    [one for one in BAD if one["direction"] == "module" and one["error"] != "INCOMPLETE"],
    ids=lambda v: v["name"],
)
def test_a_bad_frame_is_a_refusal_and_no_outage(tmp_path: Path, vector: dict[str, str]) -> None:
    with serving(tmp_path) as path:
        with Host(path) as host:
            host.send(bytes.fromhex(vector["hex"]))
            assert host.result() == Result(ResultCode.AUTH_ERR)
        with Host(path) as host:
            host.send(start("taro"))
            host.hear()
            host.send(bytes.fromhex(vector["hex"]))
            assert host.result() == Result(ResultCode.AUTH_ERR)


@pytest.mark.parametrize(
    "said",
    [
        encode(Answer(b"taro")),
        encode(Abort()),
        encode(start("taro")) + encode(Answer(b"taro")),
        encode(start("taro")) + encode(start("taro")),
    ],
)
def test_frames_out_of_order_let_nobody_in(tmp_path: Path, said: bytes) -> None:
    with serving(tmp_path) as path, Host(path) as host:
        host.send(said)
        found = host.result()
        assert found is None or found.code != ResultCode.SUCCESS


def test_an_end_at_any_octet_ends_the_conversation(tmp_path: Path) -> None:
    octets = encode(start("taro"))
    with serving(tmp_path) as path:
        for length in range(len(octets)):
            with Host(path) as host:
                host.send(octets[:length])
                host.socket.shutdown(socket.SHUT_WR)
                found = host.result()
                assert found is None or found.code == ResultCode.AUTH_ERR
        with Host(path) as host:
            host.send(octets)
            host.hear()
        with Host(path) as host:
            host.send(start("taro"))
            assert isinstance(host.hear(), Prompt)


def test_a_conversation_has_no_more_frames_than_it_may(tmp_path: Path) -> None:
    with serving(tmp_path, ask_for_ever) as path, Host(path) as host:
        host.send(start("taro"))
        frames = 1
        while True:
            frame = host.hear()
            frames += 1
            if not isinstance(frame, Prompt):
                break
            host.send(Answer(b"x"))
            frames += 1
        assert (frame, frames <= MAX_FRAMES) == (Result(ResultCode.MAXTRIES), True)


def test_a_fault_of_ours_is_an_outage(tmp_path: Path) -> None:
    with serving(tmp_path, fail) as path, Host(path) as host:
        host.send(start("taro"))
        assert host.result() == Result(ResultCode.UNAVAILABLE)


def test_silent_connections_are_closed_and_their_places_are_free_again(tmp_path: Path) -> None:
    with serving(tmp_path, limits=LIMITS._replace(max_conversations=3)) as path:
        silent = [Host(path) for _ in range(3)]
        end = time.monotonic() + 60
        while True:  # their places are free again after a few seconds
            with Host(path) as host:
                try:
                    host.send(start("taro"))
                except OSError:
                    continue  # answered before it spoke
                if isinstance(host.hear(), Prompt):
                    break
            assert time.monotonic() < end
            time.sleep(0.1)
        for one in silent:
            assert one.hear() is None
            one.socket.close()


def test_an_unanswered_prompt_ends_the_conversation(tmp_path: Path) -> None:
    with serving(tmp_path, limits=LIMITS._replace(prompt_seconds=0.2)) as path, Host(path) as host:
        host.send(start("taro"))
        host.hear()
        assert host.result() is None


def test_no_wait_is_sent_while_a_person_types(tmp_path: Path) -> None:
    """No WAIT while a person types."""
    with serving(tmp_path) as path, Host(path) as host:
        host.send(start("taro"))
        host.hear()
        time.sleep(4)
        host.send(Answer(b"taro"))
        assert [host.hear(), host.hear()] == [Result(ResultCode.SUCCESS), None]


def test_a_slow_step_says_wait(tmp_path: Path) -> None:
    async def slow(start: Start, connection: ModuleConnection) -> Result:
        await asyncio.sleep(4)
        await connection.say("Slow.", Style.INFO)
        return Result(ResultCode.SUCCESS)

    with serving(tmp_path, slow) as path, Host(path) as host:
        host.send(start("taro"))
        assert isinstance(host.hear(), Wait)
        assert [host.hear(), host.hear()] == [Text(Style.INFO, "Slow."), Result(ResultCode.SUCCESS)]


def test_every_slow_step_says_wait_not_only_the_first(tmp_path: Path) -> None:
    async def slow(start: Start, connection: ModuleConnection) -> Result:
        await asyncio.sleep(4)
        await connection.say("Slow.", Style.INFO)
        await asyncio.sleep(4)
        return Result(ResultCode.SUCCESS)

    with serving(tmp_path, slow) as path, Host(path) as host:
        host.send(start("taro"))
        kinds = [type(host.hear()) for _ in range(4)]
        assert kinds == [Wait, Text, Wait, Result]


def test_a_step_that_takes_too_long_is_cancelled(tmp_path: Path) -> None:
    async def slow(start: Start, connection: ModuleConnection) -> Result:
        try:
            await connection.within(0.2, asyncio.sleep(60))
        except TimeoutError:
            return Result(ResultCode.UNAVAILABLE)
        return Result(ResultCode.SUCCESS)

    with serving(tmp_path, slow) as path, Host(path) as host:
        host.send(start("taro"))
        assert host.result() == Result(ResultCode.UNAVAILABLE)


def test_an_answer_before_its_prompt_waits_in_the_socket(tmp_path: Path) -> None:
    async def slow(start: Start, connection: ModuleConnection) -> Result:
        first = await connection.ask("First: ", Role.NONE)
        await asyncio.sleep(1)
        second = await connection.ask("Second: ", Role.NONE)
        return Result(ResultCode.SUCCESS if (first, second) == (b"1", b"2") else ResultCode.AUTH_ERR)

    with serving(tmp_path, slow) as path, Host(path) as host:
        host.send(start("taro"))
        host.hear()
        host.send(Answer(b"1"))
        time.sleep(0.3)
        host.send(Answer(b"2"))
        assert host.result() == Result(ResultCode.SUCCESS)


def test_giving_up_ends_it_at_once(tmp_path: Path) -> None:
    with serving(tmp_path) as path, Host(path) as host:
        host.send(start("taro"))
        host.hear()
        host.send(Abort())
        assert host.result() is None


def test_a_module_that_does_not_read_is_disconnected(tmp_path: Path) -> None:
    async def talkative(start: Start, connection: ModuleConnection) -> Result:
        connection._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least that there is
        for _ in range(MAX_FRAMES - 2):
            await connection.say("x" * 1000, Style.INFO)
        return Result(ResultCode.SUCCESS)

    with serving(tmp_path, talkative) as path, Host(path) as host:
        host.send(start("taro"))
        time.sleep(0.5)
        assert host.result() is None


def test_a_connection_over_the_bound_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path, limits=LIMITS._replace(max_conversations=2)) as path:
        with Host(path) as first, Host(path) as second:
            for host in (first, second):
                host.send(start("taro"))
                assert isinstance(host.hear(), Prompt)
            with Host(path) as third:
                assert third.result() == Result(ResultCode.MAXTRIES), "an outage could be ignored"
            first.send(Answer(b"taro"))
            assert first.result() == Result(ResultCode.SUCCESS)
        with Host(path) as host:
            host.send(start("taro"))
            assert isinstance(host.hear(), Prompt)


def test_a_flood_is_survived(tmp_path: Path) -> None:
    def one(number: int) -> int | None:
        with Host(path) as host:
            try:
                host.send(start(f"u{number}"))
                frame = host.hear()
                if isinstance(frame, Prompt):
                    host.send(Answer(f"u{number}".encode()))
                    frame = host.hear()
            except OSError:
                return ResultCode.MAXTRIES
            return frame.code if isinstance(frame, Result) else None

    with serving(tmp_path, limits=LIMITS._replace(max_conversations=16)) as path, ThreadPoolExecutor(24) as pool:
        assert {*pool.map(one, range(400))} <= {ResultCode.SUCCESS, ResultCode.MAXTRIES, None}
        assert one(1) == ResultCode.SUCCESS


def test_a_stop_disconnects_the_typing_and_answers_the_waiting(tmp_path: Path) -> None:
    async def slow(start: Start, connection: ModuleConnection) -> Result:
        if start.user == "typing":
            await connection.ask("? ", Role.NONE)
        await asyncio.sleep(1)
        return Result(ResultCode.SUCCESS)

    with ThreadPoolExecutor(2) as pool:
        with serving(tmp_path, slow) as path:
            hosts = [Host(path), Host(path)]
            hosts[0].send(start("typing"))
            assert isinstance(hosts[0].hear(), Prompt)
            hosts[1].send(start("waiting"))
            time.sleep(0.3)
            results = [pool.submit(host.result) for host in hosts]
        assert [one.result(30) for one in results] == [None, Result(ResultCode.SUCCESS)]
        for host in hosts:
            host.socket.close()


# Who is at the other end.

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def as_user(uid: int, path: Path, user: str) -> int:
    """What the service answers to a process of that user; 99: it could not even connect."""
    child = os.fork()
    if child == 0:
        code = 98
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            try:
                with Host(path) as host:
                    host.send(start(user))
                    frame = host.hear()
                    if isinstance(frame, Prompt):
                        host.send(Answer(user.encode()))
                        frame = host.hear()
                    code = frame.code if isinstance(frame, Result) else 97
            except PermissionError:
                code = 99
            except (BrokenPipeError, ConnectionResetError):  # turned away before it could speak
                code = ResultCode.MAXTRIES
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def reachable(tmp_path: Path) -> Path:
    """A folder that others can enter; pytest's own cannot be."""
    folder = Path(f"/tmp/sekisho-pam-{os.getpid()}-{time.monotonic_ns()}")
    folder.mkdir(mode=0o755)
    return folder


@as_root
def test_other_users_connect_only_with_allow_all_users(reachable: Path) -> None:
    try:
        with serving(reachable) as path:
            assert as_user(65534, path, "nobody") == 99
        with serving(reachable, limits=LIMITS._replace(allow_all_users=True)) as path:
            assert stat.S_IMODE(path.stat().st_mode) == 0o666
            assert as_user(65534, path, "nobody") == ResultCode.SUCCESS
            assert as_user(65534, path, "root") == ResultCode.PERM_DENIED
            assert as_user(65534, path, "no-such-user") == ResultCode.PERM_DENIED
            assert as_user(0, path, "nobody") == ResultCode.SUCCESS
    finally:
        for file in reachable.iterdir():
            file.unlink()
        reachable.rmdir()


@as_root
def test_one_user_cannot_take_all_places(reachable: Path) -> None:
    try:
        with serving(reachable, limits=LIMITS._replace(allow_all_users=True, max_per_user=1)) as path:
            read_end, write_end = os.pipe()
            child = os.fork()
            if child == 0:
                os.setresuid(65534, 65534, 65534)
                host = Host(path)
                host.send(start("nobody"))
                host.hear()
                os.write(write_end, b"1")
                time.sleep(60)
                os._exit(0)
            try:
                assert os.read(read_end, 1) == b"1", "the one place of this user is taken"
                # Few connections of this user: far from MAX_PER_MINUTE and from max_conversations.
                assert as_user(65534, path, "nobody") == ResultCode.MAXTRIES
                assert as_user(0, path, "root") == ResultCode.SUCCESS
            finally:
                os.kill(child, 9)
                os.waitpid(child, 0)
                os.close(read_end)
                os.close(write_end)
            end = time.monotonic() + 60
            while (code := as_user(65534, path, "nobody")) == ResultCode.MAXTRIES and time.monotonic() < end:
                time.sleep(1)  # the service has not yet noticed that the child is gone
            assert code == ResultCode.SUCCESS, "the place is free again"
    finally:
        for file in reachable.iterdir():
            file.unlink()
        reachable.rmdir()


@as_root
def test_one_user_cannot_fill_the_audit_trail(reachable: Path) -> None:
    try:
        with serving(reachable, limits=LIMITS._replace(allow_all_users=True)) as path:
            end = time.monotonic() + 60
            assert as_user(65534, path, "nobody") == ResultCode.SUCCESS
            while as_user(65534, path, "nobody") != ResultCode.MAXTRIES:
                assert time.monotonic() < end
            assert as_user(65533, path, "nobody") == ResultCode.PERM_DENIED, "others are not refused with them"
            assert as_user(0, path, "nobody") == ResultCode.SUCCESS
    finally:
        for file in reachable.iterdir():
            file.unlink()
        reachable.rmdir()


# The socket itself.


def test_a_socket_belongs_to_one_at_a_time(tmp_path: Path) -> None:
    first = UnixListener(tmp_path / "s", mode=0o600)
    with pytest.raises(SocketTaken, match="another Sekisho"):
        UnixListener(tmp_path / "s", mode=0o600)
    first.close()
    assert not (tmp_path / "s").exists()
    UnixListener(tmp_path / "s", mode=0o600).close()


def test_somebody_else_s_socket_stays(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "s"))
        other.listen()
        with pytest.raises(SocketTaken, match="another program"):
            UnixListener(tmp_path / "s", mode=0o600)
        assert (tmp_path / "s").is_socket()
    UnixListener(tmp_path / "s", mode=0o600).close()  # nobody answers there now


def test_what_is_no_socket_stays(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(OSError, match="is no socket"):
        UnixListener(tmp_path / "s", mode=0o600)
    assert (tmp_path / "s").read_text() == "precious"
    with pytest.raises(OSError, match="is the folder there"):
        UnixListener(tmp_path / "nowhere" / "s", mode=0o600)


def test_a_start_for_the_account_phase_is_told_apart(tmp_path: Path) -> None:
    async def which(start: Start, connection: ModuleConnection) -> Result:
        return Result(ResultCode.SUCCESS if start.op is Op.ACCT else ResultCode.AUTH_ERR)

    with serving(tmp_path, which) as path, Host(path) as host:
        host.send(start("taro", op=Op.ACCT))
        assert host.result() == Result(ResultCode.SUCCESS)
