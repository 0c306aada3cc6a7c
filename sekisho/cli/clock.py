"""``sekisho trust-clock``: the operator says that the clock is right. A running server believes it within a second."""

from __future__ import annotations

import typer

from sekisho.cli.context import CliContext, principal
from sekisho.cli.options import Reason
from sekisho.cli.output import say


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("trust-clock")(trust_clock)


def trust_clock(ctx: typer.Context, reason: Reason = "") -> None:
    """Say that this machine's clock is right now, after it was wrong. Running servers go on within a second. What still
    has a time of the future is put right, and each customer whom it concerned is listed.

    \b
    Example:
      sekisho trust-clock --reason "the hardware clock was in local time"
    """
    from otp_core.json_shapes import local_time
    from otp_core.timekeeper import trust_present_time
    from sekisho.wiring import open_clock, rules_of

    context: CliContext = ctx.obj
    store, rules = context.store, rules_of(context.settings)
    clock, who = open_clock(store), principal(reason)
    repaired = trust_present_time(store, clock, rules, **who.audit_fields)
    say(f"the clock is taken to be right: {local_time(clock.now())}")
    for one in repaired:
        say(f"{one.contract_id or '(nobody)'}  {one.token_id or ''}  {one.what}; taken back")
