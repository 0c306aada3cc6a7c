"""Which versions of Sekisho may use a store: two numbers that the store holds, and two that the code names.

*The store.* ``alembic_reached`` has the last migration that it had; ``alembic_version`` the oldest revision that a
version has to know to use it: the last migration that took something away. Both are the same until a migration has
added something alone. (Versions that know of one number, up to 0022, look at ``alembic_version`` and ask for exactly
theirs: so they go on beside newer ones for as long as nothing is taken away.)

*The code* (schema.py). REVISION is the newest migration that it knows; NEEDED the newest one without which it does not
work, the last one that added something.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, inspect, text

from otp_core.model import StoreProblem
from otp_core.store.nodes import seen_below
from otp_core.store.schema import NEEDED, REVISION, node

OLDEST_TABLE, REACHED_TABLE = "alembic_version", "alembic_reached"
"""Tables with one row each, and in it ``version_num``."""

_LATELY_MS = 60_000
"""How long a node that was not stopped in order, and is not seen any more, may yet come back."""


class Revisions(NamedTuple):
    """Of a store. ``oldest``: a version has to know this one; ``reached``: the last migration that it had."""

    oldest: str
    reached: str

    @property
    def text(self) -> str:
        """For people."""
        return self.reached if self.oldest == self.reached else f"{self.reached} (for versions from {self.oldest} on)"


def read_revisions(connection: Connection) -> Revisions:
    """Of a store that there is. Raises DBAPIError if there is none."""
    oldest = connection.execute(text(f"SELECT version_num FROM {OLDEST_TABLE}")).scalar()  # noqa: S608  a constant
    reached = None
    if inspect(connection).has_table(REACHED_TABLE):
        reached = connection.execute(text(f"SELECT version_num FROM {REACHED_TABLE}")).scalar()  # noqa: S608  the same
    return Revisions(str(oldest or ""), str(reached or oldest or ""))


def is_known(revision: str) -> bool:
    """Whether this version knows a migration: they are numbered in their order."""
    return revision.isascii() and revision.isdigit() and len(revision) == len(REVISION) and revision <= REVISION


def refuse_unfit(found: Revisions, place: str) -> None:
    """Raises StoreProblem, with what to do, if this version may not use a store: it is too old for it, or too new."""
    if not is_known(found.oldest):
        raise StoreProblem(
            f"this version of Sekisho is too old for the store {place}: the store's schema is {found.text}, this "
            f"version works with {NEEDED} to {REVISION}: install the version that has upgraded the store, or a newer "
            "one (or restore a backup of before)"
        )
    if found.reached < NEEDED:
        raise StoreProblem(
            f"this version of Sekisho is too new for the store {place}: the store's schema is {found.text}, this "
            f"version works with {NEEDED} to {REVISION}: back the store up and run `sekisho init`"
        )


def older_nodes(connection: Connection, revision: str, now: int) -> list[str]:
    """The nodes that were seen lately with a version that does not know this revision: for people. ``now``: ms by the
    store's clock."""
    if not inspect(connection).has_table(node.name):
        return []
    return [f"the node {one.name} (version {one.version})" for one in seen_below(connection, revision, now, _LATELY_MS)]
