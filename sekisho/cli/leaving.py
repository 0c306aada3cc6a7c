"""``sekisho verifier progress``: how far customers have left a verifier, per week and per branch. ``sekisho verifier
notify``: asks those who have not by e-mail. Neither changes a token."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sekisho.cli.context import CliContext, principal
from sekisho.cli.options import AsJson, Limit, Reason
from sekisho.cli.output import hint, say, say_facts, say_json, say_rows

if TYPE_CHECKING:
    from otp_core.settings import VerifierSettings

_LONGEST_BRANCH = 40


def progress(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of [[verifiers]].")],
    weeks: Annotated[int, typer.Option(min=1, max=520, metavar="N", help="So many weeks back.")] = 12,
    branch_digits: Annotated[
        int, typer.Option(min=0, max=20, metavar="N", help="A contract ID begins with the branch: so many letters.")
    ] = 0,
    branches: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv", help="Or a file that names the branch of each: contract_id,branch.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how many customers still use tokens of a verifier, and how many have changed to others, week by week.

    Counted as still there: active customers who have no token but its. Branches come from the contract ID or from a
    file of yours, which is only read; nothing of it is kept.

    \b
    Examples:
      sekisho verifier progress vip
      sekisho verifier progress vip --branch-digits 3
      sekisho verifier progress vip --branches branches.csv --json
    """
    context: CliContext = ctx.obj
    section = _section(context, name)
    if branch_digits and branches is not None:
        raise typer.BadParameter("choose one of them", param_hint="--branch-digits and --branches")
    branch_of = _branch_of(branch_digits, None if branches is None else _branches_in(branches))
    from otp_core.store.leaving import by_branch, changed_since, still_there

    first = _monday(datetime.now().astimezone().date()) - timedelta(weeks=weeks - 1)
    since = int(datetime.combine(first, datetime.min.time()).timestamp() * 1000)
    with context.store.read() as connection:
        there = list(still_there(connection, name))
        changed = list(changed_since(connection, name, since))
    by_week = Counter(_monday(datetime.fromtimestamp(one.at / 1000).astimezone().date()) for one in changed)
    rows = [(str(monday), by_week[monday]) for monday in (first + timedelta(weeks=at) for at in range(weeks))]
    found = [] if branch_of is None else by_branch(there, changed, branch_of)
    leave_by = None if section.leave_by is None else str(section.leave_by)
    if as_json:
        say_json(
            {
                "verifier": name,
                "leave_by": leave_by,
                "still_there": len(there),
                "changed": len(changed),
                "weeks": [{"begins": monday, "changed": number} for monday, number in rows],
                "branches": [one._asdict() for one in found],
            }
        )
        return
    say_facts({"verifier": name, "to be left by": leave_by, "still there": len(there), "changed": len(changed)})
    say("")
    say_rows(("week of", "changed"), rows)
    if branch_of is not None:
        say("")
        say_rows(("branch", "still there", "changed"), ((one.name or "unknown", *one[1:]) for one in found))


def notify(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of [[verifiers]], with leave_by.")],
    again_days: Annotated[
        int, typer.Option(min=1, max=3650, metavar="N", help="Whoever was asked within so many days is left out.")
    ] = 30,
    limit: Limit = 1000,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Ask customers by e-mail to change from tokens of a verifier to others, before its leave_by.

    Asked are active customers who have no token but its, and an e-mail address. The server sends the mail. Run it again
    for the next ones; those who have changed, and those who were asked lately, are left out.

    \b
    Examples:
      sekisho verifier notify vip --limit 500
      sekisho verifier notify vip --again-days 14 --reason "second reminder"
    """
    context: CliContext = ctx.obj
    section = _section(context, name)
    if section.leave_by is None:
        raise typer.BadParameter(f"{name} has no leave_by, which the mail names: set it first")
    if context.settings.notices is None:
        raise typer.BadParameter("there is no [notices] in the settings, so no mail would be sent")
    from otp_core.accounts.leaving import ASKED_AT_ONCE
    from otp_core.store.leaving import without_address

    by, again_after, asked, after = principal(reason), timedelta(days=again_days), 0, ""
    while asked < (limit or math.inf):
        left = limit - asked if limit else ASKED_AT_ONCE
        found = context.desk.leaving.ask(name, by, again_after=again_after, after=after, limit=left)
        if not found:
            break
        asked, after = asked + len(found), found[-1].contract_id
    with context.store.read() as connection:
        unreachable = without_address(connection, name)
    if as_json:
        say_json({"verifier": name, "leave_by": str(section.leave_by), "asked": asked, "without_address": unreachable})
        return
    say_facts({"verifier": name, "to be left by": str(section.leave_by), "asked": asked, "no address": unreachable})
    if asked and asked == limit:
        hint("there may be more: run it again")


def _section(context: CliContext, name: str) -> VerifierSettings:
    section = next((one for one in context.settings.verifiers if one.name == name), None)
    if section is None:
        known = ", ".join(one.name for one in context.settings.verifiers) or "none"
        raise typer.BadParameter(f"no [[verifiers]] has the name {name!r}; known: {known}")
    return section


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _branch_of(digits: int, names: Mapping[str, str] | None) -> Callable[[str], str] | None:
    """The branch of a contract ID, empty for an unknown one; None: branches are not asked for."""
    if names is not None:
        return lambda contract_id: names.get(contract_id, "")
    return (lambda contract_id: contract_id[:digits]) if digits else None


def _branches_in(path: Path) -> dict[str, str]:
    """By contract ID. Raises typer.BadParameter that says what is wrong where."""
    import csv

    from otp_core.otp import LONGEST_TYPED, normalise_contract_id

    found: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            if next(rows, None) != ["contract_id", "branch"]:
                raise typer.BadParameter(f"{path}, line 1: write contract_id,branch", param_hint="--branches")
            for row in rows:
                if not row:
                    continue
                contract_id = normalise_contract_id(row[0][: LONGEST_TYPED + 1])
                branch = row[1].strip() if len(row) == 2 else ""
                if not contract_id or not branch or len(branch) > _LONGEST_BRANCH or not branch.isprintable():
                    where = f"{path}, line {rows.line_num}"
                    form = f"write a contract ID, a comma and a branch of 1 to {_LONGEST_BRANCH} characters"
                    raise typer.BadParameter(f"{where}: {form}", param_hint="--branches")
                found[contract_id] = branch
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise typer.BadParameter(f"{path} cannot be read as CSV in UTF-8: {error}", param_hint="--branches") from None
    return found
