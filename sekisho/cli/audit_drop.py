"""``sekisho audit drop``: takes out of the store what was exported, and is verified to be in the file."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sekisho.cli.audit_export import Until, gently, start_of
from sekisho.cli.audit_seals import PublicKeys, audit_settings, trusted_keys
from sekisho.cli.context import CliContext, ExitCode, principal
from sekisho.cli.options import Reason
from sekisho.cli.output import complain, say
from sekisho.cli.progress import progress

if TYPE_CHECKING:
    from otp_core.accounts import Principal
    from otp_core.seals.seal import Dropped
    from otp_core.store.audit_drops import DropRecord, Edge
    from otp_core.store.store import Store

_DAY_MS = 86_400_000
_SECTION = {"syslog": "[syslog]", "webhook": "its [[webhooks]]"}


def drop(
    ctx: typer.Context,
    until: Until,
    exported: Annotated[
        Path,
        typer.Option(
            "--export", metavar="FILE", help="As `sekisho audit export --until` wrote it.", show_default=False
        ),
    ],
    public_keys: PublicKeys = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reason: Reason = "",
) -> None:
    """Take old rows of the audit trail out of the store, with their seals: those of before a day, if FILE was exported
    here, verifies, and has them row by row as the store has. A signed seal tells of it first. The last 31 days stay. If
    it is interrupted, run it once more. Logins go on meanwhile.

    \b
    Example:
      sekisho audit drop --until 2026-04-01 --export /archive/audit-2026-03.jsonl.gz
    """
    from otp_core.seals.drop import DropRefused
    from otp_core.seals.export import ExportProblem
    from otp_core.store.engine import Task

    context: CliContext = ctx.obj
    until_ms = start_of(context, until)
    audit_settings(context)
    keys, by = trusted_keys(context, public_keys or []), principal(reason)
    task = context.store.task_lock(Task.DROP)
    try:
        if not task.take():
            raise DropRefused("another `sekisho audit drop` is under way")
        with gently():
            _finish_earlier(context.store, keys, yes=yes)
            _drop(context, exported, until_ms, keys, by, yes=yes)
    except DropRefused as refused:
        complain(f"nothing was dropped: {refused}")
        raise typer.Exit(ExitCode.REFUSED) from None
    except ExportProblem as problem:
        complain(f"nothing was dropped: {exported}: {problem}")
        raise typer.Exit(ExitCode.REFUSED) from None
    finally:
        task.close()


def _finish_earlier(store: Store, keys: list[str], *, yes: bool) -> None:
    """A drop that was interrupted: its seal is made, and the file was verified then."""
    from otp_core.seals.drop import unfinished
    from otp_core.store.audit_drops import newest_drop

    with store.read() as connection:
        record = newest_drop(connection)
    if record is None or record.ended_at:
        return
    seals = store.seals()
    try:
        dropped = unfinished(seals, record, keys)
    finally:
        seals.close()
    _ask(f"A drop by {dropped.by} was interrupted: go on with it, up to {_moment(dropped.until)}?", yes=yes)
    _take_away(store, dropped, record)


def _drop(context: CliContext, file: Path, until_ms: int, keys: list[str], by: Principal, *, yes: bool) -> None:
    from otp_core.audit import id_at
    from otp_core.seals.drop import KEPT_DAYS, DropRefused
    from otp_core.store.audit_drops import newest_drop, part_before

    store = context.store
    if until_ms > _now_ms() - KEPT_DAYS * _DAY_MS:
        raise DropRefused(f"the last {KEPT_DAYS} days stay in the store: name an earlier day")
    with store.read() as connection:
        part = part_before(connection, id_at(until_ms))
        before = newest_drop(connection)
    if part is None:
        done = f": rows up to {_moment(before.until_id)} were dropped by {before.actor}" if before else ""
        say(f"nothing is left to drop of before that day{done}")
        return
    last = part[1]
    _refuse_unsent(context, last)
    dropped = _verified(store, file, last, keys, by)
    _ask(
        f"Take {dropped.rows:,} rows up to {_moment(last.until)} out of the store? Only the export has them then.",
        yes=yes,
    )
    _take_away(store, dropped, _sealed(context, dropped, by))


def _verified(store: Store, file: Path, last: Edge, keys: list[str], by: Principal) -> Dropped:
    from otp_core.regular_file import open_regular
    from otp_core.seals.drop import DropRefused, compare
    from otp_core.seals.export import read_export
    from otp_core.seals.export_file import digest_of, opened
    from otp_core.store.audit_drops import export_with

    with open_regular(file) as raw:
        digest = digest_of(raw)
        with store.read() as connection:
            record = export_with(connection, digest)
        if record is None:
            raise DropRefused(
                f"{file} is no file that `sekisho audit export --until` wrote of this store, or was changed since "
                f"(SHA-256 {digest})"
            )
        with opened(raw) as lines, progress("verifying the export", file.stat().st_size) as advance:
            compared = compare(
                read_export(lines), store.trail(), last, keys, now_ms=_now_ms(), advance=lambda _: advance(raw.tell())
            )
        if digest_of(raw) != digest:
            raise DropRefused(f"{file} was changed while it was verified")
    return compared.dropped(digest, by.name[:100])


def _refuse_unsent(context: CliContext, last: Edge) -> None:
    """Raises DropRefused if syslog or a webhook has not had these rows."""
    from otp_core.seals.drop import DropRefused
    from sekisho.outlets import outlets

    for outlet in outlets(context.settings, context.store):
        sent = outlet.position.read()
        if sent is not None and sent < last.until:
            raise DropRefused(
                f"{outlet.label} has sent rows up to {_moment(sent)} only: `sekisho doctor` says why; if they are not "
                f"to be sent at all, take {_SECTION[outlet.label.partition(':')[0]]} out of the settings"
            )


def _sealed(context: CliContext, dropped: Dropped, by: Principal) -> DropRecord:
    """The seal first, then what says that its rows may go."""
    from otp_core.audit import Event
    from otp_core.store.audit_drops import DropRecord, note_drop
    from sekisho.sealing_process import sealer_of

    sealer = sealer_of(audit_settings(context), context.store)
    try:
        seal = sealer.record_drop(dropped)
    finally:
        sealer.close()
    told = f"{dropped.rows} rows up to {_moment(dropped.until)}, seal {seal.number}, export's SHA-256 {dropped.export}"
    record = DropRecord(
        seal.number, dropped.number, dropped.until, dropped.rows, dropped.export, by.name, begun_at=_now_ms()
    )
    with context.store.work_aside() as work:
        work.audit(
            Event.AUDIT_DROPPED,
            actor=by.name,
            source=by.source,
            reason=f"{by.reason}; {told}" if by.reason else told,
        )
        note_drop(work.connection, record)
    return record


def _take_away(store: Store, dropped: Dropped, record: DropRecord) -> None:
    from otp_core.store.audit_drops import note_end, take_away

    with progress("dropping rows", dropped.rows) as advance:
        take_away(store, dropped.until, dropped.number, advance)
    with store.work_aside() as work:
        note_end(work.connection, record.seal, _now_ms())
    say(f"{dropped.rows:,} rows up to {_moment(dropped.until)} were dropped; seal {record.seal} tells of it")


def _ask(question: str, *, yes: bool) -> None:
    from otp_core.seals.drop import DropRefused

    if yes:
        return
    if not sys.stdin.isatty():
        raise DropRefused("nobody can be asked here: give --yes")
    if not typer.confirm(question, err=True):
        raise DropRefused("as you said")


def _moment(id_: int) -> str:
    from otp_core.audit import ms_of
    from otp_core.json_shapes import local_time

    return local_time(ms_of(id_)) or "the beginning"


def _now_ms() -> int:
    return int(time.time() * 1000)
