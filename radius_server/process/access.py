"""Datagrams to attempts, verdicts to datagrams: the path of one request through the door.

What is dropped and what is refused follows docs/radius.md. Nothing a peer sends raises out of ``receive``; what is held
is bounded. Who gets in, the core decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import structlog

from otp_core.authentication.queue import OnVerdict
from otp_core.messages import Text
from otp_core.model import Accept, Attempt, Challenge, Mode, Reject, Silence, Verdict
from otp_core.otp import normalise_contract_id
from otp_core.radius.codec import (
    MAX_PACKET,
    Attribute,
    AttributeType,
    PacketCode,
    Request,
    Unreadable,
    Unservable,
    credentials,
    read_request,
    size,
    verify,
    write_reply,
)
from otp_core.radius.dictionary import Dictionary
from radius_server.clients import Client, Clients
from radius_server.counters import Counters
from radius_server.duplicates import Admission, Duplicates
from radius_server.listen.udp import Source

_DELAYED_FOR_EACH_PLACE = 10
_log = structlog.get_logger("radius")
REPLY_HEAD = 38
"""Octets of a reply before its attributes: header and Message-Authenticator."""


class Authenticator(Protocol):
    """Who decides: the authenticator."""

    def admit(self, attempt: Attempt, on_verdict: OnVerdict) -> None:
        """``on_verdict`` hears the verdict once."""


class Transport(Protocol):
    """Where a request came in, and its reply goes out: the listener."""

    def send(self, datagram: bytes, source: Source, destination: bytes) -> bool:
        """False if it could not be sent."""


class Limits(NamedTuple):
    """The door's bounds (settings, section radius)."""

    max_in_flight: int
    request_seconds: float
    status_rate: int


class Exchange(NamedTuple):
    """A request that was let in, and what its reply needs."""

    client: Client
    request: Request
    listener: Transport
    source: Source
    destination: bytes
    key: tuple[object, ...]
    received: float


