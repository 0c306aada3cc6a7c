"""Verdicts to reply packets: attributes, texts that fit, the delay of an Access-Reject, silence.

Every verdict ends in one reply or in a counted drop. It decides nothing about logins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from otp_core.messages import Text
from otp_core.model import Accept, Challenge, Reject, Silence, Verdict
from otp_core.radius.codec import (
    MAX_PACKET,
    SIGNED_HEADER,
    Attribute,
    AttributeType,
    PacketCode,
    encoded_size,
    text_attributes,
)
from otp_core.radius.dictionary import Dictionary
from otp_core.radius.replies import write_reply
from radius_server.clients import Client
from radius_server.counters import Counters
from radius_server.duplicates import Duplicates
from radius_server.process.exchange import Exchange
from radius_server.process.ms_chap import error_for
from radius_server.process.relayed import Unseal, outranked, relayed_to, without_relayed

_USER_NAME: Final = int(AttributeType.USER_NAME)
_ACCESS_ACCEPT: Final = PacketCode.ACCESS_ACCEPT
_REPLY_MESSAGE: Final = int(AttributeType.REPLY_MESSAGE)
_VENDOR_SPECIFIC: Final = int(AttributeType.VENDOR_SPECIFIC)
"""For each Accept: Python 3.11 takes its time for a member of an enum."""


class Replies:
    """Answers exchanges and keeps what was answered for their duplicates. Belongs to the running event loop.

    ``dictionary``: encodes customers' reply attributes; may be replaced at any time. ``max_delayed``: Access-Rejects
    that may wait for their delay at once. ``unseal``: opens what a first factor has sealed for the reply.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        duplicates: Duplicates,
        counters: Counters,
        max_delayed: int,
        unseal: Unseal | None = None,
    ) -> None:
        self.dictionary, self._unseal = dictionary, unseal
        self._duplicates, self._counters, self._max_delayed = duplicates, counters, max_delayed
        self._loop = asyncio.get_running_loop()
        self.delayed = 0

    def answer(self, exchange: Exchange, verdict: Verdict) -> None:
        """Send what the verdict asks for: a reply now, an Access-Reject later, or nothing."""
        match verdict:
            case Accept():
                self._accept(exchange, verdict)
            case Challenge():
                self._reply(exchange, PacketCode.ACCESS_CHALLENGE, _challenge_attributes(exchange.client, verdict))
            case Reject():
                self._reject(exchange, verdict)
            case Silence():
                self._drop(exchange, verdict.reason)

    def pass_on(self, exchange: Exchange, code: PacketCode, attributes: list[Attribute]) -> None:
        """Send another server's reply as it is: at once, and whole."""
        self._send(exchange, code, attributes)

    def _accept(self, exchange: Exchange, verdict: Accept) -> None:
        attributes = exchange.client.accept_attributes
        if verdict.attributes:
            try:
                own = self._own_attributes(exchange, verdict.attributes)
            except ValueError as error:
                # No Accept without it: the attribute may be the one that restricts the customer.
                self._drop(exchange, str(error))
                return
            if _has(own, _USER_NAME):  # it may occur once, and the customer's outranks the client's
                attributes = [one for one in attributes if one[0] != _USER_NAME]
            attributes = attributes + own
        if verdict.change_token:
            wanted = exchange.client.texts[exchange.client.policy.language, Text.CHANGE_TOKEN]
            attributes = [one for one in attributes if one[0] != _REPLY_MESSAGE] + wanted
        row, client = verdict.row, exchange.client
        if row is not None and row.customer is not None and client.return_user_name != "never":
            name = row.customer.encode(client.user_name_charset, "replace")
            if name != exchange.request.found.get(_USER_NAME) or client.return_user_name == "always":
                attributes = _with_user_name(exchange, attributes, name)
        self._reply(exchange, _ACCESS_ACCEPT, attributes)

    def _own_attributes(self, exchange: Exchange, attributes: Mapping[str, object]) -> list[Attribute]:
        """What this acceptance carries beside the client's own: what is relayed, then the customer's. Raises
        ValueError."""
        named, brought = without_relayed(attributes, exchange.client.relay)
        try:
            own = self.dictionary.encode_all(named)
        except ValueError as error:
            raise ValueError(f"a customer's reply attribute cannot be encoded: {error}") from None
        if not brought:
            return own
        try:
            return outranked(relayed_to(exchange, brought, self._unseal), own) + own
        except ValueError as error:
            raise ValueError(f"an attribute of an upstream cannot be passed on: {error}") from None

    def _reject(self, exchange: Exchange, verdict: Reject) -> None:
        """Send an Access-Reject ``reject_delay`` seconds after its request came.

        The delay runs from the arrival, so that the time of the reply does not tell what was wrong. A waiting reject
        is one timer: it does not count as in flight.
        """
        client = exchange.client
        attributes = (
            client.problem_texts.get((verdict.language, verdict.reason))
            or (client.texts[verdict.language, Text.REJECT])
        )
        if _VENDOR_SPECIFIC in exchange.request.found:
            attributes = error_for(exchange, verdict.reason) + attributes
        delay = exchange.received + exchange.client.reject_delay - self._loop.time()
        if delay <= 0:
            self._reply(exchange, PacketCode.ACCESS_REJECT, attributes)
        elif self.delayed >= self._max_delayed:
            self._drop(exchange, "too many delayed rejections")
        else:
            self.delayed += 1
            self._loop.call_later(delay, self._reject_delayed, exchange, attributes)

    def _reject_delayed(self, exchange: Exchange, attributes: list[Attribute]) -> None:
        self.delayed -= 1
        self._reply(exchange, PacketCode.ACCESS_REJECT, attributes)

    def _drop(self, exchange: Exchange, cause: str) -> None:
        """Stay silent, and let a retransmission be a new request."""
        self._counters.dropped(cause, source=exchange.peer[0], client=exchange.client.name)
        self._duplicates.forget(exchange.key, exchange.request.octets)

    def _reply(self, exchange: Exchange, code: PacketCode, attributes: list[Attribute]) -> None:
        self._send(exchange, code, _shortened(exchange, attributes))

    def _send(self, exchange: Exchange, code: PacketCode, attributes: list[Attribute]) -> None:
        client, request = exchange.client, exchange.request
        try:
            reply = write_reply(request, code, attributes, client.secret)
        except ValueError as error:
            self._drop(exchange, str(error))
            return
        self._duplicates.complete(exchange.key, request.octets, reply)
        self._counters.counts[code] += 1
        if not exchange.listener.send(reply, exchange.peer, exchange.local):
            self._counters.counts["reply not sent"] += 1


