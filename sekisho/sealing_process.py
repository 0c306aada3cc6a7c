"""The process that seals the audit trail, beside those that answer: its whole life."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from otp_core.accounts.transactions import SYSTEM
from otp_core.audit import Event
from otp_core.model import StoreUnavailable
from otp_core.seals.sealer import INTERVAL, Sealer
from otp_core.settings import AuditSettings
from otp_core.store.engine import Task
from otp_core.store.engines import one_process_only
from otp_core.store.store import Store
from sekisho.checkpointer import SignOfLife
from sekisho.settings import Settings
from sekisho.wiring import BUSY_SECONDS, best_time, open_store

NAME = "seals"
_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_AT_ONCE_PAUSE = 0.05
"""Seconds between two seals where many rows wait: those of before the first start."""


class SealingTask:
    """Seals one store's trail while that is this process's task: one process does it, however many units serve."""

    def __init__(self, settings: Settings) -> None:
        """Raises StoreProblem, KeyProblem, StoreUnavailable and OSError."""
        assert settings.audit is not None
        store = open_store(
            settings, busy_seconds=BUSY_SECONDS, relieved=one_process_only(settings.store.address) is None
        )
        self._lock = store.task_lock(Task.SEALS)
        self._sealer = sealer_of(settings.audit, store)

    @property
    def counts(self) -> tuple[int, int]:
        """Seals made so far, and tries that failed."""
        return self._sealer.made, self._sealer.failed

    def once(self) -> bool:
        """Seal once; whether there may be more. Raises StoreStopped."""
        return self._lock.take() and self._sealer.seal()

    def close(self) -> None:
        """Let go of the store and of the task."""
        self._sealer.close()
        self._lock.close()


def sealer_of(audit: AuditSettings, store: Store) -> Sealer:
    """A sealer for one store. Raises StoreUnavailable."""

    def begun() -> None:
        try:
            with store.work() as work:
                work.audit(Event.SEALS_BEGUN, actor=SYSTEM.name, reason="the rows before were sealed only now")
        except StoreUnavailable:
            pass  # it tells of an emptied table; nothing else depends on it

    return Sealer(store.seals(), audit.seal_key_file, audit.seal_copy, best_time(store), begun)


def run_sealer(
    settings: Settings, life: SignOfLife, count: Callable[[int, int], object] = lambda made, failed: None
) -> int:
    """Seal until SIGTERM or SIGINT; returns the exit code. The signals have to be blocked. ``count``: told after each
    try how many seals were made so far, and how many tries failed. Raises as ``SealingTask``, and StoreStopped after a
    failed flush."""
    task = SealingTask(settings)
    try:
        life.is_ready()
        more = False
        while True:
            received = signal.sigtimedwait(_HEARD, _AT_ONCE_PAUSE if more else INTERVAL)
            number = received.si_signo if received else 0  # one that no signal has, after SIGSTOP and SIGCONT
            if number in (signal.SIGTERM, signal.SIGINT):
                task.once()
                return 0
            if number == signal.SIGHUP:
                life.has_reloaded()  # its settings wait for a restart
            life.beat()
            more = task.once()
            count(*task.counts)
    finally:
        task.close()


async def seal_beside(settings: Settings) -> None:
    """Seal until cancelled, in a thread: for a server that has one process alone."""
    task = await asyncio.to_thread(SealingTask, settings)
    try:
        while True:
            more = await asyncio.to_thread(task.once)
            await asyncio.sleep(_AT_ONCE_PAUSE if more else INTERVAL)
    finally:
        task.close()
