"""Files that staff imports on the console, and lists of tokens to be retired: what is known of each, and its sealed
pieces. Statements only; times are ms
since the epoch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, delete, exists, func, insert, select, update

from otp_core.audit import id_at, ms_of
from otp_core.store.approvals import KEPT_MS, OPEN
from otp_core.store.schema import approval, file_import, file_piece, staff


class FileState(StrEnum):
    """Where a file has got to."""

    RECEIVING = "receiving"
    CHECKING = "checking"
    WRONG = "wrong"
    CHECKED = "checked"
    WRITING = "writing"
    DONE = "done"
    STOPPED = "stopped"
    WITHDRAWN = "withdrawn"


WORKED_ON = (FileState.CHECKING, FileState.WRITING)
KEPT = (FileState.RECEIVING, FileState.CHECKING, FileState.CHECKED, FileState.WRITING)
"""The file itself is kept in these states alone."""


_NOTHING_FOUND: Mapping[str, Any] = {
    "rows": 0,
    "skipped": 0,
    "encoding": "",
    "names": [],
    "problems": [],
    "problem_count": 0,
}


RETIREMENT, RETIRES = "retirement", "retires"
"""A list of tokens to be retired, which the console made itself, and what says so in its choices: its kind in the store
is that of the tokens in it."""


class FileImport(NamedTuple):
    """A file. ``kind``: "customers" or "tokens"; ``choices``: how it is read, JSON; ``digest``: keyed; ``found``: what
    the check has found, JSON; ``done``: octets that were checked or rows that were written, as the state says;
    ``why``: it was not finished."""

    key: int
    kind: str
    file_name: str
    choices: str
    size: int
    digest: bytes
    state: str
    asked_by: str
    source: str
    reason: str
    approved_by: str | None
    approval_key: int | None
    found: str
    done: int
    written: int
    attempts: int
    claimed_until: int
    why: str | None
    changed_at: int

    @property
    def asked_at(self) -> int:
        """When it was uploaded."""
        return ms_of(self.key)

    @property
    def what(self) -> str:
        """What is done with it: "customers" or "tokens" are imported, or RETIREMENT."""
        return RETIREMENT if RETIRES in json.loads(self.choices) else self.kind

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the check has found, as in _NOTHING_FOUND."""
        return {**_NOTHING_FOUND, **json.loads(self.found)}


_FILES = select(
    *(staff.c.name if name == "asked_by" else file_import.c[name] for name in FileImport._fields)
).select_from(file_import.join(staff, staff.c.key == file_import.c.asked_by))


def file_imports(connection: Connection, *, before: int | None = None, limit: int = 50) -> list[FileImport]:
    """A page of files, the newest first, of those before the key ``before``."""
    query = _FILES.order_by(file_import.c.key.desc()).limit(limit)
    if before is not None:
        query = query.where(file_import.c.key < before)
    return [FileImport(*row) for row in connection.execute(query)]


def file_import_of(connection: Connection, key: int) -> FileImport | None:
    """One file; None if there is none."""
    row = connection.execute(_FILES.where(file_import.c.key == key)).one_or_none()
    return None if row is None else FileImport(*row)


def count_kept(connection: Connection) -> int:
    """How many files are kept."""
    query = select(func.count()).select_from(file_import).where(file_import.c.state.in_(KEPT))
    return connection.execute(query).scalar_one()


def add_file_import(connection: Connection, **values: object) -> None:
    """Add one, by the columns' names."""
    connection.execute(insert(file_import).values(values))


def add_piece(connection: Connection, key: int, number: int, content: bytes) -> None:
    """Add a sealed piece."""
    connection.execute(insert(file_piece).values(file_key=key, number=number, content=content))


def piece_of(connection: Connection, key: int, number: int) -> bytes | None:
    """A sealed piece; None behind the last one."""
    query = select(file_piece.c.content).where(file_piece.c.file_key == key, file_piece.c.number == number)
    found: bytes | None = connection.execute(query).scalar()
    return found


def drop_pieces(connection: Connection, key: int, limit: int) -> int:
    """Delete pieces; how many there were."""
    numbers = select(file_piece.c.number).where(file_piece.c.file_key == key).limit(limit)
    these = (file_piece.c.file_key == key, file_piece.c.number.in_(numbers))
    return connection.execute(delete(file_piece).where(*these)).rowcount


