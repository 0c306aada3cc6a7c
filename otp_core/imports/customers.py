"""Parses a file of customers. Its header names the columns, in any order; only ``contract_id`` is required.

It never repeats a cell, hashes nothing, and does not know which tokens are in the store.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from otp_core.first_factor.hashes import CannotHash, UnknownHash, validate
from otp_core.imports.damage import Cell, damage
from otp_core.imports.table import Columns, Record, RowProblem, has_control, header_of, problems_of, records
from otp_core.imports.tokens import wrong_token_id
from otp_core.imports.worded import Worded, message_of, worded
from otp_core.model import Language
from otp_core.otp import normalise_contract_id, normalise_token_id
from otp_core.settings.values import attribute_name, attribute_value
from otp_core.unseen import unseen

COLUMNS = (
    "contract_id",
    "password",
    "password_hash",
    "token_id",
    "name",
    "reading",
    "email",
    "language",
    "attributes",
)
FORM = "contract_id,password[,password_hash][,token_id][,name][,reading][,email][,language][,attributes]"
LONGEST_CONTRACT_ID = 253
"""Octets of a User-Name: an attribute holds at most 253 (RFC 2865 section 5)."""

_KINDS = tuple(
    (name, Cell.ID if name.endswith("_id") else Cell.SECRET if name == "password" else Cell.TEXT) for name in COLUMNS
)
"""What each column holds, as far as damage goes."""

_BETWEEN_TOKENS = re.compile("[;；]")
_LONGEST_NAME = 200
_LONGEST_EMAIL = 254
_NO_SPECIALS = r"[^@\s<>(),;:\"\\\[\]]+"
"""RFC 5322, section 3.2.3: with one of these, a header would hold another address, or several."""
_EMAIL = re.compile(f"{_NO_SPECIALS}@{_NO_SPECIALS}")
_LONGEST_ATTRIBUTES = 16_384
_PAIR = re.compile(
    r"\s*(?P<name>[A-Za-z0-9][A-Za-z0-9._:-]*)\s*="
    r'(?:\s*"(?P<quoted>(?:[^"]|"")*)"\s*(?:;|$)|(?P<value>.*?)(?:;(?=\s*[A-Za-z0-9][A-Za-z0-9._:-]*\s*=)|$))',
    re.DOTALL,
)
_ATTRIBUTES_FORM = worded('write Name=value;Name="value with a ;", or a JSON object: {"Filter-Id": "gold"}')


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """A customer to add. ``password`` (in clear) and ``password_hash`` both None: the password is not checked here.
    ``token_id``: the token to bind, without a code; ``more_token_ids``: and these. ``line``: where the row begins, from
    1."""

    line: int
    contract_id: str
    password: str | None = field(repr=False)
    password_hash: str | None = field(repr=False)
    token_id: str | None
    name: str | None
    email: str | None
    language: Language | None
    attributes: Mapping[str, object] | None = field(repr=False)
    more_token_ids: Sequence[str] = ()
    reading: str | None = None

    @property
    def token_ids(self) -> list[str]:
        """All of them."""
        return [] if self.token_id is None else [self.token_id, *self.more_token_ids]


def read_customers(
    lines: Iterable[str],
    *,
    shared_tokens: bool = False,
    most_tokens: int = 1,
    as_typed: bool = False,
    encoding: str = "utf-8",
) -> Iterator[CustomerRow | RowProblem]:
    """Every row, or its problems. A contract ID that is given twice is a problem, and so is a token ID unless
    ``shared_tokens``. ``most_tokens``: that a customer may have. ``as_typed``: cells that look damaged are right. After
    a header with a problem only problems come."""
    columns: Columns | None = None
    header_is_wrong = False
    reading = _Reading(shared_tokens=shared_tokens, most_tokens=most_tokens, as_typed=as_typed)
    for record in records(lines, encoding):
        if isinstance(record, RowProblem):
            yield record
        elif columns is None:
            columns, problems = header_of(record, COLUMNS, COLUMNS[:1], FORM)
            header_is_wrong = bool(problems)
            yield from problems
            if not any(name in columns for name in COLUMNS):
                return
        else:
            found = reading.row(record, columns)
            yield from problems_of(found, columns) if header_is_wrong else found


def read_customer(**cells: str) -> CustomerRow:
    """One customer, from cells by their columns' names. Raises ValueError with all problems."""
    row = check_customer(**cells)
    if isinstance(row, CustomerRow):
        return row
    raise ValueError("; ".join(f"{one.column} {one.message}" for one in row))


