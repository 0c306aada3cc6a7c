"""``sekisho upstream``: lists the RADIUS servers and directories that are asked about logins, and tries them. It
changes nothing here; a password that is tried counts there.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sekisho.cli.context import CliContext, ExitCode
from sekisho.cli.options import AsJson
from sekisho.cli.output import say, say_json, say_rows
from sekisho.cli.silent_log import without_log

if TYPE_CHECKING:
    from otp_core.settings import FirstFactorSettings, UpstreamSettings
    from otp_core.upstreams.servers import Server
    from otp_core.upstreams.upstream import Upstream
    from sekisho.settings import Settings

    _Section = UpstreamSettings | FirstFactorSettings

app = typer.Typer(help="Upstreams: RADIUS servers and directories that check passwords.", no_args_is_help=True)
_HEADINGS = ("name", "servers", "first factors", "asked by")


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the upstreams and directories of the settings, the first factors that ask them, and who names those.

    \b
    Example:
      sekisho upstream list
    """
    context: CliContext = ctx.obj
    settings = context.settings
    rows = [
        _row(one.name, list(map(str, one.servers)), _factors_of(one, settings), settings) for one in settings.upstreams
    ]
    rows += [_row(one.name, list(one.urls), [one.name], settings) for one in _directories(settings)]
    if as_json:
        for row in rows:
            say_json(row)
    else:
        say_rows(_HEADINGS, (list(map(_cell, row.values())) for row in rows))


def _cell(value: str | list[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _factors_of(upstream: UpstreamSettings, settings: Settings) -> list[str]:
    return [one.name for one in settings.first_factors if one.upstream == upstream.name]


def _directories(settings: Settings) -> list[FirstFactorSettings]:
    return [one for one in settings.first_factors if one.type == "ldap"]


def _row(name: str, servers: list[str], factors: list[str], settings: Settings) -> dict[str, Any]:
    users = [client.name for client in settings.radius.clients if client.first_factor in factors]
    profiles = settings.pam.profiles if settings.pam else ()
    users += [f"pam:{profile.name}" for profile in profiles if profile.first_factor in factors]
    users += ["web"] if settings.web is not None and settings.web.first_factor in factors else []
    return {"name": name, "servers": servers, "first_factors": factors, "asked_by": users}


@app.command("test")
def try_(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which upstream or directory.", show_default=False)],
    user: Annotated[
        str | None, typer.Option(metavar="USER", help="Try a login with this User-Name too.", show_default=False)
    ] = None,
    password: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password of that login; at a terminal without echo.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask each server of an upstream or directory for a sign of life and, with --user, for a login. Exit code 1: one is
    silent.

    A reply that is signed with another secret is told apart from silence; a server that gives none is asked about
    nobody, unsigned, because many drop what is signed with another secret. The login is asked for at every server, and
    counts there like any other; what is wrong with the password is no failure of this command.

    \b
    Examples:
      sekisho upstream test core
      sekisho upstream test directory --user 1234567 --password-stdin
    """
    context: CliContext = ctx.obj
    known: list[_Section] = [*context.settings.upstreams, *_directories(context.settings)]
    section = next((one for one in known if one.name == name), None)
    if section is None:
        names = ", ".join(one.name for one in known) or "none"
        raise typer.BadParameter(f"the settings have no such upstream; they have: {names}", param_hint="NAME")
    if (user is None) is password:
        raise typer.BadParameter("--user and --password-stdin go together", param_hint="--user")
    text = ""
    if password:
        from sekisho.cli.secret_input import ask

        (text,) = ask("password", from_stdin=False)
    with without_log():
        found = asyncio.run(_tried_at(section, user, text))
    for row in found:
        if as_json:
            say_json(row)
        else:
            say(f"{'ok' if row['answers'] else 'FAIL':<4}  {row['server']}: {row['asked']}: {row['found']}")
    if not all(row["answers"] for row in found):
        raise typer.Exit(ExitCode.REFUSED)


async def _tried_at(section: _Section, user: str | None, password: str) -> list[dict[str, Any]]:
    from otp_core.settings import UpstreamSettings

    if isinstance(section, UpstreamSettings):
        return await _tried(section, user, password)
    from sekisho.cli.upstream_directories import tried_directory

    return await tried_directory(section, user, password)


async def _tried(section: UpstreamSettings, user: str | None, password: str) -> list[dict[str, Any]]:
    """One row for each question to each server."""
    from dataclasses import replace

    from otp_core.upstreams.upstream import Upstream
    from sekisho.first_factors import plan_of

    # By itself it would look for signs of life too.
    upstream = Upstream(replace(plan_of(section), status_server=False))
    try:
        rows = []
        for server in upstream.servers:
            if section.status_server:
                rows.append(await _sign_of_life(upstream, server))
            if user is not None:
                rows.append(await _login(upstream, server, user, password))
        return rows
    finally:
        await upstream.close()


async def _sign_of_life(upstream: Upstream, server: Server) -> dict[str, Any]:
    begun = time.monotonic()
    cause = await upstream.examine(server)
    return _found(server, "Status-Server", cause == "", cause or _answered("Access-Accept", begun))


async def _login(upstream: Upstream, server: Server, user: str, password: str) -> dict[str, Any]:
    import os

    from otp_core.model import BackendSilent, Forwarded
    from otp_core.radius.codec import AttributeType, CannotAsk, PacketCode
    from otp_core.upstreams.forwarding import Asked
    from otp_core.upstreams.upstream import NO_REPLY

    plan, begun = upstream.plan, time.monotonic()
    told = Forwarded(user.encode(), "utf-8", ((int(AttributeType.NAS_IDENTIFIER), b"sekisho-upstream-test"),))
    asked = Asked(told, password.encode(), plan.secret, os.urandom(8))
    deadline = asyncio.get_running_loop().time() + plan.timeout * plan.tries
    try:
        reply = await upstream.ask(asked.write, deadline, str(server.address))
    except CannotAsk as error:
        return _found(server, "login", False, str(error))
    except BackendSilent as error:
        why = await upstream.why_silent(server) if str(error).endswith(NO_REPLY) else ""
        return _found(server, "login", False, f"{error}: {why}" if why else str(error))
    return _found(server, "login", True, _answered(PacketCode(reply.packet.code).title, begun))


def _answered(what: str, begun: float) -> str:
    return f"{what} after {1000 * (time.monotonic() - begun):.1f} ms"


def _found(server: Server, asked: str, answers: bool, found: str) -> dict[str, Any]:
    return {"server": str(server.address), "asked": asked, "answers": answers, "found": found}
