"""The acts on a customer's use of one-time passwords: enrol, suspend, resume, change, report-lost, permit-reissue,
resync. Each is one call of the desk, which decides. Codes and permits come from a prompt or from standard input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from otp_core import json_shapes
from otp_core.audit import Event
from otp_core.json_shapes import local_time
from otp_core.model import OtpUse
from otp_core.reference import reference_of
from sekisho.cli.context import CliContext, principal
from sekisho.cli.options import AsJson, ContractId, FromStdin, Reason, TokenId, TokenName, WhichToken
from sekisho.cli.options import token_id as token_id_option
from sekisho.cli.output import hint, say, say_json

if TYPE_CHECKING:
    from otp_core.accounts import Receipt


def add_to(app: typer.Typer) -> None:
    """Add the acts as commands of their own, because a helpdesk types them all day."""
    for name, act in (
        ("enrol", enrol),
        ("suspend", suspend),
        ("resume", resume),
        ("change", change),
        ("report-lost", report_lost),
        ("permit-reissue", permit_reissue),
        ("resync", resync),
    ):
        app.command(name)(act)


def done(event: str, text: str, receipt: Receipt, as_json: bool) -> None:
    """Say what an act did, with the reference number of its audit row, as the customer's page and mail show it."""
    if as_json:
        say_json(json_shapes.receipt(event, receipt))
    else:
        say(f"{text} (reference {reference_of(receipt.reference)})")


def enrol(
    ctx: typer.Context,
    contract_id: ContractId,
    token_id: TokenId,
    name: TokenName = None,
    reason: Reason = "",
    stdin: FromStdin = False,
    as_json: AsJson = False,
) -> None:
    """Bind an available token to a customer, by a code that it shows now.

    \b
    Examples:
      sekisho enrol 1234567 VSMT12345678
      ./form | sekisho enrol 1234567 "vsmt 1234 5678"
    """
    from sekisho.cli.secret_input import ask

    context: CliContext = ctx.obj
    context.open()
    (code,) = ask("code that the token shows", from_stdin=stdin)
    by = principal(reason)
    receipt = context.act(lambda desk: desk.enrolment.enrol(contract_id, token_id, code, by, name=name))
    done(Event.ENROLLED, f"enrolled {contract_id} with {token_id}", receipt, as_json)


def suspend(
    ctx: typer.Context,
    contract_id: ContractId,
    with_code: Annotated[
        bool, typer.Option("--with-code", help="Only against a code of the customer's token.")
    ] = False,
    reason: Reason = "",
    stdin: FromStdin = False,
    as_json: AsJson = False,
) -> None:
    """Password only from now on. The token stays with the customer.

    \b
    Examples:
      sekisho suspend 1234567 --reason "asked in writing"
      sekisho suspend 1234567 --with-code
    """
    from sekisho.cli.secret_input import ask

    context: CliContext = ctx.obj
    context.open()
    code = ask("code that the token shows", from_stdin=stdin)[0] if with_code else None
    by = principal(reason)
    receipt = context.act(lambda desk: desk.enrolment.suspend(contract_id, code, by))
    done(Event.SUSPENDED, f"suspended {contract_id}: password only from now on", receipt, as_json)


def resume(ctx: typer.Context, contract_id: ContractId, reason: Reason = "", as_json: AsJson = False) -> None:
    """End a suspension: the tokens that the customer had work again.

    \b
    Example:
      sekisho resume 1234567 --reason "ticket 4711"
    """
    context: CliContext = ctx.obj
    receipt = context.desk.enrolment.resume(contract_id, principal(reason))
    whose = receipt.token or "one of their tokens"
    done(Event.RESUMED, f"resumed {contract_id}: the code of {whose} is needed again", receipt, as_json)


