"""What can be seen of a store from outside, without serving it or opening its database. It changes nothing."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from otp_core.store.sqlite.state import SERVING, TURN_AT, Stopped, StoreState
from otp_core.store.sqlite.turn import ended_in


def is_served(path: Path) -> bool:
    """Whether a server answers logins from this store now. Raises StoreUnavailable."""
    with closing(_state_of(path)) as state:
        return state.others(SERVING)


def why_stopped(path: Path) -> Stopped | None:
    """Why nobody is told anything until the next start; None: all goes on. Raises StoreUnavailable."""
    with closing(_state_of(path)) as state:
        return state.stopped


def ended_in_turn(path: str) -> set[int]:
    """The IDs of the processes that were killed because they were stopped in a turn for which others waited."""
    return {*ended_in(f"{path}-turn"), *ended_in(f"{path}.state", TURN_AT)}


def _state_of(path: Path) -> StoreState:
    return StoreState(path.with_name(f"{path.name}.state"), path)
