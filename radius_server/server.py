"""Datagrams to attempts, verdicts to datagrams: the path of one request through the door.

What is dropped and what is refused follows docs/radius.md. Nothing a peer sends raises out of ``receive``; what is held
is bounded. Who gets in, the house decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import structlog

from otp_core.authenticator import Authenticator
from otp_core.messages import Text
from otp_core.model import Accept, Attempt, Challenge, Mode, Reject, Silence, Verdict
from otp_core.otp import normalise_contract_id
from radius_server.clients import Client, Clients
from radius_server.counters import Counters
from radius_server.dictionary import Dictionary
from radius_server.duplicates import Admission, Duplicates
from radius_server.packet import (
    MAX_PACKET,
    Attribute,
    Code,
    NoCredentials,
    Request,
    Type,
    Unreadable,
    credentials,
    read_request,
    size,
    verify,
    write_reply,
)
from radius_server.sockets import Listener, Source

_log = structlog.get_logger("radius")
REPLY_HEAD = 38
"""Octets of a reply before its attributes: header and Message-Authenticator."""


class Limits(NamedTuple):
    """The door's bounds (settings, section radius)."""

    max_in_flight: int
    request_seconds: float
    status_rate: int


class Exchange(NamedTuple):
    """A request that was let in, and what its reply needs."""

    client: Client
    request: Request
    listener: Listener
    source: Source
    destination: bytes
    key: tuple[object, ...]


