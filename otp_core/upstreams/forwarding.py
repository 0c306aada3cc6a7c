"""A login as an Access-Request to an upstream: what of the gateway's request goes along, and what is our own. Pure.

The User-Name goes as it came, and so do all attributes that a hop does not write itself. Our own Proxy-State is the
last attribute (RFC 2865 section 5.33); nothing depends on its coming back.
"""

from __future__ import annotations

from otp_core.model import Attempt, Forwarded
from otp_core.radius.codec import (
    MAX_PACKET,
    MAX_PASSWORD,
    SIGNED_HEADER,
    Attribute,
    AttributeType,
    CannotAsk,
    CannotCarry,
    PacketCode,
    encode_attributes,
    hide_password,
    sign,
)
from otp_core.radius.ms_chap import written
from otp_core.radius.requests import SignedRequest

_PROXY_STATE, _NAS_IDENTIFIER = int(AttributeType.PROXY_STATE), int(AttributeType.NAS_IDENTIFIER)
_CALLING_STATION_ID = int(AttributeType.CALLING_STATION_ID)
_USER_NAME, _USER_PASSWORD = int(AttributeType.USER_NAME), int(AttributeType.USER_PASSWORD)
_STATE, _ACCESS_REQUEST = int(AttributeType.STATE), int(PacketCode.ACCESS_REQUEST)
"""Plain ints: Python 3.11 takes its time for a member of an enum."""
_LONGEST_VALUE = 253
_OWN_NAME = b"sekisho"
"""The NAS-Identifier of logins that no gateway sent: at the pages, by PAM."""


def forwarded_of(attempt: Attempt) -> Forwarded:
    """The same for any attempt: one from another door has no more than the customer's address."""
    if attempt.forwarded is not None:
        return attempt.forwarded
    attributes = [(_NAS_IDENTIFIER, _OWN_NAME)]
    if attempt.calling_station_id:
        attributes.append((_CALLING_STATION_ID, attempt.calling_station_id.encode()[:_LONGEST_VALUE]))
    return Forwarded(attempt.customer.encode(), "utf-8", tuple(attributes))


def in_later_round(first: Forwarded, now: Forwarded) -> Forwarded:
    """A later round of the same login: with what the gateway said of itself and of the customer's station in the first
    one, where it says nothing of that kind now. Proxy-States are those of now."""
    said = {type_ for type_, _ in now.attributes}
    earlier = tuple(one for one in first.attributes if one[0] not in said and one[0] != _PROXY_STATE)
    return Forwarded(first.user_name, now.charset, earlier + now.attributes, now.chap, now.ms_chap)


class Asked:
    """One login, ready to be written for any server of an upstream. ``state``: of the challenge that it answers.
    ``proxy_state``: our own. (No dataclass: that makes one in three times the time where this is compiled.)"""

    __slots__ = ("_password", "_proxy_state", "_secret", "_state", "forwarded")

    def __init__(
        self, forwarded: Forwarded, password: bytes, secret: bytes, proxy_state: bytes, state: bytes | None = None
    ) -> None:
        self.forwarded, self._password, self._secret = forwarded, password, secret
        self._proxy_state, self._state = proxy_state, state

    def write(self, identifier: int, authenticator: bytes) -> SignedRequest:
        """The Access-Request. Raises CannotAsk."""
        told = self.forwarded
        if not 1 <= len(told.user_name) <= _LONGEST_VALUE or len(self._password) > MAX_PASSWORD:
            raise CannotCarry
        attributes: list[Attribute] = [(_USER_NAME, told.user_name)]
        if told.chap is None and told.ms_chap is None:
            attributes.append((_USER_PASSWORD, hide_password(self._password, self._secret, authenticator)))
        else:
            attributes += self._answer()
        attributes += told.attributes
        if self._state is not None:
            attributes.append((_STATE, self._state))
        attributes.append((_PROXY_STATE, self._proxy_state))
        encoded = encode_attributes(attributes)
        if SIGNED_HEADER + len(encoded) > MAX_PACKET:
            raise CannotAsk("with what each hop adds, the gateway's request is longer than RADIUS allows")
        octets = sign(_ACCESS_REQUEST, identifier, authenticator, encoded, self._secret)
        return SignedRequest(octets, self._secret)

    def _answer(self) -> list[Attribute]:
        """CHAP or MS-CHAPv2 as it came, with its challenge: our authenticator is another one."""
        chap = self.forwarded.chap
        if self.forwarded.ms_chap is not None:
            return written(self.forwarded.ms_chap)
        assert chap is not None
        answer = bytes((chap.identifier,)) + chap.response
        return [(int(AttributeType.CHAP_PASSWORD), answer), (int(AttributeType.CHAP_CHALLENGE), chap.challenge)]
