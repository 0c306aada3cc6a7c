"""Makes shadow mode's parts from the settings, and writes what was compared to the store, beside the logins."""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial

import structlog
from sqlalchemy.exc import IntegrityError

from otp_core.authentication.comparison import Comparison, Naming
from otp_core.authentication.explanation import Explainer, Throttles
from otp_core.clock import ClockWrong
from otp_core.doors import ShadowParts
from otp_core.first_factor import LOCAL_PASSWORD, FirstFactor
from otp_core.first_factor.failures import FailureTable
from otp_core.first_factor.hash_pool import HashPool
from otp_core.first_factor.hashes import Cost
from otp_core.first_factor.local import LocalPassword
from otp_core.first_factor.throttle import PasswordThrottle, StationThrottle
from otp_core.first_factor.unasked import Unasked
from otp_core.login.evaluate import Evaluator
from otp_core.login.policy import Delays
from otp_core.model import StoreUnavailable
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.retry import aside
from otp_core.store.shadow_logins import FORGOTTEN_AT_ONCE, Compared, Room, forget, note, room_of
from otp_core.store.store import Store
from sekisho.first_factors import Supplies

WRITE_SECONDS = 2.0
MOST_AT_ONCE = 128
"""Comparisons of one transaction: the loop stands still for two or three milliseconds."""

_ROOM_SECONDS, _SOONER_SECONDS = 600.0, 30.0
"""Between two looks for room, and after one that has found more than is forgotten at once."""

_REPORT_SECONDS = 60.0
_NO_DELAY = Delays(free=2**31)
_log = structlog.get_logger("shadow")


def make_shadow(supplies: Supplies, store: Store, evaluator: Evaluator, naming: Naming, cost: Cost) -> ShadowParts:
    """In the running event loop's thread. Its passwords are hashed on a thread of its own, so that no login waits for
    one; its throttles delay nothing, and nobody else reads them."""
    settings, fingerprint = supplies.settings, store.sealer.fingerprint
    reader, pool, table = store.login_reader(), HashPool(1, 1), FailureTable(64)
    for close in (reader.close, pool.close, table.close):
        supplies.exits.callback(close)
    throttles = Throttles(
        PasswordThrottle(_NO_DELAY, time.monotonic, table, fingerprint),
        StationThrottle(_NO_DELAY, time.monotonic, table, fingerprint),
    )
    local = LocalPassword(reader, pool, cost, lambda *_: None)
    factors: dict[str, FirstFactor] = {LOCAL_PASSWORD: local}
    factors |= {one.name: local for one in settings.first_factors if one.type == "local"}
    factors |= {one.name: Unasked() for one in settings.first_factors if one.type == "none"}

    def explainer(at: int) -> Explainer:
        return Explainer(reader, evaluator, factors, throttles, fingerprint, at)

    comparison = Comparison(explainer, naming)
    supplies.exits.push_async_callback(comparison.close)
    return ShadowParts(supplies.upstream, supplies.answers(), comparison)


class ShadowWriter:
    """Belongs to the event loop."""

    def __init__(self, store: Store, comparison: Comparison) -> None:
        self._store, self._comparison = store, comparison
        self._queries = AsyncQueries(store, 1)
        self._found, self._found_until = Room(0, []), -math.inf
        self._left_out, self._said_at = 0, -math.inf

    async def run(self) -> None:
        """Until cancelled."""
        pause = WRITE_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = 0.05 if await self.write() == MOST_AT_ONCE else WRITE_SECONDS

    async def write(self) -> int:
        """How many comparisons were written. What cannot be written now is written the next time."""
        noted = self._comparison.noted
        taken = [noted.popleft() for _ in range(min(len(noted), MOST_AT_ONCE))]
        if taken:
            left_out = -1
            try:
                await self._look_for_room()
                left_out = await aside(partial(self._write, taken))
            except (StoreUnavailable, ClockWrong, IntegrityError):
                return 0  # the last: another node has added the same customer just now
            finally:
                if left_out < 0:
                    noted.extendleft(reversed(taken))
            self._left_out += left_out
        self._report()
        return len(taken)

    async def _look_for_room(self) -> None:
        """Now and then, beside the loop: a million rows take a fifth of a second. Raises StoreUnavailable."""
        now = asyncio.get_running_loop().time()
        if now >= self._found_until:
            self._found = await self._queries.run(room_of, int(time.time() * 1000))
            more = len(self._found.late) == FORGOTTEN_AT_ONCE
            self._found_until = now + (_SOONER_SECONDS if more else _ROOM_SECONDS)

    def _write(self, taken: list[Compared]) -> int:
        room, late = self._found
        with self._store.work_aside() as work:
            forget(work.connection, late, int(time.time() * 1000))
            added = note(work.connection, taken, room)
        self._found = Room(room - added.new, [])
        return added.left_out

    def _report(self) -> None:
        """A line about what was not compared, once a minute at most."""
        left_out, now = self._left_out + self._comparison.left_out, asyncio.get_running_loop().time()
        if left_out and now >= self._said_at + _REPORT_SECONDS:
            _log.warning("logins in shadow mode that were not compared: too many at once", logins=left_out)
            self._left_out = self._comparison.left_out = 0
            self._said_at = now
