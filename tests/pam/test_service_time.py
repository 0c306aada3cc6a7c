"""Time limits of a conversation: who types too long is cut off, a slow step says WAIT, a stop ends them all."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pam_module.connection import ModuleConnection
from pam_module.frames import Answer, Prompt, Result, ResultCode, Role, Start, Style, Text, Wait
from tests.pam.host import Host, start
from tests.pam.serving import LIMITS, serving


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
