"""SOAP 1.1 of VIP User Services, document/literal: fields to an envelope, an envelope to the elements of its body.
Pure.

What is read came over the network: it is short, flat, and has no document type, so no entities either. Anything else is
NotUnderstood, and its text repeats nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Union
from xml.parsers import expat
from xml.sax.saxutils import escape

MOST_OCTETS = 256 * 1024
"""Of a reply. The longest are those about a user with many credentials."""

_DEEPEST = 16
_MOST_ELEMENTS = 5000
_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
NAMESPACE = "https://schemas.symantec.com/vip/2011/04/vipuserservices"

Fields = Sequence[tuple[str, Union[str, "Fields"]]]
"""Names and values, in the order of the schema; a value may be fields of its own."""


class NotUnderstood(ValueError):
    """Octets that are no reply of this service."""


@dataclass(slots=True)
class Element:
    """``name``: namespace, a space and the local name, as expat gives it."""

    name: str
    text: str = field(default="", repr=False)
    children: list[Element] = field(default_factory=list)

    def get(self, name: str) -> str:
        """The text of the first child of this local name in VIP's namespace, without white space around it; empty where
        there is none."""
        wanted = f"{NAMESPACE} {name}"
        return next((one.text.strip() for one in self.children if one.name == wanted), "")

    def all(self, name: str) -> list[str]:
        """The texts of all elements of this local name below, however deep."""
        found = [self.text.strip()] if self.name == f"{NAMESPACE} {name}" else []
        for child in self.children:
            found += child.all(name)
        return found


def write_request(call: str, fields: Fields) -> bytes:
    """The envelope around one call."""
    body = _written(((f"{call}Request", fields),), "v:")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<s:Envelope xmlns:s="{_ENVELOPE}" xmlns:v="{NAMESPACE}"><s:Body>{body}</s:Body></s:Envelope>'
    ).encode()


def _written(fields: Fields, prefix: str) -> str:
    parts = []
    for name, value in fields:
        inner = escape(value) if isinstance(value, str) else _written(value, prefix)
        parts.append(f"<{prefix}{name}>{inner}</{prefix}{name}>")
    return "".join(parts)


def read_reply(octets: bytes, call: str) -> Element:
    """The reply to this call. Raises NotUnderstood."""
    envelope = _parse(octets)
    if envelope.name != f"{_ENVELOPE} Envelope":
        raise NotUnderstood("it is no SOAP 1.1 envelope")
    bodies = [one for one in envelope.children if one.name == f"{_ENVELOPE} Body"]
    if len(bodies) != 1 or len(bodies[0].children) != 1:
        raise NotUnderstood("its body does not hold one element")
    found = bodies[0].children[0]
    if found.name == f"{_ENVELOPE} Fault":
        raise NotUnderstood("it is a SOAP fault")
    if found.name != f"{NAMESPACE} {call}Response":
        raise NotUnderstood(f"it is no {call}Response")
    return found


def _parse(octets: bytes) -> Element:
    """The root element. Raises NotUnderstood."""
    if len(octets) > MOST_OCTETS:
        raise NotUnderstood(f"it is longer than {MOST_OCTETS:,} octets")
    reader = _Reader()
    try:
        reader.parser.Parse(octets, True)
    except expat.ExpatError as error:
        raise NotUnderstood(f"it is no XML: {expat.errors.messages[error.code]}") from None
    except (LookupError, ValueError) as error:
        if isinstance(error, NotUnderstood):
            raise
        raise NotUnderstood("its encoding is not known") from None
    assert reader.root is not None
    return reader.root


class _Reader:
    """Builds the elements, and stops at the first thing that a reply does not have."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._elements = 0
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.EntityDeclHandler = self._doctype

    def _doctype(self, *_: object) -> None:
        raise NotUnderstood("it has a document type, and entities are not read")

    def _begin(self, name: str, _attributes: dict[str, str]) -> None:
        self._elements += 1
        if len(self._open) >= _DEEPEST:
            raise NotUnderstood(f"it is nested deeper than {_DEEPEST} elements")
        if self._elements > _MOST_ELEMENTS:
            raise NotUnderstood(f"it has more than {_MOST_ELEMENTS:,} elements")
        element = Element(name)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def _end(self, _name: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1].text += text