class RadiusServer:
    """The door's work. ``healthy``: can the house answer now? ``full``: are too many challenges open?"""

    def __init__(
        self,
        clients: Clients,
        dictionary: Dictionary,
        authenticator: Authenticator,
        duplicates: Duplicates,
        limits: Limits,
        mark: Callable[..., int],
        healthy: Callable[[], bool],
        full: Callable[[], bool],
    ) -> None:
        self.clients = clients
        self._dictionary, self._authenticator, self._duplicates = dictionary, authenticator, duplicates
        self._limits, self._mark, self._healthy, self._full = limits, mark, healthy, full
        self._loop = asyncio.get_running_loop()
        self.counters = Counters(self._loop.time)
        self._status: dict[str, tuple[int, int]] = {}
        self.in_flight = 0

    def use(self, clients: Clients, dictionary: Dictionary) -> None:
        """From the next datagram on."""
        self.clients, self._dictionary = clients, dictionary

    def receive(self, listener: Listener, datagram: bytes, source: Source, destination: bytes) -> None:
        """One datagram. Never raises."""
        try:
            self._receive(listener, datagram, source, destination)
        except Unreadable as error:
            self.counters.dropped(error.fault.value, source[0])
        except Exception:
            self.counters.dropped("an error of our own", source[0])
            _log.exception("a datagram could not be handled", source=source[0], octets=len(datagram))

    def _receive(self, listener: Listener, datagram: bytes, source: Source, destination: bytes) -> None:
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
        exchange = Exchange(client, request, listener, source, destination, key)
        if request.code == Code.STATUS_SERVER:
            self._answer_status(exchange)
            return
        room = self.in_flight < self._limits.max_in_flight or self._keeps_place(request)
        admitted = self._duplicates.admit(key, request.authenticator, self._loop.time(), room=room)
        if admitted is Admission.NEW:
            try:
                self._admit(exchange)
            except Exception:
                # A fault of ours must not fill the door's places for good.
                self.in_flight -= 1
                self._duplicates.forget(key, request.authenticator)
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
        return Type.STATE in request.found and self.in_flight < 2 * self._limits.max_in_flight

    def _admit(self, exchange: Exchange) -> None:
        client = exchange.client
        self.in_flight += 1
        try:
            attempt = self._attempt(exchange)
        except NoCredentials as error:
            self.counters.say("refused without an attempt", str(error), client.name)
            self._tell(exchange, Reject(str(error), client.policy.language))
            return
        if attempt.challenge is None and client.policy.mode in (Mode.CHALLENGE, Mode.AUTO) and self._full():
            self._tell(exchange, Silence("too many open challenges"))
            return
        self._authenticator.admit(attempt, partial(self._tell, exchange))

    def _attempt(self, exchange: Exchange) -> Attempt:
        client, request = exchange.client, exchange.request
        asked = credentials(request, client.secret)
        try:
            customer = normalise_contract_id(asked.user_name.decode(client.charset))
            typed = asked.password.decode(client.charset)
        except UnicodeDecodeError:
            raise NoCredentials(f"octets that are no {client.charset}: wrong secret, or another charset?") from None
        if client.policy.join_seconds:
            fingerprint = self._mark(b"join", client.name.encode(), customer.encode(), typed.encode())
        else:
            # With what was typed: a client that repeats its authenticators must not have a wrong code taken for a copy.
            request_id = bytes((request.identifier,)) + request.authenticator
            fingerprint = self._mark(b"request", client.name.encode(), request_id, typed.encode())
        return Attempt(
            customer=customer,
            typed=typed,
            policy=client.policy,
            client=client.name,
            source=exchange.source[0],
            station=asked.calling_station.decode(errors="replace")[:64],
            challenge=asked.state,
            fingerprint=fingerprint,
            deadline=self._loop.time() + self._limits.request_seconds,
        )

    def _tell(self, exchange: Exchange, verdict: Verdict) -> None:
        """The verdict is durable: answer. A rejection waits its delay, and holds up nobody else."""
        match verdict:
            case Accept():
                self._reply(exchange, Code.ACCESS_ACCEPT, self._accept_attributes(exchange, verdict))
            case Challenge():
                self._reply(exchange, Code.ACCESS_CHALLENGE, self._challenge_attributes(exchange.client, verdict))
            case Reject():
                attributes = exchange.client.texts[verdict.language, Text.REJECT]
                delay = exchange.client.reject_delay
                if delay:
                    self._loop.call_later(delay, self._reply, exchange, Code.ACCESS_REJECT, attributes)
                else:
                    self._reply(exchange, Code.ACCESS_REJECT, attributes)
            case Silence():
                self.in_flight -= 1
                self.counters.dropped(verdict.reason, exchange.client.name)
                self._duplicates.forget(exchange.key, exchange.request.authenticator)

    def _accept_attributes(self, exchange: Exchange, verdict: Accept) -> list[Attribute]:
        client = exchange.client
        if not verdict.attributes:
            return client.accept_attributes
        try:
            return client.accept_attributes + self._dictionary.encode_all(verdict.attributes)
        except ValueError as error:
            # Checked when they were set; a dictionary may have changed since. Entry does not depend on them.
            self.counters.say("a customer's reply attribute was left out", str(error), client.name)
            return client.accept_attributes

    @staticmethod
    def _challenge_attributes(client: Client, verdict: Challenge) -> list[Attribute]:
        text = Text.CHALLENGE_AGAIN if verdict.again else Text.CHALLENGE
        return [(int(Type.STATE), verdict.state), *client.prompt, *client.texts[verdict.language, text]]

    def _reply(self, exchange: Exchange, code: Code, attributes: list[Attribute]) -> None:
        self.in_flight -= 1
        client, request = exchange.client, exchange.request
        try:
            reply = write_reply(request, code, self._fitted(exchange, attributes), client.secret)
        except ValueError as error:
            self.counters.dropped(str(error), client.name)
            self._duplicates.forget(exchange.key, request.authenticator)
            return
        self._duplicates.settle(exchange.key, request.authenticator, reply)
        self.counters.counts[code] += 1
        if not exchange.listener.send(reply, exchange.source, exchange.destination):
            self.counters.counts["reply not sent"] += 1

    def _fitted(self, exchange: Exchange, attributes: list[Attribute]) -> list[Attribute]:
        """Texts give way first when the client cannot read a reply of this size."""
        if not attributes:
            return attributes
        fixed = REPLY_HEAD + sum(len(value) + 2 for value in exchange.request.values(Type.PROXY_STATE))
        limit = min(max(exchange.client.reply_max, fixed), MAX_PACKET)
        while fixed + size(attributes) > limit:
            texts = [at for at, (type_, _) in enumerate(attributes) if type_ == Type.REPLY_MESSAGE]
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
            reply = write_reply(exchange.request, Code.ACCESS_ACCEPT, [], client.secret)
            self.counters.counts["Status-Server answered"] += 1
            exchange.listener.send(reply, exchange.source, exchange.destination)