def _with_user_name(exchange: Exchange, attributes: list[Attribute], name: bytes) -> list[Attribute]:
    """The attributes with the customer's name as it is stored, so that the gateway calls them by that one name (RFC
    2865 section 5.1). Not where the settings give a User-Name, and not where it would make the reply too long."""
    if _has(attributes, _USER_NAME):
        return attributes
    with_name = [(_USER_NAME, name), *attributes]
    needed = [one for one in with_name if one[0] != AttributeType.REPLY_MESSAGE]
    fixed, limit = _room(exchange)
    return with_name if fixed + encoded_size(needed) <= limit else attributes


def _has(attributes: list[Attribute], wanted: int) -> bool:
    return any(type_ == wanted for type_, _ in attributes)


def _challenge_attributes(client: Client, verdict: Challenge) -> list[Attribute]:
    if verdict.prompt is None:
        texts = client.texts[verdict.language, Text.CHALLENGE_AGAIN if verdict.again else Text.CHALLENGE]
    else:
        texts = text_attributes(AttributeType.REPLY_MESSAGE, verdict.prompt)
    return [(int(AttributeType.STATE), verdict.state), *client.prompt, *texts]


def _shortened(exchange: Exchange, attributes: list[Attribute]) -> list[Attribute]:
    """The attributes, with Reply-Messages removed from the end until the reply fits into the client's ``reply_max``.
    Other attributes always stay."""
    if not attributes:
        return attributes
    fixed, limit = _room(exchange)
    while fixed + encoded_size(attributes) > limit:
        texts = [at for at, (type_, _) in enumerate(attributes) if type_ == AttributeType.REPLY_MESSAGE]
        if not texts:
            return attributes
        attributes = attributes[: texts[-1]] + attributes[texts[-1] + 1 :]
    return attributes


def _room(exchange: Exchange) -> tuple[int, int]:
    """The octets of a reply that are no attributes of its own (header, signature, the request's Proxy-States), and the
    longest that it may be."""
    proxy_states = exchange.request.values(AttributeType.PROXY_STATE)
    fixed = SIGNED_HEADER + sum(len(value) + 2 for value in proxy_states)
    return fixed, min(max(exchange.client.reply_max, fixed), MAX_PACKET)
