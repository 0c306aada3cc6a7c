"""The process that sends the audit trail to syslog, beside those that answer: its whole life. It writes no store."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time

import structlog

from otp_core.model import StoreUnavailable
from otp_core.settings.syslog import FACILITIES
from otp_core.store.engine import Task
from otp_core.syslog.follower import Follower
from otp_core.syslog.message import Sender
from otp_core.syslog.position import position_of
from otp_core.syslog.receiver import receiver_of
from sekisho.heartbeat import Heartbeat
from sekisho.settings import Settings
from sekisho.supervisor import SIGNALS
from sekisho.wiring import best_time, open_store

NAME = "syslog"
INTERVAL = 0.5
"""Seconds between two looks for new rows."""
_LONGEST_PAUSE, _SAY_AGAIN = 30.0, 300.0

_log = structlog.get_logger("syslog")


def run_syslog(settings: Settings, life: Heartbeat) -> int:
    """Send until SIGTERM or SIGINT; returns the exit code. Raises StoreProblem, KeyProblem, StoreUnavailable and
    OSError if it cannot begin."""
    return asyncio.run(_serve(settings, life))


async def _serve(settings: Settings, life: Heartbeat) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, life.has_reloaded)  # its section waits for a restart
    task = SyslogTask(settings)
    chores = [loop.create_task(life.keep()), loop.create_task(task.run())]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    life.is_ready()
    _log.info("ready", role=NAME, pid=os.getpid())
    stopped = loop.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([*chores, stopped], return_when=asyncio.FIRST_COMPLETED)
        for one in done - {stopped}:
            one.result()  # it never ends but by what it raises
    finally:
        for one in (*chores, stopped):
            one.cancel()
        await asyncio.gather(*chores, stopped, return_exceptions=True)
        task.close()
    return 0


class SyslogTask:
    """Sends one store's trail while that is this process's task: one process does it, however many units serve."""

    def __init__(self, settings: Settings) -> None:
        """Raises StoreProblem, KeyProblem, StoreUnavailable and OSError."""
        section = settings.syslog
        assert section is not None
        store = open_store(settings, busy_seconds=1.0)
        self._section, self._lock = section, store.task_lock(Task.SYSLOG)
        self._receiver = receiver_of(section)
        sender = Sender(FACILITIES[section.facility], socket.gethostname(), section.enterprise)
        self._follower = Follower(
            store.read, position_of(store), self._receiver, sender, section.events, best_time(store)
        )
        self._pause, self._say_at, self._troubled = INTERVAL, 0.0, False

    async def run(self) -> None:
        """Until cancelled. Raises StoreProblem if the position cannot be read."""
        while True:
            mine = self._lock.take()
            if not (mine and await self._step()):
                await asyncio.sleep(self._pause)

    def close(self) -> None:
        """Let go of the receiver and of the task."""
        self._receiver.close()
        self._lock.close()

    async def _step(self) -> bool:
        try:
            more = await self._follower.step()
        except (OSError, StoreUnavailable) as trouble:
            self._receiver.close()
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            self._say(str(trouble) or "it did not take the messages in time")
            return False
        if self._troubled:
            _log.warning("syslog takes messages again", receiver=self._section.address)
        self._pause, self._say_at, self._troubled = INTERVAL, 0.0, False
        return more

    def _say(self, cause: str) -> None:
        self._troubled = True
        if time.monotonic() >= self._say_at:
            self._say_at = time.monotonic() + _SAY_AGAIN
            _log.error("audit rows wait for syslog, and none is lost", receiver=self._section.address, cause=cause)
