"""Recognises cells that a spreadsheet or a database export has changed: rounded numbers, formulas, error values, dates.

Pure. It names the kind of damage and what would be right, and never repeats the cell: it may be a password.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

from otp_core.imports.worded import Worded, worded
from otp_core.otp import LONGEST_TYPED, compatibility_form

OVERRIDE = worded("if it is right as it stands, import with --accept-as-typed")


class Cell(Enum):
    """What a column holds, as far as damage goes."""

    ID = auto()
    SECRET = auto()
    TEXT = auto()


class _Damage(NamedTuple):
    """A kind of damage. ``message``: what happened and what to do; ``cells``: in which columns it is damage."""

    pattern: re.Pattern[str]
    message: Worded
    cells: frozenset[Cell]


_EVERYWHERE = frozenset(Cell)
_NOT_IN_TEXT = frozenset({Cell.ID, Cell.SECRET})
_IDS = frozenset({Cell.ID})
_AS_TEXT = worded(
    "make the column text (Format Cells, Text) before anything is typed or pasted into it, and write it anew"
)
_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_CLOCK = r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?: ?[ap]m)?"
_TIME = f"(?:[ T]{_CLOCK}(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})?)?"
_ERA = "(?:明治|大正|昭和|平成|令和)?(?:[0-9]{1,4}|元)年"
_DATES = (
    *(f"[0-9]{{4}}{by}[0-9]{{1,2}}{by}[0-9]{{1,2}}{_TIME}" for by in ("-", "/", "[.]")),
    *(f"[0-9]{{1,2}}{by}[0-9]{{1,2}}{by}(?:[0-9]{{4}}|[0-9]{{2}}){_TIME}" for by in ("/", "[.]")),
    f"[0-9]{{1,2}}[- ]{_MONTH}(?:[- ][0-9]{{2,4}}{_TIME})?",
    f"{_MONTH}[- ][0-9]{{1,4}}",
    f"(?:{_ERA})?[0-9]{{1,2}}月(?:[0-9]{{1,2}}日{_TIME})?",
    *(f"[MTSHR][0-9]{{1,2}}{by}[0-9]{{1,2}}{by}[0-9]{{1,2}}" for by in ("/", "[.]")),
    _CLOCK,
)
_AMOUNTS = (
    r"[0-9]+[.,]0{1,4}",
    r"[(+▲△-]?[0-9]{1,3}(?:,[0-9]{2,3})+(?:\.[0-9]{1,4})?[)円]?",
    r"[0-9]{1,3}(?:'[0-9]{3})+(?:\.[0-9]{1,4})?",
    r"[(▲△-]?[¥\\$€£] ?-?[0-9][0-9,]*(?:\.[0-9]{1,4})?\)?",
    r"[0-9]+(?:\.[0-9]+)?%",
)


def _damage(pattern: str, message: Worded, cells: frozenset[Cell] = _EVERYWHERE) -> _Damage:
    return _Damage(re.compile(pattern, re.IGNORECASE | re.DOTALL), message, cells)


_KINDS = (
    _damage(
        "[+-]?[0-9]{1,3}(?:[.,][0-9]{1,17})?E[+-][0-9]{1,3}",
        worded(
            "is a number that a spreadsheet has rounded (1.2E+11): its last digits are lost. Get it anew; %(remedy)s",
            remedy=_AS_TEXT,
        ),
        _NOT_IN_TEXT,
    ),
    _damage(
        "#{2,}",
        worded("is what a spreadsheet shows where a column is too narrow, not what was in the cell: get it anew"),
    ),
    _damage(
        "#[A-Z][A-Z0-9/_ ]{0,20}[!?]?|Err:[0-9]{3}",
        worded("is an error value of a spreadsheet (#N/A, #REF!), not what was in the cell: get it anew"),
    ),
    _damage(
        '=".*"?',
        worded('is a formula (="…") that keeps a number as text: write what stands between the quotes, alone'),
    ),
    _damage("=.*", worded("is a formula: write its result as text"), frozenset({Cell.ID, Cell.TEXT})),
    _damage(
        "'.*",
        worded("begins with an apostrophe, which a spreadsheet puts before text: take it away"),
    ),
    _damage(
        "[‘’“”„`´].*",
        worded("begins with a typographic quotation mark, which a text program has put there: take it away"),
        _IDS,
    ),
    _damage(
        r".*[\ufffd〓].*|\?{2,}",
        worded("holds a mark for a letter that was lost between two encodings: get the file anew, in UTF-8"),
    ),
    _damage(
        ".*&(?:[a-z]{2,8}|#[0-9]{1,5}|#x[0-9a-f]{1,5});.*",
        worded("is written for a web page (&amp; for &): write what stands there on the page"),
    ),
    _damage(
        "TRUE|FALSE|WAHR|FALSCH|真|偽",
        worded("is a truth value that a spreadsheet has made of something: %(remedy)s", remedy=_AS_TEXT),
        _NOT_IN_TEXT,
    ),
    _damage(
        r"NULL|\(NULL\)|\\N|N/A|NaN|None|<NULL>|nil|undefined",
        worded("is a program's word for an empty cell: leave the cell empty if nothing belongs there"),
        _NOT_IN_TEXT,
    ),
    _damage(
        r"-+|N\.A\.|なし|無し|該当なし|\(空白\)|\(blank\)",
        worded("stands for an empty cell: leave the cell empty if nothing belongs there"),
        _IDS,
    ),
    _damage(
        "合計|総計|小計|(?:grand |sub)?total",
        worded("is the sum of a table, and no customer: take the line out"),
        _IDS,
    ),
    _damage(
        "|".join(_DATES),
        worded("is a date that a spreadsheet has made of something: %(remedy)s", remedy=_AS_TEXT),
        _NOT_IN_TEXT,
    ),
    _damage(
        "|".join(_AMOUNTS),
        worded("is an amount (a decimal point or commas between thousands), not an ID: %(remedy)s", remedy=_AS_TEXT),
        _IDS,
    ),
)
_ANY = {
    kind: re.compile("|".join(one.pattern.pattern for one in _KINDS if kind in one.cells), re.IGNORECASE | re.DOTALL)
    for kind in Cell
}
_INVISIBLE_ENDS = "\ufeff\u200b\u200c\u200d\u2060\u00ad\u200e\u200f"
_BLANKS = worded(
    "has a blank or something invisible at its beginning or end, which came from somewhere else as a rule: take it away"
)


def damage(cell: str, kind: Cell) -> Worded | None:
    """What has happened to a cell, what would be right, and how to import it all the same; None for a sound one. A cell
    of more than LONGEST_TYPED characters is none of these."""
    if not cell or len(cell) > LONGEST_TYPED:
        return None
    if kind is Cell.SECRET and cell != cell.strip().strip(_INVISIBLE_ENDS):
        return _or_as_typed(_BLANKS)
    if cell.isascii() and cell.isalnum() and not cell.isalpha():
        return None
    text = (compatibility_form(cell) or cell).strip()
    if not _ANY[kind].fullmatch(text):
        return None
    found = next(one for one in _KINDS if kind in one.cells and one.pattern.fullmatch(text))
    return _or_as_typed(found.message)


def _or_as_typed(message: Worded) -> Worded:
    return worded("%(wrong)s; %(override)s", wrong=message, override=OVERRIDE)
