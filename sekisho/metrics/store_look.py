"""What the metrics say of the store: sizes, checkpoints, backup, what is open and what waits. It reads, and writes
nothing.

In a thread of its own, because a disk that stands still would keep the loop from saying so.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import Connection, func, select

from otp_core.model import StoreProblem, StoreUnavailable
from otp_core.nodes.state import NodeState, state_of
from otp_core.outwards.condition import lag_of
from otp_core.sealing import KeyProblem
from otp_core.store.backup import last_backup
from otp_core.store.nodes import nodes
from otp_core.store.outbox import numbers
from otp_core.store.queries import unsealed_seconds
from otp_core.store.schema import challenge, customer, session
from otp_core.store.sqlite.checkpoints import status_of
from otp_core.store.store import Store
from sekisho.metrics import families as f
from sekisho.metrics.board import Key
from sekisho.outlets import Outlet

OLD_SECONDS = 5.0
"""How old the figures of the store may be: asking more often costs nothing."""

SCAN_SECONDS = 60.0
"""The same for those that read a whole table."""

WAIT_SECONDS = 2.0
"""For a store that does not answer; then its figures are missing."""

_UNREADABLE: dict[Key, float] = {(f.READABLE,): 0.0}


class StoreLook:
    """``open_``: opens the store; raises StoreProblem, KeyProblem, StoreUnavailable. ``file``: its file, if it is
    one. ``sealed``: its audit trail is to be sealed. ``outlets_of``: whom the trail is sent to. ``node``: what this
    server is called now."""

    def __init__(
        self,
        open_: Callable[[], Store],
        file: Path | None,
        clock: Callable[[], float] = time.monotonic,
        *,
        sealed: bool = False,
        outlets_of: Callable[[Store], Sequence[Outlet]] = lambda store: (),
        node: Callable[[], str] = lambda: "",
    ) -> None:
        self._node = node
        self._outlets_of = outlets_of
        self._open, self._file, self._clock, self._sealed = open_, file, clock, sealed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store look")
        self._store: Store | None = None
        self._found: dict[Key, float] = _UNREADABLE
        self._scanned: dict[Key, float] = {}
        self._found_at = self._scanned_at = -math.inf
        self._looking: asyncio.Future[None] | None = None

    async def figures(self) -> dict[Key, float]:
        """Gauges by key, OLD_SECONDS old at most; only READABLE, 0, if the store cannot be read now."""
        if self._clock() >= self._found_at + OLD_SECONDS:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.get_running_loop().run_in_executor(self._thread, self._look)
            done, _ = await asyncio.wait([self._looking], timeout=WAIT_SECONDS)
            if not done:
                return _UNREADABLE
        return self._found

    def close(self) -> None:
        """Wait for nobody."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _look(self) -> None:
        try:
            if self._store is None:
                self._store = self._open()
            with self._store.read() as connection:
                found = {**self._sizes(), **_open_and_waiting(connection), (f.READABLE,): 1.0}
                found |= _nodes(connection, self._store.database.time_ms(connection), self._node())
                if self._sealed:
                    found[f.UNSEALED,] = unsealed_seconds(connection, time.time())
                for outlet in self._outlets_of(self._store):
                    found |= _outwards(connection, outlet)
                now = self._clock()
                if now >= self._scanned_at + SCAN_SECONDS:
                    self._scanned, self._scanned_at = _scanned(connection), now
            self._found = {**found, **self._scanned}
        except (StoreProblem, StoreUnavailable, KeyProblem, OSError):
            self._store, self._found = None, _UNREADABLE
        self._found_at = self._clock()

    def _sizes(self) -> dict[Key, float]:
        if self._file is None:
            return {}
        log = self._file.with_name(f"{self._file.name}-wal")
        status, _ = status_of(str(self._file))
        succeeded = status.succeeded_at / 1000
        return {
            (f.STORE,): self._file.stat().st_size,
            (f.LOG,): log.stat().st_size if log.exists() else 0,
            (f.CHECKPOINT_AGE,): max(0.0, time.time() - succeeded) if succeeded else math.inf,
        }


def _open_and_waiting(connection: Connection) -> dict[Key, float]:
    pending, failed, _ = numbers(connection)
    backup = last_backup(connection)
    return {
        (f.CHALLENGES,): connection.scalar(select(func.count()).select_from(challenge)) or 0,
        (f.SESSIONS,): connection.scalar(select(func.count()).select_from(session)) or 0,
        (f.WAITING,): pending,
        (f.GIVEN_UP,): failed,
        (f.BACKUP,): max(0.0, time.time() - backup.at_ms / 1000) if backup else math.inf,
    }


def _nodes(connection: Connection, now: int, own: str) -> dict[Key, float]:
    """``own``: the name of this one. No process is looked for: that is the machine's own to know."""
    found: dict[Key, float] = {(f.NODES, state): 0.0 for state in NodeState if state is not NodeState.ENDED}
    for line in nodes(connection):
        found[f.NODES, state_of(line, now, lambda _: False)] += 1
        if line.name == own and line.clock_offset is not None:
            found[f.CLOCK_OFFSET,] = line.clock_offset / 1000
    return found


def _outwards(connection: Connection, outlet: Outlet) -> dict[Key, float]:
    """One that has not begun yet, or cannot say how far it has come, has no lag; its failing is said all the same."""
    now, condition = time.time(), outlet.condition.read()
    failing = max(0.0, now - condition.failing_since / 1000) if condition.failing_since else 0.0
    found: dict[Key, float] = {
        (f.OUTWARDS_FAILING, outlet.label): failing,
        (f.OUTWARDS_GIVEN_UP, outlet.label): condition.given_up,
    }
    try:
        lag = lag_of(connection, outlet.position, now)
    except (StoreProblem, OSError):
        lag = None
    if lag is not None:
        found |= {(f.BEHIND_ROWS, outlet.label): lag.rows, (f.BEHIND_SECONDS, outlet.label): lag.seconds}
    return found


def _scanned(connection: Connection) -> dict[Key, float]:
    locked, throttled = connection.execute(
        select(
            func.count(customer.c.locked_at),
            func.count().filter(customer.c.locked_at.is_(None), customer.c.failures > 0),
        )
    ).one()
    return {(f.LOCKED,): locked, (f.THROTTLED,): throttled}
