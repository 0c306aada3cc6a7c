"""The log lines about verdicts at the RADIUS door: what the request says of its gateway, and what speaks for a wrong
secret. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from otp_core.model import Attempt, Verdict
from otp_core.radius.codec import AttributeType, Packet, Unservable
from otp_core.verdict_log import VerdictLog
from radius_server.process.exchange import Exchange
from radius_server.process.spelling import read_customer

_LONGEST_NAS = 64
"""Characters of a NAS-Identifier in a line."""


class VerdictLines:
    """``clock``: seconds, the one that requests are received by."""

    def __init__(self, log: VerdictLog, clock: Callable[[], float]) -> None:
        self._log, self._clock = log, clock

    def write(self, exchange: Exchange, attempt: Attempt, verdict: Verdict) -> None:
        """A line about this verdict, if there is to be one. The answer has been given already."""
        if self._log.wants(verdict):
            remark = "wrong secret likely" if is_garbled(exchange.request, attempt.user_password) else ""
            seconds = self._clock() - exchange.received
            self._log.write("radius", attempt, verdict, seconds, nas=nas_of(exchange.request), remark=remark)

    def refused(self, exchange: Exchange, reason: str, left_out: int) -> None:
        """A line about a request that is refused without an attempt. ``left_out``: such lines that were not written."""
        request = exchange.request
        self._log.refused(
            "radius",
            reason,
            self._clock() - exchange.received,
            client=exchange.client.name,
            nas=nas_of(request),
            source=exchange.peer[0],
            name=_name_in(exchange),
            left_out=left_out,
        )


def is_garbled(request: Packet, user_password: str) -> bool:
    """Whether a password looks as one does that was hidden with another secret: it holds what nobody can type. Not
    where Message-Authenticator was right, since that was made with the secret."""
    return request.message_authenticator_at is None and not user_password.isprintable()


def nas_of(request: Packet) -> str:
    """What the gateway calls itself: NAS-Identifier, or else its address (RFC 2865 sections 5.4 and 5.32, RFC 3162
    section 2.1). Only a name: the sender may choose it freely."""
    identifier = request.found.get(AttributeType.NAS_IDENTIFIER)
    if identifier:
        return identifier.decode(errors="replace")[:_LONGEST_NAS]
    for type_, size in ((AttributeType.NAS_IP_ADDRESS, 4), (AttributeType.NAS_IPV6_ADDRESS, 16)):
        octets = request.found.get(type_, b"")
        if len(octets) == size:
            return str(ip_address(octets))
    return ""


def _name_in(exchange: Exchange) -> str | None:
    octets = exchange.request.found.get(AttributeType.USER_NAME)
    if not octets:
        return None
    try:
        return read_customer(exchange.client, octets)
    except Unservable:
        return octets.decode(errors="replace")
