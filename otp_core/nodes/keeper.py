"""Keeps a node's row in the store: one process of the node shows life there every few seconds, beside its event loop.
The others tell it what they have counted.

No login waits for it, and none is decided by it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from otp_core.clock import GuardedClock
from otp_core.model import StoreProblem, StoreUnavailable
from otp_core.nodes.board import NodeBoard, Told
from otp_core.nodes.clocks import ClockState, state_of, words_of
from otp_core.nodes.offset import offset_ms
from otp_core.nodes.registration import Registration, rejoin
from otp_core.store import nodes
from otp_core.store.store import Store
from otp_core.store.time_records import ClockOfNode

LOOK_SECONDS = 1.0
REMIND_SECONDS = 600.0
"""How often the log says again that a clock is doubted."""
_ADVICE = "Check the time service of this machine"

_log = structlog.get_logger("node")


class NodeTeller:
    """The one process of a node that shows its life in the store. ``clock``: the wall clock, seconds since the epoch;
    ``believed``: the time in ms that is known to be right, None if none is."""

    def __init__(
        self,
        store: Store,
        board: NodeBoard,
        entered: Registration,
        clock: Callable[[], float] = time.time,
        believed: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._store, self._board, self._entered, self._clock, self._believed = store, board, entered, clock, believed
        self._tidied = self._warned = float("-inf")

    @property
    def beat_seconds(self) -> int:
        """Between two signs of life."""
        return self._store.database.beat_seconds

    def beat(self) -> None:
        """Show life once, and compare the clocks. Raises StoreUnavailable."""
        database, told = self._store.database, self._board.read()
        with database.aside() as connection:
            offset = None
            if database.file is None:
                offset = offset_ms(lambda: database.time_ms(connection), self._clock)
            now = database.time_ms(connection)
            told = self._compared(told, offset, nodes.nodes(connection), now)
            life = nodes.Beat(self._board.logins, offset, told.short or None)
            there = nodes.show_life(connection, told.name, self._entered.run, now, life)
            if isinstance(self._store.time, ClockOfNode):
                self._store.time.show_life(connection, None if told.silent else self._believed())
            if now > self._tidied + nodes.KEPT_MS / 100:
                nodes.tidy(connection, now)
                self._tidied = now
        self._board.tell(told)
        if not there:
            self._take_another_name(told.name)

    def _compared(self, told: Told, offset: int | None, known: Sequence[nodes.NodeLine], now: int) -> Told:
        """What the processes are to be told of the clock. The words stay as they are until it is right: causes are
        logged and counted by them."""
        others = [
            one.clock_offset
            for one in known
            if one.run != self._entered.run and one.seen_lately(now) and one.clock_offset is not None
        ]
        state = ClockState.RIGHT if offset is None else state_of(offset, others)
        if offset is None or state is not ClockState.WRONG:
            if offset is not None and state is ClockState.DOUBTED:
                self._warn(offset)
            return Told(told.name)
        if told.silent:
            return told
        short = words_of(offset, "the database's and most other nodes'")
        return Told(told.name, f"{short}. No login is answered by this node until it is right. {_ADVICE}", short)

    def _warn(self, offset: int) -> None:
        if time.monotonic() > self._warned + REMIND_SECONDS:
            self._warned = time.monotonic()
            _log.warning("which clock is right, this one or the database's?", cause=words_of(offset, "the database's"))

    def _take_another_name(self, lost: str) -> None:
        """Somebody has it: a copy of this machine, or this node was not seen for long. Or its row was tidied away."""
        self._entered = rejoin(self._store, self._entered)
        self._board.tell(self._board.read()._replace(name=self._entered.name))
        if self._entered.name == lost:
            return
        _log.warning(
            "another node has this one's name: give each machine a name of its own, by [node] name",
            name=lost,
            now=self._entered.name,
        )


class NodeKeeper:
    """One in each process that answers logins. ``place``: where it counts on the board; ``logins``: how many it has
    accepted; ``clock``: its clock, which is told what others say of it; ``teller``: in the process that shows the
    node's life, None elsewhere; ``named``: told the node's name. Belongs to its event loop."""

    def __init__(
        self,
        board: NodeBoard,
        place: int,
        logins: Callable[[], int],
        clock: GuardedClock,
        teller: NodeTeller | None,
        named: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._board, self._place, self._logins, self._clock, self._teller = board, place, logins, clock, teller
        self._named = named
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
        """Tell what was counted; hear the name, and what is said of the clock."""
        self._board.count(self._place, self._before + self._logins())
        told = self._board.read()
        self._named(told.name)
        self._clock.others_say(told.silent, told.short)

    def _beat(self, teller: NodeTeller) -> None:
        try:
            teller.beat()
        except (StoreUnavailable, StoreProblem, SQLAlchemyError) as cause:  # whatever it is, the next one is tried
            if not self._complained:
                _log.warning("this node cannot show in the store that it is there", cause=str(cause))
            self._complained = True
        else:
            self._complained = False
