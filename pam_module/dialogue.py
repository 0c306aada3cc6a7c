"""One login at a host, from START to RESULT: what is asked, in which order, and what each verdict becomes.

No sockets and no store: it talks to the person through a Conversation and gets verdicts from a Backend. It accepts
nobody by itself: SUCCESS is the Backend's Accept, or an exemption that the profile states.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from typing import Protocol, TypeVar

import structlog

from otp_core.audit import Event
from otp_core.login.table import Finding
from otp_core.model import Accept, Attempt, BackendSilent, Challenge, Language, Reject, Silence, Verdict
from otp_core.otp import normalise_contract_id
from otp_core.station import readable
from pam_module.frames import MAX_DELAY_MS, Op, Result, ResultCode, Role, Start, Style
from pam_module.profiles import Disposition, Groups, Profile
from pam_module.settings import AskMode
from pam_module.texts import TextName

_log = structlog.get_logger("pam")
T = TypeVar("T")

SSHD_FAKE_PASSWORD = b"\b\n\r\x7fINCORRECT"
"""The beginning of the password that sshd sends for a user whom it refuses in any case (auth-pam.c)."""

DEADLINE_SLACK_SECONDS = 2.0
"""How long after an attempt's deadline its verdict may still come: a Backend that keeps deadlines answers by then."""


class Conversation(Protocol):
    """The person at the host. All methods raise Gone (connection.py) when the conversation has ended."""

    async def ask(self, text: str, role: Role, *, echo: bool = False) -> bytes:
        """Show a prompt and return the answer as it was typed. ``echo``: show the answer, too."""

    async def say(self, text: str, style: Style) -> None:
        """Show a message."""

    async def within(self, seconds: float, awaitable: Awaitable[T]) -> T:
        """Await something while the person waits. Raises TimeoutError after ``seconds``."""


class Backend(Protocol):
    """Where verdicts come from: this machine's store, or RADIUS servers. All methods raise BackendSilent."""

    def answer(self, attempt: Attempt) -> Awaitable[Verdict]:
        """The verdict on an attempt."""

    async def account(self, customer: str, profile: Profile, today: date, *, exempt: bool) -> tuple[ResultCode, str]:
        """Whether this customer may have a session (the account phase), and the reason if not. ``exempt``: they were
        asked for nothing, so nothing is amiss if they have no token."""

    async def audit(self, event: Event, attempt: Attempt, reason: str) -> None:
        """Record a decision that the profile has made."""

    async def never_enrolled(self, customer: str) -> bool:
        """Whether the customer is known and has never had a token."""


@dataclass(frozen=True, slots=True)
class DialogueContext:
    """What a dialogue needs from outside. ``today``: this machine's date. ``now``: seconds, monotonic.
    ``answer_seconds``: how long a verdict may take."""

    backend: Backend
    groups: Groups
    today: Callable[[], date]
    now: Callable[[], float]
    answer_seconds: float


class _NotAnAttempt(Exception):
    """The answer cannot be a password or a code. It is refused, and counts against no account."""


