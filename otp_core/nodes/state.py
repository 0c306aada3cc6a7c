"""How a node stands, in one word for people and programs. Pure, but for what it is told."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from otp_core.store.nodes import NodeLine


class NodeState(StrEnum):
    """``SILENT``: it runs, and answers no login because of its clock. ``UNSEEN``: it ought to run, and was not seen
    lately."""

    SERVING = "serving"
    SILENT = "silent"
    UNSEEN = "not seen"
    ENDED = "ended"
    STOPPED = "stopped"


def state_of(line: NodeLine, now: int, has_ended: Callable[[str], bool]) -> NodeState:
    """``now``: ms by the store's clock; ``has_ended``: whether the process of a holder has ended for certain."""
    if line.left_at is not None:
        return NodeState.STOPPED
    if has_ended(line.holder):
        return NodeState.ENDED
    if not line.seen_lately(now):
        return NodeState.UNSEEN
    return NodeState.SERVING if line.silent is None else NodeState.SILENT
