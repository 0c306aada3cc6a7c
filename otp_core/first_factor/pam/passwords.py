"""The first factor of type ``pam``: one conversation with the machine's PAM stack for each login, and what its codes
mean. Silence for everything that is no clear answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from otp_core.first_factor import FirstFinding, Question
from otp_core.first_factor.pam.children import Children
from otp_core.login.table import Finding
from otp_core.model import Attempt, BackendSilent, Overloaded
from otp_core.station import station_of
from otp_core.tally import SECONDS, Histogram

LONGEST_TEXT = 511
"""Octets of a name or a password (PAM_MAX_RESP_SIZE, with the NUL behind it)."""

DEAD_AFTER, DEAD_SECONDS = 3, 30.0
"""A stack that had no answer for so many different customers, one after another, counts as dead for so long: one name
alone may be what a module cannot handle. Nobody can be asked in between: a password that was made up would be a failure
of somebody's."""

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


@dataclass(eq=False, slots=True)
class Service:
    """What became of the logins that a service was asked about. ``place``: its name; ``counts``: accept, reject,
    no-answer; ``silent_for``: the customers, up to DEAD_AFTER, for whom it had no answer since its last one;
    ``dead_until``: the loop's time."""

    place: str
    counts: Counter[str] = field(default_factory=Counter)
    silent_for: set[str] = field(default_factory=set, repr=False)
    dead_until: float = float("-inf")


class PamPasswords:
    """Asks one service. See ``FirstFactor``. ``in_flight``: logins that ask it or wait for that; ``seconds``: how long
    those took that were answered; ``unanswered``: those that were not."""

    has_rounds = False
    one_reading = True
    relays = False

    def __init__(self, stack: Stack, children: Children) -> None:
        self._stack, self._children, self._service = stack, children, Service(stack.service)
        self.in_flight, self.seconds, self.unanswered = 0, Histogram(SECONDS), 0

    @property
    def reachable(self) -> bool:
        """See ``FirstFactor``."""
        return self._service.dead_until <= asyncio.get_running_loop().time()

    def servers(self) -> list[tuple[Service, bool]]:
        """The service, and whether it counts as dead, until it answers; as those of a directory."""
        return [(self._service, self._service.dead_until != float("-inf"))]

    async def check(self, question: Question) -> FirstFinding:
        """See ``FirstFactor``. Raises BackendSilent."""
        customer, password = question.attempt.customer, question.candidates[0]
        if not (_fits(password) and _fits(customer)):
            return FirstFinding(right=False)
        begun = asyncio.get_running_loop().time()
        self.in_flight += 1
        try:
            finding = await self._asked(question.attempt, password)
        except BackendSilent as error:
            self._was_silent(customer, overloaded=isinstance(error, Overloaded))
            raise
        finally:
            self.in_flight -= 1
        self._answered()
        self.seconds.observe(asyncio.get_running_loop().time() - begun)
        self._service.counts["accept" if finding.right else "reject"] += 1
        return finding

    def _was_silent(self, customer: str, *, overloaded: bool) -> None:
        self.unanswered += 1
        if overloaded:
            return  # nobody was asked
        service = self._service
        service.counts["no-answer"] += 1
        if len(service.silent_for) < DEAD_AFTER:
            service.silent_for.add(customer)
        if len(service.silent_for) >= DEAD_AFTER:
            service.dead_until = asyncio.get_running_loop().time() + DEAD_SECONDS

    def _answered(self) -> None:
        self._service.silent_for.clear()
        self._service.dead_until = float("-inf")

    async def _asked(self, attempt: Attempt, password: str) -> FirstFinding:
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
        return self._finding_of(found)

    def _finding_of(self, found: dict[str, Any]) -> FirstFinding:
        """What an answer means. Raises BackendSilent for one that is none."""
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