class RadiusServer:
    """The door's work. ``healthy``: can the core answer now? ``full``: are too many challenges open?"""

    def __init__(
        self,
        clients: Clients,
        dictionary: Dictionary,
        authenticator: Authenticator,
        duplicates: Duplicates,
        limits: Limits,
        fingerprint: Callable[..., int],
        healthy: Callable[[], bool],
        full: Callable[[], bool],
    ) -> None:
        self.clients = clients
        self._dictionary, self._authenticator, self._duplicates = dictionary, authenticator, duplicates
        self._limits, self._fingerprint, self._healthy, self._full = limits, fingerprint, healthy, full
        self._loop = asyncio.get_running_loop()
        self.counters = Counters(self._loop.time)
        self._status: dict[str, tuple[int, int]] = {}
        self.in_flight = 0
        self.delayed = 0

    def use(self, clients: Clients, dictionary: Dictionary) -> None:
        """From the next datagram on."""
        self.clients, self._dictionary = clients, dictionary

    def receive(self, listener: Transport, datagram: bytes, source: Source, destination: bytes) -> None:
        """One datagram. Never raises."""
        try:
            self._receive(listener, datagram, source, destination)
        except Unreadable as error:
            self.counters.dropped(error.fault.value, source[0])
        except Exception:
            self.counters.dropped("an error of our own", source[0])
            _log.exception("a datagram could not be handled", source=source[0], octets=len(datagram))

    def _receive(self, listener: Transport, datagram: bytes, source: Source, destination: bytes) -> None:
        client = self.clients.find(source[0])
        if client is None:
            self.counters.dropped("no client has this address: is it missing in [[radius.clients]]?", source[0])
            return
        request = read_request(datagram)
        verify(
            request,
            client.secret,
            required=client.require_message_authenticator,
            limit_proxy_state=client.limit_proxy_state,
        )
        self.counters.authenticated(client.name, protected=request.authenticator_at is not None)
        key = (source, destination, listener, request.identifier)
        now = self._loop.time()
        exchange = Exchange(client, request, listener, source, destination, key, now)
        if request.code == PacketCode.STATUS_SERVER:
            self._answer_status(exchange)
            return
        room = self.in_flight < self._limits.max_in_flight or self._keeps_place(request)
        admitted = self._duplicates.admit(key, request.octets, now, room=room)
        if admitted is Admission.NEW:
            try:
                self._admit(exchange)
            except Exception:
                self._duplicates.forget(key, request.octets)
                raise
        elif admitted is Admission.NO_ROOM:
            self.counters.dropped("too many requests in flight", source[0])
        elif admitted is Admission.IN_PROGRESS:
            self.counters.counts["duplicate in progress"] += 1
        elif isinstance(admitted, bytes):
            self.counters.counts["duplicate answered again"] += 1
            listener.send(admitted, source, destination)

    def _keeps_place(self, request: Request) -> bool:
        """Over the bound, the answers to challenges still come in, to twice the bound."""
        return AttributeType.STATE in request.found and self.in_flight < 2 * self._limits.max_in_flight

    def _admit(self, exchange: Exchange) -> None:
        client = exchange.client
        try:
            attempt = self._attempt(exchange)
        except Unservable as error:
            self.counters.say("refused without an attempt", str(error), client.name)
            self._answer(exchange, Reject(str(error), client.policy.language))
            return
        if attempt.challenge is None and client.policy.mode in (Mode.CHALLENGE, Mode.AUTO) and self._full():
            self._answer(exchange, Silence("too many open challenges"))
            return
        self.in_flight += 1
        try:
            self._authenticator.admit(attempt, partial(self._on_verdict, exchange))
        except Exception:
            # A fault of ours must not fill the door's places for good.
            self.in_flight -= 1
            raise

    def _attempt(self, exchange: Exchange) -> Attempt:
        client, request = exchange.client, exchange.request
        asked = credentials(request, client.secret)
        try:
            customer = normalise_contract_id(asked.user_name.decode(client.charset))
            user_password = asked.password.decode(client.charset)
        except UnicodeDecodeError:
            raise Unservable(f"octets that are no {client.charset}: wrong secret, or another charset?") from None
        # With what was typed: a client that repeats its authenticators must not have a wrong code taken for a copy.
        request_id = bytes((request.identifier,)) + request.authenticator
        fingerprint = self._fingerprint(b"request", client.name.encode(), request_id, user_password.encode())
        return Attempt(
            customer=customer,
            user_password=user_password,
            policy=client.policy,
            client=client.name,
            source=exchange.source[0],
            calling_station_id=asked.calling_station_id.decode(errors="replace")[:64],
            challenge=asked.state,
            fingerprint=fingerprint,
            deadline=exchange.received + self._limits.request_seconds,
        )

    def _on_verdict(self, exchange: Exchange, verdict: Verdict) -> None:
        """The verdict is durable: answer."""
        self.in_flight -= 1
        self._answer(exchange, verdict)

    def _answer(self, exchange: Exchange, verdict: Verdict) -> None:
        match verdict:
            case Accept():
                self._accept(exchange, verdict)
            case Challenge():
                self._reply(exchange, PacketCode.ACCESS_CHALLENGE, self._challenge_attributes(exchange.client, verdict))
            case Reject():
                self._reject(exchange, verdict)
            case Silence():
                self._drop(exchange, verdict.reason)

    def _accept(self, exchange: Exchange, verdict: Accept) -> None:
        attributes = exchange.client.accept_attributes
        if verdict.attributes:
            try:
                attributes = attributes + self._dictionary.encode_all(verdict.attributes)
            except ValueError as error:
                # One that is left out might have been the one that restricts.
                self._drop(exchange, f"a customer's reply attribute cannot be encoded: {error}")
                return
        self._reply(exchange, PacketCode.ACCESS_ACCEPT, attributes)

    def _reject(self, exchange: Exchange, verdict: Reject) -> None:
        """A rejection leaves a fixed time after its request came, whatever was wrong and however long it took to find
        out. It waits in a timer, takes nobody's place, and there is a bound on how many do."""
        attributes = exchange.client.texts[verdict.language, Text.REJECT]
        delay = exchange.received + exchange.client.reject_delay - self._loop.time()
        if delay <= 0:
            self._reply(exchange, PacketCode.ACCESS_REJECT, attributes)
        elif self.delayed >= _DELAYED_FOR_EACH_PLACE * self._limits.max_in_flight:
            self._drop(exchange, "too many delayed rejections")
        else:
            self.delayed += 1
            self._loop.call_later(delay, self._reject_late, exchange, attributes)

    def _reject_late(self, exchange: Exchange, attributes: list[Attribute]) -> None:
        self.delayed -= 1
        self._reply(exchange, PacketCode.ACCESS_REJECT, attributes)

    def _drop(self, exchange: Exchange, cause: str) -> None:
        """Silence: let the retransmission be a new request."""
        self.counters.dropped(cause, exchange.client.name)
        self._duplicates.forget(exchange.key, exchange.request.octets)

    @staticmethod
    def _challenge_attributes(client: Client, verdict: Challenge) -> list[Attribute]:
        text = Text.CHALLENGE_AGAIN if verdict.again else Text.CHALLENGE
        return [(int(AttributeType.STATE), verdict.state), *client.prompt, *client.texts[verdict.language, text]]

    def _reply(self, exchange: Exchange, code: PacketCode, attributes: list[Attribute]) -> None:
        client, request = exchange.client, exchange.request
        try:
            reply = write_reply(request, code, self._fitted(exchange, attributes), client.secret)
        except ValueError as error:
            self._drop(exchange, str(error))
            return
        self._duplicates.complete(exchange.key, request.octets, reply)
        self.counters.counts[code] += 1
        if not exchange.listener.send(reply, exchange.source, exchange.destination):
            self.counters.counts["reply not sent"] += 1

    def _fitted(self, exchange: Exchange, attributes: list[Attribute]) -> list[Attribute]:
        """Texts give way first when the client cannot read a reply of this size."""
        if not attributes:
            return attributes
        fixed = REPLY_HEAD + sum(len(value) + 2 for value in exchange.request.values(AttributeType.PROXY_STATE))
        limit = min(max(exchange.client.reply_max, fixed), MAX_PACKET)
        while fixed + size(attributes) > limit:
            texts = [at for at, (type_, _) in enumerate(attributes) if type_ == AttributeType.REPLY_MESSAGE]
            if not texts:
                return attributes
            attributes = attributes[: texts[-1]] + attributes[texts[-1] + 1 :]
        return attributes

    def _answer_status(self, exchange: Exchange) -> None:
        """RFC 5997: an Access-Accept when logins can be answered, silence when not, so that front ends move on."""
        client, second = exchange.client, int(self._loop.time())
        asked_at, asked = self._status.get(client.name, (second, 0))
        asked = asked + 1 if asked_at == second else 1
        self._status[client.name] = (second, asked)
        if asked > self._limits.status_rate:
            self.counters.dropped("more Status-Server than status_rate", client.name)
        elif not self._healthy():
            self.counters.dropped("Status-Server while logins cannot be answered", client.name)
        else:
            reply = write_reply(exchange.request, PacketCode.ACCESS_ACCEPT, [], client.secret)
            self.counters.counts["Status-Server answered"] += 1
            exchange.listener.send(reply, exchange.source, exchange.destination)
