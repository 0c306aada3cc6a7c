"""An audit row as a syslog message (RFC 5424), and its frame for a stream (RFC 6587 section 3.4.1). Pure.

All fields of the row are in the structured data; the text behind them is for people. Whatever a field holds, the
message is well formed and no longer than MOST_OCTETS.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from otp_core.audit import Event
from otp_core.outwards.moment import moment_of
from otp_core.store.queries import AuditLine

WARNING, INFORMATIONAL = 4, 6
"""Severities (RFC 5424 section 6.2.1)."""

WARNED_OF = frozenset(
    {
        Event.LOGIN_REJECTED,
        Event.ACCOUNT_REFUSED,
        Event.OFFLINE_WRONG,
        Event.OFFLINE_CONFLICT,
        Event.CUSTOMER_LOCKED,
        Event.PAGES_REFUSED,
        Event.NOTICE_FAILED,
        Event.STAFF_REFUSED,
        Event.APPROVAL_REFUSED,
        Event.REFUSED,
        Event.SEAL_KEY_CHANGED,
        Event.AUDIT_DROPPED,
    }
)
"""Events of severity WARNING; all others are INFORMATIONAL."""

MOST_OF_A_VALUE = 600
"""Octets of one field; what is cut ends with an ellipsis, and is whole in the row."""

MOST_OCTETS = 8192
"""Of a message: what RFC 5425 section 4.3.1 wants a receiver to take."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NOT_A_NAME = re.compile(r"[^\x21-\x7e]")
_BOM = "\ufeff"


class Sender(NamedTuple):
    """What is the same in all messages. ``facility``: its number; ``host``: this machine's name; ``enterprise``: the
    Private Enterprise Number behind the @ of the structured data."""

    facility: int
    host: str
    enterprise: int


def message(row: AuditLine, sender: Sender) -> bytes:
    """The message of one row."""
    severity = WARNING if row.event in WARNED_OF else INFORMATIONAL
    fields = {name: _value(value) for name, value in row._asdict().items() if value is not None}
    data = " ".join(f'{name}="{_escaped(value)}"' for name, value in fields.items())
    priority = sender.facility * 8 + severity
    head = f"<{priority}>1 {moment_of(row.id) or '-'} {_name(sender.host, 255)} sekisho - {_name(row.event, 32)}"
    return f"{head} [sekisho@{sender.enterprise} {data}] {_BOM}{_text(fields)}".encode()


def seal_message(until: int, line: str, sender: Sender) -> bytes:
    """The message of a seal whose last row has the id ``until``. ``line``: its JSON, ASCII, as it stands in the copy
    outside (seals/copies.py)."""
    priority = sender.facility * 8 + INFORMATIONAL
    return f"<{priority}>1 {moment_of(until) or '-'} {_name(sender.host, 255)} sekisho - seal - {line}".encode()


def framed(message_: bytes) -> bytes:
    """With its length in front, as streams carry it (octet counting)."""
    return b"%d %s" % (len(message_), message_)


def _text(fields: dict[str, str]) -> str:
    customer = f" for {fields['customer']}" if "customer" in fields else ""
    reason = f": {fields['reason']}" if fields["reason"] else ""
    return f"{fields['event']} by {fields['actor'] or '-'}{customer}{reason}"


def _name(text: str, most: int) -> str:
    """Printable ASCII without a space; - for nothing (the NILVALUE)."""
    return _NOT_A_NAME.sub("?", text)[:most] or "-"


def _value(value: object) -> str:
    """As text without controls, cut at a character."""
    text = _CONTROLS.sub("\ufffd", str(value)[: MOST_OF_A_VALUE + 1])
    octets = text.encode()
    if len(octets) <= MOST_OF_A_VALUE:
        return text
    return octets[: MOST_OF_A_VALUE - 3].decode(errors="ignore") + "…"


def _escaped(value: str) -> str:
    """Section 6.3.3: the three characters that would end a value, or mean something in it."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
