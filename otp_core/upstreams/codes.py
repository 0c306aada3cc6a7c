"""The verifier of type ``radius``: a RADIUS server elsewhere takes the code alone as User-Password (VIP Enterprise
Gateway in the mode "User ID - Security Code", any other server for one-time passwords).

One server is asked for each code, which may use the code up: no other is asked after it was sent. Its Access-Accept is
right, its Access-Reject wrong; a question of its own is refused, and anything else is silence.
"""

from __future__ import annotations

import asyncio
import os

import structlog

from otp_core.login.requests import CodeFinding
from otp_core.login.table import Finding
from otp_core.model import Attempt, BackendSilent, Forwarded
from otp_core.otp import Fit
from otp_core.radius.codec import AttributeType, CannotAsk, PacketCode
from otp_core.upstreams.forwarding import Asked, forwarded_of
from otp_core.upstreams.upstream import Upstream
from otp_core.verifier import CodeQuestion

DESK_SECONDS = 10.0
"""For an act that somebody waits for."""

_log = structlog.get_logger("upstream")


class UpstreamCodes:
    """Asks one upstream. The User-Name of a login goes as it came; that of an act is the contract ID."""

    def __init__(self, name: str, upstream: Upstream) -> None:
        self.name, self._upstream = name, upstream

    async def verify(self, question: CodeQuestion) -> CodeFinding:
        """See ``Verifier``. Raises BackendSilent."""
        told, deadline = _told(question)
        plan = self._upstream.plan
        asked = Asked(told, question.code.encode(), plan.secret, os.urandom(8))
        server = self._upstream.servers.in_order()[0]
        try:
            reply = await self._upstream.ask(asked.write, deadline, str(server.address))
        except CannotAsk as error:
            raise BackendSilent(f"upstream {plan.name} cannot be asked: {error}") from None
        match reply.packet.code:
            case PacketCode.ACCESS_ACCEPT:
                return CodeFinding(question.token_id, Fit.FITS)
            case PacketCode.ACCESS_REJECT:
                return CodeFinding(question.token_id, Fit.WRONG)
        _log.warning(
            "a question of an upstream about a code is refused: nobody can be asked it",
            upstream=plan.name,
            server=str(server.address),
            token=question.token_id,
        )
        return CodeFinding(question.token_id, Fit.WRONG, None, Finding.NEXT_CODE_THERE)

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
