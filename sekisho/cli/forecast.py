"""``sekisho forecast``: whom of the last days other settings would have refused or let in. It changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from otp_core.model import Mode
from sekisho.cli.context import CliContext
from sekisho.cli.options import AsJson
from sekisho.cli.output import hint, say, say_facts, say_json
from sekisho.cli.spreadsheet import AsCsv, AsExcel, CsvPrinter, one_form

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from otp_core.forecast.outcome import Forecast
    from otp_core.forecast.run import Bounds
    from radius_server.settings import ClientSettings

app = typer.Typer(help="What would happen: whom of the last days other settings would refuse.", no_args_is_help=True)

_DAY_MS = 86_400_000
_NAMES = 20
"""Customers that are named of each change, for people."""

Days = Annotated[int, typer.Option("--days", min=1, max=7, metavar="N", help="So many days back, 1 to 7.")]
WithoutToken = Literal["password", "reject"]


@app.command("client")
def client(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which of [[radius.clients]].", show_default=False)],
    mode: Annotated[Mode | None, typer.Option("--mode", help="Another mode.", show_default=False)] = None,
    without_token: Annotated[
        WithoutToken | None, typer.Option("--without-token", help="Another without_token.", show_default=False)
    ] = None,
    require_message_authenticator: Annotated[
        bool | None,
        typer.Option(
            "--require-message-authenticator/--no-require-message-authenticator",
            help="Whether requests without one are dropped.",
            show_default=False,
        ),
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(
            "--separator",
            metavar="TEXT",
            help="What stands between password and code; '' for nothing.",
            show_default=False,
        ),
    ] = None,
    days: Days = 7,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    as_excel: AsExcel = False,
) -> None:
    """Say whom of the last days another mode, without_token, Message-Authenticator or separator of a client would have
    refused or let in. Nothing is spent, nothing is counted, no setting is changed.

    What a customer typed is never kept: what depends on that alone is called untold.

    \b
    Examples:
      sekisho forecast client ib-gateway --mode append
      sekisho forecast client vpn --without-token reject --days 3 --csv
      sekisho forecast client vpn --require-message-authenticator --json
    """
    from otp_core.forecast.run import forecast_client
    from otp_core.forecast.tried import client_change
    from sekisho.wiring import rules_of

    one_form(as_json, as_csv, as_excel)
    context: CliContext = ctx.obj
    was = _client(context, name)
    try:
        would = was.trying(mode, without_token, require_message_authenticator, separator)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--separator") from None
    try:
        change = client_change(
            was.name,
            was.policy,
            would.policy,
            protected=was.require_message_authenticator,
            would_protect=would.require_message_authenticator,
            realms=bool(was.realms),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    rules = rules_of(context.settings)
    found = _read(context, days, lambda connection, bounds: forecast_client(connection, change, rules, bounds))
    _print(found, {"client": name}, as_json=as_json, as_csv=as_csv, as_excel=as_excel)


@app.command("policy")
def policy(
    ctx: typer.Context,
    lock_after: Annotated[
        int | None, typer.Option("--lock-after", metavar="N", help="Another login.lock_after.", show_default=False)
    ] = None,
    code_window: Annotated[
        int | None, typer.Option("--code-window", metavar="N", help="Another login.code_window.", show_default=False)
    ] = None,
    days: Days = 7,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    as_excel: AsExcel = False,
) -> None:
    """Say whom of the last days another lock_after or code_window would have locked, refused or let in. Nothing is
    spent, nothing is counted, no setting is changed.

    \b
    Examples:
      sekisho forecast policy --lock-after 5
      sekisho forecast policy --code-window 2 --days 3 --json
    """
    from otp_core.forecast.run import forecast_rules
    from otp_core.forecast.tried import other_rules
    from sekisho.wiring import rules_of

    one_form(as_json, as_csv, as_excel)
    context: CliContext = ctx.obj
    was = rules_of(context.settings)
    try:
        would = other_rules(was, lock_after, code_window)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    kept = context.settings.log.verdicts != "none"
    found = _read(
        context,
        days,
        lambda connection, bounds: forecast_rules(connection, was, would, bounds, misses_kept=kept),
    )
    facts = {"lock_after": f"{was.lock_after} -> {would.lock_after}", "code_window": f"{was.window} -> {would.window}"}
    _print(found, facts, as_json=as_json, as_csv=as_csv, as_excel=as_excel)


def _client(context: CliContext, name: str) -> ClientSettings:
    """Raises typer.BadParameter for one that is not in the settings."""
    clients = context.settings.radius.clients
    found = next((one for one in clients if one.name == name), None)
    if found is None:
        names = ", ".join(one.name for one in clients) or "none"
        raise typer.BadParameter(f"the settings have no such client; they have: {names}", param_hint="NAME")
    return found


def _read(context: CliContext, days: int, make: Callable[[Connection, Bounds], Forecast]) -> Forecast:
    """Raises StoreUnavailable, and what opening the store raises."""
    from otp_core.forecast.run import Bounds
    from sekisho.cli.progress import progress

    until = int(time.time() * 1000)
    since = until - days * _DAY_MS
    with context.store.read() as connection, progress("reading the audit trail", until - since) as advance:
        return make(connection, Bounds(since, until, advance=advance))


def _print(found: Forecast, facts: dict[str, str], *, as_json: bool, as_csv: bool, as_excel: bool) -> None:
    from otp_core.forecast.outcome import NOTE_TEXT
    from otp_core.json_shapes import forecast, local_time

    if as_json:
        say_json(forecast(found))
    elif as_csv or as_excel:
        _print_rows(found, excel=as_excel)
    else:
        asked = {"from": local_time(found.since), "to": local_time(found.until)}
        say_facts({**facts, **asked, "logins": f"{found.logins:,}, of which {found.let_in:,} were let in"})
        _say_changes(found)
    for note in found.notes if not as_json else ():
        hint(f"Note: {NOTE_TEXT[note]}")


def _say_changes(found: Forecast) -> None:
    from otp_core.forecast.outcome import CHANGE_TEXT

    for change, affected in found.shown():
        number = f"{affected.customers:,}{'+' if affected.more else ''}"
        say(f"{CHANGE_TEXT[change]}: {affected.logins:,} (customers: {number})")
        for one in affected.named(_NAMES):
            say(f"  {one.customer}  {one.number}")
        if affected.customers > _NAMES:
            say(f"  and {affected.customers - _NAMES:,} more (all of them: --csv)")
    if not found.shown():
        say("nobody would have fared otherwise")


def _print_rows(found: Forecast, *, excel: bool) -> None:
    from otp_core.audit import ms_of
    from otp_core.json_shapes import local_time

    table = CsvPrinter(("change", "customer", "number", "last", "audit_row"), ("customer", "audit_row"), excel=excel)
    for change, affected in found.shown():
        for one in affected.named():
            table.row((str(change), one.customer, one.number, local_time(ms_of(one.last)), one.last))
