"""One process's part in the metrics: its figures onto the board once a second, and an answer to whoever asks whether a
login could be answered. It serves nothing, and writes nothing per login.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any

import structlog

from otp_core.clock import ClockWrong
from otp_core.doors import CountingDoor
from otp_core.first_factor.ldap.directory import Directory
from otp_core.first_factor.pam.passwords import PamPasswords
from otp_core.store.engine import TimedFlushes
from otp_core.tally import Histogram
from sekisho.metrics import families as f
from sekisho.metrics.board import Board, Figures, Key, Slot, added
from sekisho.wiring import Application

LOOK_SECONDS = 0.1
"""How often it looks whether somebody asks."""

WRITE_SECONDS = 1.0
"""How often the figures are written."""

_log = structlog.get_logger("metrics")


class Reporter:
    """Of one process that answers logins. ``slot``: its place on the board. Belongs to its event loop."""

    def __init__(self, board: Board, slot: Slot, application: Application, doors: Mapping[str, Any]) -> None:
        self._board, self._slot, self._application, self._doors = board, slot, application, doors
        before = slot.read()
        self._before, self._probed_at, self._cause = before.counts, 0.0, ""
        self._written_at, self._told = 0.0, False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Answer, if somebody asks; write the figures, if it is time to."""
        now, asked_at = time.monotonic(), self._board.asked_at
        asked = asked_at > self._probed_at
        if asked:
            health = self._application.services.health
            self._cause = "" if health.healthy() else health.cause or "logins cannot be answered"
            self._probed_at = now
        if asked or now >= self._written_at + WRITE_SECONDS:
            self.write()
            self._written_at = now

    def write(self) -> None:
        """Write the figures as they are now."""
        counts = added(self._before, self._counts())
        figures = Figures(counts, self._gauges(), self._probed_at, self._cause, time.monotonic())
        written = self._slot.write(figures)
        if not written and not self._told:
            self._told = True
            _log.error("the metrics of this process stand still: there are too many of them", figures=len(counts))

    def _counts(self) -> dict[Key, list[float]]:
        services, queue = self._application.services, self._application.queue
        found: dict[Key, list[float]] = {
            (f.LOGINS, *key): [float(number)] for key, number in services.tally.verdicts.items()
        }
        for door, histogram in services.tally.seconds.items():
            found[f.LOGIN_SECONDS, door] = values_of(histogram)
        found[f.BATCH,] = values_of(queue.batch_sizes)
        found[f.BATCH_SECONDS,] = values_of(queue.batch_seconds)
        if isinstance(self._application.login_batch, TimedFlushes):
            found[f.FLUSH_SECONDS,] = values_of(self._application.login_batch.flush_seconds)
        for name, upstream in self._application.upstreams.items():
            found[f.UPSTREAM_SECONDS, name] = values_of(upstream.seconds)
            found[f.UPSTREAM_UNANSWERED, name] = [float(upstream.unanswered)]
            for server in upstream.servers:
                at = str(server.address)
                for outcome, number in server.counts.items():
                    found[f.UPSTREAM_LOGINS, name, at, outcome] = [float(number)]
                for reason, number in server.channels.ignored.items():
                    found[f.UPSTREAM_IGNORED, name, at, reason] = [float(number)]
        for name, asked in self._asked_directly():
            found[f.UPSTREAM_SECONDS, name] = values_of(asked.seconds)
            found[f.UPSTREAM_UNANSWERED, name] = [float(asked.unanswered)]
            for one, _ in asked.servers():
                for outcome, number in one.counts.items():
                    found[f.UPSTREAM_LOGINS, name, str(one.place), outcome] = [float(number)]
        for name, vip in self._application.vip.items():
            found[f.VIP_SECONDS, name] = values_of(vip.seconds)
            for call, number in vip.counts.items():
                found[f.VIP_CALLS, name, *call] = [float(number)]
        for door in self._doors.values():
            if isinstance(door, CountingDoor):
                figures = door.figures()
                for cause, number in figures.drops.items():
                    found[f.DROPS, cause] = [float(number)]
                for key, number in figures.requests.items():
                    found[f.REQUESTS, *key] = [float(number)]
                for key, number in figures.by_secret.items():
                    found[f.BY_SECRET, *key] = [float(number)]
        return found

    def _asked_directly(self) -> Iterator[tuple[str, Directory | PamPasswords]]:
        """First factors that are their own upstreams."""
        yield from self._application.directories.items()
        yield from self._application.stacks.items()

    def _gauges(self) -> dict[Key, float]:
        application = self._application
        found: dict[Key, float] = {
            (f.QUEUE,): len(application.queue),
            (f.FAILING,): bool(application.queue.failing),
            (f.HASHING,): application.hash_pool.waiting,
            (f.CLOCK,): self._believes_the_clock(),
        }
        for name, upstream in application.upstreams.items():
            found[f.UPSTREAM_IN_FLIGHT, name] = upstream.in_flight
            for server in upstream.servers:
                found[f.UPSTREAM_DEAD, name, str(server.address)] = bool(server.dead_because)
        for name, asked in self._asked_directly():
            found[f.UPSTREAM_IN_FLIGHT, name] = asked.in_flight
            for one, dead in asked.servers():
                found[f.UPSTREAM_DEAD, name, str(one.place)] = dead
        for name, vip in application.vip.items():
            found[f.VIP_IN_FLIGHT, name] = vip.under_way
            found[f.VIP_SILENT, name] = vip.silent
        for name, door in self._doors.items():
            if isinstance(door, CountingDoor):
                found[f.IN_FLIGHT, name] = door.figures().in_flight
        return found

    def _believes_the_clock(self) -> bool:
        try:
            self._application.clock.now()
        except ClockWrong:
            return False
        return True


def values_of(histogram: Histogram) -> list[float]:
    """Its counts, then its sum."""
    return [*histogram.counts, histogram.total]
