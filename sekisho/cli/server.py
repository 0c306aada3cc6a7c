"""``sekisho init`` makes or upgrades the store; ``sekisho serve`` runs the server."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated

import typer

from sekisho.cli.context import CliContext
from sekisho.cli.contract_ids import fold_contract_ids
from sekisho.cli.output import complain, hint, say
from sekisho.cli.progress import progress


def add_to(app: typer.Typer) -> None:
    """Add both commands."""
    app.command("init")(init)
    app.command("serve")(serve)


def init(
    ctx: typer.Context,
    contract: Annotated[
        bool,
        typer.Option("--contract", help="Also take away what only older versions use: when none runs any more."),
    ] = False,
) -> None:
    """Make the store, its master key and the key of the seals, or bring an older store up to date. Safe to repeat, and
    on several machines at once. What it adds is nothing that the version before would miss: that one goes on.

    \b
    Examples:
      sekisho --config /etc/sekisho/sekisho.toml init
      sekisho --config /etc/sekisho/sekisho.toml init --contract
    """
    from otp_core.audit import Ids
    from otp_core.store.store import initialise

    context: CliContext = ctx.obj
    store = context.settings.store
    for warning in context.loaded.warnings:
        if warning.key.startswith("store."):
            hint(f"warning: {warning}")
    initialise(store.address, store.master_key_file, ids=Ids(), say=say, progress=progress, contract=contract)
    if context.settings.audit is not None:
        _make_seal_key(context, context.settings.audit.seal_key_file)
    fold_contract_ids(context)


def _make_seal_key(context: CliContext, path: Path) -> None:
    from otp_core.seals.keys import create_seal_key, read_seal_key
    from otp_core.store.queries import newest_seal

    is_sealed = False
    if not path.exists():  # asked before: a server that runs seals with the new key at once
        with context.store.read() as connection:
            is_sealed = newest_seal(connection) is not None
    if create_seal_key(path):
        say(f"created the key of the seals {path} (mode 0600): back it up, apart from the store")
        if is_sealed:
            complain(
                "the seals of before were made with another key: if you have that, put it back in the new one's "
                "place before you serve; otherwise `sekisho audit verify` needs both public keys (docs/audit.md)"
            )
    read_seal_key(path)


def serve(
    ctx: typer.Context,
    trust_clock: Annotated[
        bool,
        typer.Option(
            "--trust-clock", help="The clock is right now, though it is behind the audit trail: after a repair."
        ),
    ] = False,
    doors: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Serve these doors alone: radius, web, console, api, pam, separated by commas."
        ),
    ] = None,
) -> None:
    """Run the server until SIGTERM or SIGINT. SIGHUP reads the settings again. The web doors have a process of their
    own beside the RADIUS workers; with --doors several units on one machine can share the work.

    \b
    Examples:
      sekisho --config /etc/sekisho/sekisho.toml serve
      sekisho --config /etc/sekisho/sekisho.toml serve --doors radius,pam
    """
    gc.disable()  # what is imported stays: looking through it for what could go costs a tenth of the start
    from sekisho.doors import NAMES
    from sekisho.serve import run

    gc.freeze()
    gc.enable()
    context: CliContext = ctx.obj
    asked_for = NAMES if doors is None else [name.strip() for name in doors.split(",")]
    if unknown := [name for name in asked_for if name not in NAMES]:
        raise typer.BadParameter(
            f"{unknown[0]!r} is no door: write one or more of {', '.join(NAMES)}", param_hint="--doors"
        )
    raise typer.Exit(run(context.configuration, trust_clock=trust_clock, doors=asked_for))
