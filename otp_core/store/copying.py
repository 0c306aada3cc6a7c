"""Copies a store in a file into one in PostgreSQL, once and for all: last steps, fingerprints and audit ids with it.

Theory of operation
-------------------
*Who may use which, and when.* The source is held alone while this runs, and has its note (moved.py) before the first
row is written: a copy that was killed leaves two stores that nobody uses, and the next call goes on. At the end the
target is released first, and the source marked as moved for good after it; a kill in between leaves the source unused.

*What is compared.* Number and digest of the rows of every table, read anew from both ends, before the target is
released.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Table

from otp_core.audit import Ids, ms_of
from otp_core.clock import TOLERANCE, ClockSetBack
from otp_core.model import StoreProblem
from otp_core.sealing import KeyProblem, Sealer, read_master_key
from otp_core.store.acts import ActsJournal
from otp_core.store.backup import LAST_BACKUP
from otp_core.store.engines import open_database
from otp_core.store.moved import DONE, GIVEN_UP, MOVED, UNDER_WAY, CopyNote
from otp_core.store.postgresql.copy_target import CopyTarget
from otp_core.store.put_back import IDENTITY, LOST_TIME, put_back
from otp_core.store.schema import OF_NODES, meta, metadata
from otp_core.store.sqlite.copy_source import CopySource, digest_of, held
from otp_core.store.sqlite.login_batch import CHANGED

ROWS_AT_ONCE, OCTETS_AT_ONCE = 5_000, 8_000_000
"""Of one transaction, and of memory: whichever is reached first."""

NOT_COPIED = frozenset({CHANGED, "probe", IDENTITY, LOST_TIME, LAST_BACKUP, MOVED})
"""Keys of ``meta`` that are about the source's file alone: the stamp by which its batches notice a change, the probe's
last write, its name beside its mark, the time that was lost when the file was put back, and its backups. What is known
of the time, the key check and who cannot be found yet are copied."""

TABLES = tuple(table for table in metadata.sorted_tables if table is not meta and table not in OF_NODES)
"""In an order in which each row finds what it refers to. Not who served the source."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be copied. ``target_url``: the configured store, made by `sekisho init`. ``values``: of ``meta``,
    for what the source keeps in files beside it. ``actor``, ``origin``, ``reason``: for the audit trail."""

    source: Path
    target_url: str
    key_file: Path
    now_ms: int
    actor: str
    origin: str
    reason: str = ""
    values: Mapping[str, bytes] = field(default_factory=dict)
    rows_at_once: int = ROWS_AT_ONCE


class Copied(NamedTuple):
    """``rows``: of each table. ``resumed``: how many of them were there from an earlier call. ``before``: all of it was
    done before."""

    rows: dict[str, int]
    resumed: int
    before: bool = False


Advance = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much."""


def copy(order: Order, *, ids: Ids, advance: Advance) -> Copied:
    """Copy the store, or go on with a copy that was interrupted. Raises StoreProblem, KeyProblem and ClockSetBack, each
    with what to do, StoreUnavailable and OSError."""
    sealer = Sealer(read_master_key(order.key_file))
    target = _target(order.target_url)
    try:
        target.check_unused()
        with held(order.source) as source:
            _check_source(order, source, sealer)
            note, is_new = _agree(source, target)
            if note.state == DONE:
                source.put_note(note)
                return Copied({table.name: target.count(table) for table in TABLES}, 0, before=True)
            if is_new:
                source.put_note(note)
                target.begin(note._replace(place=str(order.source)))
                target.check_unused()  # who came in before the note was there; nobody does behind it
            resumed = _copy_tables(order, source, target, advance)
            values = {**order.values, **_meta(source)}
            target.put_meta(values)
            rows = _compare(source, target, values, advance)
            reason = f"{order.reason}; " if order.reason else ""
            target.finish(
                note._replace(place=str(order.source), state=DONE),
                ids,
                actor=order.actor,
                source=order.origin,
                reason=f"{reason}{order.source}, {sum(rows.values())} rows",
            )
            source.put_note(note._replace(state=DONE))
        return Copied(rows, resumed)
    finally:
        target.close()


def give_up(source_file: Path, target_url: str) -> None:
    """Let the source be used again. What was copied of it is not complete, and stays unused: a later copy begins anew.
    The target is asked, because it may be released already. Raises StoreProblem and StoreUnavailable."""
    target = _target(target_url)
    try:
        with held(source_file) as source:
            ours, theirs = source.note(), target.note()
            if ours is None or ours.state == GIVEN_UP:
                raise StoreProblem(f"{source_file} is not being copied: there is nothing to give up")
            if theirs is not None and theirs.copy == ours.copy and theirs.state == DONE:
                ours = ours._replace(state=DONE)
                source.put_note(ours)
            if ours.state == DONE:
                raise StoreProblem(f"{source_file} was moved to {ours.place}, which may be used: it is not taken back")
            if target.place != ours.place:
                raise StoreProblem(
                    f"{source_file} is being copied to {ours.place}, and store.url names {target.place}: use the "
                    "settings that name the first one"
                )
            source.put_note(ours._replace(state=GIVEN_UP))
    finally:
        target.close()


