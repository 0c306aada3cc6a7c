"""What a first factor elsewhere has brought along for an Access-Accept: opened, and written for this client. It is
never left out in part: an acceptance without the attributes that limit it would be another one.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping

from otp_core.model import InClear
from otp_core.radius.codec import Attribute, AttributeType
from otp_core.radius.relayed import MS_CHAP_ANSWER, RELAYED, write
from otp_core.sealing import KeyProblem
from radius_server.process.exchange import Exchange

Unseal = Callable[[bytes], bytes]
"""The store's, for what a first factor had sealed there. Raises KeyProblem."""

_VENDOR_SPECIFIC = int(AttributeType.VENDOR_SPECIFIC)


def without_relayed(attributes: Mapping[str, object], relay: bool) -> tuple[Mapping[str, object], list[object]]:
    """The attributes that have names in the dictionary, and what goes to this client beside them, sealed if it was
    kept: the answer to MS-CHAPv2 always, the rest if it relays."""
    if RELAYED not in attributes and MS_CHAP_ANSWER not in attributes:
        return attributes, []
    rest = dict(attributes)
    answer, relayed = rest.pop(MS_CHAP_ANSWER, None), rest.pop(RELAYED, None)
    return rest, [one for one in (answer, relayed if relay else None) if one is not None]


def relayed_to(exchange: Exchange, brought: list[object], unseal: Unseal | None) -> list[Attribute]:
    """The attributes for the client of this exchange. Raises ValueError."""
    picked = b""
    for one in brought:
        if isinstance(one, InClear):
            picked += one.octets
            continue
        if unseal is None:
            raise ValueError("this door cannot open what its upstream has sent")
        try:
            picked += unseal(base64.b64decode(str(one)))
        except KeyProblem as error:
            raise ValueError(str(error)) from None
    return write(picked, exchange.client.secret, exchange.request.authenticator, salts())


def outranked(relayed: list[Attribute], own: list[Attribute]) -> list[Attribute]:
    """Those of ``relayed`` that are of no kind of which there is one among ``own``: the customer's outrank them."""
    kinds = {_kind(one) for one in own}
    return [one for one in relayed if _kind(one) not in kinds]


def _kind(attribute: Attribute) -> tuple[int, bytes]:
    type_, value = attribute
    return (type_, value[:5]) if type_ == _VENDOR_SPECIFIC else (type_, b"")


def salts() -> Callable[[], bytes]:
    """Two octets, other ones each time within a packet (RFC 2868 section 3.5)."""
    begin, given = int.from_bytes(os.urandom(2), "big"), 0

    def next_salt() -> bytes:
        nonlocal given
        given += 1
        return ((begin + given) % 0x8000).to_bytes(2, "big")

    return next_salt
