"""One login at a host, from START to RESULT: what is asked, in which order, and what each verdict becomes.

No sockets and no store: it talks to a person through Talk and asks the core through House. It accepts nobody by
itself: SUCCESS is the core's Accept, or what the profile says in so many words.
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
from pam_module.frames import MAX_DELAY_MS, Op, Result, ResultCode, Role, Start, Style
from pam_module.profiles import Ask, Disposition, Groups, Profile
from pam_module.texts import TextName

_log = structlog.get_logger("pam")
T = TypeVar("T")

FAKE = b"\b\n\r\x7fINCORRECT"
"""How the password begins that sshd sends for somebody whom it will not let in anyway."""

GRACE_SECONDS = 2.0
"""What a back end may be late behind its deadline."""


class Conversation(Protocol):
    """The person at the host."""

    async def ask(self, text: str, role: Role, *, echo: bool = False) -> bytes:
        """Raises Gone (service.py) when nobody answers."""

    async def say(self, text: str, style: Style) -> None: ...

    async def within(self, seconds: float, coming: Awaitable[T]) -> T:
        """What is awaited, while the person waits. Raises TimeoutError."""


class Backend(Protocol):
    """Who decides: the store's own authenticator, or RADIUS servers elsewhere. All raise BackendSilent."""

    def answer(self, attempt: Attempt) -> Awaitable[Verdict]: ...

    def account(self, customer: str, profile: Profile, today: date) -> tuple[ResultCode, str]:
        """May this customer have a session; and why not."""

    def audit(self, event: Event, attempt: Attempt, reason: str) -> None:
        """What the profile has decided, for the audit trail."""

    def never_enrolled(self, customer: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class DialogueContext:
    """What a dialogue needs from outside. ``answer_seconds``: how long a verdict may take."""

    backend: Backend
    groups: Groups
    today: Callable[[], date]
    now: Callable[[], float]
    answer_seconds: float


class _NotAnAttempt(Exception):
    """Nothing that could be a password or a code was typed: refused, and charged to nobody."""


class Dialogue:
    """One PAM call."""

    def __init__(self, start: Start, profile: Profile, talk: Conversation, context: DialogueContext) -> None:
        self._start, self._profile, self._talk, self._context = start, profile, talk, context
        self._answered_at = context.now()
        self._first = Attempt(
            customer=normalise_contract_id(start.user),
            user_password="",
            policy=profile.policy(context.today()),
            client=f"pam:{profile.name}",
            source=start.service[:64],
            calling_station_id=start.rhost[:64],
        )

    async def run(self) -> Result:
        """The last frame. Raises Gone when the person has gone."""
        try:
            disposition, why = await self._disposition()
            if self._start.op is Op.ACCT:
                return self._account(disposition)
            return await self._let_in(disposition, why)
        except _NotAnAttempt:
            return self._refused(ResultCode.AUTH_ERR)
        except BackendSilent as error:
            return await self._unavailable(str(error))

    async def _disposition(self) -> tuple[Disposition, str]:
        if not self._profile.exempt_groups:
            return self._profile.disposition(self._start, self._context.groups)
        # A host's groups may come from a directory, and be slow.
        return await asyncio.to_thread(self._profile.disposition, self._start, self._context.groups)

    async def _let_in(self, disposition: Disposition, why: str) -> Result:
        if not self._first.customer:
            return self._refused(ResultCode.AUTH_ERR)
        match disposition:
            case Disposition.REFUSE:
                self._context.backend.audit(Event.LOGIN_REJECTED, self._first, why)
                return self._refused(ResultCode.PERM_DENIED)
            case Disposition.STEP_ASIDE:
                self._context.backend.audit(Event.LOGIN_EXEMPT, self._first, why)
                return Result(ResultCode.IGNORE)
            case Disposition.PASSWORD_ONLY:
                return await self._without_code(why)
            case Disposition.ASK:
                return await self._conclude(await self._ask_first())

    async def _without_code(self, why: str) -> Result:
        """The password is enough. Where another module has checked it, nothing is left to ask."""
        if self._profile.ask is Ask.CODE:
            self._context.backend.audit(Event.LOGIN_EXEMPT, self._first, why)
            return Result(ResultCode.SUCCESS)
        user_password = await self._password(TextName.LOGIN)
        policy = self._profile.policy(self._context.today(), without_code=True)
        return await self._conclude(
            await self._verdict(self._first._replace(user_password=user_password, policy=policy))
        )

    async def _ask_first(self) -> Verdict:
        """The verdict on what is asked before anything is known."""
        ask = self._profile.ask
        if ask is Ask.CODE:
            user_password = await self._code(TextName.CODE, self._profile.language)
            if self._start.authtok is not None and user_password.encode() == self._start.authtok:
                user_password = ""  # the password once more, from a host that repeats one answer
        elif ask is Ask.TOGETHER:
            password = await self._password(TextName.LOGIN)
            code = await self._code(TextName.CODE, self._profile.language)
            user_password = password if code == password else password + code
        else:
            user_password = await self._password(TextName.BOTH if ask is Ask.APPEND else TextName.LOGIN)
        return await self._verdict(self._first._replace(user_password=user_password))

    async def _conclude(self, verdict: Verdict) -> Result:
        """Answer challenges until there is a verdict."""
        while isinstance(verdict, Challenge):
            name = TextName.CODE_AGAIN if verdict.again else TextName.CODE
            user_password = await self._code(name, verdict.language)
            verdict = await self._verdict(self._first._replace(user_password=user_password, challenge=verdict.state))
        match verdict:
            case Accept():
                await self._remind_to_enrol()
                return Result(ResultCode.SUCCESS)
            case Reject(reason):
                unknown = reason == Finding.UNKNOWN_CUSTOMER.value
                return self._refused(ResultCode.USER_UNKNOWN if unknown else ResultCode.AUTH_ERR)
            case Silence(reason, busy):
                # Whoever asks too much at once must not come in where an outage is ignored.
                return await self._unavailable(reason, ResultCode.MAXTRIES if busy else ResultCode.UNAVAILABLE)

    async def _verdict(self, attempt: Attempt) -> Verdict:
        seconds = self._context.answer_seconds
        attempt = attempt._replace(deadline=self._context.now() + seconds)
        try:
            return await self._talk.within(seconds + GRACE_SECONDS, self._context.backend.answer(attempt))
        except TimeoutError:
            return Silence(f"no verdict after {seconds + GRACE_SECONDS:g} s")

    # What is asked

    async def _password(self, name: TextName) -> str:
        """The first answer, or what an earlier module has asked for already. Never empty."""
        octets = self._start.authtok
        if octets is None:
            octets = await self._asked(name, self._profile.language, Role.PASSWORD, echo=False)
        if octets.startswith(FAKE) or not octets:
            raise _NotAnAttempt
        return _text(octets)

    async def _code(self, name: TextName, language: Language) -> str:
        """May be empty, or anything else: the core knows what is no code."""
        octets = await self._asked(name, language, Role.OTP, echo=self._profile.echo_code)
        if octets.startswith(FAKE):
            raise _NotAnAttempt
        return _text(octets)

    async def _asked(self, name: TextName, language: Language, role: Role, *, echo: bool) -> bytes:
        answer = await self._talk.ask(self._profile.text(name, language), role, echo=echo)
        self._answered_at = self._context.now()
        return answer

    # How it ends

    def _refused(self, code: ResultCode) -> Result:
        """A fixed time after the answer, whatever was wrong and however long it took to find out."""
        left = self._profile.reject_delay - (self._context.now() - self._answered_at)
        return Result(code, min(MAX_DELAY_MS, max(0, math.ceil(left * 1000))))

    async def _unavailable(self, why: str, code: ResultCode = ResultCode.UNAVAILABLE) -> Result:
        _log.error("a login could not be checked", user=self._start.user, service=self._start.service, cause=why)
        await self._talk.say(self._profile.text(TextName.UNAVAILABLE), Style.ERROR)
        return Result(code)

    async def _remind_to_enrol(self) -> None:
        if self._profile.enrol_until is not None and self._context.backend.never_enrolled(self._first.customer):
            await self._talk.say(self._profile.text(TextName.ENROL), Style.INFO)

    def _account(self, disposition: Disposition) -> Result:
        """The account phase: may this user have a session? Nothing is asked."""
        backend = self._context.backend
        if disposition is Disposition.STEP_ASIDE:
            return Result(ResultCode.IGNORE)
        if disposition is Disposition.REFUSE:
            code, why = ResultCode.PERM_DENIED, "a network that the profile does not let in"
        else:
            code, why = backend.account(self._first.customer, self._profile, self._context.today())
        unknown = code in (ResultCode.USER_UNKNOWN, ResultCode.UNAVAILABLE)
        if disposition is Disposition.PASSWORD_ONLY and unknown and self._profile.ask is Ask.CODE:
            return Result(ResultCode.SUCCESS)  # nothing was asked of them here
        if code is not ResultCode.SUCCESS:
            backend.audit(Event.ACCOUNT_REFUSED, self._first, why)
        return Result(code)


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise _NotAnAttempt from None
