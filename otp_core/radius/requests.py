"""Requests: what a server reads out of them, and how a client writes them (RFC 2865, 3579, 5997).

No sockets, no clock, no randomness, and no decision about customers.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from otp_core.model import Chap, Forwarded, MsChap
from otp_core.radius.codec import (
    HEADER,
    MAX_PASSWORD,
    Attribute,
    AttributeType,
    CannotCarry,
    ChapAsked,
    DropReason,
    MsChapAsked,
    Packet,
    PacketCode,
    Unreadable,
    Unservable,
    encode_attributes,
    hide_password,
    is_signed,
    read_packet,
    reveal_password,
    sign,
    vendor_parts,
)

MAX_ATTRIBUTES = 200
_MAX_VALUE: Final = 253
_REQUEST_CODES: Final = frozenset((int(PacketCode.ACCESS_REQUEST), int(PacketCode.STATUS_SERVER)))
_USER_NAME: Final = int(AttributeType.USER_NAME)
_USER_PASSWORD: Final = int(AttributeType.USER_PASSWORD)
_STATE: Final = int(AttributeType.STATE)
_CALLING_STATION_ID: Final = int(AttributeType.CALLING_STATION_ID)
_EAP_MESSAGE: Final = int(AttributeType.EAP_MESSAGE)
_VENDOR_SPECIFIC: Final = int(AttributeType.VENDOR_SPECIFIC)
_CHAP_PASSWORD: Final = int(AttributeType.CHAP_PASSWORD)
_CHAP_CHALLENGE: Final = int(AttributeType.CHAP_CHALLENGE)
"""Plain ints: each login looks for them, and Python 3.11 takes its time for a member of an enum."""

# Server side


def read_request(datagram: bytes) -> Packet:
    """An Access-Request or a Status-Server, not verified yet. Raises Unreadable."""
    packet = read_packet(datagram, _REQUEST_CODES)
    if len(packet.attributes) > MAX_ATTRIBUTES:
        raise Unreadable(DropReason.TOO_MANY_ATTRIBUTES)
    return packet


def verify_request(request: Packet, secret: bytes, *, required: bool, limit_proxy_state: bool) -> None:
    """Check Message-Authenticator (RFC 3579 section 3.2) and the rules against CVE-2024-3596. Raises Unreadable.

    ``required``: an Access-Request must carry it; a Status-Server always must (RFC 5997 section 3).
    ``limit_proxy_state``: without it there may be no Proxy-State either.
    """
    at, found = request.message_authenticator_at, request.found
    if _EAP_MESSAGE in found and (at is None or _USER_PASSWORD in found):
        raise Unreadable(DropReason.EAP_UNPROTECTED)
    if at is None:
        if required or request.code == PacketCode.STATUS_SERVER:
            raise Unreadable(DropReason.NO_MESSAGE_AUTHENTICATOR)
        if limit_proxy_state and AttributeType.PROXY_STATE in found:
            raise Unreadable(DropReason.PROXY_STATE_UNPROTECTED)
    elif not is_signed(request.octets, at, secret):
        raise Unreadable(DropReason.WRONG_MESSAGE_AUTHENTICATOR)


def is_signed_request(request: Packet, secret: bytes) -> bool:
    """Whether it carries a Message-Authenticator that was made with this secret."""
    at = request.message_authenticator_at
    return at is not None and is_signed(request.octets, at, secret)


class Credentials(NamedTuple):
    """What an Access-Request asks to be checked. All values are octets: only the client's charset says how to read
    them. ``state`` is None in the first round; ``calling_station_id`` is empty where the client sends none."""

    user_name: bytes
    password: bytes
    state: bytes | None
    calling_station_id: bytes

    def __repr__(self) -> str:
        """Without password and State."""
        return f"Credentials(user_name={self.user_name!r}, ...)"


def read_credentials(request: Packet, secret: bytes) -> Credentials:
    """The PAP credentials of a verified Access-Request (RFC 2865 section 5.2). Raises Unservable."""
    found = request.found
    for type_, name in _NOT_SERVED.items():
        if type_ in found:
            refused = ChapAsked if type_ == _CHAP_PASSWORD and _USER_PASSWORD not in found else Unservable
            raise refused(f"{name} is not served here: let the client use PAP")
    if _VENDOR_SPECIFIC in found and _has_ms_chap(request):
        if _USER_PASSWORD in found:
            raise Unservable("MS-CHAP together with another credential")
        raise MsChapAsked("MS-CHAP is not served here: let the client use PAP")
    if len(found) != len(request.attributes):
        refuse_repeated(request)
    user_name, hidden = found.get(_USER_NAME), found.get(_USER_PASSWORD)
    if not user_name:
        raise Unservable("no User-Name")
    if hidden is None:
        raise Unservable("no User-Password")
    if not 16 <= len(hidden) <= MAX_PASSWORD or len(hidden) % 16:
        raise Unservable("a User-Password that is not 16 to 128 octets in blocks of 16")
    password = reveal_password(hidden, secret, request.authenticator)
    return Credentials(user_name, password, found.get(_STATE), found.get(_CALLING_STATION_ID, b""))


class ChapCredentials(NamedTuple):
    """The same with CHAP in the place of a password."""

    user_name: bytes
    chap: Chap
    state: bytes | None
    calling_station_id: bytes


def read_chap(request: Packet) -> ChapCredentials:
    """The CHAP credentials of a verified Access-Request (RFC 2865 sections 5.3 and 5.40). Raises Unservable."""
    found = request.found
    if _EAP_MESSAGE in found or _USER_PASSWORD in found:
        raise Unservable("CHAP together with another credential")
    for type_ in (_CHAP_PASSWORD, _CHAP_CHALLENGE):
        if len(request.values(type_)) > 1:
            raise Unservable("two CHAP-Passwords or CHAP-Challenges")
    refuse_repeated(request)
    user_name, answer = found.get(_USER_NAME), found.get(_CHAP_PASSWORD, b"")
    challenge = found.get(_CHAP_CHALLENGE, request.authenticator)
    if not user_name:
        raise Unservable("no User-Name")
    if len(answer) != 17 or not challenge:
        raise Unservable("a CHAP-Password that is not 17 octets, or an empty CHAP-Challenge")
    chap = Chap(answer[0], answer[1:], challenge)
    return ChapCredentials(user_name, chap, found.get(_STATE), found.get(_CALLING_STATION_ID, b""))


MICROSOFT = (311).to_bytes(4, "big")
"""The vendor of the MS-CHAP attributes (RFC 2548)."""

MS_CHAP_TYPES = frozenset((1, 3, 4, 5, 6, 11, 25, 27))
"""Microsoft's types that prove a password, or change it."""


