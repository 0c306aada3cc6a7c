"""Verdicts to reply packets: attributes, texts that fit, the delay of an Access-Reject, silence.

Every verdict ends in one reply or in a counted drop. It decides nothing about logins.
"""

from __future__ import annotations

import asyncio

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


class Replies:
    """Answers exchanges and keeps what was answered for their duplicates. Belongs to the running event loop.

    ``dictionary``: encodes customers' reply attributes; may be replaced at any time. ``max_delayed``: Access-Rejects
    that may wait for their delay at once.
    """

    def __init__(self, dictionary: Dictionary, duplicates: Duplicates, counters: Counters, max_delayed: int) -> None:
        self.dictionary = dictionary
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

    def _accept(self, exchange: Exchange, verdict: Accept) -> None:
        attributes = exchange.client.accept_attributes
        if verdict.attributes:
            try:
                attributes = attributes + self.dictionary.encode_all(verdict.attributes)
            except ValueError as error:
                # No Accept without it: the attribute may be the one that restricts the customer.
                self._drop(exchange, f"a customer's reply attribute cannot be encoded: {error}")
                return
        self._reply(exchange, PacketCode.ACCESS_ACCEPT, attributes)

    def _reject(self, exchange: Exchange, verdict: Reject) -> None:
        """Send an Access-Reject ``reject_delay`` seconds after its request came.

        The delay runs from the arrival, so that the time of the reply does not tell what was wrong. A waiting reject
        is one timer: it does not count as in flight.
        """
        attributes = exchange.client.texts[verdict.language, Text.REJECT]
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
        self._counters.dropped(cause, exchange.client.name)
        self._duplicates.forget(exchange.key, exchange.request.octets)

    def _reply(self, exchange: Exchange, code: PacketCode, attributes: list[Attribute]) -> None:
        client, request = exchange.client, exchange.request
        try:
            reply = write_reply(request, code, _shortened(exchange, attributes), client.secret)
        except ValueError as error:
            self._drop(exchange, str(error))
            return
        self._duplicates.complete(exchange.key, request.octets, reply)
        self._counters.counts[code] += 1
        if not exchange.listener.send(reply, exchange.peer, exchange.local):
            self._counters.counts["reply not sent"] += 1


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
    proxy_states = exchange.request.values(AttributeType.PROXY_STATE)
    fixed = SIGNED_HEADER + sum(len(value) + 2 for value in proxy_states)
    limit = min(max(exchange.client.reply_max, fixed), MAX_PACKET)
    while fixed + encoded_size(attributes) > limit:
        texts = [at for at, (type_, _) in enumerate(attributes) if type_ == AttributeType.REPLY_MESSAGE]
        if not texts:
            return attributes
        attributes = attributes[: texts[-1]] + attributes[texts[-1] + 1 :]
    return attributes
