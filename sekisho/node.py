"""This server as a node: entered in the store before the processes part, and taken out behind the last of them."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import version
from typing import NamedTuple

from otp_core import logs
from otp_core.clock import ClockWrong, GuardedClock
from otp_core.model import StoreProblem, StoreUnavailable
from otp_core.nodes.board import NodeBoard
from otp_core.nodes.keeper import NodeKeeper, NodeTeller
from otp_core.nodes.registration import Registration, join, leave
from otp_core.sealing import KeyProblem
from sekisho.settings import Settings
from sekisho.wiring import BUSY_SECONDS, Application, call_node, open_store


class Node(NamedTuple):
    """``board``: what its processes share."""

    entered: Registration
    board: NodeBoard

    def tag(self, place: int) -> int | None:
        """For the audit ids of the process in this place, and of those that take its place; None: it draws one."""
        return self.entered.tags[place] if place < len(self.entered.tags) else None

    def keeper(self, application: Application, place: int) -> NodeKeeper:
        """For the process in this place; the first one tells the store."""
        store, clock, teller = application.services.store, application.clock, None
        verdicts = application.services.tally.verdicts
        if place == 0:
            teller = NodeTeller(store, self.board, self.entered, believed=lambda: _believed(clock))

        def named(name: str) -> None:
            store.node.value = name
            logs.name_node(name)

        keeper = NodeKeeper(self.board, place, lambda: _accepted(verdicts), clock, teller, named)
        keeper.look()
        return keeper


def enter(settings: Settings, processes: int) -> Node:
    """Enter this server in the store. Raises StoreProblem, KeyProblem and StoreUnavailable."""
    store = open_store(settings)
    try:
        entered = join(store, settings.node.called, version("sekisho"), processes)
        board = NodeBoard(entered.name, processes)
        with suppress(StoreUnavailable):  # then the first process tries again
            NodeTeller(store, board, entered).beat()  # before the first login: a clock that is wrong answers none
    finally:
        store.engine.dispose()  # nothing of it is to be shared by the processes
    name = board.read().name
    call_node(name)
    logs.name_node(name)
    return Node(entered, board)


def take_out(settings: Settings, node: Node) -> None:
    """It is stopped. A store that does not answer keeps the end waiting for seconds at most: the name is free all the
    same when the node has not been seen for some time."""
    with suppress(StoreProblem, KeyProblem, StoreUnavailable, OSError):
        store = open_store(settings, busy_seconds=BUSY_SECONDS)
        try:
            leave(store, node.entered)
        finally:
            store.engine.dispose()


def _believed(clock: GuardedClock) -> int | None:
    """None too before the clock has settled: a process that opens the store later compares its own with this."""
    try:
        return clock.now() if clock.settled else None
    except ClockWrong:
        return None


def _accepted(verdicts: dict[tuple[str, str, str, str], int]) -> int:
    return sum(number for (_, _, verdict, _), number in verdicts.items() if verdict == "accepted")
