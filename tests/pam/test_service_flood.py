"""Silent, deaf and too many connections: each is ended or refused, and the places are free again."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pam_module.connection import ModuleConnection
from pam_module.frames import MAX_FRAMES, Answer, Prompt, Result, ResultCode, Start, Style
from tests.pam.host import Host, start
from tests.pam.serving import LIMITS, serving


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
