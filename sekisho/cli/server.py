"""``sekisho init`` makes or upgrades the store; ``sekisho serve`` runs the server."""

from __future__ import annotations

from typing import Annotated

import typer

from sekisho.cli.context import CliContext
from sekisho.cli.contract_ids import fold_contract_ids
from sekisho.cli.output import say


def add_to(app: typer.Typer) -> None:
    """Add both commands."""
    app.command("init")(init)
    app.command("serve")(serve)


def init(ctx: typer.Context) -> None:
    """Make the store and its master key, or bring an older store up to date. Safe to repeat.

    \b
    Example:
      sekisho --config /etc/sekisho/sekisho.toml init
    """
    from otp_core.audit import Ids
    from otp_core.store.store import initialise

    context: CliContext = ctx.obj
    store = context.settings.store
    initialise(store.url, store.master_key_file, ids=Ids(), say=say)
    fold_contract_ids(context)


def serve(
    ctx: typer.Context,
    trust_clock: Annotated[
        bool,
        typer.Option(
            "--trust-clock", help="The clock is right now, though it is behind the audit trail: after a repair."
        ),
    ] = False,
) -> None:
    """Run the server until SIGTERM or SIGINT. SIGHUP reads the settings again.

    \b
    Example:
      sekisho --config /etc/sekisho/sekisho.toml serve
    """
    from sekisho.serve import run

    context: CliContext = ctx.obj
    raise typer.Exit(run(context.configuration, trust_clock=trust_clock))
