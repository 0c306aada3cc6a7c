"""MS-CHAPv2 on its way to a server that knows the password: its attributes, read and written (RFC 2548 section 2, RFC
2759). Nothing is checked here but for the answer to an empty password: a hash of a password is not enough for it.

Octets in, octets out. No sockets, no randomness, no decision about customers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import sha1
from typing import NamedTuple

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from otp_core.login.table import Finding
from otp_core.model import MsChap
from otp_core.radius.codec import Attribute, AttributeType, Packet, Unservable, vendor_parts
from otp_core.radius.relayed import AllowList
from otp_core.radius.requests import MICROSOFT, MS_CHAP_TYPES, refuse_repeated

_ERROR, _CHALLENGE, _RESPONSE_2, _SUCCESS_2 = 2, 11, 25, 26
_ENCRYPTION_POLICY, _ENCRYPTION_TYPES, _SEND_KEY, _RECV_KEY = 7, 8, 16, 17
_VENDOR = int.from_bytes(MICROSOFT, "big")

_KEYS = (_SEND_KEY, _RECV_KEY)

ANSWER = AllowList(
    {(type_, _VENDOR): type_ in _KEYS for type_ in (_SUCCESS_2, _ENCRYPTION_POLICY, _ENCRYPTION_TYPES, *_KEYS)}
)
"""What of an upstream's Access-Accept belongs to the answer, and comes back whatever else is relayed."""

_VENDOR_SPECIFIC = int(AttributeType.VENDOR_SPECIFIC)
_OTHER_CREDENTIALS = (AttributeType.CHAP_PASSWORD, AttributeType.USER_PASSWORD, AttributeType.EAP_MESSAGE)


class MsChapCredentials(NamedTuple):
    """What an Access-Request with MS-CHAPv2 asks to be checked, as ``requests.Credentials``."""

    user_name: bytes
    ms_chap: MsChap
    state: bytes | None
    calling_station_id: bytes


def read_ms_chap(request: Packet) -> MsChapCredentials:
    """The MS-CHAPv2 credentials of a verified Access-Request (RFC 2548 sections 2.1.2 and 2.3.2). Raises Unservable."""
    found = request.found
    if any(type_ in found for type_ in _OTHER_CREDENTIALS):
        raise Unservable("MS-CHAP together with another credential")
    refuse_repeated(request)
    by_type: dict[int, list[bytes]] = {}
    for type_, value in _microsoft(request):
        by_type.setdefault(type_, []).append(value)
    if _RESPONSE_2 not in by_type:
        raise Unservable("MS-CHAP without MS-CHAP2-Response: let the client use MS-CHAP version 2, or PAP")
    if set(by_type) & MS_CHAP_TYPES != {_CHALLENGE, _RESPONSE_2} or any(
        len(by_type[one]) > 1 for one in (_CHALLENGE, _RESPONSE_2)
    ):
        raise Unservable("MS-CHAP that is not one MS-CHAP-Challenge and one MS-CHAP2-Response")
    (challenge,), (response,) = by_type[_CHALLENGE], by_type[_RESPONSE_2]
    if len(challenge) != 16 or len(response) != 50:
        raise Unservable("an MS-CHAP-Challenge that is not 16 octets, or an MS-CHAP2-Response that is not 50")
    user_name = found.get(AttributeType.USER_NAME)
    if not user_name:
        raise Unservable("no User-Name")
    ms_chap = MsChap(challenge, response, _is_of_nothing(user_name, challenge, response))
    return MsChapCredentials(
        user_name, ms_chap, found.get(AttributeType.STATE), found.get(AttributeType.CALLING_STATION_ID, b"")
    )


def written(ms_chap: MsChap) -> list[Attribute]:
    """The two attributes of a request, each in a Vendor-Specific of its own."""
    return [_attribute(_CHALLENGE, ms_chap.challenge), _attribute(_RESPONSE_2, ms_chap.response)]


