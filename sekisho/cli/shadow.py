"""``sekisho shadow``: before a gateway is moved from an old server, which customers are safe to move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from sekisho.cli.context import CliContext
from sekisho.cli.options import AsJson
from sekisho.cli.output import hint, say, say_facts, say_json, say_rows
from sekisho.cli.spreadsheet import AsCsv, AsExcel, CsvPrinter, one_form

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from otp_core.store.shadow_logins import Report, Seen

app = typer.Typer(help="Before a move: the old server answers, ours is compared.", no_args_is_help=True)

_AT_ONCE = 1000
_HEADINGS = (
    "contract_id", "safe", "obstacle", "words", "advice", "logins", "agreed", "in_a_row", "refused", "let_in", "since",
    "last_at", "differed_at",
)  # fmt: skip
ClientName = Annotated[
    str, typer.Option("--client", metavar="NAME", help="Which of [[radius.clients]].", show_default=False)
]


@app.command("report")
def report(
    ctx: typer.Context,
    client: ClientName,
    customers: Annotated[
        bool, typer.Option("--customers", help="A line for each customer; --csv and --excel always have one.")
    ] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    as_excel: AsExcel = False,
) -> None:
    """Say which customers are safe to move to this server, and why the others are not.

    A customer is safe when their last two logins would have been accepted here, as they were there. It says what was
    seen up to a few seconds ago. With --json --customers each customer is a line behind the one with the counts.

    \b
    Examples:
      sekisho shadow report --client ib-gateway
      sekisho shadow report --client ib-gateway --customers
      sekisho shadow report --client ib-gateway --excel > ib-gateway.csv
    """
    one_form(as_json, as_csv, as_excel)
    context: CliContext = ctx.obj
    _known(context, client)
    from otp_core.store.shadow_logins import report as report_of

    with context.store.read() as connection:
        if as_csv or as_excel:
            table = CsvPrinter(_HEADINGS, ("contract_id",), excel=as_excel)
            for seen in _customers(connection, client):
                table.row(_cells(seen))
        elif as_json:
            from otp_core.json_shapes import shadow_customer, shadow_report

            say_json(shadow_report(client, report_of(connection, client)))
            for seen in _customers(connection, client) if customers else ():
                say_json(shadow_customer(seen))
        elif customers:
            say_rows(_HEADINGS, (_cells(seen) for seen in _customers(connection, client)))
        else:
            _say(client, report_of(connection, client))


@app.command("forget")
def forget(ctx: typer.Context, client: ClientName) -> None:
    """Take out what was compared of a client: when it has been moved, or to begin anew.

    \b
    Example:
      sekisho shadow forget --client vpn-gateway
    """
    context: CliContext = ctx.obj
    from otp_core.store.shadow_logins import forget_client

    number, gone = 0, -1
    while gone:
        with context.store.work_aside() as work:
            gone = forget_client(work.connection, client)
        number += gone
    say(f"{client}: {number} customers forgotten")


def _known(context: CliContext, name: str) -> None:
    """Raises typer.BadParameter for a client that is not in the settings."""
    clients = {one.name: one for one in context.settings.radius.clients}
    if name not in clients:
        names = ", ".join(clients) or "none"
        raise typer.BadParameter(f"the settings have no such client; they have: {names}", param_hint="--client")
    if clients[name].shadow is None:
        hint(f'Note: {name} is not in shadow mode now: shadow = "UPSTREAM" has its logins compared.')


def _customers(connection: Connection, client: str) -> Iterator[Seen]:
    from otp_core.store.shadow_logins import customers_seen

    after = ""
    while rows := customers_seen(connection, client, _AT_ONCE, after):
        yield from rows
        after = rows[-1].customer


def _cells(seen: Seen) -> list[object]:
    from otp_core.json_shapes import shadow_customer

    shape = shadow_customer(seen)
    return [shape[name] for name in _HEADINGS]


def _say(client: str, found: Report) -> None:
    from otp_core.json_shapes import local_time
    from otp_core.login.obstacles import OBSTACLE_TEXT

    if not found.total:
        say(f"{client}: nothing was compared yet")
        return
    say_facts(
        {
            "client": client,
            "compared since": local_time(found.since),
            "customers": found.total,
            "safe to move": f"{found.safe} ({found.percent} %)",
        }
    )
    for one, number in found.obstacles:
        words = OBSTACLE_TEXT[one]
        say(f"{number:>8}  {words.what}: {words.advice}")
