"""An audit row as a request of the Standard Webhooks specification: body, headers, signature. Pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. So receivers verify with a
library that they have already. A row holds no secret, and the body holds what the row does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence

from otp_core.outwards.moment import moment_of
from otp_core.store.queries import AuditLine

_PREFIX = "whsec_"
_LEAST, _MOST = 24, 64
_MOST_SECRETS = 2
MOST_OF_A_VALUE = 1000
"""Characters of one field; what is cut ends with an ellipsis, and is whole in the row."""


def read_secrets(octets: bytes) -> tuple[bytes, ...]:
    """The keys in a secret's file, one a line. Raises ValueError; its text holds nothing of them."""
    lines = octets.split()
    if not 1 <= len(lines) <= _MOST_SECRETS:
        raise ValueError(f"has to hold one key, or {_MOST_SECRETS} lines while it is changed")
    return tuple(map(_secret, lines))


def _secret(line: bytes) -> bytes:
    text = line.decode(errors="replace")
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True) if text.startswith(_PREFIX) else b""
    except (binascii.Error, ValueError):
        key = b""
    if not _LEAST <= len(key) <= _MOST:
        raise ValueError(
            f"holds no key of {_LEAST} to {_MOST} octets: make one with: "
            f'printf "{_PREFIX}%s\\n" "$(openssl rand -base64 32)"'
        )
    return key


def message_id(row: AuditLine) -> str:
    """The same however often the row is sent: receivers know by it what they have."""
    return f"audit_{row.id}"


def body_of(row: AuditLine) -> bytes:
    """The JSON text. ``data.id`` is text, because many JSON readers keep no whole number of 19 digits."""
    data = {name: _value(value) for name, value in row._asdict().items() if name != "event"}
    return json.dumps({"type": row.event, "timestamp": moment_of(row.id), "data": data}).encode()


def headers_of(row: AuditLine, body: bytes, secrets: Sequence[bytes], now: int) -> dict[str, str]:
    """Of one try at ``now``, seconds since the epoch."""
    name = message_id(row)
    signed = b"%b.%d.%b" % (name.encode(), now, body)
    return {
        "content-type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(now),
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
    }


def _signature(secret: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def _value(value: object) -> str | None:
    if value is None:
        return None
    text = str(value)
    return text if len(text) <= MOST_OF_A_VALUE else text[: MOST_OF_A_VALUE - 1] + "…"
