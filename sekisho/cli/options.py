"""Arguments and options that several commands share. They are checked before the store is opened."""

from __future__ import annotations

from typing import Annotated

import typer

from otp_core.model import Encoding
from otp_core.otp import LONGEST_TYPED, normalise_contract_id, normalise_token_id


def contract_id(text: str) -> str:
    """A contract ID as the store has it. Raises typer.BadParameter."""
    return _text(normalise_contract_id(text), "the customer's contract ID")


def token_id(text: str) -> str:
    """A token ID as the store has it, from any grouping, case and width. Raises typer.BadParameter."""
    return _text(normalise_token_id(text), "the token's ID, for example VSMT12345678")


def _text(text: str, form: str) -> str:
    if len(text) > LONGEST_TYPED:
        raise typer.BadParameter(f"is longer than {LONGEST_TYPED} characters: write {form}")
    if not text or not text.isprintable():  # an argument that is not UTF-8 is not printable either
        raise typer.BadParameter(f"write {form}")
    return text


ContractId = Annotated[
    str, typer.Argument(parser=contract_id, metavar="CONTRACT_ID", help="The customer.", show_default=False)
]
TokenId = Annotated[
    str,
    typer.Argument(
        parser=token_id, metavar="TOKEN_ID", help="The token, in any grouping, case and width.", show_default=False
    ),
]
WhichToken = Annotated[
    str | None,
    typer.Option(
        "--token",
        parser=token_id,
        metavar="TOKEN_ID",
        help="Which one, of a customer who has several.",
        show_default=False,
    ),
]
TokenName = Annotated[
    str | None,
    typer.Option("--name", metavar="TEXT", help='What the customer calls the token: "my phone".', show_default=False),
]
Reason = Annotated[
    str, typer.Option(metavar="TEXT", help="Why, or a ticket number, for the audit trail.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a script.")]
FromStdin = Annotated[
    bool, typer.Option("--stdin", help="Read secrets from standard input, a line each, even at a terminal.")
]
Limit = Annotated[int, typer.Option(min=0, metavar="N", help="At most so many (0: all).")]
ImportFile = Annotated[str, typer.Argument(metavar="FILE.csv", help="CSV; - reads standard input.", show_default=False)]


def _encoding(text: str) -> Encoding | None:
    from otp_core.imports import encoding_named

    try:
        return encoding_named(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


FileEncoding = Annotated[
    Encoding | None,
    typer.Option(
        "--encoding",
        parser=_encoding,
        metavar="NAME",
        help="Of the file; left out, it is found out (UTF-8, UTF-16 or CP932).",
        show_default=False,
    ),
]
AcceptAsTyped = Annotated[
    bool, typer.Option("--accept-as-typed", help="Cells that look damaged by a spreadsheet are right as they stand.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check the whole file and change nothing.")]