def piece_owner_to_empty(connection: Connection) -> int | None:
    """The key of a file whose pieces are left although it is over; None: there is none."""
    joined = file_piece.join(file_import, file_import.c.key == file_piece.c.file_key)
    query = select(file_piece.c.file_key).select_from(joined).where(file_import.c.state.not_in(KEPT))
    found: int | None = connection.execute(query.limit(1)).scalar()
    return found


def move_file_import(connection: Connection, key: int, before: str, after: str, **values: object) -> bool:
    """Move a file on, with other columns. False if it is not in the state ``before`` any more."""
    these = (file_import.c.key == key, file_import.c.state == before)
    return connection.execute(update(file_import).where(*these).values(state=after, **values)).rowcount == 1


def set_approval(connection: Connection, key: int, approval_key: int) -> None:
    """Note the request that a second person decides."""
    connection.execute(update(file_import).where(file_import.c.key == key).values(approval_key=approval_key))


def next_to_work_on(connection: Connection, now: int) -> int | None:
    """The key of the oldest file that has to be checked or written, and on which nobody works; None: there is none."""
    query = select(file_import.c.key).where(file_import.c.state.in_(WORKED_ON), file_import.c.claimed_until <= now)
    found: int | None = connection.execute(query.order_by(file_import.c.key).limit(1)).scalar()
    return found


def claim(connection: Connection, key: int, by: int, now: int, until: int) -> bool:
    """Take a file to work on it. False if somebody else was faster."""
    free = (file_import.c.key == key, file_import.c.state.in_(WORKED_ON), file_import.c.claimed_until <= now)
    values = {"claim": by, "claimed_until": until, "attempts": file_import.c.attempts + 1}
    return connection.execute(update(file_import).where(*free).values(values)).rowcount == 1


def advance(connection: Connection, key: int, by: int, until: int, done: int, written: int, *, lasts: bool) -> bool:
    """Note progress, and hold the claim on. ``lasts``: whoever comes next goes on from there. False if somebody else
    has taken it."""
    values = {"done": done, "written": written} | ({"attempts": 0} if lasts else {})
    return hold(connection, key, by, until, **values)


def hold(connection: Connection, key: int, by: int, until: int, **values: int) -> bool:
    """Hold the claim on, with other columns. False if somebody else has taken it."""
    held = (file_import.c.key == key, file_import.c.claim == by, file_import.c.state.in_(WORKED_ON))
    return connection.execute(update(file_import).where(*held).values(claimed_until=until, **values)).rowcount == 1


def let_go(connection: Connection, key: int, by: int) -> None:
    """Leave the rest to whoever comes next: the process ends."""
    held = (file_import.c.key == key, file_import.c.claim == by)
    connection.execute(update(file_import).where(*held).values(claim=0, claimed_until=0, attempts=0))


def forget_file_imports(connection: Connection, now: int, limit: int) -> int:
    """Delete some files that were brought more than approvals.KEPT_MS ago, are over, and have no pieces left; how many
    there were. What was brought, decided and written is in the audit trail."""
    keys = list(connection.execute(_late(now).order_by(file_import.c.key).limit(limit)).scalars())
    return connection.execute(delete(file_import).where(file_import.c.key.in_(keys))).rowcount if keys else 0


def has_late_file_imports(connection: Connection, now: int) -> bool:
    """Whether ``forget_file_imports`` would find any. Needs no write lock."""
    return connection.execute(_late(now).limit(1)).first() is not None


def _late(now: int) -> Select[Any]:
    pieces = exists().where(file_piece.c.file_key == file_import.c.key)
    over = file_import.c.state.not_in(KEPT)
    return select(file_import.c.key).where(file_import.c.key < id_at(now - KEPT_MS), over, ~pieces)


def undecided(connection: Connection, now: int, received_before: int, checked_before: int) -> list[tuple[int, str]]:
    """Files, by key and state, that nobody will decide: received half, waiting for too long, or refused."""
    half = (file_import.c.state == FileState.RECEIVING) & (file_import.c.changed_at < received_before)
    late = (file_import.c.state == FileState.CHECKED) & (file_import.c.changed_at < checked_before)
    over = approval.c.state.not_in(OPEN) | (approval.c.expires_at <= now)
    refused = (file_import.c.state == FileState.CHECKED) & approval.c.key.is_not(None) & over
    joined = file_import.outerjoin(approval, approval.c.key == file_import.c.approval_key)
    query = select(file_import.c.key, file_import.c.state).select_from(joined).where(half | late | refused)
    return [(row.key, row.state) for row in connection.execute(query.limit(20))]
