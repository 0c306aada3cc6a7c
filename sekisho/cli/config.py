"""``sekisho config``: checks, shows and describes the settings. It shows no secret and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sekisho.cli.context import CliContext
from sekisho.cli.output import hint, say

if TYPE_CHECKING:
    from otp_core.settings.sections import StoreSettings

app = typer.Typer(help="The settings.", no_args_is_help=True)


@app.command("check")
def check(ctx: typer.Context) -> None:
    """Read the settings as the server would, and report every problem and risk. Exit code 3 for a problem; 4 if the
    store cannot be used: it does not answer, this user may not write it, or this version is too old or too new for it.

    \b
    Example:
      sekisho --config new.toml config check && systemctl reload sekisho
    """
    context: CliContext = ctx.obj
    loaded = context.configuration.read()
    for warning in loaded.warnings:
        hint(f"warning: {warning}")
    say(f"{context.config or 'the environment'}: the settings hold")
    _check_store(loaded.settings.store)


def _check_store(settings: StoreSettings) -> None:
    """Raises StoreProblem and StoreUnavailable."""
    from otp_core.store.engines import open_database
    from otp_core.store.revisions import refuse_unfit
    from sekisho.wiring import COMMAND_BUSY_SECONDS

    database = open_database(settings.address, busy_seconds=COMMAND_BUSY_SECONDS)
    try:
        if not database.exists():
            hint(f"there is no store in {database.place} yet: `sekisho init` makes it")
            return
        found = database.revisions()
        refuse_unfit(found, database.place)
        database.refuse_read_only()
        say(f"the store {database.place} can be used: its schema is {found.text}")
    finally:
        database.engine.dispose()


@app.command("show")
def show(ctx: typer.Context) -> None:
    """Show the settings in force as TOML, and where each comes from. Secrets are masked.

    \b
    Example:
      sekisho config show | grep lock_after
    """
    from otp_core.settings import show as as_toml

    context: CliContext = ctx.obj
    typer.echo(as_toml(context.settings, context.loaded.sources), nl=False)


@app.command("schema")
def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="A table for people instead.")] = False,
) -> None:
    """Print the JSON Schema of the settings file, for editors that complete and check TOML.

    \b
    Example:
      sekisho config schema > sekisho.schema.json
    """
    import json

    from otp_core.settings import describe_schema, markdown_table
    from sekisho.settings import Settings

    text = markdown_table(Settings) if markdown else json.dumps(describe_schema(Settings), indent=2, ensure_ascii=False)
    typer.echo(text.encode(), nl=not markdown)
