"""Replies: how a server writes them, and how a client checks that one answers its request (RFC 2865, 3579, 5997).

No sockets, no clock. A reply without a right Message-Authenticator is not accepted, even if its Response Authenticator
is right (CVE-2024-3596).
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Final

from otp_core.radius.codec import (
    HEADER,
    MAX_PACKET,
    SIGNED_HEADER,
    Attribute,
    AttributeType,
    DropReason,
    NotAReply,
    Packet,
    PacketCode,
    Unreadable,
    encode_attributes,
    is_signed,
    read_packet,
    response_authenticator,
    sign,
)
from otp_core.radius.requests import SignedRequest

NO_MESSAGE_AUTHENTICATOR: Final = "a reply without Message-Authenticator: is the server up to date?"
_PROXY_STATE: Final = int(AttributeType.PROXY_STATE)
_HEADER: Final = HEADER
_ROOM: Final = MAX_PACKET - SIGNED_HEADER
_REPLY_CODES: Final = frozenset(
    (int(PacketCode.ACCESS_ACCEPT), int(PacketCode.ACCESS_REJECT), int(PacketCode.ACCESS_CHALLENGE))
)


def write_reply(request: Packet, code: PacketCode, attributes: Iterable[Attribute], secret: bytes) -> bytes:
    """Server side: a signed reply. Message-Authenticator first, then ``attributes``, then the request's Proxy-States
    unchanged and in their order (RFC 2865 section 5.33). Raises ValueError if it would exceed 4096 octets."""
    encoded = encode_attributes(attributes)
    if _PROXY_STATE in request.found:
        encoded += encode_attributes(item for item in request.attributes if item[0] == _PROXY_STATE)
    if len(encoded) > _ROOM:
        raise ValueError(f"a reply of {SIGNED_HEADER + len(encoded)} octets: RADIUS allows 4096")
    signed = sign(code, request.identifier, request.authenticator, encoded, secret)
    return signed[:4] + response_authenticator(signed, secret) + signed[_HEADER:]


def read_reply(request: SignedRequest, datagram: bytes, *, required: bool = True, needs_state: bool = True) -> Packet:
    """Client side: the reply to ``request``, both signatures verified. An Access-Challenge has one State; a
    Status-Server is answered by an Access-Accept only. ``required`` False: a reply may be without Message-Authenticator
    (at risk: CVE-2024-3596); a wrong one never counts. ``needs_state`` False: a challenge without State, or with two,
    is a reply, which nobody can answer. Raises NotAReply."""
    try:
        reply = read_packet(datagram, _REPLY_CODES)
    except Unreadable as error:
        what = "of another code" if error.reason is DropReason.WRONG_CODE else f"that cannot be read: {error}"
        raise NotAReply(f"a packet {what}", "malformed") from None
    if reply.identifier != request.identifier:
        raise NotAReply("a reply to another request")
    at = reply.message_authenticator_at
    signed = reply.octets[:4] + request.authenticator + reply.octets[HEADER:]
    right = response_authenticator(signed, request.secret)
    if not hmac.compare_digest(right, reply.authenticator) or not (at is None or is_signed(signed, at, request.secret)):
        raise NotAReply("a reply with a wrong signature: is the shared secret right?", "wrong-signature")
    if at is None and required:  # behind the other one, which tells whether the secret is right
        raise NotAReply(NO_MESSAGE_AUTHENTICATOR, "no-message-authenticator")
    if not _answers(request, reply, needs_state):
        raise NotAReply(f"an {PacketCode(reply.code).title} that does not answer the request")
    return reply


def _answers(request: SignedRequest, reply: Packet, needs_state: bool) -> bool:
    if reply.code == PacketCode.ACCESS_ACCEPT:
        return True
    if request.code == PacketCode.STATUS_SERVER:
        return False
    if reply.code == PacketCode.ACCESS_REJECT or not needs_state:
        return True
    states = reply.values(AttributeType.STATE)
    return len(states) == 1 and bool(states[0])
