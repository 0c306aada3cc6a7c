"""The first factor of type ``radius``: a RADIUS server elsewhere says whether a password is right.

It is asked once for each login. Its Access-Accept is right, its Access-Reject wrong, its questions are passed on or
refused; anything else, and no answer at all, is silence.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from otp_core.first_factor import FirstFinding, NextRound, Question
from otp_core.login.table import Finding
from otp_core.model import BackendSilent, Forwarded, InClear
from otp_core.radius import ms_chap
from otp_core.radius.codec import CannotAsk, CannotCarry, PacketCode
from otp_core.radius.relayed import MS_CHAP_ANSWER, RELAYED, AllowList
from otp_core.radius.salted import NotHidden
from otp_core.sealing import KeyProblem
from otp_core.upstreams.forwarding import Asked, forwarded_of, in_later_round
from otp_core.upstreams.rounds import Round, Seal, prompt_of, read_round, state_of, write_round
from otp_core.upstreams.upstream import Reply, Upstream

_log = structlog.get_logger("upstream")


class UpstreamPasswords:
    """Asks one upstream. ``relays_questions``: as ``challenges`` in the settings. ``allowed``: which attributes of its
    Access-Accepts are brought along."""

    one_reading = True
    relays = True
    needs_no_task = True
    """Its ``check`` keeps to the deadline by itself, and awaits nothing that only a Task can wait for."""

    def __init__(self, upstream: Upstream, allowed: AllowList, sealer: Seal, *, relays_questions: bool) -> None:
        self._upstream, self._sealer = upstream, sealer
        self._lists = {RELAYED: allowed}
        self._lists_of_ms_chap = {MS_CHAP_ANSWER: ms_chap.ANSWER, RELAYED: allowed.without(ms_chap.ANSWER)}
        self._relays_questions = relays_questions

    @property
    def has_rounds(self) -> bool:
        """Whether its questions are passed on."""
        return self._relays_questions

    @property
    def reachable(self) -> bool:
        """See ``FirstFactor``."""
        return self._upstream.reachable

    async def check(self, question: Question) -> FirstFinding | NextRound:
        """See ``FirstFactor``. Raises BackendSilent."""
        attempt, before = question.attempt, None
        told = forwarded_of(attempt)
        if question.state is not None:
            try:
                before = read_round(question.state, self._sealer)
            except KeyProblem:
                return FirstFinding(right=False, reason=Finding.CHALLENGE_GONE)
            told = in_later_round(before.first, told)
        password, secret = question.candidates[0].encode(told.charset, "replace"), self._upstream.plan.secret
        state, server, number = (None, None, 0) if before is None else (before.state, before.server, before.number)
        asked = Asked(told, password, secret, self._upstream.own_mark.draw(), state)
        try:
            reply = await self._upstream.ask(asked.write, attempt.deadline, server)
        except CannotCarry:
            return FirstFinding(right=False)
        except CannotAsk as error:
            raise BackendSilent(f"upstream {self._upstream.plan.name} cannot be asked: {error}") from None
        return self._found(reply, told, number)

    def _found(self, reply: Reply, told: Forwarded, rounds: int) -> FirstFinding | NextRound:
        code = reply.packet.code
        if code == PacketCode.ACCESS_ACCEPT:
            if told.ms_chap is not None:
                return FirstFinding(right=True, attributes=self._answered(reply))
            return FirstFinding(right=True, attributes=self._brought(reply, self._lists))
        if code == PacketCode.ACCESS_REJECT:
            return FirstFinding(right=False, reason=ms_chap.finding_in(reply.packet))
        state, why = state_of(reply.packet, rounds)
        if not self._relays_questions:
            why = 'challenges = "refuse"'
        if why:
            name, server = self._upstream.plan.name, str(reply.server.address)
            _log.warning("a question of an upstream is refused", upstream=name, server=server, cause=why)
            return FirstFinding(right=False, reason=Finding.QUESTION_REFUSED)
        waiting = Round(rounds + 1, str(reply.server.address), state, told)
        return NextRound(write_round(waiting, self._sealer), prompt_of(reply.packet))

    def _answered(self, reply: Reply) -> dict[str, object]:
        """The same for MS-CHAPv2. Raises BackendSilent, also for a server that accepts without having looked."""
        if not ms_chap.proves_the_server(reply.packet):
            name = self._upstream.plan.name
            raise BackendSilent(f"upstream {name} accepts MS-CHAPv2 without MS-CHAP2-Success: is its mschap module on?")
        return self._brought(reply, self._lists_of_ms_chap)

    def _brought(self, reply: Reply, lists: Mapping[str, AllowList]) -> dict[str, object]:
        """What goes to a client, by the name of each list. Raises BackendSilent: an acceptance without the attributes
        that limit it would be another one."""
        request = reply.request
        brought: dict[str, object] = {}
        try:
            for name, allowed in lists.items():
                if picked := allowed.pick(reply.packet, request.secret, request.authenticator):
                    brought[name] = InClear(picked, self._sealer.seal_value)
        except NotHidden as error:
            upstream = self._upstream.plan.name
            raise BackendSilent(f"an attribute of upstream {upstream} cannot be passed on: {error}") from None
        return brought
