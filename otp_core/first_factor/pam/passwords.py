"""The first factor of type ``pam``: one conversation with the machine's PAM stack for each login, and what its codes
mean. Silence for everything that is no clear answer.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from otp_core.first_factor import FirstFinding, Question
from otp_core.first_factor.pam.children import Children
from otp_core.login.table import Finding
from otp_core.model import BackendSilent
from otp_core.station import station_of

LONGEST_TEXT = 511
"""Octets of a name or a password (PAM_MAX_RESP_SIZE, with the NUL behind it)."""

_CONV_ERR = 19
_AT_BOTH = {
    6: Finding.NOT_PERMITTED_THERE,
    11: Finding.ACCOUNT_LOCKED_THERE,
    12: Finding.PASSWORD_MUST_CHANGE,
    13: Finding.ACCOUNT_EXPIRED,
    27: Finding.PASSWORD_EXPIRED,
}
FINDINGS = {
    "auth": {**_AT_BOTH, 7: Finding.WRONG_PASSWORD, 8: Finding.WRONG_PASSWORD, 10: Finding.WRONG_PASSWORD},
    "acct": {**_AT_BOTH, 7: Finding.NOT_PERMITTED_THERE, 10: Finding.NOT_PERMITTED_THERE},
}
"""By the call, what its codes mean (_pam_types.h of Linux-PAM). Any other is silence: no module, no service, no server
behind it."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Which stack is asked. ``name``: of the first factor; ``timeout``: seconds for one login."""

    name: str
    service: str
    timeout: float


class PamPasswords:
    """Asks one service. See ``FirstFactor``."""

    has_rounds = False
    one_reading = True
    reachable = True
    relays = False

    def __init__(self, stack: Stack, children: Children) -> None:
        self._stack, self._children = stack, children

    async def check(self, question: Question) -> FirstFinding:
        """See ``FirstFactor``. Raises BackendSilent."""
        attempt, password = question.attempt, question.candidates[0]
        if not (_fits(password) and _fits(attempt.customer)):
            return FirstFinding(right=False)
        asked = {
            "service": self._stack.service,
            "user": attempt.customer,
            "password": password,
            "rhost": station_of(attempt.calling_station_id),
        }
        end = min(asyncio.get_running_loop().time() + self._stack.timeout, attempt.deadline)
        try:
            found = await self._children.ask(asked, end)
        except BackendSilent as error:
            raise type(error)(f"the PAM service {self._stack.service} does not answer: {error}") from None
        if found["code"] == 0 and found.get("stage") == "acct":
            if not found.get("asked"):
                raise BackendSilent(f"the PAM service {self._stack.service} lets in without asking for the password")
            return FirstFinding(right=True)
        if found["code"] == _CONV_ERR and found.get("asked", 0) > 1:
            return FirstFinding(right=False, reason=Finding.QUESTION_REFUSED)
        reason = FINDINGS.get(str(found.get("stage")), {}).get(found["code"])
        if reason is None:
            text = f"{found.get('text', '')} ({found.get('stage')}: {found['code']})"
            raise BackendSilent(f"the PAM service {self._stack.service} cannot say: {text}")
        return FirstFinding(right=False, reason=reason)

    async def close(self) -> None:
        """End the processes."""
        await self._children.close()


def _fits(text: str) -> bool:
    """Whether C's strings hold it whole: what is behind a NUL would not be looked at."""
    try:
        octets = text.encode()
    except UnicodeEncodeError:
        return False
    return 1 <= len(octets) <= LONGEST_TEXT and b"\0" not in octets
