"""``sekisho token``: import, issue, show, list, retire. A seed is shown once, when it is issued, and never again."""

from __future__ import annotations

from typing import Annotated

import typer

from otp_core import json_shapes
from otp_core.json_shapes import local_time
from otp_core.model import Algorithm, Kind, SeedForm, TokenState
from sekisho.cli.context import CliContext, principal
from sekisho.cli.options import (
    AcceptAsTyped,
    AsJson,
    DryRun,
    FileEncoding,
    FromStdin,
    ImportFile,
    Limit,
    Reason,
    TokenId,
)
from sekisho.cli.output import hint, say_facts, say_json
from sekisho.cli.qr import show_qr
from sekisho.cli.spreadsheet import AsCsv, AsExcel, one_form, say_list

app = typer.Typer(help="Tokens: what shows the codes.", no_args_is_help=True)


def _issuer(text: str) -> str:
    from otp_core.settings.values import app_issuer

    try:
        return app_issuer(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@app.command("import")
def import_(
    ctx: typer.Context,
    file: ImportFile,
    dry_run: DryRun = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave tokens that exist untouched: to finish an import.")
    ] = False,
    seeds: Annotated[
        SeedForm, typer.Option(help="The second column of a file without a header. A header names it itself.")
    ] = SeedForm.HEX,
    verifier: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Who knows their codes, one of [[verifiers]]: then the file has token IDs alone, one a line.",
        ),
    ] = "local",
    encoding: FileEncoding = None,
    accept_as_typed: AcceptAsTyped = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Add the tokens of a file: all of them, or none and a list of everything that is wrong with the file.

    The columns are token_id, hexkey (the seed, 32 hexadecimal digits or more; or base32 in its place), kind (totp or
    hotp), digits (6 to 8), step (seconds; empty for hotp) and, optionally, algorithm (sha1, sha256, sha512) and counter
    (hotp: of the next code). A header is needed only for another order. Or a file of otpauth:// URIs, one a line; the
    account is the token ID. Destroy the file afterwards: it holds the seeds.

    \b
    Examples:
      sekisho token import tokens.csv --dry-run
      sekisho token import tokens.csv
      gpg -d tokens.csv.gpg | sekisho token import -
      sekisho token import vip-ids.csv --verifier vip
    \b
    tokens.csv:
      VSMT12345678,3132333435363738393031323334353637383930,totp,6,30
      VSMH00000001,3132333435363738393031323334353637383930,hotp,6,,sha1,2500
    """
    from otp_core.imports.importers import ElsewhereImporter, TokenImporter
    from sekisho.cli.run_import import run_import

    context: CliContext = ctx.obj
    if _is_elsewhere(context, verifier):
        from_there = ElsewhereImporter(
            context.store,
            principal(reason or f"file {file}"),
            skip_existing,
            verifier,
            as_typed=accept_as_typed,
        )
        run_import(context, from_there, file, dry_run=dry_run, as_json=as_json, encoding=encoding)
        return
    importer = TokenImporter(
        context.store,
        principal(reason or f"file {file}"),
        skip_existing,
        seeds=seeds,
        as_typed=accept_as_typed,
    )
    run_import(context, importer, file, dry_run=dry_run, as_json=as_json, encoding=encoding)


def _is_elsewhere(context: CliContext, verifier: str) -> bool:
    """Whether a verifier of this name is somewhere else. Raises BadParameter for one that is none."""
    if verifier == "local":
        return False
    sections = {one.name: one for one in context.settings.verifiers}
    if verifier not in sections:
        known = ", ".join(["local", *sections])
        raise typer.BadParameter(f"no [[verifiers]] has the name {verifier!r}; known: {known}", param_hint="--verifier")
    return sections[verifier].type != "local"


@app.command("issue")
def issue(
    ctx: typer.Context,
    kind: Annotated[Kind, typer.Option(help="Codes by the clock, or by a counter.")] = Kind.TOTP,
    algorithm: Annotated[Algorithm, typer.Option(help="Many authenticator apps know sha1 only.")] = Algorithm.SHA1,
    digits: Annotated[int, typer.Option(min=6, max=8)] = 6,
    step: Annotated[int, typer.Option(min=10, max=300, metavar="SECONDS")] = 30,
    issuer: Annotated[str, typer.Option(parser=_issuer, metavar="TEXT", help="What the app calls us.")] = "Sekisho",
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Make a new token for an authenticator app, and show its seed this once; on a terminal as a QR code too.

    \b
    Example:
      sekisho token issue --issuer "Example Bank"
    """
    from otp_core.otp import spec_of

    context: CliContext = ctx.obj
    issued = context.desk.tokens.issue(principal(reason), spec=spec_of(kind, algorithm, digits, step), issuer=issuer)
    if as_json:
        say_json(json_shapes.issued_token(issued))
        return
    say_facts({"token ID": issued.token_id, "secret": issued.secret, "URI": issued.uri})
    show_qr(issued.uri)
    hint("The secret is shown this once: hand it over by a safe way, and keep it nowhere.")


