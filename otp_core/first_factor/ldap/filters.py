"""Search filters: their text (RFC 4515) to the octets of a request (RFC 4511 §4.5.1.7). Pure.

A filter is parsed once, when the settings are read. What a customer typed is put into the parsed filter as octets, in
the place of ``{user}``: it is never text of a filter, so there is nothing to escape and nothing to break out of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from otp_core.first_factor.ldap.ber import OCTETS, SEQUENCE, boolean, tlv

USER = "{user}"
LONGEST_FILTER, _DEEPEST = 4096, 16
_AND, _OR, _NOT, _EQUAL, _SUBSTRINGS, _PRESENT, _EXTENSIBLE = 0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0x87, 0xA9
_ORDERED = {">": 0xA5, "<": 0xA6, "~": 0xA8}
_INITIAL, _ANY, _FINAL = 0x80, 0x81, 0x82
_RULE, _TYPE, _VALUE, _DN_ATTRIBUTES = 0x81, 0x82, 0x83, 0x84
IN_CHAIN = "1.2.840.113556.1.4.1941"
"""Active Directory's matching rule for members of members, LDAP_MATCHING_RULE_IN_CHAIN."""

_DESCRIPTION = r"(?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)(?:;[A-Za-z0-9-]+)*"
_ITEM = re.compile(rf"(?P<name>{_DESCRIPTION})(?P<kind>[><~]?)=")
_EXTENDED_ITEM = re.compile(
    rf"(?P<name>{_DESCRIPTION})?(?P<dn>:[dD][nN])?(?::(?P<rule>[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+))?:="
)
_ESCAPE = re.compile(r"\\([0-9A-Fa-f]{2})")


class BadFilter(ValueError):
    """The text is no filter. The message says where, and what is missing."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A value in the filter: octets between the places where the customer's name goes."""

    tag: int
    pieces: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Node:
    """An element with elements inside."""

    tag: int
    inside: tuple[_Node | _Text | bytes, ...]


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """A parsed filter. ``names_user``: ``{user}`` stands in it. ``ties_to_user``: and whatever it fits has the name, so
    that nobody finds another one's account."""

    _root: _Node | _Text
    names_user: bool

    @property
    def ties_to_user(self) -> bool:
        """See above."""
        return _ties(self._root)

    def octets(self, user: str = "") -> bytes:
        """For a request, with ``user`` where ``{user}`` stands."""
        return _octets(self._root, user.encode())


def parse(text: str) -> SearchFilter:
    """The filter of a text. Raises BadFilter."""
    if len(text) > LONGEST_FILTER:
        raise BadFilter(f"is longer than {LONGEST_FILTER} characters")
    if "\0" in text:
        raise BadFilter("holds a NUL character: write \\00")
    for placeholder in re.findall(r"\{\w*\}", text):
        if placeholder != USER:
            raise BadFilter(f"holds {placeholder}: only {USER} stands for something")
    parser = _Parser(text)
    root = parser.filter(1)
    if parser.at != len(text):
        parser.fail("goes on behind its end")
    return SearchFilter(root, USER in text)


def equals_any(attributes: Iterable[str], values: Iterable[str]) -> bytes:
    """Octets of a filter that fits an entry in which any of the attributes has any of the values."""
    values = tuple(values)
    pairs = (
        tlv(_EQUAL, tlv(OCTETS, name.encode()), tlv(OCTETS, value.encode())) for name in attributes for value in values
    )
    return tlv(_OR, *pairs)


def member_in_chain(groups: Iterable[str]) -> bytes:
    """Octets of a filter that fits a member of any of the groups, or of their groups, however deep."""
    rule = tlv(_RULE, IN_CHAIN.encode())
    return tlv(_OR, *(tlv(_EXTENSIBLE, rule, tlv(_TYPE, b"memberOf"), tlv(_VALUE, group.encode())) for group in groups))


def present(attribute: str = "objectClass") -> bytes:
    """Octets of a filter that fits an entry with this attribute; every entry has an objectClass."""
    return tlv(_PRESENT, attribute.encode())


def _octets(part: _Node | _Text | bytes, user: bytes) -> bytes:
    if isinstance(part, bytes):
        return part
    if isinstance(part, _Text):
        return tlv(part.tag, user.join(part.pieces))
    return tlv(part.tag, *(_octets(one, user) for one in part.inside))


