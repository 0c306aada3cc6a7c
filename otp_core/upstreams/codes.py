"""The verifier of type ``radius``: a RADIUS server elsewhere takes the code alone as User-Password (VIP Enterprise
Gateway in the mode "User ID - Security Code", any other server for one-time passwords).

One server is asked for each code, which may use the code up: no other is asked after it was sent. Its Access-Accept is
right, its Access-Reject wrong; a question of its own (a new PIN, the next code) is passed on, or refused, and anything
else is silence.
"""

from __future__ import annotations

import asyncio
import base64

import structlog

from otp_core.login.requests import CodeFinding
from otp_core.login.table import Finding
from otp_core.model import Attempt, BackendSilent, Forwarded
from otp_core.otp import Fit
from otp_core.radius.codec import AttributeType, CannotAsk, CannotCarry, PacketCode
from otp_core.sealing import KeyProblem
from otp_core.upstreams.forwarding import Asked, forwarded_of, in_later_round
from otp_core.upstreams.rounds import Round, Seal, prompt_of, read_round, state_of, write_round
from otp_core.upstreams.upstream import Reply, Upstream
from otp_core.verifier import CodeQuestion

DESK_SECONDS = 10.0
"""For an act that somebody waits for."""

_log = structlog.get_logger("upstream")


class UpstreamCodes:
    """Asks one upstream. The User-Name of a login goes as it came; that of an act is the contract ID."""

    def __init__(self, name: str, upstream: Upstream, sealer: Seal, *, relays_questions: bool) -> None:
        self.name, self._upstream = name, upstream
        self._sealer, self._relays_questions = sealer, relays_questions

    async def verify(self, question: CodeQuestion) -> CodeFinding:
        """See ``Verifier``. Raises BackendSilent."""
        told, deadline = _told(question)
        plan, before = self._upstream.plan, None
        if question.state:
            try:
                before = read_round(base64.b64decode(question.state), self._sealer)
            except KeyProblem:
                return CodeFinding(question.token_id, Fit.WRONG, None, Finding.CHALLENGE_GONE)
            told = in_later_round(before.first, told)
        text = question.code.encode(told.charset, "replace")
        state = None if before is None else before.state
        asked = Asked(told, text, plan.secret, self._upstream.own_mark.draw(), state)
        server = str(self._upstream.servers.in_order()[0].address) if before is None else before.server
        try:
            reply = await self._upstream.ask(asked.write, deadline, server)
        except CannotCarry:
            return CodeFinding(question.token_id, Fit.WRONG)
        except CannotAsk as error:
            raise BackendSilent(f"upstream {plan.name} cannot be asked: {error}") from None
        match reply.packet.code:
            case PacketCode.ACCESS_ACCEPT:
                return CodeFinding(question.token_id, Fit.FITS)
            case PacketCode.ACCESS_REJECT:
                return CodeFinding(question.token_id, Fit.WRONG)
        return self._asks(question, reply, told, 0 if before is None else before.number)

    def _asks(self, question: CodeQuestion, reply: Reply, told: Forwarded, rounds: int) -> CodeFinding:
        """Its own question, to be passed on; refused where nobody can be asked it."""
        server = str(reply.server.address)
        state, why = state_of(reply.packet, rounds)
        why = why if self._relays_questions else 'challenges = "refuse"'
        why = why if question.attempt is not None else "an act of the desk asks nobody"
        if why:
            _log.warning(
                "a question of an upstream about a code is refused",
                upstream=self._upstream.plan.name,
                server=server,
                token=question.token_id,
                cause=why,
            )
            return CodeFinding(question.token_id, Fit.WRONG, None, Finding.NEXT_CODE_THERE)
        kept = base64.b64encode(write_round(Round(rounds + 1, server, state, told), self._sealer)).decode()
        prompt = prompt_of(reply.packet)
        return CodeFinding(question.token_id, Fit.WRONG, None, Finding.VERIFIER_ASKS, kept, prompt)

    async def enrol(self, question: CodeQuestion) -> CodeFinding:
        """See ``Verifier``. Whose token it is, such a server knows by itself. Raises BackendSilent."""
        return await self.verify(question)


def _told(question: CodeQuestion) -> tuple[Forwarded, float]:
    """What goes along with the code, and until when an answer is of use (loop time)."""
    attempt: Attempt | None = question.attempt
    if attempt is not None:
        told, deadline = forwarded_of(attempt), attempt.deadline
        # A State is one of ours, or of whoever checked the password.
        return told._replace(attributes=tuple(one for one in told.attributes if one[0] != _STATE)), deadline
    name = Forwarded(question.customer.encode(), "utf-8", ((int(AttributeType.NAS_IDENTIFIER), b"sekisho"),))
    return name, asyncio.get_running_loop().time() + DESK_SECONDS


_STATE = int(AttributeType.STATE)
