"""Parses a file of tokens: ``token_id,hexkey,totp|hotp,digits,step[,algorithm][,counter]``, with or without a header,
or ``otpauth://`` URIs, one a line.

It never repeats a cell, and keeps no seed beyond its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from otp_core.imports import otpauth
from otp_core.imports.damage import Cell, damage
from otp_core.imports.seeds import read_seed
from otp_core.imports.table import (
    Columns,
    Record,
    RowProblem,
    column_name,
    first_text,
    header_of,
    is_text,
    not_in,
    problems_of,
    records,
)
from otp_core.imports.worded import Worded, message_of, worded
from otp_core.model import NEVER, Kind, SeedForm, TokenSpec
from otp_core.otp import normalise_token_id, spec_of

COLUMNS = ("token_id", "hexkey", "base32", "kind", "digits", "step", "algorithm", "counter")
FORM = "token_id,hexkey,kind,digits,step[,algorithm][,counter], or base32 in the place of hexkey"
LONGEST_TOKEN_ID = 64

_REQUIRED = ("token_id", "kind", "digits", "step")
_SPEC = ("kind", "digits", "step", "algorithm")
_FORMS = {
    "kind": worded("write totp or hotp"),
    "algorithm": worded("write sha1, sha256 or sha512, or leave it out for sha1"),
    "digits": worded("write 6, 7 or 8"),
    "step": worded("write the seconds of a time step, 10 to 300, usually 30; for hotp leave it empty"),
    "counter": worded("write the counter of the next code, from 0; for totp leave it empty"),
}
_IN_A_URI = {"token_id": "label", "step": "period"}
_FEWEST_CELLS, _MOST_CELLS = 5, 7
_COUNTER_DIGITS = 12


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token to import. ``seed``: raw octets; ``line``: where the row begins, from 1; ``last_step``: the counter of
    the last code that is not to be accepted any more, NEVER for a token that begins with its first."""

    line: int
    token_id: str
    seed: bytes = field(repr=False)
    spec: TokenSpec
    last_step: int = NEVER


def read_tokens(
    lines: Iterable[str], *, seeds: SeedForm = SeedForm.HEX, as_typed: bool = False, encoding: str = "utf-8"
) -> Iterator[TokenRow | RowProblem]:
    """Every row, or its problems. A token ID that is given twice is a problem. ``seeds``: how they are written in a
    file without a header. ``as_typed``: cells that look damaged are right. After a header with a problem only problems
    come."""
    first, lines = first_text(lines)
    reading = _Reading(as_typed)
    if first.lower().startswith("otpauth"):
        yield from _from_uris(lines, reading, encoding)
    else:
        yield from _from_table(lines, reading, seeds, encoding)


def _from_table(
    lines: Iterable[str], reading: _Reading, seeds: SeedForm, encoding: str
) -> Iterator[TokenRow | RowProblem]:
    usual = Columns((COLUMNS[0], seeds, *COLUMNS[3:]))
    columns: Columns | None = None
    header_is_wrong = False
    for record in records(lines, encoding):
        if isinstance(record, RowProblem):
            yield record
            continue
        if columns is None and _is_header(record):
            columns, problems = _header(record)
            header_is_wrong = bool(problems)
            yield from problems
            continue
        columns = columns or usual
        found = reading.row(record, columns) if columns is not usual else reading.headless_row(record, columns)
        yield from problems_of(found, columns) if header_is_wrong else found


def _is_header(record: Record) -> bool:
    return any(column_name(cell) in COLUMNS[:3] for cell in record.cells)


def _header(record: Record) -> tuple[Columns, list[RowProblem]]:
    columns, problems = header_of(record, COLUMNS, _REQUIRED, FORM)
    if not any(form in columns for form in SeedForm):
        wrong = worded("is missing from the header; the header is %(form)s", form=FORM)
        problems.append(RowProblem(record.line, SeedForm.HEX, wrong))
    return columns, problems


def _from_uris(lines: Iterable[str], reading: _Reading, encoding: str) -> Iterator[TokenRow | RowProblem]:
    for number, line in enumerate(lines, 1):
        text = line.removeprefix("\ufeff").strip()
        if not is_text(text):
            yield RowProblem(number, "", not_in(encoding))
        elif text:
            try:
                uri = otpauth.read_uri(text)
            except otpauth.UriProblem as problem:
                yield RowProblem(number, problem.column, message_of(problem))
                continue
            for found in reading.token(number, uri.cells, uri.seed):
                if isinstance(found, RowProblem):
                    yield replace(found, column=_IN_A_URI.get(found.column, found.column))
                else:
                    yield found


