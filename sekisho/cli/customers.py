"""``sekisho customer``: add, edit, import, show, list, rename, lock, unlock. Never shows a password or its hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from otp_core import json_shapes
from otp_core.json_shapes import local_time
from otp_core.model import Language, OtpUse, attributes_text
from sekisho.cli.context import CliContext, principal
from sekisho.cli.options import (
    AcceptAsTyped,
    AsJson,
    ContractId,
    DryRun,
    FileEncoding,
    FromStdin,
    ImportFile,
    Limit,
    Reason,
)
from sekisho.cli.options import contract_id as new_contract_id
from sekisho.cli.output import hint, say, say_facts, say_json
from sekisho.cli.spreadsheet import AsCsv, AsExcel, one_form, say_list

if TYPE_CHECKING:
    from otp_core.imports import CustomerRow
    from otp_core.store.queries import CustomerLine
    from sekisho.settings import Settings

app = typer.Typer(help="Customers: who logs in.", no_args_is_help=True)

WithPassword = Annotated[
    bool, typer.Option("--password", help="Ask for a login password; without it, none is checked here.")
]
TextLanguage = Annotated[Language | None, typer.Option(help="Of the texts; left out: the gateway's.")]
Attributes = Annotated[
    str, typer.Option(metavar="NAME=VALUE;…", help="RADIUS attributes of this customer's Access-Accepts.")
]


@app.command("add")
def add(
    ctx: typer.Context,
    contract_id: ContractId,
    password: WithPassword = False,
    name: Annotated[str | None, typer.Option(metavar="TEXT")] = None,
    reading: Annotated[str | None, typer.Option(metavar="KANA", help="How the name is read.")] = None,
    email: Annotated[str | None, typer.Option(metavar="ADDRESS")] = None,
    language: TextLanguage = None,
    attributes: Attributes = "",
    reason: Reason = "",
    stdin: FromStdin = False,
    as_json: AsJson = False,
) -> None:
    """Add one customer, who has not enrolled yet.

    \b
    Examples:
      sekisho customer add 1234567 --name "山田 太郎" --reading "ヤマダ タロウ" --language ja
      pass show bank/1234567 | sekisho customer add 1234567 --password
      sekisho customer add 1234567 --attributes "Filter-Id=gold;Session-Timeout=3600"
    """
    from sekisho.cli.secret_input import ask_new_password

    context: CliContext = ctx.obj
    row = _checked(context, contract_id=contract_id, name=name, reading=reading, email=email, attributes=attributes)
    desk = context.desk
    secret = ask_new_password(from_stdin=stdin) if password else None
    receipt = desk.customers.add(
        row.contract_id,
        principal(reason),
        password_hash=_hashed(secret, context.settings) if secret else None,
        name=row.name,
        email=row.email,
        language=language,
        attributes=row.attributes,
        reading=row.reading,
    )
    if as_json:
        say_json(json_shapes.customer_added(receipt))
    else:
        say(f"added {contract_id}{'' if secret else ' (no password is checked here)'}")


def _checked(context: CliContext, **cells: str | None) -> CustomerRow:
    """The customer that the options describe, by the same rules as a row of an import. Raises typer.BadParameter."""
    from otp_core.imports import read_customer
    from sekisho.doors import attribute_check

    try:
        row = read_customer(**{name: cell or "" for name, cell in cells.items()})
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if row.attributes and (problems := attribute_check(context.settings)(row.attributes)):
        raise typer.BadParameter("; ".join(problems), param_hint="--attributes")
    return row


def _hashed(password: str, settings: Settings) -> str:
    from otp_core.first_factor.hashes import hash_password
    from otp_core.first_factor.password_forms import canonical
    from sekisho.wiring import cost_of

    return hash_password(canonical(password), cost_of(settings))


@app.command("edit")
def edit(
    ctx: typer.Context,
    contract_id: ContractId,
    name: Annotated[str | None, typer.Option(metavar="TEXT")] = None,
    reading: Annotated[str | None, typer.Option(metavar="KANA", help="How the name is read.")] = None,
    email: Annotated[str | None, typer.Option(metavar="ADDRESS")] = None,
    language: Annotated[str | None, typer.Option(metavar="ja|en", help="Of the texts.")] = None,
    attributes: Annotated[
        str | None, typer.Option(metavar="NAME=VALUE;…", help="RADIUS attributes of this customer's Access-Accepts.")
    ] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Change what is known of a customer: what is named, and nothing else. An empty text takes it away.

    \b
    Examples:
      sekisho customer edit 1234567 --email taro@example.jp --reason "form of 2 April"
      sekisho customer edit 1234567 --attributes ""
    """
    from sekisho.cli.acts import done

    given = {"name": name, "reading": reading, "email": email, "language": language, "attributes": attributes}
    given = {field: text for field, text in given.items() if text is not None}
    if not given:
        raise typer.BadParameter("say what is to be changed: --name, --reading, --email, --language or --attributes")
    context: CliContext = ctx.obj
    row = _checked(context, contract_id=contract_id, **given)
    before = context.desk.customers.details(contract_id)
    cells = {
        "name": row.name,
        "reading": row.reading,
        "email": row.email,
        "language": row.language,
        "attributes": attributes_text(row.attributes),
    }
    after = before._replace(**{field: cells[field] for field in given})
    receipt = context.desk.customers.edit(contract_id, before, after, principal(reason))
    done("customer.edited", f"changed {', '.join(given)} of {contract_id}", receipt, as_json)


