"""Tells verifiers elsewhere what has become of their tokens here: suspended, lost, retired, resumed. It never decides,
and never undoes an act: a code is refused here from the act on, whatever is known there.

A task is deleted only after the verifier has answered, so that after a crash it may be told twice: both calls may be
repeated. One that cannot be told is tried again, ever more seldom, without end; the doctor shows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

import structlog

from otp_core.clock import ClockWrong
from otp_core.model import BackendSilent, Conflict, StoreUnavailable
from otp_core.store import verifier_tasks as tasks
from otp_core.store.retry import retry_while_busy
from otp_core.store.store import Store
from otp_core.store.verifier_tasks import Tell, VerifierTask
from otp_core.verifier import Registry

LOOK_SECONDS = 1.0
"""Between two looks while nothing is due."""
BATCH = 20
_CLAIM_MS = 300_000
_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS = 5_000, 3_600_000
_log = structlog.get_logger("verifiers")


class VerifierTeller:
    """One for a process. ``registries``: verifiers that want to be told, by name; ``others``: names of those that do
    not. ``now``: ms, raises ClockWrong."""

    def __init__(
        self, store: Store, registries: Mapping[str, Registry], others: Collection[str], now: Callable[[], int]
    ) -> None:
        self._store, self._registries, self._others, self._now = store, registries, others, now

    async def run(self) -> None:
        """Tell until it is cancelled. An error is logged, and the tasks are tried again."""
        while True:
            try:
                more = await self.tell()
            except (StoreUnavailable, ClockWrong, Conflict):
                more = False  # the login queue logs it, or another process was faster
            except Exception:
                _log.exception("verifiers could not be told: tried again")
                more = False
            if not more:
                await asyncio.sleep(LOOK_SECONDS)

    async def tell(self) -> bool:
        """Tell what is due; whether more may be. Raises StoreUnavailable, ClockWrong and Conflict."""
        now = self._now()
        with self._store.read() as connection:
            if not tasks.has_due_task(connection, now):
                return False
        with self._store.work() as work:
            batch = tasks.claim_tasks(work.connection, now, now + _CLAIM_MS, BATCH)
        for task in batch:
            await self._tell_one(task)
        return len(batch) == BATCH

    async def _tell_one(self, task: VerifierTask) -> None:
        error = ""
        registry = self._registries.get(task.verifier)
        if registry is None and task.verifier not in self._others:
            error = "no [[verifiers]] has this name"
        elif registry is not None:
            try:
                call = registry.add if task.act == Tell.ADD else registry.remove
                await call(task.contract_id, task.token_id)
            except BackendSilent as silent:
                error = str(silent)
        await retry_while_busy(lambda: self._settle(task, error))

    def _settle(self, task: VerifierTask, error: str) -> None:
        with self._store.work() as work:
            if not error:
                tasks.drop_task(work.connection, task.key)
                return
            pause = min(_FIRST_PAUSE_MS * 2 ** min(task.attempts, 20), _LONGEST_PAUSE_MS)
            tasks.postpone_task(work.connection, task.key, self._now() + pause, error)
        what = {"verifier": task.verifier, "act": task.act, "token": task.token_id}
        _log.warning("a verifier could not be told, and will be again", **what, cause=error, attempts=task.attempts + 1)