def _has_ms_chap(request: Packet) -> bool:
    """Whether it holds more of MS-CHAP than a challenge."""
    return any(
        type_ in MS_CHAP_TYPES and type_ != _MS_CHAP_CHALLENGE
        for value in request.values(_VENDOR_SPECIFIC)
        if value[:4] == MICROSOFT
        for type_, _ in vendor_parts(value)
    )


_MS_CHAP_CHALLENGE = 11

_NOT_SERVED = {_CHAP_PASSWORD: "CHAP", _EAP_MESSAGE: "EAP"}
_AT_MOST_ONCE = {
    _USER_NAME: "User-Names",
    _USER_PASSWORD: "User-Passwords",
    _STATE: "States",
    _CALLING_STATION_ID: "Calling-Station-Ids",  # else the last one would name the station
    int(AttributeType.NAS_IDENTIFIER): "NAS-Identifiers",  # else the last one would choose the client's policy
}


def refuse_repeated(request: Packet) -> None:
    """Raises Unservable for two of what decides."""
    for type_, names in _AT_MOST_ONCE.items():
        if len(request.values(type_)) > 1:
            raise Unservable(f"two {names}")


_WRITTEN_BY_EACH_HOP = frozenset(
    int(one)
    for one in (
        AttributeType.USER_NAME,
        AttributeType.USER_PASSWORD,
        AttributeType.CHAP_PASSWORD,
        AttributeType.CHAP_CHALLENGE,
        AttributeType.STATE,
        AttributeType.EAP_MESSAGE,
        AttributeType.MESSAGE_AUTHENTICATOR,
    )
)


