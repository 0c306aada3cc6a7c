"""The socket service in a thread, on a real socket; the dialogues are a few lines each."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from pam_module.connection import ModuleConnection
from pam_module.frames import Result, ResultCode, Role, Start
from pam_module.service import Limits, Service
from pam_module.unix_socket import UnixListener

LIMITS = Limits(allow_all_users=False, max_conversations=40, max_per_user=3, prompt_seconds=30)


async def ask_once(start: Start, connection: ModuleConnection) -> Result:
    """Accepts a person who types their own name."""
    user_password = await connection.ask("Name: ", Role.PASSWORD)
    return Result(ResultCode.SUCCESS if user_password == start.user.encode() else ResultCode.AUTH_ERR)


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
