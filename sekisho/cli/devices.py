"""``sekisho device``: the tokens of a customer who has several, or may have: added, removed, named. Each is one call of
the desk, which decides.
"""

from __future__ import annotations

from typing import Annotated

import typer

from otp_core.audit import Event
from sekisho.cli.acts import done
from sekisho.cli.context import CliContext, principal
from sekisho.cli.options import AsJson, ContractId, FromStdin, Reason, TokenId, TokenName

app = typer.Typer(
    help="A customer's tokens, where they may have several (login.tokens_per_customer).", no_args_is_help=True
)


@app.command("add")
def add(
    ctx: typer.Context,
    contract_id: ContractId,
    token_id: TokenId,
    name: TokenName = None,
    reason: Reason = "",
    stdin: FromStdin = False,
    as_json: AsJson = False,
) -> None:
    """Bind one more token to a customer: those that they have go on working.

    Asks for a code of a token that they have, then for the new token's.

    \b
    Examples:
      sekisho device add 1234567 VSMT87654321 --name "PC"
      ./form | sekisho device add 1234567 VSMT87654321
    """
    from sekisho.cli.secret_input import ask

    context: CliContext = ctx.obj
    context.open()
    old, code = ask("code that a token of the customer's shows", "code that the new token shows", from_stdin=stdin)
    by = principal(reason)
    receipt = context.act(lambda desk: desk.devices.add(contract_id, old, token_id, code, by, name=name))
    done(Event.TOKEN_ADDED, f"added {token_id} to the tokens of {contract_id}", receipt, as_json)


@app.command("remove")
def remove(
    ctx: typer.Context,
    contract_id: ContractId,
    token_id: TokenId,
    with_code: Annotated[
        bool, typer.Option("--with-code", help="Only against a code of one of the customer's tokens.")
    ] = False,
    reason: Reason = "",
    stdin: FromStdin = False,
    as_json: AsJson = False,
) -> None:
    """Retire one of a customer's tokens; the others go on working. The only one is changed or suspended instead.

    \b
    Example:
      sekisho device remove 1234567 VSMT12345678 --reason "the old telephone, asked in writing"
    """
    from sekisho.cli.secret_input import ask

    context: CliContext = ctx.obj
    context.open()
    code = ask("code that a token of the customer's shows", from_stdin=stdin)[0] if with_code else None
    by = principal(reason)
    receipt = context.act(lambda desk: desk.devices.remove(contract_id, code, token_id, by))
    done(Event.TOKEN_REMOVED, f"removed {token_id} from the tokens of {contract_id}", receipt, as_json)


@app.command("name")
def rename(
    ctx: typer.Context,
    contract_id: ContractId,
    token_id: TokenId,
    name: Annotated[str, typer.Argument(metavar="NAME", help='As "my phone"; "" for none.', show_default=False)],
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """What one of a customer's tokens is called, on their page and by staff.

    \b
    Example:
      sekisho device name 1234567 VSMT12345678 "my phone"
    """
    context: CliContext = ctx.obj
    receipt = context.desk.devices.rename(contract_id, token_id, name, principal(reason))
    done(Event.TOKEN_NAMED, f"named {token_id} of {contract_id}", receipt, as_json)
