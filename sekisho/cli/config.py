"""``sekisho config``: checks, shows and describes the settings. It shows no secret and changes nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from sekisho.cli.context import CliContext
from sekisho.cli.output import hint, say

app = typer.Typer(help="The settings.", no_args_is_help=True)


@app.command("check")
def check(ctx: typer.Context) -> None:
    """Read the settings as the server would, and report every problem and risk. Exit code 3 for a problem.

    \b
    Example:
      sekisho --config new.toml config check && systemctl reload sekisho
    """
    context: CliContext = ctx.obj
    for warning in context.configuration.read().warnings:
        hint(f"warning: {warning}")
    say(f"{context.config or 'the environment'}: the settings hold")


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
