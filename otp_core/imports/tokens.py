"""Parses a file of tokens: ``token_id,hexkey,totp|hotp,digits,step[,algorithm]``, with or without a header.

It never repeats a cell, and keeps no seed beyond its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from otp_core.imports.table import Columns, Record, RowProblem, header_of, records
from otp_core.model import Kind, TokenSpec
from otp_core.otp import normalise_token_id, spec_of

COLUMNS = ("token_id", "hexkey", "kind", "digits", "step", "algorithm")
FORM = "token_id,hexkey,kind,digits,step[,algorithm]"
LONGEST_TOKEN_ID = 64
SHORTEST_SEED = 16
"""Octets: 128 bits (RFC 4226 section 4, R6)."""

_FORMS = {
    "kind": "write totp or hotp",
    "algorithm": "write sha1, sha256 or sha512, or leave it out for sha1",
    "digits": "write 6, 7 or 8",
    "step": "write the seconds of a time step, 10 to 300, usually 30; for hotp leave it empty",
}
_WITHOUT_HEADER = Columns(COLUMNS)


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token to import. ``seed``: raw octets; ``line``: where the row begins, from 1."""

    line: int
    token_id: str
    seed: bytes = field(repr=False)
    spec: TokenSpec


def read_tokens(lines: Iterable[str]) -> Iterator[TokenRow | RowProblem]:
    """Every row, or its problems. A token ID that is given twice is a problem. After a header with a problem no row is
    read."""
    columns: Columns | None = None
    first_lines: dict[str, int] = {}
    for record in records(lines):
        if isinstance(record, RowProblem):
            yield record
            continue
        if columns is None:
            if _is_header(record):
                found = header_of(record, COLUMNS, COLUMNS[:-1], FORM)
                if isinstance(found, RowProblem):
                    yield found
                    return
                columns = found
                continue
            columns = _WITHOUT_HEADER
        yield from _checked(record, columns, first_lines)


def _is_header(record: Record) -> bool:
    return any(cell.strip().lower() in COLUMNS[:2] for cell in record.cells)


def _checked(record: Record, columns: Columns, first_lines: dict[str, int]) -> Iterator[TokenRow | RowProblem]:
    if not _fits(record, columns):
        yield RowProblem(record.line, "", f"{len(record.cells)} columns; a token has 5 or 6: {FORM}")
        return
    token_id = normalise_token_id(columns.cell(record, "token_id"))
    seed = _seed(columns.cell(record, "hexkey"))
    spec = _spec(*(columns.cell(record, name).strip() for name in COLUMNS[2:]))
    wrong = wrong_token_id(token_id)
    if wrong is None:
        first = first_lines.setdefault(token_id, record.line)
        if first != record.line:
            wrong = f"is on line {first} already (case, width, spaces and hyphens do not count): write each once"
    if wrong is None and isinstance(seed, bytes) and isinstance(spec, TokenSpec):
        yield TokenRow(record.line, token_id, seed, spec)
        return
    if wrong is not None:
        yield RowProblem(record.line, "token_id", wrong)
    if isinstance(seed, str):
        yield RowProblem(record.line, "hexkey", seed)
    if not isinstance(spec, TokenSpec):
        for column in spec:
            yield RowProblem(record.line, column, f"is not understood: {_FORMS[column]}")


def _fits(record: Record, columns: Columns) -> bool:
    if columns is _WITHOUT_HEADER:
        return len(record.cells) in (columns.count - 1, columns.count)
    return len(record.cells) == columns.count


def wrong_token_id(token_id: str) -> str | None:
    """The problem with a normalised token ID; None for a good one."""
    if not token_id:
        return "is empty: write the token's ID, for example VSMT12345678"
    if len(token_id) > LONGEST_TOKEN_ID:
        return f"is too long: at most {LONGEST_TOKEN_ID} characters, for example VSMT12345678"
    if not token_id.isprintable():
        return "holds characters that nobody can type: write letters and digits, for example VSMT12345678"
    return None


def _seed(text: str) -> bytes | str:
    """The seed, or its problem as a text."""
    try:
        seed = bytes.fromhex(text)
    except ValueError:
        return "is not hexadecimal: write two digits (0-9, a-f) for each octet, 40 for the usual 160 bits"
    if len(seed) < SHORTEST_SEED:
        return (
            f"is too short: {len(seed) * 8} bits, and a seed has at least 128 (RFC 4226 section 4): "
            "write 32 hexadecimal digits or more, usually 40"
        )
    return seed


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
