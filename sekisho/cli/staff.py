"""``sekisho staff``: who may use the console. A one-time link is printed once, and never again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from otp_core import json_shapes
from otp_core.audit import Event
from otp_core.model import Role
from otp_core.reference import reference_of
from sekisho.cli.context import CliContext, ExitCode, Stopped, principal
from sekisho.cli.options import AsJson, Reason, contract_id
from sekisho.cli.output import hint, say, say_facts, say_json, say_rows

if TYPE_CHECKING:
    from otp_core.accounts import StaffLink
    from otp_core.json_shapes import Shape

app = typer.Typer(help="Staff of the console.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the member of staff.", show_default=False)]


@app.command("add")
def add(
    ctx: typer.Context,
    name: Name,
    role: Annotated[Role, typer.Option(help="What they may do.", show_default=False)],
    account: Annotated[
        str | None,
        typer.Option(
            parser=contract_id,
            metavar="CONTRACT_ID",
            help="An account of this store whose password and code sign them in too.",
            show_default=False,
        ),
    ] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Add a member of staff, and print the link that lets them add their first passkey: good for an hour, and once.

    \b
    Examples:
      sekisho staff add sato --role administrator
      sekisho staff add suzuki.hana --role operator --account clerk-12
    """
    context: CliContext = ctx.obj
    origin = _origin(context)
    made = context.desk.staff.add(name, role, principal(reason), account=account)
    _say_link(Event.STAFF_ADDED, f"added {name} as {role}", made, origin, as_json)


@app.command("reset")
def reset(ctx: typer.Context, name: Name, reason: Reason = "", as_json: AsJson = False) -> None:
    """Begin anew with a member of staff, disabled or not: no passkey, link or session is left. Prints a new link.

    \b
    Example:
      sekisho staff reset sato --reason "lost the security key, ticket 4711"
    """
    context: CliContext = ctx.obj
    origin = _origin(context)
    made = context.desk.staff.reset(name, principal(reason))
    _say_link(Event.STAFF_RESET, f"reset {name}: their passkeys and sessions are gone", made, origin, as_json)


@app.command("role")
def role(
    ctx: typer.Context,
    name: Name,
    role: Annotated[Role, typer.Option(help="What they may do from now on.", show_default=False)],
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Give a member of staff another role, from their next click on.

    \b
    Example:
      sekisho staff role suzuki.hana --role supervisor --reason "promoted"
    """
    context: CliContext = ctx.obj
    receipt = context.desk.staff.set_role(name, role, principal(reason))
    if as_json:
        say_json(json_shapes.staff_role_changed(name, role, receipt))
    else:
        say(f"{name} is {role} now (reference {reference_of(receipt.reference)})")


@app.command("disable")
def disable(ctx: typer.Context, name: Name, reason: Reason = "", as_json: AsJson = False) -> None:
    """Let a member of staff in no more, from this moment. `sekisho staff reset` takes it back.

    \b
    Example:
      sekisho staff disable sato --reason "left the bank"
    """
    context: CliContext = ctx.obj
    receipt = context.desk.staff.disable(name, principal(reason))
    if as_json:
        say_json(json_shapes.staff_disabled(name, receipt))
    else:
        say(f"disabled {name}; their sessions have ended (reference {reference_of(receipt.reference)})")


@app.command("unlink")
def unlink(ctx: typer.Context, name: Name, reason: Reason = "", as_json: AsJson = False) -> None:
    """Unlink the single sign-on of a member of staff, and end their sessions. Their passkeys stay.

    \b
    Example:
      sekisho staff unlink sato --reason "another person's identity was linked, ticket 4711"
    """
    context: CliContext = ctx.obj
    receipt = context.desk.sign_on.unlink(name, principal(reason))
    if as_json:
        say_json(json_shapes.staff_unlinked(name, receipt))
    else:
        say(f"unlinked the single sign-on of {name} (reference {reference_of(receipt.reference)})")


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the staff, in the order of names.

    \b
    Example:
      sekisho staff list
    """
    from otp_core.store.staff import staff_lines

    context: CliContext = ctx.obj
    with context.store.read() as connection:
        shapes = [json_shapes.staff(*line) for line in staff_lines(connection)]
    if as_json:
        for shape in shapes:
            say_json(shape)
    else:
        headings = (
            "name",
            "role",
            "disabled since",
            "account",
            "passkeys",
            "single sign-on",
            "last seen",
            "link until",
        )
        say_rows(headings, (tuple(shape.values()) for shape in shapes))


@app.command("show")
def show(ctx: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Show one member of staff.

    \b
    Example:
      sekisho staff show sato --json
    """
    from otp_core.store.staff import staff_lines

    context: CliContext = ctx.obj
    with context.store.read() as connection:
        found = [json_shapes.staff(*line) for line in staff_lines(connection, name=name)]
    if not found:
        raise Stopped(f"there is no member of staff {name}: `sekisho staff list` lists them", ExitCode.REFUSED)
    (shape,) = found
    if as_json:
        say_json(shape)
    else:
        say_facts({key.replace("_", " "): value for key, value in shape.items()})


def _origin(context: CliContext) -> str:
    """The console's origin, which the link begins with. Raises Stopped where there is no console."""
    console = context.settings.console
    if console is None:
        raise Stopped(
            "the settings have no [console], whose public_origin the link begins with: add the section first",
            ExitCode.CONFIGURATION,
        )
    return console.public_origin


def _say_link(event: Event, text: str, made: StaffLink, origin: str, as_json: bool) -> None:
    address = f"{origin}/welcome/{made.secret}"
    shape: Shape = json_shapes.staff_link(event, made, address)
    if as_json:
        say_json(shape)
        return
    say(text)
    say(address)
    hint(f"{made.name} opens this link once, until {shape['expires']}, in the browser they will work with")
