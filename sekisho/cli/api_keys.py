"""``sekisho api-key``: keys of programs that use the API. A key is printed once, and never again."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

import typer

from otp_core import json_shapes
from otp_core.json_shapes import local_time
from otp_core.model import Scope
from otp_core.reference import reference_of
from sekisho.cli.context import CliContext, principal
from sekisho.cli.options import AsJson, Reason
from sekisho.cli.output import hint, say, say_json, say_rows

app = typer.Typer(help="Keys of programs that use the API.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Of the key: the program that it is for.", show_default=False)
]


def _network(text: str) -> IPv4Network | IPv6Network:
    from otp_core.settings.values import read_network

    try:
        return read_network(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--network") from None


@app.command("create")
def create(
    ctx: typer.Context,
    name: Name,
    scope: Annotated[
        list[Scope], typer.Option("--scope", help="What the key is for; once for each.", show_default=False)
    ],
    network: Annotated[
        list[str] | None,
        typer.Option(
            "--network",
            metavar="CIDR",
            help="Where the program is: an address or a network, once for each. Left out: anywhere.",
            show_default=False,
        ),
    ] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Make a key for a program, and print it this once: the last word of the line.

    \b
    Examples:
      sekisho api-key create call-centre --scope customers:read --scope customers:write
      sekisho api-key create vpn --scope check:password --scope check:code --network 10.1.2.0/24
    """
    context: CliContext = ctx.obj
    networks = [_network(one) for one in network or ()]
    made = context.desk.api_keys.create(name, scope, principal(reason), networks=networks)
    if as_json:
        say_json(json_shapes.api_key_created(made))
        return
    say(f"made the API key {name} for {' '.join(sorted(made.record.scopes))}: {made.secret}")
    hint("It is shown this once: keep it where the program reads its secrets.")


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the keys, in the order of names; never what a program sends.

    \b
    Example:
      sekisho api-key list
    """
    from otp_core.store.api_keys import api_keys

    context: CliContext = ctx.obj
    with context.store.read() as connection:
        found = api_keys(connection)
    if as_json:
        for record in found:
            say_json(json_shapes.api_key(record))
    else:
        rows = (
            (one.name, " ".join(sorted(one.scopes)), " ".join(one.networks), local_time(one.created_at))
            for one in found
        )
        say_rows(("name", "scopes", "networks", "created"), rows)


@app.command("revoke")
def revoke(ctx: typer.Context, name: Name, reason: Reason = "", as_json: AsJson = False) -> None:
    """Let nobody in by a key from this moment. A new one of the same name can be made.

    \b
    Example:
      sekisho api-key revoke call-centre --reason "was in a log, ticket 4711"
    """
    context: CliContext = ctx.obj
    receipt = context.desk.api_keys.revoke(name, principal(reason))
    if as_json:
        say_json(json_shapes.api_key_revoked(name, receipt))
    else:
        say(f"revoked the API key {name} (reference {reference_of(receipt.reference)})")