def proves_the_server(reply: Packet) -> bool:
    """Whether an Access-Accept has what the customer's device recognises the server by, and refuses it without (RFC
    2759 section 5)."""
    return any(type_ == _SUCCESS_2 for type_, _ in _microsoft(reply))


# Refusals (RFC 2548 section 2.1.5, RFC 2759 section 6)

_ERRORS = {
    Finding.NOT_PERMITTED_THERE: (649, 646),
    Finding.ACCOUNT_DISABLED: (647,),
    Finding.PASSWORD_EXPIRED: (648,),
    Finding.WRONG_PASSWORD: (691,),
}
"""The number that is sent for a finding, and others that mean it. What is not listed is sent as a wrong password."""

_NUMBER = re.compile(rb"E=(\d{1,10})\b")


def finding_in(reply: Packet) -> Finding:
    """What an upstream's Access-Reject says is wrong with the account; a wrong password if it says nothing."""
    for type_, value in _microsoft(reply):
        if type_ == _ERROR and (number := _NUMBER.search(value)):
            said = int(number[1])
            return next((finding for finding, numbers in _ERRORS.items() if said in numbers), Finding.WRONG_PASSWORD)
    return Finding.WRONG_PASSWORD


def error_for(request: Packet, reason: str, challenge: bytes) -> list[Attribute]:
    """The MS-CHAP-Error of an Access-Reject to this request; nothing for one without an MS-CHAP2-Response. ``reason``:
    the value of a finding that may be told. ``challenge``: 16 random octets. The client may not try again by itself."""
    if _VENDOR_SPECIFIC not in request.found:
        return []
    answers = [value for type_, value in _microsoft(request) if type_ == _RESPONSE_2 and value]
    if not answers:
        return []
    number = next((numbers[0] for finding, numbers in _ERRORS.items() if finding == reason), 691)
    text = f"E={number} R=0 C={challenge.hex().upper()} V=3 M="
    return [_attribute(_ERROR, answers[0][:1] + text.encode())]


# Octets


def _microsoft(packet: Packet) -> Iterator[Attribute]:
    for type_, value in packet.attributes:
        if type_ == _VENDOR_SPECIFIC and value[:4] == MICROSOFT:
            yield from vendor_parts(value)


def _attribute(type_: int, value: bytes) -> Attribute:
    return _VENDOR_SPECIFIC, MICROSOFT + bytes((type_, len(value) + 2)) + value


_HASH_OF_NOTHING = bytes.fromhex("31d6cfe0d16ae931b73c59d7e0c089c0")
"""MD4 of no octets (RFC 1320 section A.5), which is the hash of an empty password. OpenSSL 3 has no MD4."""


def _is_of_nothing(user_name: bytes, challenge: bytes, response: bytes) -> bool:
    r"""Whether this is the answer of an empty password (RFC 2759 sections 8.1 to 8.5). Devices hash their name with
    ``DOMAIN\`` or without."""
    names = {user_name, user_name.rpartition(b"\\")[2]}
    made = (_answer(_HASH_OF_NOTHING, response[2:18], challenge, name) for name in names)
    return response[26:50] in made


def _answer(password_hash: bytes, peer_challenge: bytes, challenge: bytes, name: bytes) -> bytes:
    block = sha1(peer_challenge + challenge + name, usedforsecurity=False).digest()[:8]
    key = password_hash.ljust(21, b"\0")
    return b"".join(_des(key[at : at + 7], block) for at in (0, 7, 14))


def _des(key: Sequence[int], block: bytes) -> bytes:
    """DES is Triple-DES with one key three times; the lowest bit of each octet of a key means nothing."""
    bits = int.from_bytes(bytes(key), "big")
    octets = bytes((bits >> shift & 0x7F) << 1 for shift in range(49, -1, -7))
    encryptor = Cipher(TripleDES(octets * 3), modes.ECB()).encryptor()  # noqa: S305  RFC 2759 section 8.6
    return encryptor.update(block) + encryptor.finalize()
