"""``sekisho audit export``: the sealed trail as a file, all of it or up to a day."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sekisho.cli.context import CliContext, ExitCode, principal
from sekisho.cli.options import Reason
from sekisho.cli.output import complain, hint, say
from sekisho.cli.progress import progress

if TYPE_CHECKING:
    from otp_core.seals.seal import Seal
    from otp_core.store.audit_drops import Edge
    from otp_core.store.store import Store
    from otp_core.store.trail import Piece, SealRow

_NICENESS = 10
"""How much these commands give way to the server's processes."""

_OFTEN = 1000
"""Rows between two looks at the progress."""


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("write a day, as 2026-04-01") from None


Until = Annotated[
    date,
    typer.Option(
        parser=_day,
        metavar="DAY",
        help="Rows of before this day: before 00:00 of it in the bank's time zone (web.time_zone).",
        show_default=False,
    ),
]


def export(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A new file. [default: standard output]")
    ] = None,
    until: Annotated[
        date | None,
        typer.Option(
            parser=_day,
            metavar="DAY",
            help="Only rows of before this day: before 00:00 of it in the bank's time zone (web.time_zone), in whole "
            "seals, compressed (gzip). The file may be dropped from the store then.",
            show_default=False,
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace FILE, with --until.")] = False,
    reason: Reason = "",
) -> None:
    """Write the audit trail with its seals, one JSON object a line, to be verified elsewhere: all of it, or what is
    older than a day, before `sekisho audit drop` takes that out of the store.

    \b
    Examples:
      sekisho audit export trail.jsonl
      sekisho audit export | gzip > trail.jsonl.gz
      sekisho audit export --until 2026-04-01 /archive/audit-2026-03.jsonl.gz
    """
    context: CliContext = ctx.obj
    if until is None:
        if replace:
            raise typer.BadParameter("--replace belongs to --until")
        _whole(context, file)
        return
    if file is None:
        raise typer.BadParameter("--until needs a FILE, which is recorded as exported")
    _old_part(context, file, start_of(context, until), replace=replace, reason=reason)


def start_of(context: CliContext, day: date) -> int:
    """When a day begins where the bank is, in ms since the epoch. Raises typer.BadParameter for one that is to come."""
    from otp_core.settings.values import zone

    try:
        at = datetime(day.year, day.month, day.day, tzinfo=zone(context.settings.time_zone)).timestamp()
    except (ValueError, OverflowError, OSError):
        at = -1.0
    if not 0 < at <= time.time():
        raise typer.BadParameter(f"{day} has not begun, or is no day of a trail", param_hint="'--until'")
    return int(at * 1000)


@contextmanager
def gently() -> Iterator[None]:
    """The server's processes come first meanwhile."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, min(before + _NICENESS, 19))
    try:
        yield
    finally:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, before)


def _whole(context: CliContext, file: Path | None) -> None:
    from otp_core.seals.export import export_lines

    trail = context.store.trail()
    with progress("exporting the audit trail", trail.size()) as advance, _written(file) as write:
        now_ms = _now_ms()
        for number, line in enumerate(export_lines(trail.pieces(trail.newest()), now_ms)):
            write(line)
            if number % _OFTEN == 0:
                advance(number)


def _old_part(context: CliContext, file: Path, until_ms: int, *, replace: bool, reason: str) -> None:
    from otp_core.audit import Event, id_at, ms_of
    from otp_core.json_shapes import local_time
    from otp_core.seals.drop import sealed_pieces
    from otp_core.seals.export import export_lines
    from otp_core.seals.export_file import write_compressed
    from otp_core.seals.seal import read_seal
    from otp_core.store.audit_drops import ExportRecord, newest_drop, note_export, part_before

    store, by = context.store, principal(reason)
    with store.read() as connection:
        part = part_before(connection, id_at(until_ms))
        drop = newest_drop(connection)
    if drop is not None and not drop.ended_at:
        complain(f"the drop that {drop.actor} began has not ended: run `sekisho audit drop` once more first")
        raise typer.Exit(ExitCode.REFUSED)
    if part is None:
        say(f"no seal that is here ends before {local_time(until_ms)}: there is nothing to export")
        return
    first, last = part
    try:
        begin, end = read_seal(first.body), read_seal(last.body)
    except ValueError as error:
        complain(f"a seal {error}: run `sekisho audit verify`")
        raise typer.Exit(ExitCode.REFUSED) from None
    behind = _behind(store) if first.number != 1 else None
    number = 0

    def counted(pieces: Iterator[Piece]) -> Iterator[Piece]:
        nonlocal number
        for piece in pieces:
            number += len(piece.rows)
            yield piece
            advance(number)

    with gently(), progress("exporting the audit trail", end.total - begin.total + begin.rows) as advance:
        pieces = counted(sealed_pieces(store.trail(), last.number))
        digest = write_compressed(file, export_lines(pieces, _now_ms(), behind), replace=replace)
    with store.work_aside() as work:
        told = f"{file.name}: {number} rows up to {local_time(ms_of(last.until))}, SHA-256 {digest}"
        row = work.audit_row(
            Event.AUDIT_EXPORTED,
            actor=by.name,
            source=by.source,
            reason=f"{by.reason}; {told}" if by.reason else told,
        )
        work.audit_all([row])
        record = ExportRecord(row.id, first.number, last.number, last.until, number, digest, file.name, by.name)
        note_export(work.connection, record)
    _tell(store, file, first, last, end, number, digest, until_ms)


def _behind(store: Store) -> SealRow | None:
    seals = store.seals()
    try:
        return seals.newest_drop()
    finally:
        seals.close()


def _tell(store: Store, file: Path, first: Edge, last: Edge, end: Seal, rows: int, digest: str, until_ms: int) -> None:
    from otp_core.audit import id_at, ms_of
    from otp_core.json_shapes import local_time
    from otp_core.store.audit_drops import rows_between

    say(f"{file}: seals {first.number:,} to {last.number:,}, {rows:,} rows up to {local_time(ms_of(last.until))}")
    say(f"SHA-256: {digest}")
    with store.read() as connection:
        left = rows_between(connection, last.until, id_at(until_ms))
    if left:
        say(
            f"{left:,} rows of before {local_time(until_ms)} are left for the next export: their seal goes past that "
            "moment, or is not made yet"
        )
    hint("Verify it where it is kept: `sekisho audit verify --export FILE --public-key audit.pub`.")


@contextmanager
def _written(file: Path | None) -> Iterator[Callable[[str], object]]:
    """What writes a line: into a new file (mode 0600), which is removed if it could not be finished, or to standard
    output."""
    if file is None:
        yield lambda line: typer.echo(line, nl=False)
        return
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            yield opened.write
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _now_ms() -> int:
    return int(time.time() * 1000)
