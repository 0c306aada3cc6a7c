"""Datagrams to login attempts: the way of one request through the door.

What is dropped and what is rejected is listed in docs/radius.md. Whatever a peer sends, ``receive`` does not raise, and
everything kept per request is bounded. Who may log in is the core's decision.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, Protocol

import structlog

from otp_core.authentication.queue import OnVerdict
from otp_core.model import Accept, Attempt, Challenge, Chap, Mode, Policy, Reject, Silence, Verdict
from otp_core.radius.codec import AttributeType, ChapAsked, MsChapAsked, Packet, PacketCode, Unreadable, Unservable
from otp_core.radius.dictionary import Dictionary
from otp_core.radius.requests import forwarded, read_chap, read_credentials, read_request, verify_request
from otp_core.station import readable
from otp_core.tally import Tally
from otp_core.verdict_log import VerdictLog
from radius_server.clients import Clients
from radius_server.counters import (
    CAME_BACK,
    NO_CLIENT,
    NO_IDENTIFIER,
    OWN_ERROR,
    TOO_MANY,
    WAITED,
    WRONG_SECRET,
    Counters,
)
from radius_server.duplicates import Admission, Duplicates
from radius_server.listen.udp import Peer
from radius_server.process.exchange import Exchange, Transport
from radius_server.process.ms_chap import ms_chap_attempt
from radius_server.process.passed import Passed
from radius_server.process.realm import in_its_realm
from radius_server.process.replies import Replies
from radius_server.process.spelling import read_customer, read_texts, sent_name
from radius_server.process.status import StatusServer
from radius_server.process.two_secrets import by_its_secret
from radius_server.process.verdicts import VerdictLines, is_garbled

_DELAYED_PER_PLACE = 10
"""Delayed Access-Rejects allowed for each request that may be in flight."""

_STATUS_SERVER: Final = int(PacketCode.STATUS_SERVER)
_PROXY_STATE: Final = int(AttributeType.PROXY_STATE)
_STATE: Final = int(AttributeType.STATE)
_NEW: Final = Admission.NEW
"""Each login is compared with them, and Python 3.11 takes its time for a member of an enum."""

_log = structlog.get_logger("radius")


class Authenticator(Protocol):
    """Decides logins: the core's authenticator."""

    def admit(self, attempt: Attempt, on_verdict: OnVerdict) -> None:
        """Begin an attempt; call ``on_verdict`` once, when the verdict is durable."""


class ChapLogins(Protocol):
    """The same for CHAP, where it can be served."""

    def serves(self, policy: Policy) -> bool:
        """Whether requests of this policy may come with CHAP."""

    def relays(self, first_factor: str) -> bool:
        """Whether MS-CHAPv2 can be passed on to this first factor."""

    def admit(self, attempt: Attempt, chap: Chap, on_verdict: OnVerdict) -> None:
        """As the authenticator's, for a code of which only a hash came."""


class Shadow(Protocol):
    """Who answers the clients in shadow mode."""

    def begin(
        self,
        exchange: Exchange,
        attempt_of: Callable[[Exchange], Attempt],
        on_answer: Callable[[Exchange, Passed | str], None],
    ) -> None:
        """Ask the old server; call ``on_answer`` once, with its reply or why there is none."""

    def reachable(self, name: str) -> bool:
        """Whether the old server would answer."""


class Limits(NamedTuple):
    """The door's bounds, from section ``[radius]``.

    ``max_in_flight``: requests without a verdict at once; twice as many if they answer challenges.
    ``request_seconds``: time for a verdict. ``status_rate``: Status-Server answers per second and client.
    """

    max_in_flight: int
    request_seconds: float
    status_rate: int