def _target(url: str) -> CopyTarget:
    database = open_database(url, busy_seconds=10.0)
    if database.file is not None:
        raise StoreProblem(
            f"store.url names the file {database.file}: a store in a file is moved by `sekisho backup` and `sekisho "
            "restore`; write the URL of the PostgreSQL store into the settings"
        )
    database.check()
    return CopyTarget(database)


def _check_source(order: Order, source: CopySource, sealer: Sealer) -> None:
    check = source.contents.key_check
    if check is None or not sealer.opens(check):
        raise KeyProblem(
            f"{order.key_file} is not the master key of the store {source.file}: put a copy of that store's key there; "
            "one that `sekisho init` has made for the new store is not needed any more"
        )
    behind = ms_of(source.contents.newest_id) - order.now_ms
    if behind > TOLERANCE * 1000:
        raise ClockSetBack(
            f"the clock stands {behind / 1000:.0f} s before the source's newest entry: check the time service"
        )
    note = source.note()
    if note is not None and note.state != GIVEN_UP:
        return  # looked at when the copy began, and unused since
    with source.as_connection() as connection:
        found = put_back(connection, source.known, ActsJournal(source.file), source.flushed_id())
    if found is not None:
        raise StoreProblem(
            f"{source.file} was put back without `sekisho restore` ({found.cause}): codes of the lost time would be "
            "good again. Start the server with it once, which voids them, and stop it"
        )


def _agree(source: CopySource, target: CopyTarget) -> tuple[CopyNote, bool]:
    """The source's note of this copy, and whether it begins anew. Raises StoreProblem if it may not be."""
    ours, theirs = source.note(), target.note()
    if ours is not None and theirs is not None and ours.copy == theirs.copy and ours.state != GIVEN_UP:
        return ours._replace(state=theirs.state), False
    if ours is not None and ours.state == DONE:
        raise StoreProblem(f"{source.file} was moved to {ours.place} before: it cannot be moved twice")
    if theirs is not None and theirs.state == UNDER_WAY:
        if ours is None or ours.source != theirs.source:
            raise StoreProblem(
                f"the store {target.place} is half filled from {theirs.place}, which is another store: go on with that "
                "one, or drop the database, create it again and run `sekisho init`"
            )
    elif (table := target.filled()) is not None:
        raise StoreProblem(
            f"the store {target.place} has rows of its own ({table}): a store is copied into an empty one, as `sekisho "
            "init` makes it"
        )
    name = ours.source if ours is not None else secrets.token_hex(16)
    return CopyNote(name, secrets.token_hex(16), target.place, UNDER_WAY), True


def _copy_tables(order: Order, source: CopySource, target: CopyTarget, advance: Advance) -> int:
    """Write the rows that are not there yet; how many were."""
    there = {table: target.count(table) for table in TABLES}
    total = sum(source.count(table) for table in TABLES)
    done = resumed = sum(there.values())
    for table in TABLES:
        for chunk in chunks(source.rows(table, there[table]), order.rows_at_once):
            advance("copying", done, total)
            target.add(table, chunk)
            done += len(chunk)
    advance("copying", done, total)
    return resumed


def chunks(rows: Iterable[tuple[Any, ...]], most: int) -> Iterator[list[tuple[Any, ...]]]:
    """The rows in their order: at most so many at once, and not much more than OCTETS_AT_ONCE."""
    chunk: list[tuple[Any, ...]] = []
    octets = 0
    for row in rows:
        chunk.append(row)
        octets += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(chunk) >= most or octets >= OCTETS_AT_ONCE:
            yield chunk
            chunk, octets = [], 0
    if chunk:
        yield chunk


def _meta(source: CopySource) -> dict[str, bytes]:
    return {name: value for name, value in source.meta().items() if name not in NOT_COPIED}


def _compare(source: CopySource, target: CopyTarget, values: Mapping[str, bytes], advance: Advance) -> dict[str, int]:
    """The number of each table's rows. Raises StoreProblem for one that differs."""
    rows = {}
    for number, table in enumerate(TABLES):
        advance("comparing", number, len(TABLES))
        rows[table.name] = _compare_table(source, target, table)
    found = target.meta()
    if any(found.get(name) != value for name, value in values.items()):
        raise _differs(meta, "a named value is another one")
    advance("comparing", len(TABLES), len(TABLES))
    return rows


def _compare_table(source: CopySource, target: CopyTarget, table: Table) -> int:
    ours, theirs = digest_of(source.rows(table)), digest_of(target.rows(table))
    if ours.rows != theirs.rows:
        raise _differs(table, f"{theirs.rows} rows instead of {ours.rows}")
    if ours != theirs:
        raise _differs(table, "the digests of its rows are not the same")
    return ours.rows


def _differs(table: Table, how: str) -> StoreProblem:
    return StoreProblem(
        f"the copy differs from its source in the table {table.name}: {how}. It is not used; give it up with "
        "--give-up, and copy again, which begins anew"
    )