def change(
    ctx: typer.Context,
    contract_id: ContractId,
    token_id: TokenId,
    permit: Annotated[
        bool, typer.Option("--permit", help="By a reissue permit, in place of the old token's code.")
    ] = False,
    replacing: Annotated[
        str | None,
        typer.Option(
            "--replacing",
            parser=token_id_option,
            metavar="TOKEN_ID",
            help="The token that goes, of a customer who has several.",
            show_default=False,
        ),
    ] = None,
    name: TokenName = None,
    reason: Reason = "",
    stdin: FromStdin = False,
    as_json: AsJson = False,
) -> None:
    """Change to a new token: the old one works until this moment, and never again.

    Asks for the old token's code (or the permit), then for the new token's. Of a customer who has several tokens, any
    one's code will do, and --replacing says which one goes.

    \b
    Examples:
      sekisho change 1234567 VSMT87654321
      sekisho change 1234567 VSMT87654321 --replacing VSMT12345678 --name "new phone"
      ./form | sekisho change 1234567 VSMT87654321 --permit
    """
    from sekisho.cli.secret_input import ask

    context: CliContext = ctx.obj
    context.open()
    old = "reissue permit" if permit else "code that the old token shows"
    proof, code = ask(old, "code that the new token shows", from_stdin=stdin)
    given = (contract_id, proof, token_id, code, principal(reason))
    if permit:
        receipt = context.act(lambda desk: desk.enrolment.change_by_permit(*given, name=name))
    else:
        receipt = context.act(lambda desk: desk.devices.change(*given, goes=replacing, name=name))
    done(Event.DEVICE_CHANGED, f"changed the token of {contract_id} to {token_id}", receipt, as_json)


def report_lost(
    ctx: typer.Context,
    contract_id: ContractId,
    token: WhichToken = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Refuse a customer's token everywhere from this moment: it is lost or stolen. Others that they have go on working.

    \b
    Examples:
      sekisho report-lost 1234567 --reason "left in a taxi, ticket 4711"
      sekisho report-lost 1234567 --token VSMT12345678
    """
    context: CliContext = ctx.obj
    desk = context.desk
    receipt = desk.enrolment.report_lost(contract_id, principal(reason), token_id=token)
    others = desk.customers.login_record(contract_id).otp_use != OtpUse.LOST
    next_ = "their other tokens go on working" if others else f"next: sekisho permit-reissue {contract_id}"
    event = Event.ONE_REPORTED_LOST if others else Event.REPORTED_LOST
    done(event, f"reported {receipt.token} of {contract_id} lost; {next_}", receipt, as_json)


def permit_reissue(ctx: typer.Context, contract_id: ContractId, reason: Reason = "", as_json: AsJson = False) -> None:
    """Permit a customer who lost a token to enrol a new one. The permit is shown this once; a new one replaces it.

    \b
    Example:
      sekisho permit-reissue 1234567 --reason "identity checked, ticket 4711"
    """
    context: CliContext = ctx.obj
    permit = context.desk.enrolment.permit_reissue(contract_id, principal(reason))
    if as_json:
        say_json(json_shapes.permit(contract_id, permit))
        return
    say(f"permit for {contract_id}: {permit.text}")
    say(f"good until:  {local_time(permit.expires_at)}")
    hint("It is shown this once: hand it over by another way than the login password.")


def resync(
    ctx: typer.Context,
    contract_id: ContractId,
    token: WhichToken = None,
    reason: Reason = "",
    stdin: FromStdin = False,
    as_json: AsJson = False,
) -> None:
    """Resynchronise a token whose clock or counter is too far off, by two codes that follow one another.

    \b
    Examples:
      sekisho resync 1234567
      ./form | sekisho resync 1234567 --token VSMT12345678
    """
    from sekisho.cli.secret_input import ask

    context: CliContext = ctx.obj
    desk = context.desk
    first, second = ask("code that the token shows", "next code, as soon as it shows", from_stdin=stdin)
    receipt = desk.enrolment.resynchronise(contract_id, first, second, principal(reason), token_id=token)
    done(Event.TOKEN_RESYNCHRONISED, f"resynchronised {receipt.token} of {contract_id}", receipt, as_json)
