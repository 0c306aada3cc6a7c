"""Keeps a node's row in the store: one process of the node shows life there every few seconds, beside its event loop.
The others tell it what they have counted.

No login waits for it, and none is decided by it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from otp_core.model import StoreUnavailable
from otp_core.nodes.board import NodeBoard
from otp_core.nodes.offset import offset_ms
from otp_core.nodes.registration import Registration, rejoin
from otp_core.store import nodes
from otp_core.store.store import Store

LOOK_SECONDS = 1.0

_log = structlog.get_logger("node")


class NodeTeller:
    """The one process of a node that shows its life in the store. ``clock``: the wall clock, seconds since the
    epoch."""

    def __init__(
        self, store: Store, board: NodeBoard, entered: Registration, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self._board, self._entered, self._clock = store, board, entered, clock
        self._tidied = float("-inf")

    @property
    def beat_seconds(self) -> int:
        """Between two signs of life."""
        return self._store.database.beat_seconds

    def beat(self) -> None:
        """Show life once. Raises StoreUnavailable."""
        database, name = self._store.database, self._board.read().name
        with database.aside() as connection:
            offset = None
            if database.file is None:
                offset = offset_ms(lambda: database.time_ms(connection), self._clock)
            now = database.time_ms(connection)
            there = nodes.show_life(
                connection, name, self._entered.run, now, nodes.Beat(self._board.logins, offset, None)
            )
            if now > self._tidied + nodes.KEPT_MS / 100:
                nodes.tidy(connection, now)
                self._tidied = now
        if not there:
            self._take_another_name(name)

    def _take_another_name(self, lost: str) -> None:
        """Somebody has it: a copy of this machine, or this node was not seen for long."""
        self._entered = rejoin(self._store, self._entered)
        self._board.tell(self._board.read()._replace(name=self._entered.name))
        _log.warning(
            "another node has this one's name: give each machine a name of its own, by [node] name",
            name=lost,
            now=self._entered.name,
        )


class NodeKeeper:
    """One in each process that answers logins. ``place``: where it counts on the board; ``logins``: how many it has
    accepted; ``teller``: of the process that shows the node's life, None elsewhere. Belongs to its event loop."""

    def __init__(self, board: NodeBoard, place: int, logins: Callable[[], int], teller: NodeTeller | None) -> None:
        self._board, self._place, self._logins, self._teller = board, place, logins, teller
        self._before = board.counted(place)
        self._due, self._complained = float("-inf"), False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            if self._teller is not None and time.monotonic() >= self._due:
                self._due = time.monotonic() + self._teller.beat_seconds
                await asyncio.to_thread(self._beat, self._teller)
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Tell what was counted."""
        self._board.count(self._place, self._before + self._logins())

    def _beat(self, teller: NodeTeller) -> None:
        try:
            teller.beat()
        except StoreUnavailable as cause:
            if not self._complained:
                _log.warning("this node cannot show in the store that it is there", cause=str(cause))
            self._complained = True
        else:
            self._complained = False
