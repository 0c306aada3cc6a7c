"""The notes in ``meta`` of a store that is copied into another one, and of that other one: neither is used before the
copy is complete, and the first one never after it.

Three random numbers keep them together: ``source`` names the store that is copied, whichever place it lies at;
``copy`` names one attempt, which may be taken up again as long as the source was not used in between.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from sqlalchemy import Connection

from otp_core.model import StoreProblem
from otp_core.store.queries import read_meta

MOVED = "moved"
"""Key in ``meta`` of a store that is copied: its note."""

COPIED = "copied from"
"""Key in ``meta`` of the store that it is copied into."""

UNDER_WAY, GIVEN_UP, DONE = "under way", "given up", "done"


class CopyNote(NamedTuple):
    """``place``: of the other store, for people. ``state``: one of the three above."""

    source: str
    copy: str
    place: str
    state: str

    def encode(self) -> bytes:
        """For ``meta``."""
        return json.dumps(self._asdict()).encode()


def decode(value: bytes | None) -> CopyNote | None:
    """A note from ``meta``; None: there is none."""
    return None if value is None else CopyNote(**json.loads(value))


def refuse_moved(connection: Connection, place: str) -> None:
    """Before a store is used. Raises StoreProblem for one that was moved, and for one that is copied or filled."""
    moved, copied = decode(read_meta(connection, MOVED)), decode(read_meta(connection, COPIED))
    if moved is not None and moved.state == DONE:
        raise StoreProblem(f"the store {place} was moved to {moved.place}: name that one in store.url")
    if moved is not None and moved.state == UNDER_WAY:
        raise StoreProblem(
            f"the store {place} is being moved to {moved.place}: run `sekisho store copy` there to its end; or again "
            "with --give-up, and this store is used as before"
        )
    if copied is not None and copied.state != DONE:
        raise StoreProblem(
            f"the store {place} is not complete: run `sekisho store copy` again, which goes on with {copied.place}"
        )
