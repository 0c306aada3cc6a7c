"""Finds the line of every key in a TOML text. It reads no value and checks nothing.

The text must be one that ``tomllib`` has accepted; ``tomllib`` itself gives no positions.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import NamedTuple

Location = tuple[str | int, ...]
"""The keys and list indices that lead to a value: ``("radius", "clients", 0, "network")``."""

_TOKEN = re.compile(
    r"""
      (?P<nothing>[ \t\r]+|\#[^\n]*)
    | \n
    | \"\"\"(?:\\.|[^\\])*?\"\"\"\"{0,2}    # one or two quotes may stand before the closing three (TOML 1.0, String)
    | '''.*?''''{0,2}
    | "(?:\\.|[^"\\])*"
    | '[^']*'
    | [\[\]{},=.]
    | [^\s\[\]{},=."'\#]+
    """,
    re.VERBOSE | re.DOTALL,
)
_END = ""
_SEPARATORS = (",", "\n")
_AFTER_A_VALUE = (",", "]", "}", "\n", _END)


class _Token(NamedTuple):
    text: str
    line: int


def key_lines(text: str) -> dict[Location, int]:
    """The line, counted from 1, of every table, key and list element in a valid TOML text."""
    return _Reader(text).document()


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        if match["nothing"] is None:
            yield _Token(match[0], line)
        line += match[0].count("\n")
    yield _Token(_END, line)


def _name(token: str) -> str:
    if token[0] in "\"'":
        return str(tomllib.loads(f"name = {token}")["name"])
    return token


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0
        self._lines: dict[Location, int] = {}
        self._lengths: dict[Location, int] = {}  # of the arrays of tables, so far

    def document(self) -> dict[Location, int]:
        table: Location = ()
        for token in self._entries(_END):
            if token.text == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _entries(self, closing: str) -> Iterator[_Token]:
        """The first token of each entry, not taken yet; the closing token is taken."""
        while (token := self._take()).text != closing:
            if token.text not in _SEPARATORS:
                self._next -= 1
                yield token

    def _names(self, closing: str) -> list[str]:
        names = []
        while (token := self._take()).text != closing:
            if token.text != ".":
                names.append(_name(token.text))
        return names

    def _header(self) -> Location:
        line = self._take().line
        array = self._peek().text == "["
        if array:
            self._take()
        *parents, last = self._names("]")
        if array:
            self._take()
        here: Location = ()
        for name in parents:
            here = (*here, name)
            self._lines.setdefault(here, line)
            if here in self._lengths:
                here = (*here, self._lengths[here] - 1)
        here = (*here, last)
        if array:
            self._lines.setdefault(here, line)
            self._lengths[here] = self._lengths.get(here, 0) + 1
            here = (*here, self._lengths[here] - 1)
        self._lines[here] = line
        return here

    def _pair(self, table: Location) -> None:
        line = self._peek().line
        here = table
        for name in self._names("="):
            here = (*here, name)
            self._lines.setdefault(here, line)
        self._value(here)

    def _value(self, here: Location) -> None:
        opening = self._take().text
        if opening == "[":
            for index, token in enumerate(self._entries("]")):
                self._lines[(*here, index)] = token.line
                self._value((*here, index))
        elif opening == "{":
            for _ in self._entries("}"):
                self._pair(here)
        else:
            while self._peek().text not in _AFTER_A_VALUE:
                self._take()