@app.command("show")
def show(ctx: typer.Context, token_id: TokenId, as_json: AsJson = False) -> None:
    """Show everything about one token except its seed.

    \b
    Example:
      sekisho token show "vsmt 1234-5678"
    """
    from otp_core.accounts import Refusal, Refused
    from otp_core.store.queries import token_line

    context: CliContext = ctx.obj
    with context.store.read() as connection:
        line = token_line(connection, token_id)
    if line is None:
        raise Refused(Refusal.UNKNOWN_TOKEN, token_id)
    facts = json_shapes.token(line)
    if as_json:
        say_json(facts)
    else:
        say_facts(facts)


@app.command("list")
def list_(
    ctx: typer.Context,
    state: Annotated[TokenState | None, typer.Option(help="Only these.")] = None,
    search: Annotated[str, typer.Option(metavar="TEXT", help="How a token ID begins.")] = "",
    after: Annotated[str, typer.Option(metavar="TOKEN_ID", help="Begin after this one.")] = "",
    limit: Limit = 100,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    as_excel: AsExcel = False,
) -> None:
    """List tokens in the order of their IDs. JSON: one object a line.

    \b
    Example:
      sekisho token list --state available --limit 20
    """
    from otp_core.store.queries import tokens
    from sekisho.cli.pages import pages

    one_form(as_json, as_csv, as_excel)
    context: CliContext = ctx.obj
    lines = pages(
        context.store,
        lambda connection, after, count: tokens(connection, after=after, limit=count, search=search, state=state),
        after,
        limit,
        lambda last: hint(f"there are more: --after {last}, or --limit 0 for all"),
    )
    if as_json:
        for line in lines:
            say_json(json_shapes.token(line))
    else:
        headings = ("token ID", "state", "customer", "verifier", "kind", "algorithm", "digits", "drift", "last code")
        cells = (
            (
                *(one.token_id, one.state, one.contract_id, one.verifier),
                *(one.kind, one.algorithm, one.digits, one.drift),
                local_time(one.last_at),
            )
            for one in lines
        )
        say_list(headings, cells, ids=("token ID", "customer"), as_csv=as_csv, as_excel=as_excel)


@app.command("retire")
def retire(ctx: typer.Context, token_id: TokenId, reason: Reason = "", as_json: AsJson = False) -> None:
    """Retire a token: it is never accepted again. One that a customer holds is changed or reported lost instead.

    \b
    Example:
      sekisho token retire VSMT12345678 --reason "broken on delivery"
    """
    from sekisho.cli.acts import done

    context: CliContext = ctx.obj
    done("token.retired", f"retired {token_id}", context.desk.tokens.retire(token_id, principal(reason)), as_json)


@app.command("resync")
def resync(
    ctx: typer.Context, token_id: TokenId, reason: Reason = "", stdin: FromStdin = False, as_json: AsJson = False
) -> None:
    """Resynchronise a token that nobody holds, by two codes that follow one another: a counter token after a restore.

    A customer's token: `sekisho resync CONTRACT_ID`.

    \b
    Examples:
      sekisho token resync VSMH00000001
      ./form | sekisho token resync VSMH00000001
    """
    from sekisho.cli.acts import done
    from sekisho.cli.secret_input import ask

    context: CliContext = ctx.obj
    desk = context.desk
    first, second = ask("code that the token shows", "next code, as soon as it shows", from_stdin=stdin)
    receipt = desk.enrolment.resynchronise_free(token_id, first, second, principal(reason))
    done("token.resynchronised", f"resynchronised {token_id}", receipt, as_json)