class RadiusServer:
    """Handles the datagrams of every listener of this process. Belongs to the running event loop.

    ``fingerprint``: the store's keyed hash over several byte strings. ``healthy``: whether logins can be answered now.
    ``challenges_full``: whether no further challenge may be opened. ``reachable``: whether a first factor would answer,
    by its name. ``unseal``: opens what a first factor has sealed for the reply. ``chap``: None where it is not served.
    ``shadow``: who answers clients in shadow mode. ``came_back``: whether a Proxy-State is one that this process has
    sent to an upstream; None where there are none.
    """

    def __init__(
        self,
        clients: Clients,
        dictionary: Dictionary,
        authenticator: Authenticator,
        duplicates: Duplicates,
        limits: Limits,
        fingerprint: Callable[..., int],
        healthy: Callable[[], bool],
        challenges_full: Callable[[], bool],
        verdict_log: VerdictLog,
        tally: Tally,
        reachable: Callable[[str], bool] = lambda _: True,
        unseal: Callable[[bytes], bytes] | None = None,
        chap: ChapLogins | None = None,
        shadow: Shadow | None = None,
        came_back: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.clients = clients
        self._authenticator, self._duplicates, self._limits = authenticator, duplicates, limits
        self._chap, self._shadow, self._came_back = chap, shadow, came_back
        self._fingerprint, self._challenges_full = fingerprint, challenges_full
        self._loop = asyncio.get_running_loop()
        self.counters = Counters(self._loop.time)
        delayed = _DELAYED_PER_PLACE * limits.max_in_flight
        self._replies = Replies(dictionary, duplicates, self.counters, delayed, unseal)
        self._status = StatusServer(limits.status_rate, healthy, self.counters, self._loop.time, reachable, shadow)
        self._lines, self._says_accepted = VerdictLines(verdict_log, self._loop.time), verdict_log.wants(Accept())
        self._tally = tally
        self.in_flight = 0

    @property
    def delayed(self) -> int:
        """Access-Rejects that wait for their delay."""
        return self._replies.delayed

    def use(self, clients: Clients, dictionary: Dictionary) -> None:
        """Take new clients and a new dictionary from the next datagram on. Requests in flight keep their client."""
        self.clients, self._replies.dictionary = clients, dictionary

    def receive(self, listener: Transport, datagram: bytes, peer: Peer, local: bytes) -> None:
        """Handle one datagram. Never raises."""
        try:
            self._receive(listener, datagram, peer, local)
        except Unreadable as error:
            found = self.clients.find(peer[0])
            client = found.name if found is not None and not found.shared else ""
            self.counters.dropped(error.reason.value, source=peer[0], client=client)
        except Exception:
            self.counters.dropped(OWN_ERROR, source=peer[0])
            _log.exception("a datagram could not be handled", source=peer[0], octets=len(datagram))

    def _receive(self, listener: Transport, datagram: bytes, peer: Peer, local: bytes) -> None:
        client = self.clients.find(peer[0])
        if client is None:
            self.counters.dropped(NO_CLIENT, source=peer[0])
            return
        # Tests' transports do not know it. Whoever asked so long ago has gone, and their code with them.
        waited: float = getattr(listener, "waited", 0.0)
        if waited >= self._limits.request_seconds:
            self.counters.dropped(WAITED, source=peer[0], client="" if client.shared else client.name)
            return
        request = read_request(datagram)
        if client.shared:
            client = self.clients.choose(client, request)
            if client is None:
                self.counters.dropped(NO_IDENTIFIER, source=peer[0])
                return
        following = client.with_next_secret
        if following is not None:
            client = by_its_secret(client, following, request)
        verify_request(
            request,
            client.secret,
            required=client.require_message_authenticator,
            limit_proxy_state=client.limit_proxy_state,
        )
        if self._came_back is not None and _PROXY_STATE in request.found and self._has_come_back(request):
            self.counters.dropped(CAME_BACK, source=peer[0], client=client.name)
            return
        self.counters.verified(client.name, protected=request.message_authenticator_at is not None)
        if following is not None:
            self.counters.by_secret[client.name, "next" if client is following else "present"] += 1
        key = (peer, local, listener, request.identifier)
        now = self._loop.time()
        exchange = Exchange(client, request, listener, peer, local, key, now - waited)
        if request.code == _STATUS_SERVER:
            self._status.answer(exchange)
        else:
            self._access_request(exchange, now)

    def _has_come_back(self, request: Packet) -> bool:
        """Whether this process has sent it to an upstream itself: a cycle, which only silence ends."""
        return self._came_back is not None and any(map(self._came_back, request.values(_PROXY_STATE)))

    def _access_request(self, exchange: Exchange, now: float) -> None:
        """Admit a new request; answer or drop a duplicate (RFC 5080 section 2.2.2)."""
        request = exchange.request
        room = self.in_flight < self._limits.max_in_flight or self._keeps_place(exchange)
        admitted = self._duplicates.admit(exchange.key, request.octets, now, room=room)
        if admitted is _NEW:
            try:
                self._begin(exchange)
            except Exception:
                self._duplicates.forget(exchange.key, request.octets)
                raise
        elif admitted is Admission.NO_ROOM:
            self.counters.dropped(TOO_MANY, source=exchange.peer[0], client=exchange.client.name)
        elif admitted is Admission.IN_PROGRESS:
            self.counters.counts["duplicate in progress"] += 1
        elif isinstance(admitted, bytes):
            self.counters.counts["duplicate answered again"] += 1
            exchange.listener.send(admitted, exchange.peer, exchange.local)

    def _keeps_place(self, exchange: Exchange) -> bool:
        """Over the bound, answers to challenges are still admitted, up to twice the bound: those customers are in the
        middle of a login. Any client may have been asked something: by us, by its upstream, by the old server of shadow
        mode (EAP)."""
        return _STATE in exchange.request.found and self.in_flight < 2 * self._limits.max_in_flight

    def _begin(self, exchange: Exchange) -> None:
        if exchange.client.shadow is not None:
            self._begin_in_shadow(exchange)
            return
        policy = exchange.client.policy
        chap: Chap | None = None
        try:
            try:
                if exchange.client.realms:
                    exchange = in_its_realm(exchange)
                    policy = exchange.client.policy
                attempt = self._attempt(exchange)
            except ChapAsked as asked:
                attempt, chap = self._chap_attempt(exchange, asked)
            except MsChapAsked:
                attempt = self._ms_chap_attempt(exchange)
        except Unservable as error:
            self.counters.counts["refused without an attempt"] += 1
            refused = Reject(str(error), policy.language)
            self._replies.answer(exchange, refused)
            self._count(exchange, refused)
            self._say_refused(exchange, str(error))
            if WRONG_SECRET in str(error):
                self.counters.strange(exchange.peer[0], WRONG_SECRET)
            return
        if attempt.challenge is None and exchange.client.challenges and self._challenges_full():
            full = Silence("too many open challenges", busy=True)
            self._replies.answer(exchange, full)
            self._count(exchange, full)
            return
        self.in_flight += 1
        try:
            if chap is not None and self._chap is not None:
                self._chap.admit(attempt, chap, partial(self._on_verdict, exchange, attempt))
                return
            self._authenticator.admit(attempt, partial(self._on_verdict, exchange, attempt))
        except Exception:
            # No verdict will come: without this the request would count as in flight for ever.
            self.in_flight -= 1
            raise

    def _begin_in_shadow(self, exchange: Exchange) -> None:
        self.in_flight += 1
        if self._shadow is None:
            self._on_passed(exchange, "shadow mode with an upstream that was not there at the start: restart")
            return
        try:
            self._shadow.begin(exchange, self._attempt_to_compare, self._on_passed)
        except Exception:
            self.in_flight -= 1
            raise

    def _attempt_to_compare(self, exchange: Exchange) -> Attempt:
        """What this would be without shadow mode. Raises Unservable."""
        return self._attempt(in_its_realm(exchange) if exchange.client.realms else exchange)

    def _on_passed(self, exchange: Exchange, passed: Passed | str) -> None:
        """The old server has answered, or there is a cause why not."""
        self.in_flight -= 1
        verdict: Verdict
        if isinstance(passed, str):
            verdict = Silence(passed)
            self._replies.answer(exchange, verdict)
        else:
            language = exchange.client.policy.language
            self._replies.pass_on(exchange, passed.code, passed.attributes)
            if passed.code == PacketCode.ACCESS_ACCEPT:
                verdict = Accept()
            elif passed.code == PacketCode.ACCESS_CHALLENGE:
                verdict = Challenge(b"", language)
            else:
                verdict = Reject("the old server refused", language)
        self._count(exchange, verdict)

    def _say_refused(self, exchange: Exchange, reason: str) -> None:
        """A line for each where Message-Authenticator says whose it is; otherwise it may be forged, and one in a
        while is enough."""
        signed = exchange.request.message_authenticator_at is not None
        left_out = 0 if signed else self.counters.left_out(reason, exchange.client.name)
        if left_out is not None:
            self._lines.refused(exchange, reason, left_out)

    def _attempt(self, exchange: Exchange) -> Attempt:
        """The login attempt that an Access-Request asks for. Raises Unservable."""
        client, request = exchange.client, exchange.request
        asked = read_credentials(request, client.secret)
        signed = request.message_authenticator_at is not None
        customer, user_password = read_texts(client, asked.user_name, asked.password, signed)
        # Of all that decides: a client that repeats its authenticators must not get one login's verdict for another.
        request_id = bytes((request.identifier,)) + request.authenticator
        said = (asked.user_name, asked.state or b"", user_password.encode())
        fingerprint = self._fingerprint(b"request", client.name.encode(), request_id, *said)
        station = readable(asked.calling_station_id.decode(errors="replace")) if asked.calling_station_id else ""
        deadline = exchange.received + self._limits.request_seconds
        return Attempt(  # by position: names would take as long again, for each login
            customer,
            user_password,
            client.policy,
            client.name,
            exchange.peer[0],
            station,
            asked.state,
            fingerprint,
            deadline,
            forwarded(sent_name(client, asked.user_name), client.charset, request.attributes)
            if client.forwards
            else None,
        )

    def _chap_attempt(self, exchange: Exchange, asked_for: ChapAsked) -> tuple[Attempt, Chap | None]:
        """The same for CHAP; and the answer where a code is to be found by it. Raises Unservable."""
        client, request = exchange.client, exchange.request
        if self._chap is None:
            raise asked_for
        if not self._chap.serves(client.policy):
            raise Unservable(f'{asked_for}, or set mode = "code" if it asks for the code alone')
        asked = read_chap(request)
        answer = bytes((asked.chap.identifier,)) + asked.chap.response
        request_id = bytes((request.identifier,)) + request.authenticator
        said = (asked.user_name, asked.state or b"", answer, asked.chap.challenge)
        relayed = client.policy.mode is Mode.PASSWORD
        attempt = Attempt(
            read_customer(client, asked.user_name),
            "",
            client.policy,
            client.name,
            exchange.peer[0],
            readable(asked.calling_station_id.decode(errors="replace")),
            asked.state if relayed else None,
            self._fingerprint(b"request", client.name.encode(), request_id, *said),
            exchange.received + self._limits.request_seconds,
            forwarded(sent_name(client, asked.user_name), client.charset, request.attributes, asked.chap)
            if relayed
            else None,
        )
        return attempt, None if relayed else asked.chap

    def _ms_chap_attempt(self, exchange: Exchange) -> Attempt:
        """The same for MS-CHAPv2, which is passed on. Raises Unservable."""
        relays = _nobody if self._chap is None else self._chap.relays
        return ms_chap_attempt(exchange, relays, self._fingerprint, self._limits.request_seconds)

    def _count(self, exchange: Exchange, verdict: Verdict) -> None:
        self._tally.verdict("radius", exchange.client.name, verdict, self._loop.time() - exchange.received)

    def _on_verdict(self, exchange: Exchange, attempt: Attempt, verdict: Verdict) -> None:
        """The verdict is durable: answer, then say so."""
        self.in_flight -= 1
        self._replies.answer(exchange, verdict)
        self._tally.verdict("radius", exchange.client.name, verdict, self._loop.time() - exchange.received)
        if self._says_accepted or not isinstance(verdict, Accept):
            self._lines.write(exchange, attempt, verdict)
            if is_garbled(exchange.request, attempt.user_password):
                self.counters.strange(exchange.peer[0], WRONG_SECRET)


def _nobody(_: str) -> bool:
    """Where no first factor is known."""
    return False
