"""``sekisho config``: check, show, schema. Shows no secret; changes nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from otp_core.cli.context import Office
from otp_core.cli.output import hint, say

app = typer.Typer(help="The settings.", no_args_is_help=True)


@app.command("check")
def check(ctx: typer.Context) -> None:
    """Read the settings as the server would, and say all that is wrong or risky. Exit code 3 if they do not hold.

    \b
    Example:
      sekisho --config new.toml config check && systemctl reload sekisho
    """
    office: Office = ctx.obj
    for warning in office.configuration.read().warnings:
        hint(f"warning: {warning}")
    say(f"{office.config or 'the environment'}: the settings hold")


@app.command("show")
def show(ctx: typer.Context) -> None:
    """Show the settings that hold as TOML, and where each comes from. Secrets are masked.

    \b
    Example:
      sekisho config show | grep lock_after
    """
    from otp_core.settings import show as as_toml

    office: Office = ctx.obj
    typer.echo(as_toml(office.settings, office.loaded.places), nl=False)


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

    typer.echo(markdown_table() if markdown else json.dumps(describe_schema(), indent=2), nl=not markdown)
