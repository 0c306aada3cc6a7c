"""``sekisho session``: lists and ends the sessions of the customers' own pages. It never shows a session's id."""

from __future__ import annotations

from typing import Annotated

import typer

from otp_core import json_shapes
from sekisho.cli.context import CliContext, principal
from sekisho.cli.options import AsJson, ContractId, Limit, Reason
from sekisho.cli.output import hint, say, say_json, say_rows

app = typer.Typer(help="Sessions of the customers' own pages.", no_args_is_help=True)


@app.command("list")
def list_(
    ctx: typer.Context,
    customer: Annotated[str | None, typer.Option(metavar="CONTRACT_ID", help="Only this customer's.")] = None,
    after: Annotated[int, typer.Option(metavar="NUMBER", help="Begin after this one.")] = 0,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List sessions, the oldest first. A session without a customer has not signed in yet.

    \b
    Examples:
      sekisho session list
      sekisho session list --customer 1234567 --json
    """
    from otp_core.store.sessions import session_lines
    from sekisho.cli.pages import pages

    context: CliContext = ctx.obj
    lines = pages(
        context.store,
        lambda connection, after, count: session_lines(connection, after=int(after), limit=count, contract_id=customer),
        str(after),
        limit,
        lambda last: hint(f"there are more: --after {last}, or --limit 0 for all"),
    )
    if as_json:
        for line in lines:
            say_json(json_shapes.session(line))
    else:
        cells = (tuple(json_shapes.session(line).values()) for line in lines)
        say_rows(("number", "contract ID", "from", "began", "last seen", "ends"), cells)


@app.command("revoke")
def revoke(ctx: typer.Context, contract_id: ContractId, reason: Reason = "", as_json: AsJson = False) -> None:
    """End every session of a customer at once. Tokens that were issued in them and not confirmed are retired.

    \b
    Example:
      sekisho session revoke 1234567 --reason "somebody else at the keyboard, ticket 4711"
    """
    context: CliContext = ctx.obj
    ended = context.desk.sessions.end_of(contract_id, principal(reason))
    if as_json:
        say_json(json_shapes.sessions_ended(contract_id, ended))
    else:
        say(f"ended {ended} session{'' if ended == 1 else 's'} of {contract_id}")
