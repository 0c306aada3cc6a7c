"""``sekisho session``: who is on the customers' own pages now, and how to send them away. No session's id is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sekisho.cli.context import CliContext, principal
from sekisho.cli.options import AsJson, ContractId, Limit, Reason
from sekisho.cli.output import hint, local_time, say, say_json, say_rows

if TYPE_CHECKING:
    from otp_core.store.sessions import SessionLine

app = typer.Typer(help="Sessions of the customers' own pages.", no_args_is_help=True)


@app.command("list")
def list_(
    ctx: typer.Context,
    customer: Annotated[str | None, typer.Option(metavar="CONTRACT_ID", help="Only this customer's.")] = None,
    after: Annotated[int, typer.Option(metavar="NUMBER", help="Begin behind this one.")] = 0,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List sessions, the oldest first. Those without a customer wait for a right password.

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
            say_json(_facts(line))
    else:
        say_rows(("number", "contract ID", "from", "began", "last seen", "ends"), map(_cells, lines))


@app.command("revoke")
def revoke(ctx: typer.Context, contract_id: ContractId, reason: Reason = "", as_json: AsJson = False) -> None:
    """End every session of a customer at once. Tokens that were issued in them and not confirmed are retired.

    \b
    Example:
      sekisho session revoke 1234567 --reason "somebody else at the keyboard, ticket 4711"
    """
    context: CliContext = ctx.obj
    ended = context.desk.end_sessions_of(contract_id, principal(reason))
    if as_json:
        say_json({"done": "session.ended", "customer": contract_id, "sessions": ended})
    else:
        say(f"ended {ended} session{'' if ended == 1 else 's'} of {contract_id}")


def _facts(line: SessionLine) -> dict[str, object]:
    return {
        "number": line.key,
        "contract_id": line.contract_id,
        "source": line.source,
        "began": local_time(line.created_at),
        "last_seen": local_time(line.seen_at),
        "ends": local_time(line.expires_at),
    }


def _cells(line: SessionLine) -> tuple[object, ...]:
    return tuple(_facts(line).values())
