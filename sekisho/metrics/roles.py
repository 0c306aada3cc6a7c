"""The metrics' part in the server's start: who has which place on the board, and the role of the process that serves.

Without a section [metrics] nobody serves figures, and what serves pages is not imported; there is a board where the
console shows some.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sekisho.checkpointer import NAME as CHECKPOINTS
from sekisho.heartbeat import Heartbeat
from sekisho.metrics import families as f
from sekisho.metrics.board import Board, Figures, Key, Slot, added
from sekisho.sealing_process import NAME as SEALS
from sekisho.settings import Settings
from sekisho.supervisor import Role

if TYPE_CHECKING:
    from sekisho.metrics.server import Watched


class Place(NamedTuple):
    """Where one process writes its figures."""

    board: Board
    slot: Slot


def places(settings: Settings, processes: int, *, shown: bool = False) -> list[Place | None]:
    """One for each process; None: nobody wants to know. ``shown``: a page of one of them shows figures. Raises OSError
    if the address of [metrics] cannot be had."""
    if settings.metrics is not None:
        from sekisho.metrics.server import try_to_bind

        try_to_bind(settings.metrics)
    elif not shown:
        return [None] * processes
    board = Board(processes)
    return [Place(board, slot) for slot in board.slots]


def metrics_role(
    settings: Settings,
    roles: Sequence[Role],
    given: Sequence[Place | None],
    beats: Sequence[Heartbeat],
    node: Callable[[], str],
) -> Role | None:
    """The role of the process that serves the figures of these roles; one of ``beats`` is its own, the last. ``node``:
    what this server is called now."""
    first = next((place for place in given if place is not None), None)
    if first is None or settings.metrics is None:
        return None
    from sekisho.metrics.server import NAME, Watched

    watched = [
        Watched(role.name, beat, place.slot, role.name not in (CHECKPOINTS, SEALS), role.essential)
        for role, place, beat in zip(roles, given, beats, strict=False)
        if place is not None
    ]

    def work(heartbeat: Heartbeat, _: bool) -> int:
        return asyncio.run(_serve(settings, first.board, watched, heartbeat, node))

    return Role(NAME, work, essential=False)


async def _serve(
    settings: Settings, board: Board, watched: Sequence[Watched], heartbeat: Heartbeat, node: Callable[[], str]
) -> int:
    from sekisho.metrics.server import MetricsServer

    return await MetricsServer(settings, board, watched, heartbeat, node).serve()


class _TaskCounts:
    """What a process says that has one task and answers no logins."""

    _MADE = _FAILED = ""

    def __init__(self, slot: Slot) -> None:
        self._slot, self._before = slot, slot.read().counts

    def __call__(self, made: int, failed: int) -> None:
        """``made``, ``failed``: since this process began."""
        counts: dict[Key, list[float]] = {(self._MADE,): [float(made)], (self._FAILED,): [float(failed)]}
        self._slot.write(Figures(added(self._before, counts), {}))


class CheckpointCounts(_TaskCounts):
    """Of the process that makes checkpoints."""

    _MADE, _FAILED = f.CHECKPOINTS, f.CHECKPOINT_FAILURES


class SealCounts(_TaskCounts):
    """Of the process that seals the audit trail."""

    _MADE, _FAILED = f.SEALS, f.SEAL_FAILURES