def _ties(part: _Node | _Text | bytes) -> bool:
    if isinstance(part, bytes):
        return False
    if isinstance(part, _Text):
        return len(part.pieces) > 1
    if part.tag in _LOOSE:
        return False
    found = map(_ties, part.inside)
    return all(found) if part.tag == _OR else any(found)


_LOOSE = frozenset((_NOT, _ORDERED[">"], _ORDERED["<"]))
"""What fits others than those who are named."""


class _Parser:
    """``at``: how far the text is read."""

    def __init__(self, text: str) -> None:
        self._text, self.at = text, 0

    def fail(self, why: str) -> NoReturn:
        raise BadFilter(f"{why}, at character {self.at + 1}")

    def filter(self, depth: int) -> _Node | _Text:
        if depth > _DEEPEST:
            self.fail(f"is nested deeper than {_DEEPEST}")
        self._expect("(")
        match self._next():
            case "&":
                found: _Node | _Text = self._several(_AND, depth)
            case "|":
                found = self._several(_OR, depth)
            case "!":
                self.at += 1
                found = _Node(_NOT, (self.filter(depth + 1),))
            case _:
                found = self._item()
        self._expect(")")
        return found

    def _several(self, tag: int, depth: int) -> _Node:
        self.at += 1
        inside = []
        while self._next() == "(":
            inside.append(self.filter(depth + 1))
        if not inside:
            self.fail("has & or | with no filter behind it")
        return _Node(tag, tuple(inside))

    def _item(self) -> _Node | _Text:
        if found := _ITEM.match(self._text, self.at):
            self.at = found.end()
            name, value = found["name"].encode(), self._value()
            if found["kind"]:
                return _Node(_ORDERED[found["kind"]], (tlv(OCTETS, name), self._one_text(OCTETS, value)))
            if value == "*":
                return _Text(_PRESENT, (name,))
            if "*" in value:
                return self._substrings(name, value)
            return _Node(_EQUAL, (tlv(OCTETS, name), self._one_text(OCTETS, value)))
        found = _EXTENDED_ITEM.match(self._text, self.at)
        if found is None or not (found["name"] or found["rule"]):
            self.fail("needs an attribute and =, such as (uid={user})")
        self.at = found.end()
        inside: list[_Node | _Text | bytes] = []
        if found["rule"]:
            inside.append(tlv(_RULE, found["rule"].encode()))
        if found["name"]:
            inside.append(tlv(_TYPE, found["name"].encode()))
        inside.append(self._one_text(_VALUE, self._value()))
        if found["dn"]:
            inside.append(boolean(True, _DN_ATTRIBUTES))
        return _Node(_EXTENSIBLE, tuple(inside))

    def _value(self) -> str:
        """Up to the bracket that ends the item."""
        end = self._text.find(")", self.at)
        value = self._text[self.at : end]
        if end < 0 or "(" in value:
            self.fail("has a bracket that is not closed")
        self.at = end
        return value

    def _substrings(self, name: bytes, value: str) -> _Node:
        first, *middle, last = value.split("*")
        if "" in middle:
            self.fail("has two stars side by side")
        pieces = [self._one_text(_INITIAL, first)] if first else []
        pieces += [self._one_text(_ANY, piece) for piece in middle]
        if last:
            pieces.append(self._one_text(_FINAL, last))
        return _Node(_SUBSTRINGS, (tlv(OCTETS, name), _Node(SEQUENCE, tuple(pieces))))

    def _one_text(self, tag: int, value: str) -> _Text:
        if "*" in value:
            self.fail("has a star where none can be: write \\2a for the character")
        return _Text(tag, tuple(self._unescaped(piece) for piece in value.split(USER)))

    def _unescaped(self, piece: str) -> bytes:
        parts = _ESCAPE.split(piece)  # text, two digits, text, …
        if any("\\" in text for text in parts[::2]):
            self.fail("has a backslash without two hexadecimal digits: write \\5c for the character")
        return b"".join(bytes.fromhex(part) if odd % 2 else part.encode() for odd, part in enumerate(parts))

    def _next(self) -> str:
        return self._text[self.at : self.at + 1]

    def _expect(self, character: str) -> None:
        if self._next() != character:
            self.fail(f"lacks a {character}")
        self.at += 1
