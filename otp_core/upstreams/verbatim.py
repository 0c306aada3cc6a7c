"""A gateway's request as it is, for another RADIUS server: for shadow mode. Pure; it decides nothing about customers.

Each hop writes what is its own: the signature, the hiding of User-Password, one Proxy-State. CHAP, MS-CHAP and EAP pass
as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from otp_core.radius.codec import (
    MAX_PACKET,
    MAX_PASSWORD,
    SIGNED_HEADER,
    Attribute,
    AttributeType,
    CannotAsk,
    Packet,
    PacketCode,
    encode_attributes,
    hide_password,
    reveal_password,
    sign,
)
from otp_core.radius.requests import SignedRequest

_PROXY_STATE, _STATE = int(AttributeType.PROXY_STATE), int(AttributeType.STATE)
_USER_PASSWORD, _SIGNATURE = int(AttributeType.USER_PASSWORD), int(AttributeType.MESSAGE_AUTHENTICATOR)
_CHAP_PASSWORD, _CHAP_CHALLENGE = int(AttributeType.CHAP_PASSWORD), int(AttributeType.CHAP_CHALLENGE)
_LONGEST_VALUE = 253


def mark(state: bytes, server: int) -> bytes:
    """A State that says which of several servers gave it, by one octet at its end: only that one knows what it means.
    Raises ValueError for one that has no room for it."""
    if len(state) >= _LONGEST_VALUE or not 0 <= server < 256:
        raise ValueError("the old server's State is too long to be told from that of its other servers")
    return state + bytes((server,))


def unmark(state: bytes) -> tuple[bytes, int | None]:
    """What ``mark`` was given; None for the server of a State that is none of ours."""
    return (state[:-1], state[-1]) if len(state) > 1 else (state, None)


@dataclass(frozen=True, slots=True)
class Handed:
    """A verified request, ready to be written for any server of an upstream. ``here``: the gateway's secret;
    ``there``: the upstream's; ``marked``: its State is one of ``mark``'s."""

    request: Packet
    here: bytes = field(repr=False)
    there: bytes = field(repr=False)
    proxy_state: bytes
    marked: bool = False

    def write(self, identifier: int, authenticator: bytes) -> SignedRequest:
        """The Access-Request. Raises CannotAsk."""
        attributes: list[Attribute] = []
        for type_, value in self.request.attributes:
            if type_ == _SIGNATURE:
                continue
            if type_ == _USER_PASSWORD:
                value = self._hidden_anew(value, authenticator)
            elif type_ == _STATE and self.marked:
                value, _ = unmark(value)
            attributes.append((type_, value))
        found = self.request.found
        if _CHAP_PASSWORD in found and _CHAP_CHALLENGE not in found:
            attributes.append((_CHAP_CHALLENGE, self.request.authenticator))
        attributes.append((_PROXY_STATE, self.proxy_state))
        encoded = encode_attributes(attributes)
        if SIGNED_HEADER + len(encoded) > MAX_PACKET:
            raise CannotAsk("with what each hop adds, the gateway's request is longer than RADIUS allows")
        octets = sign(PacketCode.ACCESS_REQUEST, identifier, authenticator, encoded, self.there)
        return SignedRequest(octets, self.there)

    def _hidden_anew(self, hidden: bytes, authenticator: bytes) -> bytes:
        if not 16 <= len(hidden) <= MAX_PASSWORD or len(hidden) % 16:
            raise CannotAsk("a User-Password that is not 16 to 128 octets in blocks of 16")
        return hide_password(reveal_password(hidden, self.here, self.request.authenticator), self.there, authenticator)