def check_customer(**cells: str) -> CustomerRow | list[RowProblem]:
    """One customer, from cells by their columns' names; or every problem with them."""
    reading = _Reading(shared_tokens=False, most_tokens=1, as_typed=True)
    found = list(reading.row(Record(1, list(cells.values())), Columns(list(cells))))
    problems = [one for one in found if isinstance(one, RowProblem)]
    rows = [one for one in found if isinstance(one, CustomerRow)]
    return problems or rows[0]


class _Reading:
    """The state of reading one file: the first line of each ID, and the problems of the current row."""

    def __init__(self, *, shared_tokens: bool, most_tokens: int, as_typed: bool) -> None:
        self._shared_tokens, self._most_tokens, self._as_typed = shared_tokens, most_tokens, as_typed
        self._contracts: dict[str, int] = {}
        self._tokens: dict[str, int] = {}
        self._problems: list[RowProblem] = []

    def row(self, record: Record, columns: Columns) -> Iterator[CustomerRow | RowProblem]:
        def cell(name: str) -> str:
            return columns.cell(record, name)

        if (problem := columns.problem(record)) is not None:
            yield problem
            return
        line, tokens = record.line, self._token_ids(record.line, cell("token_id").strip())
        row = CustomerRow(
            line,
            self._contract_id(line, cell("contract_id")),
            self._password(line, cell("password")),
            self._password_hash(line, cell("password_hash").strip(), clear=bool(cell("password"))),
            tokens[0] if tokens else None,
            self._name(line, "name", cell("name").strip()),
            self._email(line, cell("email").strip()),
            self._language(line, cell("language").strip()),
            self._attributes(line, cell("attributes").strip()),
            tuple(tokens[1:]),
            self._name(line, "reading", cell("reading").strip()),
        )
        hurt = [] if self._as_typed else _damaged(record, columns)
        columns_hurt = {problem.column for problem in hurt}
        problems = hurt + [problem for problem in self._problems if problem.column not in columns_hurt]
        self._problems = []
        if problems:
            yield from problems
        else:
            yield row

    def _wrong(self, line: int, column: str, message: str) -> None:
        self._problems.append(RowProblem(line, column, message))

    def _contract_id(self, line: int, text: str) -> str:
        contract_id = normalise_contract_id(text)
        if wrong := wrong_contract_id(contract_id):
            self._wrong(line, "contract_id", wrong)
            return contract_id
        first = self._contracts.setdefault(contract_id, line)
        if first != line:
            text = worded(
                "is on line %(first)s already (width, kinds of dash, blanks around it and invisible characters do not "
                "count): write each once",
                first=first,
            )
            self._wrong(line, "contract_id", text)
        return contract_id

    def _password(self, line: int, password: str) -> str | None:
        if has_control(password):
            text = worded("holds a control character (a tab, a line break), which nobody can type")
            self._wrong(line, "password", text)
        return password or None

    def _password_hash(self, line: int, text: str, *, clear: bool) -> str | None:
        if not text:
            return None
        if clear:
            self._wrong(line, "password_hash", worded("stands beside a password: leave one of the two empty"))
        try:
            validate(text)
        except (UnknownHash, CannotHash) as error:
            self._wrong(line, "password_hash", worded("cannot be used: %(cause)s", cause=error))
        return text

    def _token_ids(self, line: int, text: str) -> list[str]:
        """The tokens of a cell, with a semicolon between them."""
        most = self._most_tokens
        parts = _BETWEEN_TOKENS.split(text, maxsplit=most) if text else []
        if len(parts) > most:
            wrong = worded(
                "names more tokens than a customer may have: %(most)s (login.tokens_per_customer)", most=most
            )
            self._wrong(line, "token_id", wrong)
            return []
        token_ids = [self._token_id(line, part) for part in parts]
        if len(set(token_ids)) < len(token_ids):
            self._wrong(line, "token_id", worded("names the same token twice"))
        return token_ids

    def _token_id(self, line: int, text: str) -> str:
        token_id = normalise_token_id(text)
        if wrong := wrong_token_id(token_id):
            self._wrong(line, "token_id", wrong)
        elif not self._shared_tokens:
            first = self._tokens.setdefault(token_id, line)
            if first != line:
                wrong = worded(
                    "is on line %(first)s already, and a token belongs to one customer (login.one_customer_per_token)",
                    first=first,
                )
                self._wrong(line, "token_id", wrong)
        return token_id

    def _name(self, line: int, column: str, text: str) -> str | None:
        """A name, or how it is read."""
        if not has_control(text) and (letter := unseen(text)):
            self._wrong(line, column, worded("holds %(letter)s, which nobody can see: type it anew", letter=letter))
        elif has_control(text) or len(text) > _LONGEST_NAME:
            wrong = worded("needs at most %(most)s characters, and no control character", most=_LONGEST_NAME)
            self._wrong(line, column, wrong)
        return text or None

    def _email(self, line: int, text: str) -> str | None:
        if text and (has_control(text) or len(text) > _LONGEST_EMAIL or not _EMAIL.fullmatch(text)):
            wrong = worded("is no e-mail address: write name@example.jp, or leave it empty")
            self._wrong(line, "email", wrong)
        return text or None

    def _language(self, line: int, text: str) -> Language | None:
        if not text:
            return None
        try:
            return Language(text.lower())
        except ValueError:
            wrong = worded("is not known: write ja or en, or leave it empty for the gateway's")
            self._wrong(line, "language", wrong)
            return None

    def _attributes(self, line: int, text: str) -> Mapping[str, object] | None:
        try:
            return read_attributes(text)
        except ValueError as error:
            self._wrong(line, "attributes", message_of(error))
            return None


