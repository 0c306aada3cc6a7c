"""``sekisho verifier``: lists who knows codes of tokens, and compares what VIP knows with what is bound here; how far
customers have left it, and asks them to (leaving.py). It changes no token, here or there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from sekisho.cli.context import CliContext, ExitCode
from sekisho.cli.leaving import notify, progress
from sekisho.cli.options import AsJson
from sekisho.cli.output import hint, say, say_json, say_rows
from sekisho.cli.silent_log import without_log

if TYPE_CHECKING:
    from otp_core.settings import VerifierSettings
    from otp_core.store.queries import TokenElsewhere

app = typer.Typer(help="Verifiers: who knows the codes of tokens.", no_args_is_help=True)
app.command("progress")(progress)
app.command("notify")(notify)
_PAGE = 200
_AT_ONCE = 4
"""Calls under way: a comparison is in no hurry, and logins go on beside it."""


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the verifiers of the settings, and how many tokens name each.

    \b
    Example:
      sekisho verifier list
    """
    from otp_core.store.queries import tokens_by_verifier

    context: CliContext = ctx.obj
    with context.store.read() as connection:
        numbers = tokens_by_verifier(connection)
    types = {"local": "local"} | {one.name: one.type for one in context.settings.verifiers}
    rows = [
        {"name": name, "type": types.get(name, "not configured"), "tokens": numbers.get(name, 0)}
        for name in sorted({*types, *numbers})
    ]
    if as_json:
        for row in rows:
            say_json(row)
    else:
        say_rows(("name", "type", "tokens"), (list(map(str, row.values())) for row in rows))


@app.command("reconcile")
def reconcile(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of [[verifiers]], of type vip.")],
    as_json: AsJson = False,
) -> None:
    """Ask VIP about every customer with an active token of its own, and list those that it knows otherwise.

    VIP removes users by itself whom it takes for inactive. Run it every night; it ends with 1 if there are differences.

    \b
    Example:
      sekisho verifier reconcile vip
    """
    context: CliContext = ctx.obj
    section = next((one for one in context.settings.verifiers if one.name == name and one.type == "vip"), None)
    if section is None:
        known = ", ".join(one.name for one in context.settings.verifiers if one.type == "vip") or "none"
        raise typer.BadParameter(f"no [[verifiers]] of type vip has the name {name!r}; known: {known}")
    with without_log():
        compared, different = asyncio.run(_compare(context, section, as_json))
    if not as_json:
        hint(f"{compared} tokens compared, {different} known otherwise at {name}")
    if different:
        raise typer.Exit(ExitCode.REFUSED)


async def _compare(context: CliContext, section: VerifierSettings, as_json: bool) -> tuple[int, int]:
    """How many tokens were compared, and how many differ, which are said. Raises BackendSilent."""
    from sekisho.verifiers import make_vip

    verifier, compared, different = make_vip(section), 0, 0
    try:
        async for batch in _batches(context, section.name):
            found = await asyncio.gather(*(verifier.state_of(one.contract_id, one.token_id) for one in batch))
            compared += len(batch)
            for one, state in zip(batch, found, strict=True):
                if state:
                    different += 1
                    facts = {"contract_id": one.contract_id, "token_id": one.token_id, "there": state}
                    say_json(facts) if as_json else say("  ".join(facts.values()))
    finally:
        await verifier.client.close()
    return compared, different


async def _batches(context: CliContext, name: str) -> AsyncIterator[list[TokenElsewhere]]:
    """Bound tokens of active customers, a few at a time."""
    from otp_core.store.queries import tokens_elsewhere

    after = ""
    while True:
        with context.store.read() as connection:
            page = tokens_elsewhere(connection, name, after=after, limit=_PAGE)
        for start in range(0, len(page), _AT_ONCE):
            yield page[start : start + _AT_ONCE]
        if len(page) < _PAGE:
            return
        after = page[-1].token_id
