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
    """Say that this machine's clock is right now, after it was wrong. Running servers go on within a second.

    \b
    Example:
      sekisho trust-clock --reason "the hardware clock was in local time"
    """
    from otp_core.json_shapes import local_time
    from otp_core.timekeeper import trust_present_time
    from sekisho.wiring import open_clock

    context: CliContext = ctx.obj
    store = context.store
    clock, who = open_clock(store), principal(reason)
    trust_present_time(store, clock, actor=who.name, reason=who.reason)
    say(f"the clock is taken to be right: {local_time(clock.now())}")