def _damaged(record: Record, columns: Columns) -> list[RowProblem]:
    cells = ((name, columns.cell(record, name), kind) for name, kind in _KINDS if name in columns)
    found = ((name, damage(cell, kind)) for name, cell, kind in cells if cell)
    return [RowProblem(record.line, name, problem) for name, problem in found if problem]


def wrong_contract_id(contract_id: str) -> Worded | None:
    """The problem with a normalised contract ID; None for a good one."""
    if not contract_id:
        return worded("is empty: write the customer's contract ID")
    if not contract_id.isprintable():
        return worded("holds a character that nobody can type (a control character, a wide space)")
    if len(contract_id.encode()) > LONGEST_CONTRACT_ID:
        return worded("is too long: a User-Name has at most %(most)s octets (UTF-8)", most=LONGEST_CONTRACT_ID)
    return None


def read_attributes(text: str) -> Mapping[str, object] | None:
    """Reply attributes from ``Name=value;Name=value`` (a name may be repeated) or a JSON object. None for an empty
    text. Raises ValueError with the right form; its text repeats no value."""
    if not text:
        return None
    if len(text) > _LONGEST_ATTRIBUTES:
        most = f"{_LONGEST_ATTRIBUTES:,}"
        raise ValueError(worded("is too long: no reply holds attributes of more than %(most)s characters", most=most))
    found = _from_json(text) if text.startswith("{") else _from_pairs(text)
    try:
        for name, value in found.items():
            attribute_name(name)
            attribute_value(value)
    except ValueError as error:
        raise ValueError(worded("cannot be set: %(cause)s", cause=error)) from None
    return found or None


def _from_json(text: str) -> dict[str, object]:
    try:
        return dict(json.loads(text, object_pairs_hook=_each_once))
    except _Twice:
        wrong = worded("names an attribute twice: write a list, %(form)s", form='{"Class": ["a", "b"]}')
        raise ValueError(wrong) from None
    except (ValueError, RecursionError):
        raise ValueError(worded("is no JSON object: %(form)s", form=_ATTRIBUTES_FORM)) from None


class _Twice(ValueError):
    """A JSON object with a name that is given twice, of which the decoder would drop the first."""


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise _Twice
    return dict(pairs)


def _from_pairs(text: str) -> dict[str, object]:
    """``Name=value;Name="value; with any letter"``. A semicolon separates where a name and ``=`` follow it; any other
    belongs to the value: ``Class=OU=Sales;`` is how some gateways want it."""
    found: dict[str, list[str]] = {}
    at = 0
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None:
            raise ValueError(worded("is not understood: %(form)s", form=_ATTRIBUTES_FORM))
        value = match["value"].strip() if match["quoted"] is None else match["quoted"].replace('""', '"')
        if not value:
            raise ValueError(worded("is not understood: %(form)s", form=_ATTRIBUTES_FORM))
        if match["quoted"] is None and value.startswith('"'):
            wrong = worded('has a quote that is not closed: write Name="value", and a quote inside twice')
            raise ValueError(wrong)
        if match["quoted"] is None and value.endswith(";") and "=" not in value:
            wrong = worded('ends a value with a semicolon: write Name="value;" if it belongs to it, or leave it out')
            raise ValueError(wrong)
        found.setdefault(match["name"], []).append(value)
        at = match.end()
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}
