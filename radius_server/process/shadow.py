"""Shadow mode: a client whose requests the old server answers, while ours is worked out beside it.

The old server's reply goes to the gateway as it is, its questions and their States too. What we would have answered is
compared afterwards (otp_core/authentication/comparison.py), and never delays or changes it. No answer there is silence.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from typing import Any

import structlog

from otp_core.authentication.comparison import Comparison, Waiting
from otp_core.first_factor.asked_once import Seal, claimed, sealed
from otp_core.first_factor.shared_answers import SharedAnswers
from otp_core.login.obstacles import Old
from otp_core.model import Attempt, BackendSilent
from otp_core.radius.codec import Attribute, AttributeType, CannotAsk, PacketCode, Unservable
from otp_core.radius.dictionary import Dictionary
from otp_core.radius.relayed import AllowList, write
from otp_core.radius.salted import NotHidden
from otp_core.upstreams.upstream import Reply, Upstream
from otp_core.upstreams.verbatim import Handed, mark, unmark
from radius_server.process.exchange import Exchange
from radius_server.process.passed import Passed
from radius_server.process.relayed import salts
from radius_server.process.spelling import read_customer

_STATE = int(AttributeType.STATE)
_OLD = {
    PacketCode.ACCESS_ACCEPT: Old.ACCEPTED,
    PacketCode.ACCESS_CHALLENGE: Old.ASKED,
    PacketCode.ACCESS_REJECT: Old.REJECTED,
}
_log = structlog.get_logger("shadow")


OnAnswer = Callable[[Exchange, Passed | str], None]
"""Called once, in the loop: with the reply, or why there is none."""
AttemptOf = Callable[[Exchange], Attempt]
"""Raises Unservable for a request that holds no password to look at."""


class ShadowServer:
    """``upstream``: by its name; raises KeyError for one that was not there at the start. ``answers``: shared with the
    other processes. ``seconds``: for a reply. ``clock``: of the wall, seconds. Belongs to the event loop."""

    def __init__(
        self,
        upstream: Callable[[str], Upstream],
        answers: SharedAnswers,
        sealer: Seal,
        fingerprint: Callable[..., int],
        comparison: Comparison,
        dictionary: Dictionary,
        seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._upstream, self._answers, self._sealer, self._fingerprint = upstream, answers, sealer, fingerprint
        self._comparison, self._seconds, self._clock = comparison, seconds, clock
        self._all = AllowList.named(dictionary.hidden_anew(), dictionary, others=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def reachable(self, name: str) -> bool:
        """False while it is known that the old server would not answer."""
        try:
            return self._upstream(name).reachable
        except KeyError:
            return False

    def begin(self, exchange: Exchange, attempt_of: AttemptOf, on_answer: OnAnswer) -> None:
        """Ask the old server for one request, answer with its reply, and compare."""
        task = asyncio.get_running_loop().create_task(self._serve(exchange, attempt_of, on_answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, exchange: Exchange, attempt_of: AttemptOf, on_answer: OnAnswer) -> None:
        at, told, first = int(self._clock() * 1000), "", False
        passed: Passed | None = None
        try:
            passed, first = await self._answered(exchange)
        except BackendSilent as error:
            told = str(error)
        except Exception:
            _log.exception("a request could not be handed to the old server", client=exchange.client.name)
            told = "a fault of our own"
        on_answer(exchange, passed or told)
        if passed is not None and first:
            self._compare(exchange, attempt_of, passed.code, at)

    async def _answered(self, exchange: Exchange) -> tuple[Passed, bool]:
        """The reply, and whether this is the first copy of the request. Raises BackendSilent."""
        request, client = exchange.request, exchange.client
        deadline = exchange.received + self._seconds
        key = self._fingerprint(b"shadow", client.name.encode(), exchange.peer[0].encode(), request.octets)
        kept = await claimed(self._answers, self._sealer, key, deadline)
        if kept is not None:
            return _passed_of(kept), False
        try:
            passed = await self._asked(exchange, deadline)
        except BaseException:
            self._answers.release(key)
            raise
        self._answers.settle(key, sealed(self._sealer, key, _value_of(passed)))
        return passed, True

    async def _asked(self, exchange: Exchange, deadline: float) -> Passed:
        name = exchange.client.shadow or ""
        try:
            upstream = self._upstream(name)
        except KeyError:
            raise BackendSilent(f"upstream {name} was not there at the start: restart") from None
        plan, request = upstream.plan, exchange.request
        state, server = request.found.get(_STATE), None
        marked = state is not None and len(plan.addresses) > 1
        if state is not None and marked:
            _, server = unmark(state)
        known = server is not None and server < len(plan.addresses)
        pinned = str(plan.addresses[server]) if known and server is not None else None
        handed = Handed(request, exchange.client.secret, plan.secret, upstream.own_mark.draw(), marked)
        try:
            reply = await upstream.ask(handed.write, deadline, pinned)
            return Passed(PacketCode(reply.packet.code), self._returned(exchange, reply, upstream))
        except (CannotAsk, NotHidden, ValueError) as error:
            raise BackendSilent(f"upstream {plan.name}: {error}") from None

    def _returned(self, exchange: Exchange, reply: Reply, upstream: Upstream) -> list[Attribute]:
        """The reply's attributes for this gateway. Raises NotHidden, ValueError."""
        asked, request = reply.request, exchange.request
        picked = self._all.pick(reply.packet, asked.secret, asked.authenticator)
        attributes = write(picked, exchange.client.secret, request.authenticator, salts())
        if len(upstream.plan.addresses) == 1:
            return attributes
        at = upstream.plan.addresses.index(reply.server.address)
        return [(type_, mark(value, at) if type_ == _STATE else value) for type_, value in attributes]

    def _compare(self, exchange: Exchange, attempt_of: AttemptOf, code: PacketCode, at: int) -> None:
        """The gateway has its answer. Nothing here may raise."""
        client, old, name = exchange.client, _OLD[code], exchange.request.found.get(AttributeType.USER_NAME, b"")
        try:
            attempt: Attempt | None
            try:
                attempt = attempt_of(exchange)
                customer = attempt.customer
            except Unservable:
                attempt, customer = None, read_customer(client, name)
            self._comparison.add(Waiting(client.name, customer, attempt, old, at))
        except Unservable:
            self._comparison.left_out += 1
        except Exception:
            self._comparison.left_out += 1
            _log.exception("a login could not be compared", client=client.name)


def _value_of(passed: Passed) -> dict[str, Any]:
    attributes = [[type_, base64.b64encode(value).decode()] for type_, value in passed.attributes]
    return {"code": int(passed.code), "attributes": attributes}


def _passed_of(value: dict[str, Any]) -> Passed:
    attributes = [(int(type_), base64.b64decode(text)) for type_, text in value["attributes"]]
    return Passed(PacketCode(value["code"]), attributes)