class _Reading:
    """The state of reading one file: the first line of each token ID. ``as_typed``: no cell is damaged."""

    def __init__(self, as_typed: bool) -> None:
        self._as_typed = as_typed
        self._first_lines: dict[str, int] = {}

    def headless_row(self, record: Record, columns: Columns) -> Iterator[TokenRow | RowProblem]:
        """The token of a row in the usual order, or its problems."""
        is_hotp = columns.cell(record, "kind").strip().lower() == Kind.HOTP
        number = max((place for place, cell in enumerate(record.cells, 1) if cell), default=0)
        if len(record.cells) < _FEWEST_CELLS - is_hotp or number > _MOST_CELLS:
            wrong = worded(
                "%(number)s columns; a token has 5 or 6, or 7 with a counter: %(form)s",
                number=len(record.cells),
                form=FORM,
            )
            yield RowProblem(record.line, "", wrong)
        else:
            yield from self.row(record, columns)

    def row(self, record: Record, columns: Columns) -> Iterator[TokenRow | RowProblem]:
        """The token of a row, or its problems."""
        if (problem := columns.problem(record)) is not None:
            yield problem
            return
        cells = {name: columns.cell(record, name).strip() for name in COLUMNS}
        yield from self.token(record.line, cells, self._seed(cells, columns))

    def token(self, line: int, cells: Mapping[str, str], seed: bytes | RowProblem) -> Iterator[TokenRow | RowProblem]:
        """The token of these cells, or their problems. A problem with the seed gets its line here."""
        token_id = normalise_token_id(cells["token_id"])
        spec = _spec(*(cells[name] for name in _SPEC))
        last_step = _last_step(cells["counter"], cells["kind"])
        problems = []
        if wrong := self._wrong_id(line, cells["token_id"], token_id):
            problems.append(RowProblem(line, "token_id", wrong))
        if isinstance(seed, RowProblem):
            problems.append(replace(seed, line=line))
        wrong_columns = () if isinstance(spec, TokenSpec) else spec
        if last_step is None:
            wrong_columns = (*wrong_columns, "counter")
        problems += [
            RowProblem(line, column, worded("is not understood: %(form)s", form=_FORMS[column]))
            for column in wrong_columns
        ]
        yield from problems
        if not problems and isinstance(seed, bytes) and isinstance(spec, TokenSpec) and last_step is not None:
            yield TokenRow(line, token_id, seed, spec, last_step)

    def _wrong_id(self, line: int, cell: str, token_id: str) -> Worded | None:
        if not self._as_typed and (hurt := damage(cell, Cell.ID)):
            return hurt
        if wrong := wrong_token_id(token_id):
            return wrong
        first = self._first_lines.setdefault(token_id, line)
        if first != line:
            return worded(
                "is on line %(first)s already (case, width, spaces and hyphens do not count): write each once",
                first=first,
            )
        return None

    def _seed(self, cells: Mapping[str, str], columns: Columns) -> bytes | RowProblem:
        """The seed, or the problem with it, of line 0."""
        forms = [form for form in SeedForm if cells[form]] or [form for form in SeedForm if form in columns]
        if len(forms) > 1 and cells[forms[0]]:
            return RowProblem(
                0, forms[1], worded("stands beside %(other)s: leave one of the two empty", other=forms[0])
            )
        form = forms[0] if forms else SeedForm.HEX
        if not self._as_typed and (hurt := damage(cells[form], Cell.SECRET)):
            return RowProblem(0, form, hurt)
        try:
            return read_seed(cells[form], form)
        except ValueError as error:
            return RowProblem(0, form, message_of(error))


def wrong_token_id(token_id: str) -> Worded | None:
    """The problem with a normalised token ID; None for a good one."""
    if not token_id:
        return worded("is empty: write the token's ID, for example VSMT12345678")
    if len(token_id) > LONGEST_TOKEN_ID:
        return worded("is too long: at most %(most)s characters, for example VSMT12345678", most=LONGEST_TOKEN_ID)
    if not token_id.isprintable():
        return worded("holds characters that nobody can type: write letters and digits, for example VSMT12345678")
    return None


def _last_step(counter: str, kind: str) -> int | None:
    """The counter before that of the next code; None for one that is not understood."""
    if not counter or (counter == "0" and kind.lower() != Kind.HOTP):
        return NEVER
    if kind.lower() == Kind.TOTP or not (counter.isascii() and counter.isdigit() and len(counter) <= _COUNTER_DIGITS):
        return None
    return int(counter) - 1


@lru_cache(maxsize=256)
def _spec(kind: str, digits: str, step: str, algorithm: str) -> TokenSpec | tuple[str, ...]:
    """The spec, or the columns with a problem."""
    usual = TokenSpec()
    algorithm, period, is_hotp = algorithm or usual.algorithm, _number(step or "0"), kind.lower() == Kind.HOTP
    if is_hotp and not period:
        period = usual.period
    trials = {
        "kind": (kind, usual.algorithm, usual.digits, usual.period),
        "digits": (usual.kind, usual.algorithm, _number(digits), usual.period),
        "step": (Kind.HOTP if is_hotp else usual.kind, usual.algorithm, usual.digits, period),
        "algorithm": (usual.kind, algorithm, usual.digits, usual.period),
    }
    wrong = tuple(column for column, trial in trials.items() if not _understood(*trial))
    return wrong or spec_of(kind, algorithm, _number(digits), period)


def _understood(kind: str, algorithm: str, digits: int, period: int) -> bool:
    try:
        spec_of(kind, algorithm, digits, period)
    except ValueError:
        return False
    return 0 <= period <= 300


def _number(text: str) -> int:
    """The number; -1 for a text that is no number of up to four digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else -1
