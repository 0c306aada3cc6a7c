"""``sekisho notice``: lists the notices that wait or have failed, and lets failed ones be tried again. Sends none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from otp_core import json_shapes
from otp_core.json_shapes import local_time
from sekisho.cli.context import CliContext
from sekisho.cli.options import AsJson, Limit
from sekisho.cli.output import hint, say, say_json, say_rows

if TYPE_CHECKING:
    from otp_core.store.outbox import Waiting

app = typer.Typer(help="Notices: e-mail to customers about changes.", no_args_is_help=True)
_HEADINGS = ("reference", "at", "contract ID", "what", "state", "tries", "next try", "cause")


@app.command("list")
def list_(
    ctx: typer.Context,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that were given up.")] = False,
    after: Annotated[int, typer.Option(metavar="REFERENCE", help="Begin after this one.")] = 0,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List the notices that wait or were given up; those that were sent are in the audit trail (notice.sent).

    \b
    Examples:
      sekisho notice list
      sekisho notice list --failed --json
    """
    from otp_core.store import outbox
    from sekisho.cli.pages import pages

    context: CliContext = ctx.obj
    state = outbox.FAILED if failed else None
    found = pages(
        context.store,
        lambda connection, behind, count: outbox.lines(connection, after=int(behind), limit=count, state=state),
        str(after),
        limit,
        lambda key: hint(f"there are more: --after {key}"),
    )
    if as_json:
        for line in found:
            say_json(json_shapes.notice(line))
    else:
        say_rows(_HEADINGS, map(_cells, found))


def _cells(line: Waiting) -> tuple[object, ...]:
    from otp_core.audit import ms_of

    at, next_at = local_time(ms_of(line.key)), local_time(line.next_at)
    return (line.key, at, line.contract_id, line.event, line.state, line.attempts, next_at, line.error)


@app.command("retry")
def retry(
    ctx: typer.Context,
    references: Annotated[
        list[int] | None, typer.Argument(metavar="[REFERENCE]...", help="Which; none given: all.", show_default=False)
    ] = None,
) -> None:
    """Try notices that were given up once more, after their cause is gone.

    \b
    Examples:
      sekisho notice retry
      sekisho notice retry 1887453412345678
    """
    from otp_core.store import outbox
    from sekisho.wiring import open_clock

    context: CliContext = ctx.obj
    now = open_clock(context.store).now()
    with context.store.work() as work:
        number = outbox.retry(work.connection, references or None, now)
    say(f"{number} {'notice is' if number == 1 else 'notices are'} due again")
