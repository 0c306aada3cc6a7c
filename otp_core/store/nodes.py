"""The statements about nodes: who serves this store, and was seen when. Times are by the clock that all nodes share:
the database server's, or the machine's where the store is a file.

No login and no act is decided by them, so they are written aside (``Database.aside``).
"""

from __future__ import annotations

from random import SystemRandom
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, not_, select, update

from otp_core.audit import LENT_TAGS
from otp_core.store.schema import id_tag, node, node_clock

MISSED = 3
"""Signs of life that may be missed until a node counts as not seen lately."""

LENT_MS = 600_000
"""How long the tags of a node that is not seen any more stay its own."""

KEPT_MS = 7 * 86_400_000
"""How long the row of a node is kept that is not seen any more."""


class NodeLine(NamedTuple):
    """One node. ``configured``: its name in its settings, to which ``name`` may have a suffix; ``holder``: see
    nodes/holder.py; ``run``: a random number, another one after each start; ``oldest``, ``newest``: schemas that its
    code works with; times in ms; ``left_at``: when it was stopped in order; ``beat``: seconds between its signs of
    life; ``logins``: accepted since its start; ``clock_offset``: ms that its clock is ahead of the store's, None where
    that is the same clock; ``silent``: why it answers no login because of its clock."""

    name: str
    configured: str
    holder: str
    run: int
    version: str
    oldest: str
    newest: str
    started_at: int
    seen_at: int
    left_at: int | None
    beat: int
    logins: int
    clock_offset: int | None
    silent: str | None

    def seen_lately(self, now: int) -> bool:
        """Whether it runs, as far as can be known at ``now`` (ms by the store's clock). One that was seen in a time to
        come was seen before that clock was set back, and shows life anew if it runs."""
        return self.left_at is None and abs(now - self.seen_at) <= (MISSED * self.beat + 1) * 1000


class Beat(NamedTuple):
    """One sign of life: see ``NodeLine``."""

    logins: int
    clock_offset: int | None
    silent: str | None


def nodes(connection: Connection) -> list[NodeLine]:
    """All that are known, by name."""
    return [NodeLine(*row) for row in connection.execute(select(node).order_by(node.c.name))]


def seen_below(connection: Connection, revision: str, now: int, within_ms: int = 0) -> list[NodeLine]:
    """The nodes whose code does not work with a schema as new as ``revision``, and that were seen lately, or within
    ``within_ms``, and not stopped since. ``now``: ms by the store's clock (``Database.time_ms``)."""
    return [
        one
        for one in nodes(connection)
        if one.newest < revision
        and one.left_at is None
        and (one.seen_lately(now) or abs(now - one.seen_at) <= within_ms)
    ]


def put(connection: Connection, line: NodeLine) -> None:
    """Write a node's row in the place of one of its name, if there is one."""
    connection.execute(delete(node).where(node.c.name == line.name))
    connection.execute(insert(node).values(**line._asdict()))


def show_life(connection: Connection, name: str, run: int, now: int, beat: Beat) -> bool:
    """One sign of life; False, with nothing written: the name is another one's by now."""
    here = update(node).where(node.c.name == name, node.c.run == run)
    return bool(connection.execute(here.values(seen_at=now, left_at=None, **beat._asdict())).rowcount)


def leave(connection: Connection, run: int, now: int) -> None:
    """The node is stopped in order: its name and its tags are free."""
    connection.execute(update(node).where(node.c.run == run).values(seen_at=now, left_at=now))
    connection.execute(delete(id_tag).where(id_tag.c.run == run))


def lend_tags(connection: Connection, run: int, wanted: int, now: int) -> list[int]:
    """Lend a node tags for its processes, whose row is there: each to nobody else. In a transaction that has its turn.
    Fewer than wanted, if no more are free. Those of nodes that left, or were not seen for LENT_MS, are free again."""
    alive = select(node.c.run).where(node.c.left_at.is_(None), node.c.seen_at.between(now - LENT_MS, now + LENT_MS))
    connection.execute(delete(id_tag).where(id_tag.c.run.not_in(alive)))
    taken = set(connection.execute(select(id_tag.c.tag)).scalars())
    free = [tag for tag in range(LENT_TAGS) if tag not in taken]
    lent = SystemRandom().sample(free, min(wanted, len(free)))  # one that was another's just now is unlikely
    if lent:
        connection.execute(insert(id_tag), [{"tag": tag, "run": run} for tag in lent])
    return lent


def tidy(connection: Connection, now: int) -> None:
    """Take away what is about nodes that are not seen any more."""
    connection.execute(delete(node).where(not_(node.c.seen_at.between(now - KEPT_MS, now + KEPT_MS))))
    connection.execute(delete(node_clock).where(node_clock.c.seen_at < now - KEPT_MS))
