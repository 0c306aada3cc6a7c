"""``sekisho audit``: shows the audit trail as text, JSON or CSV, and follows it. It changes nothing."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from otp_core import json_shapes
from otp_core.audit import Event, id_at, ms_of
from otp_core.json_shapes import local_time
from otp_core.reference import ids_of, reference_of
from sekisho.cli import audit_drop, audit_export, audit_seals
from sekisho.cli.context import CliContext
from sekisho.cli.options import AsJson
from sekisho.cli.options import contract_id as read_contract_id
from sekisho.cli.options import token_id as read_token_id
from sekisho.cli.output import say, say_json, visible
from sekisho.cli.spreadsheet import AsCsv, AsExcel, CsvPrinter, one_form

if TYPE_CHECKING:
    from otp_core.store.queries import AuditFilter, AuditLine
    from otp_core.store.store import Store

_PAGE = 1000
_NEWEST = 100
_POLL_SECONDS = 0.5
_DAY_MS = 24 * 3_600_000
_OVERLAP_MS = 2000
"""How far back each look of ``--follow`` reads again. A row gets its number before it is committed, so a slower
process's row can appear after a newer one."""

_FIRST_YEAR, _LAST_YEAR = 1971, 2199
"""What the numbers of audit rows can express (audit.Ids), in every time zone."""

_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_HEADINGS = ("id", "time", "event", "actor", "customer", "token", "source", "reason", "node")
_IDS = ("id", "customer", "token")


def moment(text: str, now: datetime) -> int:
    """A point in time in milliseconds since the epoch, from an ISO date or time (local unless it names a zone) or from
    a distance back from ``now`` (``2h``). Raises ValueError with the right form."""
    ago = _AGO.fullmatch(text)
    try:
        then = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else datetime.fromisoformat(text)
        if not _FIRST_YEAR <= then.year <= _LAST_YEAR:
            raise ValueError
        return int(then.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise ValueError("write 2026-04-01, 2026-04-01T09:30, 2026-04-01T09:30+09:00, or 30m, 2h, 7d ago") from None


def _moment(text: str) -> int:
    try:
        return moment(text, datetime.now().astimezone())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _event(text: str) -> str:
    if not text or not any(event.startswith(text) for event in Event):
        raise typer.BadParameter(f"write one of {', '.join(Event)}, or the beginning of some")
    return text


Customer = Annotated[
    str | None,
    typer.Option(
        parser=read_contract_id,
        metavar="CONTRACT_ID",
        help="Or any other name that was typed as one: of those that are no customer's the trail keeps fingerprints.",
    ),
]
Token = Annotated[str | None, typer.Option(parser=read_token_id, metavar="TOKEN_ID", help="Unknown ones too.")]
EventName = Annotated[
    str | None, typer.Option(parser=_event, metavar="EVENT", help="Or its beginning: login, otp., customer.locked")
]


def _reference(text: str) -> str:
    try:
        ids_of(text, 0)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return text


Reference = Annotated[
    str | None,
    typer.Option(
        parser=_reference,
        metavar="REFERENCE",
        help="The reference number (受付番号) that a customer's page or mail shows.",
    ),
]
Actor = Annotated[str | None, typer.Option(metavar="NAME", help="A gateway, or a user of the command line.")]
Since = Annotated[int | None, typer.Option(parser=_moment, metavar="TIME", help="2026-04-01T09:30 (local), or 2h ago.")]
Until = Annotated[int | None, typer.Option(parser=_moment, metavar="TIME", help="Before this time.")]
Newest = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="The newest N (0: all). [default: 100, or all with --since]")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on as rows come, until ^C.")]


app = typer.Typer(invoke_without_command=True)
app.command("verify")(audit_seals.verify)
app.command("export")(audit_export.export)
app.command("drop")(audit_drop.drop)
app.command("public-key")(audit_seals.public_key)
app.command("new-key")(audit_seals.new_key)


