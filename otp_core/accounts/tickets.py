"""Tickets: a customer who has signed in at the portal takes one along to the soft token, which knows no customer.

A ticket says until when it is good and, by a keyed digest, whose it is; nobody reads a contract ID out of it. It is
made and checked without the store; that it is used once is the store's matter. Pure, given the digest.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Callable

Digest = Callable[[bytes, bytes], bytes]
"""Of a purpose and a content: see ``Sealer.issuance_digest``."""

TICKET_MS = 3_600_000
"""How long a ticket is good."""

_VERSION = b"\x01"
_TIME, _OWNER, _NONCE, _MAC = 6, 8, 17, 16
_OCTETS = len(_VERSION) + _TIME + _OWNER + _NONCE + _MAC


def make_ticket(digest: Digest, contract_id: str, now: int) -> str:
    """A new ticket of a customer at ``now`` (ms): 64 letters, digits, hyphens and underscores."""
    owner = digest(b"ticket owner", contract_id.encode(errors="backslashreplace"))[:_OWNER]
    content = _VERSION + (now + TICKET_MS).to_bytes(_TIME, "big") + owner + secrets.token_bytes(_NONCE)
    return base64.urlsafe_b64encode(content + digest(b"ticket", content)[:_MAC]).decode().rstrip("=")


def owner_of(digest: Digest, ticket: str, now: int) -> str | None:
    """Whose ticket it is, as 16 hexadecimal digits that are the same for all tickets of one customer. None: it was not
    made here, or is not good at ``now`` (ms)."""
    try:
        octets = base64.b64decode(ticket + "=" * (-len(ticket) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    content, mac = octets[:-_MAC], octets[-_MAC:]
    if len(octets) != _OCTETS or not hmac.compare_digest(mac, digest(b"ticket", content)[:_MAC]):
        return None
    time, owner = content[len(_VERSION) : -_OWNER - _NONCE], content[-_OWNER - _NONCE : -_NONCE]
    left = int.from_bytes(time, "big") - now
    return owner.hex() if content.startswith(_VERSION) and 0 < left <= TICKET_MS else None
