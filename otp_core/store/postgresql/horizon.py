"""Up to which id the audit trail is closed: below it no transaction of any node may add a row.

Theory of operation
-------------------
An audit row's id is drawn before its transaction commits, by clocks of several nodes; so a row may appear behind one
with a higher id. Whoever seals needs an id below which nothing appears any more. It is made in three steps:

1. *Close.* In the desk's turn the id is written into ``meta`` and committed. No act of the desk is under way then, and
   each one that comes later sees it in its snapshot, and draws its ids above.
2. *Wait* until every transaction has ended that had begun to write before: those are login batches, and their numbers
   (xid) lie below one that is drawn just now. (The end of a snapshot would not do: it is the number behind the last one
   that has ended, and others above it may have begun.)
3. A batch whose number comes later looks at ``meta`` behind its last write (login_batch.py): it sees the closed id,
   because its number was given after step 1 was committed, and the look comes after that. If its rows lie at or below
   it, it divides by zero, and is decided anew with later ids.

A transaction of anything else in the same server that writes for long keeps the horizon where it is; the seals wait,
and the metrics say so.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

CLOSED = "closed"
"""Key in ``meta``: the id in 8 octets, the highest first."""

LOOK = f"SELECT 1 / coalesce((SELECT value < %s FROM meta WHERE name = '{CLOSED}')::int, 1)"  # noqa: S608  constants
"""Step 3. Its parameter: the lowest id that was written, in 8 octets."""

CLOSED_UNTIL = f"SELECT (SELECT value FROM meta WHERE name = '{CLOSED}'), coalesce((SELECT max(until_id) FROM seal), 0)"  # noqa: S608

_READ = text("SELECT value FROM meta WHERE name = 'closed'")
_WRITE = text(
    "INSERT INTO meta (name, value) VALUES ('closed', :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)
_SEALED = text("SELECT max(until_id) FROM seal")
_NEXT = text("SELECT pg_current_xact_id()::text::bigint")
_OLDEST = text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")


def sealed_until(connection: Connection) -> int:
    """The id at or below which nobody may add a row."""
    closed = connection.execute(_READ).scalar()
    return max(int.from_bytes(closed or b"", "big"), connection.execute(_SEALED).scalar() or 0)


def close(connection: Connection, id_: int) -> None:
    """Step 1, in a transaction of the desk."""
    if id_ > sealed_until(connection):
        connection.execute(_WRITE, {"value": id_.to_bytes(8, "big")})


def next_number(connection: Connection) -> int:
    """For step 2, behind step 1: a number of its own. Every transaction that begins to write later has a higher one."""
    return int(connection.execute(_NEXT).scalar_one())


def is_past(connection: Connection, number: int) -> bool:
    """Step 2: whether all transactions below this number have ended."""
    return int(connection.execute(_OLDEST).scalar_one()) >= number