@app.callback()
def audit(
    ctx: typer.Context,
    customer: Customer = None,
    token: Token = None,
    event: EventName = None,
    actor: Actor = None,
    reference: Reference = None,
    since: Since = None,
    until: Until = None,
    limit: Newest = None,
    follow: Follow = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    as_excel: AsExcel = False,
) -> None:
    """Show the audit trail, the newest entries last; JSON: one object a line. Or verify its seals, by a command below.

    \b
    Examples:
      sekisho audit --customer 1234567 --since 7d
      sekisho audit --reference K7MX4PQR
      sekisho audit --event login.rejected --follow
      sekisho audit --since 2026-04-01 --until 2026-05-01 --excel > april.csv
    """
    if ctx.invoked_subcommand is not None:
        return
    from otp_core.store.queries import AuditFilter

    one_form(as_json, as_csv, as_excel)
    after, before = 0 if since is None else id_at(since) - 1, None if until is None else id_at(until)
    context: CliContext = ctx.obj
    fingerprint = context.store.sealer.name_fingerprint
    wanted = AuditFilter(
        customer,
        token,
        event,
        actor,
        after,
        before,
        None if customer is None else fingerprint(customer),
        None if token is None else fingerprint(token),
        () if customer is None else _former(context.store, customer),
    )
    if reference is not None:
        wanted = _within(wanted, *ids_of(reference, newest=id_at(int(time.time() * 1000) + _DAY_MS)))
    if limit is None:
        limit = _NEWEST if since is None and reference is None else 0
    show = _show_json if as_json else _csv_show(as_excel) if as_csv or as_excel else _show_text
    _show(context.store, wanted, limit, follow, show)


def _within(wanted: AuditFilter, first: int, last: int) -> AuditFilter:
    """The same rows, if their numbers are from ``first`` to ``last``."""
    before = last + 1 if wanted.before is None else min(wanted.before, last + 1)
    return replace(wanted, after=max(wanted.after, first - 1), before=before)


def _former(store: Store, customer: str) -> tuple[str, ...]:
    from otp_core.store.queries import former_contract_ids

    with store.read() as connection:
        return former_contract_ids(connection, customer)


def _show(store: Store, wanted: AuditFilter, limit: int, follow: bool, show: Callable[[AuditLine], None]) -> None:
    """``limit``: the newest so many rows (0: all). With ``follow`` it does not return."""
    tail = _Tail(store, wanted) if follow else None
    for line in _newest_rows(store, wanted, limit) if limit else _all_rows(store, wanted):
        show(line)
        if tail is not None:
            tail.was_shown(line)
    while tail is not None:
        sys.stdout.flush()
        time.sleep(_POLL_SECONDS)
        for line in tail.rows():
            show(line)


class _Tail:
    """The rows that are added from now on, each once, also those that are committed after newer ones."""

    def __init__(self, store: Store, wanted: AuditFilter) -> None:
        self._store, self._wanted = store, wanted
        self._newest = self._newest_id()
        self._seen = {line.id for line in self._recent()}

    def was_shown(self, line: AuditLine) -> None:
        """Leave this row out of ``rows``."""
        self._seen.add(line.id)

    def rows(self) -> list[AuditLine]:
        """What was added since the last call."""
        newest, recent = self._newest_id(), self._recent()
        rows = [line for line in recent if line.id not in self._seen]
        self._newest, self._seen = newest, {line.id for line in recent}
        return rows

    def _newest_id(self) -> int:
        from otp_core.store.queries import newest_audit_id

        with self._store.read() as connection:
            return newest_audit_id(connection)

    def _recent(self) -> list[AuditLine]:
        after = max(self._wanted.after, id_at(max(0, ms_of(self._newest) - _OVERLAP_MS)))
        return list(_all_rows(self._store, replace(self._wanted, after=after)))


def _newest_rows(store: Store, wanted: AuditFilter, limit: int) -> list[AuditLine]:
    from otp_core.store.audit_lookup import look

    with store.read() as connection:
        return look(connection, wanted, limit=limit, newest_first=True).rows[::-1]


def _all_rows(store: Store, wanted: AuditFilter) -> Iterator[AuditLine]:
    from otp_core.store.audit_lookup import look

    while True:
        with store.read() as connection:
            rows = look(connection, wanted, limit=_PAGE, newest_first=False).rows
        yield from rows
        if len(rows) < _PAGE:
            return
        wanted = replace(wanted, after=rows[-1].id)


def _show_text(line: AuditLine) -> None:
    whom = " ".join(filter(None, (line.customer, line.token)))
    reason = f": {line.reason}" if line.reason else ""
    say(
        visible(
            f"{_time(line)}  {reference_of(line.id)}  {line.event:<22} {whom}  by {line.actor}{_from(line)}{reason}"
        )
    )


def _from(line: AuditLine) -> str:
    return f" from {line.source}" if line.source else ""


def _show_json(line: AuditLine) -> None:
    say_json(json_shapes.audit_row(line))


def _csv_show(excel: bool) -> Callable[[AuditLine], None]:
    table = CsvPrinter(_HEADINGS, _IDS, excel=excel)
    return lambda line: table.row((line.id, _time(line), *line[1:]))


def _time(line: AuditLine) -> str:
    return local_time(ms_of(line.id)) or ""
