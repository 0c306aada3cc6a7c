"""What ``init`` and ``doctor`` say of contract IDs that are stored in another form than the one that is looked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from otp_core.checks import CheckResult, CheckState
from sekisho.cli.context import CliContext, principal
from sekisho.cli.output import say

_SHOWN = 50


def fold_contract_ids(context: CliContext) -> None:
    """Store contract IDs in the form that is looked for, and say which. Those that are now read as one are listed, and
    nothing is done about them."""
    report = context.desk.contract_ids.fold(principal("init"))
    _show([f"contract ID {spelt(before)} is stored as {spelt(after)} now" for before, after in report.renamed])
    _show(list(map(collision, report.colliding)))


def examine_contract_ids(context: CliContext) -> Iterator[CheckResult]:
    """For `doctor`: whether every customer is found by the ID that is stored."""
    report = context.desk.contract_ids.stored_otherwise()
    for together in report.colliding[:_SHOWN]:
        yield CheckResult(CheckState.WARN, "contract IDs", collision(together))
    if report.renamed:
        yield CheckResult(
            CheckState.WARN,
            "contract IDs",
            f"{len(report.renamed):,} are stored in a form that nobody can type: run `sekisho init`, which mends them",
        )
    if not report.colliding and not report.renamed:
        yield CheckResult(CheckState.OK, "contract IDs", "each is stored in the form that is looked for")


def _show(lines: Sequence[str]) -> None:
    for line in lines[:_SHOWN]:
        say(line)
    if len(lines) > _SHOWN:
        say(f"… and {len(lines) - _SHOWN:,} more")


def collision(together: Sequence[str]) -> str:
    """What to do about stored contract IDs that are read as one."""
    which = " and ".join(map(spelt, together))
    return (
        f"contract IDs {which} are read as one now, and only one that is written with plain hyphens is found. Nothing "
        f"was changed. Give the other another ID: sekisho customer rename {spelt(together[-1])} NEW_ID"
    )


def spelt(text: str) -> str:
    """A contract ID as a shell takes it, with what looks like something else or cannot be seen as escapes."""
    if text.isascii() and text.isprintable() and not set(text) & set(" '\\"):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{''.join(one if one.isascii() and one.isprintable() else _escape(one) for one in escaped)}'"


def _escape(letter: str) -> str:
    number = ord(letter)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