class Dialogue:
    """One PAM call."""

    def __init__(self, start: Start, profile: Profile, conversation: Conversation, context: DialogueContext) -> None:
        self._start, self._profile, self._conversation, self._context = start, profile, conversation, context
        self._answered_at = context.now()
        self._attempt = Attempt(
            customer=normalise_contract_id(start.user),
            user_password="",
            policy=profile.policy(context.today()),
            client=f"pam:{profile.name}",
            source=start.service[:64],
            calling_station_id=readable(start.rhost),
        )

    async def run(self) -> Result:
        """The last frame. Raises Gone, BadFrame or TooManyFrames, as the Conversation does."""
        try:
            disposition, reason = await self._disposition()
            if self._start.op is Op.ACCT:
                return await self._account(disposition)
            return await self._authenticate(disposition, reason)
        except _NotAnAttempt:
            return self._refused(ResultCode.AUTH_ERR)
        except BackendSilent as error:
            return await self._unavailable(str(error))

    async def _disposition(self) -> tuple[Disposition, str]:
        if not self._profile.exempt_groups:
            return self._profile.disposition(self._start, self._context.groups)
        # A host's groups may come from a directory, which may be slow.
        return await asyncio.to_thread(self._profile.disposition, self._start, self._context.groups)

    # The phase pam_authenticate.

    async def _authenticate(self, disposition: Disposition, reason: str) -> Result:
        if not self._attempt.customer:
            return self._refused(ResultCode.AUTH_ERR)
        match disposition:
            case Disposition.REFUSE:
                await self._context.backend.audit(Event.LOGIN_REJECTED, self._attempt, reason)
                return self._refused(ResultCode.PERM_DENIED)
            case Disposition.STEP_ASIDE:
                await self._context.backend.audit(Event.LOGIN_EXEMPT, self._attempt, reason)
                return Result(ResultCode.IGNORE)
            case Disposition.PASSWORD_ONLY:
                return await self._password_only(reason)
            case Disposition.ASK:
                return await self._conclude(await self._first_verdict())

    async def _password_only(self, reason: str) -> Result:
        """The password is enough. In mode code another module has checked it, and nothing is left to ask."""
        if self._profile.ask_mode is AskMode.CODE:
            await self._context.backend.audit(Event.LOGIN_EXEMPT, self._attempt, reason)
            return Result(ResultCode.SUCCESS)
        user_password = await self._ask_password(TextName.LOGIN)
        policy = self._profile.policy(self._context.today(), without_code=True)
        return await self._conclude(
            await self._verdict(self._attempt._replace(user_password=user_password, policy=policy))
        )

    async def _first_verdict(self) -> Verdict:
        """The verdict on what the mode asks for at the beginning."""
        ask_mode = self._profile.ask_mode
        if ask_mode is AskMode.CODE:
            user_password = await self._ask_code(TextName.CODE, self._profile.language)
            if self._start.authtok is not None and user_password.encode() == self._start.authtok:
                user_password = ""  # sshd's password method gives one answer to every prompt: this is no code
        elif ask_mode is AskMode.TOGETHER:
            password = await self._ask_password(TextName.LOGIN)
            code = await self._ask_code(TextName.CODE, self._profile.language)
            user_password = password if code == password else password + code
        else:
            user_password = await self._ask_password(TextName.BOTH if ask_mode is AskMode.APPEND else TextName.LOGIN)
        return await self._verdict(self._attempt._replace(user_password=user_password))

    async def _conclude(self, verdict: Verdict) -> Result:
        """Answer challenges until there is another verdict, and turn that into the result."""
        while isinstance(verdict, Challenge):
            text_name = TextName.CODE_AGAIN if verdict.again else TextName.CODE
            user_password = await self._ask_code(text_name, verdict.language, verdict.prompt)
            verdict = await self._verdict(self._attempt._replace(user_password=user_password, challenge=verdict.state))
        match verdict:
            case Accept():
                await self._remind_to_enrol()
                return Result(ResultCode.SUCCESS)
            case Reject(reason):
                unknown = reason == Finding.UNKNOWN_CUSTOMER
                return self._refused(ResultCode.USER_UNKNOWN if unknown else ResultCode.AUTH_ERR)
            case Silence(reason, busy):
                # Too many at once is a refusal: strangers can bring it about, and a stack may ignore an outage.
                return await self._unavailable(reason, ResultCode.MAXTRIES if busy else ResultCode.UNAVAILABLE)

    async def _verdict(self, attempt: Attempt) -> Verdict:
        seconds = self._context.answer_seconds
        attempt = attempt._replace(deadline=self._context.now() + seconds)
        try:
            return await self._conversation.within(
                seconds + DEADLINE_SLACK_SECONDS, self._context.backend.answer(attempt)
            )
        except TimeoutError:
            return Silence(f"no verdict after {seconds + DEADLINE_SLACK_SECONDS:g} s")

    # Prompts. All of them raise _NotAnAttempt.

    async def _ask_password(self, text_name: TextName) -> str:
        """The password that an earlier module has asked for, otherwise the answer to a prompt. Never empty."""
        octets = self._start.authtok
        if octets is None:
            octets = await self._ask(self._profile.text(text_name, self._profile.language), Role.PASSWORD, echo=False)
        if octets.startswith(SSHD_FAKE_PASSWORD) or not octets:
            raise _NotAnAttempt
        return _decoded(octets)

    async def _ask_code(self, text_name: TextName, language: Language, prompt: str | None = None) -> str:
        """The answer. It may be empty or no code at all: the evaluator decides what is a code. ``prompt``: the first
        factor's own question, in the place of ours; what is typed then may be anything, so it is not shown."""
        echo = self._profile.echo_code and prompt is None
        octets = await self._ask(prompt or self._profile.text(text_name, language), Role.OTP, echo=echo)
        if octets.startswith(SSHD_FAKE_PASSWORD):
            raise _NotAnAttempt
        return _decoded(octets)

    async def _ask(self, prompt: str, role: Role, *, echo: bool) -> bytes:
        answer = await self._conversation.ask(prompt, role, echo=echo)
        self._answered_at = self._context.now()
        return answer

    # How it ends.

    def _refused(self, code: ResultCode) -> Result:
        """A refusal takes ``reject_delay`` from the last answer, whatever was wrong and however long the check took."""
        left = self._profile.reject_delay - (self._context.now() - self._answered_at)
        return Result(code, min(MAX_DELAY_MS, max(0, math.ceil(left * 1000))))

    async def _unavailable(self, cause: str, code: ResultCode = ResultCode.UNAVAILABLE) -> Result:
        # Without the name: nobody could look whether it is a customer's, and it may be a password.
        _log.error(
            "a login could not be checked",
            door="pam",
            client=self._attempt.client,
            nas=self._start.service,
            source=self._attempt.calling_station_id or self._attempt.source,
            reason=cause,
        )
        await self._conversation.say(self._profile.text(TextName.UNAVAILABLE), Style.ERROR)
        return Result(code)

    async def _remind_to_enrol(self) -> None:
        if self._profile.enrol_until is not None and await self._context.backend.never_enrolled(self._attempt.customer):
            await self._conversation.say(self._profile.text(TextName.ENROL), Style.INFO)

    # The phase pam_acct_mgmt.

    async def _account(self, disposition: Disposition) -> Result:
        """Whether this user may have a session. Nothing is asked."""
        backend = self._context.backend
        unasked = disposition is Disposition.PASSWORD_ONLY and self._profile.ask_mode is AskMode.CODE
        if disposition is Disposition.STEP_ASIDE:
            return Result(ResultCode.IGNORE)
        if disposition is Disposition.REFUSE:
            code, reason = ResultCode.PERM_DENIED, "a network that the profile does not let in"
        else:
            code, reason = await backend.account(
                self._attempt.customer, self._profile, self._context.today(), exempt=unasked
            )
        unknown = code in (ResultCode.USER_UNKNOWN, ResultCode.UNAVAILABLE)
        if unasked and unknown:
            return Result(ResultCode.SUCCESS)  # exempt in mode code: they need not be known to the Backend
        if code is not ResultCode.SUCCESS:
            await backend.audit(Event.ACCOUNT_REFUSED, self._attempt, reason)
        return Result(code)


def _decoded(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise _NotAnAttempt from None
