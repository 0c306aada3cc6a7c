"""One login at a host, from START to RESULT: what is asked, in which order, and what each verdict becomes.

No sockets and no store: it talks to a person through Talk and asks the house through House. It accepts nobody by
itself: SUCCESS is the house's Accept, or what the profile says in so many words.
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
from otp_core.login import Finding
from otp_core.model import Accept, Attempt, BackendSilent, Challenge, Language, Reject, Silence, Verdict
from otp_core.otp import normalise_contract_id
from pam_module.frames import MAX_DELAY_MS, Code, Op, Result, Role, Start, Style
from pam_module.profiles import Ask, Groups, Profile, Way
from pam_module.texts import Word

_log = structlog.get_logger("pam")
T = TypeVar("T")

FAKE = b"\b\n\r\x7fINCORRECT"
"""How the password begins that sshd sends for somebody whom it will not let in anyway."""

GRACE_SECONDS = 2.0
"""What a back end may be late behind its deadline."""


class Talk(Protocol):
    """The person at the host."""

    async def ask(self, text: str, role: Role, *, echo: bool = False) -> bytes:
        """Raises Gone (service.py) when nobody answers."""

    async def say(self, text: str, style: Style) -> None: ...

    async def within(self, seconds: float, coming: Awaitable[T]) -> T:
        """What is awaited, while the person waits. Raises TimeoutError."""


class House(Protocol):
    """Who decides: the store's own authenticator, or RADIUS servers elsewhere. All raise BackendSilent."""

    def answer(self, attempt: Attempt) -> Awaitable[Verdict]: ...

    def account(self, customer: str, profile: Profile, today: date) -> tuple[Code, str]:
        """May this customer have a session; and why not."""

    def record(self, event: Event, attempt: Attempt, reason: str) -> None:
        """What the profile has decided, for the audit trail."""

    def never_enrolled(self, customer: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a dialogue needs from outside. ``answer_seconds``: how long a verdict may take."""

    house: House
    groups: Groups
    today: Callable[[], date]
    now: Callable[[], float]
    answer_seconds: float


class _NotAnAttempt(Exception):
    """Nothing that could be a password or a code was typed: refused, and charged to nobody."""


class Dialogue:
    """One PAM call."""

    def __init__(self, start: Start, profile: Profile, talk: Talk, around: Surroundings) -> None:
        self._start, self._profile, self._talk, self._around = start, profile, talk, around
        self._answered_at = around.now()
        self._first = Attempt(
            customer=normalise_contract_id(start.user),
            typed="",
            policy=profile.policy(around.today()),
            client=f"pam:{profile.name}",
            source=start.service[:64],
            station=start.rhost[:64],
        )

    async def run(self) -> Result:
        """The last frame. Raises Gone when the person has gone."""
        try:
            way, why = await self._way()
            if self._start.op is Op.ACCT:
                return self._account(way)
            return await self._let_in(way, why)
        except _NotAnAttempt:
            return self._refused(Code.AUTH_ERR)
        except BackendSilent as error:
            return await self._unavailable(str(error))

    async def _way(self) -> tuple[Way, str]:
        if not self._profile.exempt_groups:
            return self._profile.way(self._start, self._around.groups)
        # A host's groups may come from a directory, and be slow.
        return await asyncio.to_thread(self._profile.way, self._start, self._around.groups)

    async def _let_in(self, way: Way, why: str) -> Result:
        if not self._first.customer:
            return self._refused(Code.AUTH_ERR)
        match way:
            case Way.REFUSE:
                self._around.house.record(Event.LOGIN_REJECTED, self._first, why)
                return self._refused(Code.PERM_DENIED)
            case Way.STEP_ASIDE:
                self._around.house.record(Event.LOGIN_EXEMPT, self._first, why)
                return Result(Code.IGNORE)
            case Way.PASSWORD_ONLY:
                return await self._without_code(why)
            case Way.ASK:
                return await self._conclude(await self._ask_first())

    async def _without_code(self, why: str) -> Result:
        """The password is enough. Where another module has checked it, nothing is left to ask."""
        if self._profile.ask is Ask.CODE:
            self._around.house.record(Event.LOGIN_EXEMPT, self._first, why)
            return Result(Code.SUCCESS)
        typed = await self._password(Word.LOGIN)
        policy = self._profile.policy(self._around.today(), without_code=True)
        return await self._conclude(await self._verdict(self._first._replace(typed=typed, policy=policy)))

    async def _ask_first(self) -> Verdict:
        """The verdict on what is asked before anything is known."""
        ask = self._profile.ask
        if ask is Ask.CODE:
            typed = await self._code(Word.CODE, self._profile.language)
            if self._start.authtok is not None and typed.encode() == self._start.authtok:
                typed = ""  # the password once more, from a host that repeats one answer
        elif ask is Ask.TOGETHER:
            password = await self._password(Word.LOGIN)
            code = await self._code(Word.CODE, self._profile.language)
            typed = password if code == password else password + code
        else:
            typed = await self._password(Word.BOTH if ask is Ask.APPEND else Word.LOGIN)
        return await self._verdict(self._first._replace(typed=typed))

    async def _conclude(self, verdict: Verdict) -> Result:
        """Answer challenges until there is a verdict."""
        while isinstance(verdict, Challenge):
            word = Word.CODE_AGAIN if verdict.again else Word.CODE
            typed = await self._code(word, verdict.language)
            verdict = await self._verdict(self._first._replace(typed=typed, challenge=verdict.state))
        match verdict:
            case Accept():
                await self._remind_to_enrol()
                return Result(Code.SUCCESS)
            case Reject(reason):
                unknown = reason == Finding.UNKNOWN_CUSTOMER.value
                return self._refused(Code.USER_UNKNOWN if unknown else Code.AUTH_ERR)
            case Silence(reason, busy):
                # Whoever asks too much at once must not come in where an outage is ignored.
                return await self._unavailable(reason, Code.MAXTRIES if busy else Code.UNAVAILABLE)

    async def _verdict(self, attempt: Attempt) -> Verdict:
        seconds = self._around.answer_seconds
        attempt = attempt._replace(deadline=self._around.now() + seconds)
        try:
            return await self._talk.within(seconds + GRACE_SECONDS, self._around.house.answer(attempt))
        except TimeoutError:
            return Silence(f"no verdict after {seconds + GRACE_SECONDS:g} s")

    # What is asked

    async def _password(self, word: Word) -> str:
        """The first answer, or what an earlier module has asked for already. Never empty."""
        octets = self._start.authtok
        if octets is None:
            octets = await self._asked(word, self._profile.language, Role.PASSWORD, echo=False)
        if octets.startswith(FAKE) or not octets:
            raise _NotAnAttempt
        return _text(octets)

    async def _code(self, word: Word, language: Language) -> str:
        """May be empty, or anything else: the house knows what is no code."""
        octets = await self._asked(word, language, Role.OTP, echo=self._profile.echo_code)
        if octets.startswith(FAKE):
            raise _NotAnAttempt
        return _text(octets)

    async def _asked(self, word: Word, language: Language, role: Role, *, echo: bool) -> bytes:
        answer = await self._talk.ask(self._profile.text(word, language), role, echo=echo)
        self._answered_at = self._around.now()
        return answer

    # How it ends

    def _refused(self, code: Code) -> Result:
        """A fixed time after the answer, whatever was wrong and however long it took to find out."""
        left = self._profile.reject_delay - (self._around.now() - self._answered_at)
        return Result(code, min(MAX_DELAY_MS, max(0, math.ceil(left * 1000))))

    async def _unavailable(self, why: str, code: Code = Code.UNAVAILABLE) -> Result:
        _log.error("a login could not be checked", user=self._start.user, service=self._start.service, cause=why)
        await self._talk.say(self._profile.text(Word.UNAVAILABLE), Style.ERROR)
        return Result(code)

    async def _remind_to_enrol(self) -> None:
        if self._profile.enrol_until is not None and self._around.house.never_enrolled(self._first.customer):
            await self._talk.say(self._profile.text(Word.ENROL), Style.INFO)

    def _account(self, way: Way) -> Result:
        """The account phase: may this user have a session? Nothing is asked."""
        house = self._around.house
        if way is Way.STEP_ASIDE:
            return Result(Code.IGNORE)
        if way is Way.REFUSE:
            code, why = Code.PERM_DENIED, "a network that the profile does not let in"
        else:
            code, why = house.account(self._first.customer, self._profile, self._around.today())
        unknown = code in (Code.USER_UNKNOWN, Code.UNAVAILABLE)
        if way is Way.PASSWORD_ONLY and unknown and self._profile.ask is Ask.CODE:
            return Result(Code.SUCCESS)  # nothing was asked of them here
        if code is not Code.SUCCESS:
            house.record(Event.ACCOUNT_REFUSED, self._first, why)
        return Result(code)


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise _NotAnAttempt from None