@app.command("import")
def import_(
    ctx: typer.Context,
    file: ImportFile,
    dry_run: DryRun = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave customers who exist untouched: to finish an import.")
    ] = False,
    encoding: FileEncoding = None,
    accept_as_typed: AcceptAsTyped = False,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Add the customers of a file: all of them, or none and a list of everything that is wrong with the file.

    The header names the columns, in any order; only contract_id is needed. password is hashed here; or bring a
    password_hash (argon2, bcrypt, PBKDF2, sha256-crypt, sha512-crypt, yescrypt). Neither: no password is checked here.
    token_id binds that token at once, without a code (for a migration): import the tokens first. Several stand in one
    cell, with semicolons between them. attributes are Name=value;Name="value with a ;" or a JSON object.

    \b
    Examples:
      sekisho customer import customers.csv --dry-run
      sekisho customer import customers.csv
      gpg -d customers.csv.gpg | sekisho customer import -
    \b
    customers.csv:
      contract_id,password,token_id,name,reading,email,language,attributes
      1234567,correct horse,VSMT12345678,山田 太郎,ヤマダ タロウ,taro@example.jp,ja,Filter-Id=gold
      1234568,,,,,,,
    """
    from otp_core.imports.importers import CustomerImporter
    from sekisho.cli.run_import import run_import
    from sekisho.wiring import import_rules

    context: CliContext = ctx.obj
    importer = CustomerImporter(
        context.store,
        context.desk,
        import_rules(context.settings),
        principal(reason or f"file {file}"),
        skip_existing,
        as_typed=accept_as_typed,
    )
    run_import(context, importer, file, dry_run=dry_run, as_json=as_json, encoding=encoding)


@app.command("show")
def show(ctx: typer.Context, contract_id: ContractId, as_json: AsJson = False) -> None:
    """Show what is known of one customer. What happened: `sekisho audit --customer`.

    \b
    Example:
      sekisho customer show 1234567
    """
    from otp_core.accounts import Refusal, Refused
    from otp_core.store.queries import customer_line

    context: CliContext = ctx.obj
    with context.store.read() as connection:
        line = customer_line(connection, contract_id)
    if line is None:
        raise Refused(Refusal.UNKNOWN_CUSTOMER, contract_id)
    facts = json_shapes.customer(line)
    if as_json:
        say_json(facts)
    else:
        held = "yes" if line.password_held else "no"
        say_facts(facts | {"password_held": held, "attributes": line.attributes, "tokens": None} | _tokens(line))


@app.command("list")
def list_(
    ctx: typer.Context,
    use: Annotated[OtpUse | None, typer.Option(help="Only these, by their use of one-time passwords.")] = None,
    locked: Annotated[bool, typer.Option("--locked", help="Only customers who are locked.")] = False,
    search: Annotated[
        str, typer.Option(metavar="TEXT", help="How a contract ID, token ID, name, reading or e-mail begins.")
    ] = "",
    after: Annotated[str, typer.Option(metavar="CONTRACT_ID", help="Begin after this one.")] = "",
    limit: Limit = 100,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    as_excel: AsExcel = False,
) -> None:
    """List customers in the order of their contract IDs. JSON: one object a line.

    \b
    Examples:
      sekisho customer list --locked
      sekisho customer list --use lost --limit 0 --json
    """
    from otp_core.store.queries import customers
    from sekisho.cli.pages import stretches

    one_form(as_json, as_csv, as_excel)
    context: CliContext = ctx.obj
    lines = stretches(
        context.store,
        lambda connection, after, count: customers(
            connection, after=after, limit=count, search=search, use=use, locked=locked
        ),
        after,
        limit,
        lambda last: hint(f"there are more: --after {last}, or --limit 0 for all"),
    )
    if as_json:
        for line in lines:
            say_json(json_shapes.customer(line))
    else:
        headings = ("contract ID", "use of OTP", "token", "locked", "name", "last code")
        say_list(headings, map(_cells, lines), ids=("contract ID", "token"), as_csv=as_csv, as_excel=as_excel)


def _tokens(line: CustomerLine) -> dict[str, str]:
    """A fact for each token."""
    facts = {}
    for number, one in enumerate(line.tokens, 1):
        since, last = local_time(one.bound_at), local_time(one.last_at)
        about = [one.state, one.name and f'"{one.name}"', since and f"since {since}", last and f"last code {last}"]
        heading = "token" if len(line.tokens) == 1 else f"token {number}"
        facts[heading] = f"{one.token_id} ({', '.join(filter(None, about))})"
    return facts


def _cells(line: CustomerLine) -> tuple[object, ...]:
    token_ids = " ".join(held.token_id for held in line.tokens)
    last_code = local_time(max((held.last_at for held in line.tokens), default=0))
    return (line.contract_id, line.otp_use, token_ids or None, line.locked_at and "locked", line.name, last_code)


@app.command("rename")
def rename(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD_ID", help="As stored, or as it is typed.", show_default=False)],
    new: Annotated[
        str, typer.Argument(parser=new_contract_id, metavar="NEW_ID", help="Not taken yet.", show_default=False)
    ],
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Give a customer another contract ID. Password, token, locks and sessions: the first three stay, sessions end.

    \b
    Example:
      sekisho customer rename 1234567 7654321 --reason "branch merged"
    """
    from sekisho.cli.acts import done

    context: CliContext = ctx.obj
    receipt = context.desk.contract_ids.rename(old, new, principal(reason))
    done("customer.renamed", f"renamed {old} to {new}", receipt, as_json)


@app.command("lock")
def lock(ctx: typer.Context, contract_id: ContractId, reason: Reason = "", as_json: AsJson = False) -> None:
    """Refuse a customer's logins until they are unlocked.

    \b
    Example:
      sekisho customer lock 1234567 --reason "suspicious calls, ticket 4711"
    """
    from sekisho.cli.acts import done

    context: CliContext = ctx.obj
    done(
        "customer.locked", f"locked {contract_id}", context.desk.customers.lock(contract_id, principal(reason)), as_json
    )


@app.command("unlock")
def unlock(ctx: typer.Context, contract_id: ContractId, reason: Reason = "", as_json: AsJson = False) -> None:
    """End a lock, and forgive the wrong codes that led to it.

    \b
    Example:
      sekisho customer unlock 1234567 --reason "called back, ticket 4711"
    """
    from sekisho.cli.acts import done

    context: CliContext = ctx.obj
    done(
        "customer.unlocked",
        f"unlocked {contract_id}",
        context.desk.customers.unlock(contract_id, principal(reason)),
        as_json,
    )