def forwarded(
    user_name: bytes,
    charset: str,
    attributes: list[Attribute],
    chap: Chap | None = None,
    ms_chap: MsChap | None = None,
) -> Forwarded:
    """What of a gateway's request goes along to a server that checks the password: all that a hop does not write
    itself."""
    kept: list[Attribute] = []
    for one in attributes:
        if one[0] == _VENDOR_SPECIFIC:
            kept += _without_ms_chap(one)
        elif one[0] not in _WRITTEN_BY_EACH_HOP:
            kept.append(one)
    return Forwarded(user_name, charset, tuple(kept), chap, ms_chap)


def _without_ms_chap(attribute: Attribute) -> list[Attribute]:
    """The attribute, or what is left of it without Microsoft's credentials: they are written anew."""
    type_, value = attribute
    if type_ != _VENDOR_SPECIFIC or value[:4] != MICROSOFT:
        return [attribute]
    parts = vendor_parts(value)
    kept = [one for one in parts if one[0] not in MS_CHAP_TYPES]
    if len(kept) == len(parts):
        return [attribute]
    return [(_VENDOR_SPECIFIC, MICROSOFT + encode_attributes(kept))] if kept else []


# Client side


class SignedRequest:
    """A request ready to send, and the secret that verifies its reply. A retransmission is the same octets again.

    ``code``: Access-Request or Status-Server, as a number. ``identifier``: 0 to 255; the reply repeats it.
    ``authenticator``: the Request Authenticator, 16 octets; it signs the reply."""

    __slots__ = ("authenticator", "code", "identifier", "octets", "secret")

    def __init__(self, octets: bytes, secret: bytes) -> None:
        self.octets, self.secret = octets, secret
        self.code, self.identifier, self.authenticator = octets[0], octets[1], octets[4:20]


def write_access_request(
    user_name: str,
    user_password: str,
    secret: bytes,
    *,
    identifier: int,
    authenticator: bytes,
    nas_identifier: str = "",
    calling_station_id: str = "",
    state: bytes | None = None,
) -> SignedRequest:
    """An Access-Request with PAP (RFC 2865 section 4.1). Empty texts are left out.

    ``identifier``: 0 to 255, not in use by another request of the same socket. ``authenticator``: 16 random octets,
    never used before. ``state``: as it came in the Access-Challenge that this answers. Raises CannotCarry.
    """
    name, password = user_name.encode(), user_password.encode()
    if not 1 <= len(name) <= _MAX_VALUE or len(password) > MAX_PASSWORD:
        raise CannotCarry
    attributes: list[Attribute] = [
        (AttributeType.USER_NAME, name),
        (AttributeType.USER_PASSWORD, hide_password(password, secret, authenticator)),
    ]
    for type_, text in (
        (AttributeType.NAS_IDENTIFIER, nas_identifier),
        (AttributeType.CALLING_STATION_ID, calling_station_id),
    ):
        if text:
            attributes.append((type_, text.encode()[:_MAX_VALUE]))
    if state is not None:
        attributes.append((AttributeType.STATE, state))
    octets = sign(PacketCode.ACCESS_REQUEST, identifier, authenticator, encode_attributes(attributes), secret)
    return SignedRequest(octets, secret)


def write_unsigned_request(password: bytes, secret: bytes, *, identifier: int, authenticator: bytes) -> SignedRequest:
    """An Access-Request for nobody, without Message-Authenticator: a server with another secret cannot know that, and
    its reply tells. ``password``: one that nobody has."""
    attributes = [
        (_USER_NAME, b"sekisho-upstream-test"),
        (_USER_PASSWORD, hide_password(password, secret, authenticator)),
        (int(AttributeType.NAS_IDENTIFIER), b"sekisho-upstream-test"),
    ]
    encoded = encode_attributes(attributes)
    length = HEADER + len(encoded)
    header = bytes((int(PacketCode.ACCESS_REQUEST), identifier, length >> 8, length & 0xFF)) + authenticator
    return SignedRequest(header + encoded, secret)


def write_status_server(
    secret: bytes, *, identifier: int, authenticator: bytes, nas_identifier: str = ""
) -> SignedRequest:
    """A Status-Server, which asks whether the server can answer logins (RFC 5997). Arguments as for
    write_access_request."""
    attributes: list[Attribute] = []
    if nas_identifier:
        attributes.append((AttributeType.NAS_IDENTIFIER, nas_identifier.encode()[:_MAX_VALUE]))
    octets = sign(PacketCode.STATUS_SERVER, identifier, authenticator, encode_attributes(attributes), secret)
    return SignedRequest(octets, secret)
