"""LDAP messages (RFC 4511): requests to octets, octets to answers. Pure; opens no socket and decides nothing.

Only what a login needs is here: bind, search, StartTLS, unbind. An answer that is none of these is refused. No message
has a ``repr`` with a password in it, because passwords become octets at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from otp_core.first_factor.ldap.ber import (
    ENUMERATED,
    OCTETS,
    SEQUENCE,
    SET,
    NotBer,
    Reader,
    boolean,
    number,
    tlv,
)

START_TLS = "1.3.6.1.4.1.1466.20037"
PASSWORD_POLICY = "1.3.6.1.4.1.42.2.27.8.5.1"
"""The control of draft-behera-ldap-password-policy: asked for with a bind, it says why one fails."""
NETSCAPE_EXPIRED = "2.16.840.1.113730.3.4.4"
"""389 Directory Server and FreeIPA: the password has to be changed before anything else."""
NO_ATTRIBUTES = "1.1"
"""Asks for the names of entries alone (RFC 4511 §4.5.1.8)."""

_BIND, _UNBIND, _SEARCH, _EXTENDED = 0x60, 0x42, 0x63, 0x77
_ENTRY, _REFERENCE, _INTERMEDIATE = 0x64, 0x73, 0x79
_CONTROLS, _SIMPLE, _REQUEST_NAME, _POLICY_ERROR = 0xA0, 0x80, 0x80, 0x81
_MOST_CONTROLS = 16
_LONGEST_TEXT = 300


class Scope(IntEnum):
    """How far below its base a search looks."""

    BASE = 0
    SUBTREE = 2


class PolicyError(IntEnum):
    """What the control of password policies says of a bind; others concern changes of a password."""

    PASSWORD_EXPIRED = 0
    ACCOUNT_LOCKED = 1
    CHANGE_AFTER_RESET = 2


class Search(NamedTuple):
    """``filter``: as octets (``filters``). ``most``: entries; of more, the server says so and sends no others."""

    base: str
    scope: Scope
    filter: bytes
    attributes: tuple[str, ...] = (NO_ATTRIBUTES,)
    most: int = 1


@dataclass(frozen=True, slots=True)
class Result:
    """The end of an operation. ``code``: RFC 4511 appendix A. ``text``: the server's words, made safe for a log.
    ``policy_error``: of the password policy's control; None where it says nothing. ``must_change``: the password is
    right, and good for nothing but changing it."""

    code: int
    text: str = ""
    policy_error: int | None = None
    must_change: bool = False


class Entry(NamedTuple):
    """``attributes``: by names in lower case."""

    dn: str
    attributes: dict[str, tuple[bytes, ...]]


class BindDone(NamedTuple):
    result: Result


class SearchDone(NamedTuple):
    result: Result


class ExtendedDone(NamedTuple):
    result: Result


class Elsewhere(NamedTuple):
    """A part of the answer is at another server, or the server tells something about its progress: left alone."""


_DONE: dict[int, type[BindDone] | type[SearchDone] | type[ExtendedDone]] = {
    0x61: BindDone,
    0x65: SearchDone,
    0x78: ExtendedDone,
}
Operation = BindDone | SearchDone | ExtendedDone | Entry | Elsewhere


class Message(NamedTuple):
    """``id``: of the request that it answers; 0: the server says goodbye (RFC 4511 §4.4.1)."""

    id: int
    operation: Operation


def bind(message_id: int, dn: str, password: bytes) -> bytes:
    """A simple bind (RFC 4511 §4.2) that asks for the password policy's reasons. Raises ValueError for an empty
    password: that would be an unauthenticated bind, which says yes to everybody (RFC 4513 §5.1.2)."""
    if not password:
        raise ValueError("a bind with an empty password proves nothing")
    request = tlv(_BIND, number(3), tlv(OCTETS, dn.encode()), tlv(_SIMPLE, password))
    control = tlv(SEQUENCE, tlv(OCTETS, PASSWORD_POLICY.encode()))
    return tlv(SEQUENCE, number(message_id), request, tlv(_CONTROLS, control))


def search(message_id: int, wanted: Search, seconds: int) -> bytes:
    """A search (RFC 4511 §4.5) that follows no alias. ``seconds``: after which the server may give up."""
    attributes = (tlv(OCTETS, name.encode()) for name in wanted.attributes)
    request = tlv(
        _SEARCH,
        tlv(OCTETS, wanted.base.encode()),
        number(wanted.scope, ENUMERATED),
        number(0, ENUMERATED),
        number(wanted.most),
        number(seconds),
        boolean(False),
        wanted.filter,
        tlv(SEQUENCE, *attributes),
    )
    return tlv(SEQUENCE, number(message_id), request)


def start_tls(message_id: int) -> bytes:
    """RFC 4511 §4.14.1."""
    return tlv(SEQUENCE, number(message_id), tlv(_EXTENDED, tlv(_REQUEST_NAME, START_TLS.encode())))


def unbind(message_id: int) -> bytes:
    """RFC 4511 §4.3: the end of a connection."""
    return tlv(SEQUENCE, number(message_id), tlv(_UNBIND))


def read(octets: bytes) -> Message:
    """One whole message from a server. Raises NotBer."""
    outer = Reader(octets)
    message = outer.inner(SEQUENCE)
    if not outer.at_end:
        raise NotBer("octets behind the message")
    message_id = message.number()
    tag, body = message.any()
    controls = _read_controls(message)
    return Message(message_id, _read_operation(tag, Reader(body), controls))


def _read_operation(tag: int, body: Reader, controls: dict[str, bytes]) -> Operation:
    if tag in _DONE:
        return _DONE[tag](_read_result(body, controls))
    if tag == _ENTRY:
        return _read_entry(body)
    if tag in (_REFERENCE, _INTERMEDIATE):
        return Elsewhere()
    raise NotBer(f"an operation 0x{tag:02x}, which no server sends")


def _read_result(body: Reader, controls: dict[str, bytes]) -> Result:
    code = body.number(ENUMERATED)
    body.value(OCTETS)
    text = printable(body.value(OCTETS))
    policy = _policy_error(controls[PASSWORD_POLICY]) if PASSWORD_POLICY in controls else None
    must_change = NETSCAPE_EXPIRED in controls or (code == 0 and policy == PolicyError.CHANGE_AFTER_RESET)
    return Result(code, text, policy, must_change)


def _read_entry(body: Reader) -> Entry:
    dn, found = _text(body.value(OCTETS)), {}
    attributes = body.inner(SEQUENCE)
    while not attributes.at_end:
        attribute = attributes.inner(SEQUENCE)
        name, values = _text(attribute.value(OCTETS)).lower(), attribute.inner(SET)
        found[name] = tuple(_values(values))
    return Entry(dn, found)


def _values(values: Reader) -> list[bytes]:
    found = []
    while not values.at_end:
        found.append(values.value(OCTETS))
    return found


def _read_controls(message: Reader) -> dict[str, bytes]:
    """The values of the controls, by type."""
    found: dict[str, bytes] = {}
    if message.next_tag() != _CONTROLS:
        return found
    controls = message.inner(_CONTROLS)
    while not controls.at_end:
        if len(found) >= _MOST_CONTROLS:
            raise NotBer("too many controls")
        control = controls.inner(SEQUENCE)
        name, value = _text(control.value(OCTETS)), b""
        while not control.at_end:
            tag, octets = control.any()
            value = octets if tag == OCTETS else value
        found[name] = value
    return found


def _policy_error(value: bytes) -> int | None:
    """``SEQUENCE { warning [0] CHOICE OPTIONAL, error [1] ENUMERATED OPTIONAL }``; an empty value says nothing."""
    if not value:
        return None
    policy = Reader(value).inner(SEQUENCE)
    while not policy.at_end:
        if policy.next_tag() == _POLICY_ERROR:
            return policy.number(_POLICY_ERROR)
        policy.any()
    return None


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise NotBer("a text that is no UTF-8") from None


def printable(octets: bytes) -> str:
    """A server's words, for one line of a log."""
    text = octets.rstrip(b"\0").decode("utf-8", "replace")
    return "".join(one if one.isprintable() else " " for one in text[:_LONGEST_TEXT]).strip()
