"""The command line ``sekisho``: one module for each noun, put together here.

A command parses its arguments, calls the desk and prints the outcome. Modules that take long to import are imported
inside the commands, so that ``--help`` answers at once. No secret has to be written as an argument.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from sekisho import demo
from sekisho.cli import (
    acts,
    api_keys,
    audit,
    backup,
    clock,
    config,
    customers,
    devices,
    doctor,
    explain,
    forecast,
    nodes,
    notices,
    pam,
    server,
    sessions,
    shadow,
    staff,
    store,
    tokens,
    upstreams,
    verifiers,
)
from sekisho.cli.context import CliContext, Commands, ExitCode, default_config
from sekisho.cli.output import complain

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Exit codes:
  0    done
  1    refused, or a problem was found (a file, doctor); nothing was changed
  2    the command line itself is not right
  3    the settings are not right: `sekisho config check` tells where
  4    the store, its key, a file, a port or the clock cannot be used now
  5    serve ended, because what it writes may be lost; start it again, and it
       puts the store right
  130  interrupted

Passwords, codes and permits are asked for without echo, or read from standard
input, a line each; not written on the command line, where `ps` shows them (only
`explain login --code` takes a code there).""",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version
        from importlib.util import find_spec

        hot = find_spec("otp_core.login.evaluate")
        compiled = hot is not None and not str(hot.origin).endswith(".py")
        typer.echo(f"sekisho {version('sekisho')}{', compiled' if compiled else ''}")
        raise typer.Exit


@app.callback()
def _sekisho(
    ctx: typer.Context,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            envvar="SEKISHO_CONFIG",
            help="The settings. [default: /etc/sekisho/sekisho.toml, if it is there]",
            show_default=False,
        ),
    ] = None,
    secrets_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            envvar="SEKISHO_SECRETS_DIR",
            help="A folder with secrets, a file each. [default: systemd's credentials, if there are any]",
            show_default=False,
        ),
    ] = None,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """One-time-password login over RADIUS.

    \b
    Begin with:
      sekisho --config sekisho.toml config check
      sekisho --config sekisho.toml init
      sekisho --config sekisho.toml serve
    """
    ctx.obj = CliContext(config_file or default_config(), secrets_dir)


server.add_to(app)
app.add_typer(customers.app, name="customer")
app.add_typer(tokens.app, name="token")
app.add_typer(devices.app, name="device")
app.add_typer(sessions.app, name="session")
app.add_typer(staff.app, name="staff")
app.add_typer(store.app, name="store")
app.add_typer(api_keys.app, name="api-key")
acts.add_to(app)
app.add_typer(audit.app, name="audit")
backup.add_to(app)
clock.add_to(app)
nodes.add_to(app)
app.add_typer(doctor.app, name="doctor")
app.add_typer(explain.app, name="explain")
app.add_typer(forecast.app, name="forecast")
app.add_typer(notices.app, name="notice")
app.add_typer(shadow.app, name="shadow")
app.add_typer(upstreams.app, name="upstream")
app.add_typer(verifiers.app, name="verifier")
app.add_typer(config.app, name="config")
demo.add_to(app)
pam.add_to(app, doctor.app)


def main() -> None:
    """The entry point. Ends the process with an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _refuse_what_is_no_text(sys.argv[1:])
    app()


def _refuse_what_is_no_text(words: list[str]) -> None:
    """Octets that the terminal's encoding does not know, or cut off inside a letter: the store holds text alone. The
    word is not shown, because it may be a code."""
    for number, word in enumerate(words, 1):
        try:
            word.encode()
        except UnicodeEncodeError:
            complain(f"argument {number} is no text in UTF-8: is the terminal set to another encoding?")
            sys.exit(ExitCode.USAGE)
