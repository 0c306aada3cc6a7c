"""What another policy of one client would have answered: mode, without_token, separator, Message-Authenticator.

The rows of a client become logins again (one row, or a question and its answers), each with what it proved; the table
of every login says what the other policy makes of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple, Protocol

from otp_core.audit import Event
from otp_core.forecast.judge import Judge, record_of, replayed_token
from otp_core.forecast.outcome import Change, Forecast, Note
from otp_core.forecast.past import COPIES, Happened
from otp_core.login.policy import Rules
from otp_core.login.requests import FirstFinding
from otp_core.login.table import ELSEWHERE, Finding, Stage
from otp_core.model import Mode, OtpUse, Policy
from otp_core.store.client_use import PERIOD_MS

_WRITTEN_LATER_MS = 10_000
"""How much later a request is counted, at most, than it was answered."""
_TIDIED_AT = 50_000

_CODE_SEEN = frozenset(
    {Finding.FITS, Finding.WRONG, Finding.REUSED, Finding.NOT_A_CODE, Finding.RESYNC_NEEDED, *ELSEWHERE}
)
_HAS_TOKEN = _CODE_SEEN | {Finding.CODE_DUE}
"""Findings only of customers whose token is active."""
_RIGHT_PASSWORD = _HAS_TOKEN | {Finding.LOCKED, Finding.LOST, Finding.WITHOUT_TOKEN, Finding.TOKEN_NEEDED}
"""Findings behind the one about the password."""
_STAGES: dict[Mode, tuple[Stage, ...]] = {
    Mode.PASSWORD: (Stage.PASSWORD,),
    Mode.CODE: (Stage.CODE,),
    Mode.APPEND: (Stage.BOTH,),
    Mode.CHALLENGE: (Stage.FIRST_ROUND, Stage.SECOND_ROUND),
    Mode.AUTO: (Stage.FIRST_ROUND, Stage.SECOND_ROUND),
}
_IN_ONE_TEXT = (Mode.APPEND, Mode.AUTO)


class End(Enum):
    """How a login would end. UNTOLD: it depends on something that was never looked at."""

    LET_IN = auto()
    REFUSED = auto()
    UNTOLD = auto()


@dataclass(frozen=True, slots=True)
class ClientChange:
    """``was``, ``would``: the policy in force, and the tried one; ``protected``, ``would_protect``: whether a
    Message-Authenticator is required. ``realms``: the realm of a name chooses the first factor."""

    client: str
    was: Policy
    would: Policy
    protected: bool
    would_protect: bool
    realms: bool = False


class Person(NamedTuple):
    """A customer at the moment of a login. ``held``: whether a password is kept here for them."""

    use: OtpUse
    held: bool


class People(Protocol):
    """Who the customers were."""

    def person(self, contract_id: str, row: int) -> Person | None:
        """As of this audit row; None if it cannot be told."""


class Login(NamedTuple):
    """One login. ``row``: its last one; ``finding``: what decided; ``code``: what its last code was found to be, None
    where none was looked at; ``asked``: whether it had a question and an answer; ``let_in``: how it ended."""

    customer: str
    row: Happened
    finding: Finding
    code: Finding | None
    asked: bool
    let_in: bool


class Asking:
    """A forecast in the making. ``protection``: requests, and those without Message-Authenticator, by the beginning of
    five minutes (ms)."""

    def __init__(
        self,
        change: ClientChange,
        rules: Rules,
        forecast: Forecast,
        people: People,
        protection: Mapping[int, tuple[int, int]],
    ) -> None:
        self._change, self._judge, self.forecast, self._people = change, Judge(rules), forecast, people
        self._protection, self._open_ms = protection, rules.challenge_seconds * 1000
        self._open: dict[str, tuple[Happened, Finding | None]] = {}
        """Questions that were not answered yet: by customer, the row, and what the last code was."""
        forecast.say(*_notes(change))

    def take(self, row: Happened) -> None:
        """The next row of the client, in order."""
        finding = row.finding
        if row.customer is None or finding is None or finding in COPIES or finding is Finding.FIRST_FACTOR_ASKS:
            return
        if row.event == Event.LOGIN_CHALLENGED:
            self._asked(row, row.customer, finding)
        elif row.event in (Event.LOGIN_ACCEPTED, Event.LOGIN_REJECTED):
            self._ended(row, row.customer, finding)
        if len(self._open) > _TIDIED_AT:
            self._expire(row.at)

    def end(self) -> None:
        """After the last row."""
        for customer, (row, code) in self._open.items():
            self._judge_login(Login(customer, row, Finding.CODE_DUE, code, True, False))
        self._open = {}

    def _asked(self, row: Happened, customer: str, finding: Finding) -> None:
        before = self._open.pop(customer, None)
        if finding is Finding.CODE_DUE and before is not None:
            self._judge_login(Login(customer, before[0], Finding.CODE_DUE, before[1], True, False))
        self._open[customer] = row, finding if finding in _CODE_SEEN else None

    def _ended(self, row: Happened, customer: str, finding: Finding) -> None:
        asked = self._open.get(customer)
        answers = asked is not None and (finding in _CODE_SEEN or finding in (Finding.TOO_SOON, Finding.CHALLENGE_GONE))
        if answers:
            del self._open[customer]
        self._judge_login(
            Login(customer, row, finding, finding if finding in _CODE_SEEN else None, answers, row.let_in)
        )

    def _expire(self, now: int) -> None:
        over = [who for who, (row, _) in self._open.items() if row.at < now - self._open_ms]
        for who in over:
            row, code = self._open.pop(who)
            self._judge_login(Login(who, row, Finding.CODE_DUE, code, True, False))

    # One login

    def _judge_login(self, login: Login) -> None:
        self.forecast.logins += 1
        self.forecast.let_in += login.let_in
        end = self._end_of(login)
        if end is End.LET_IN and self._change.would_protect and not self._change.protected:
            end = self._protected(login.row.at)
        if end is End.UNTOLD:
            self.forecast.add(Change.UNTOLD, login.customer, login.row.id)
        elif login.let_in and end is End.REFUSED:
            self.forecast.add(Change.REFUSED, login.customer, login.row.id)
        elif not login.let_in and end is End.LET_IN:
            self.forecast.add(Change.LET_IN, login.customer, login.row.id)

    def _end_of(self, login: Login) -> End:
        """By the tried policy."""
        was, would = self._change.was, self._change.would
        if login.finding is Finding.UNKNOWN_CUSTOMER:
            return End.REFUSED
        if was == would:
            return End.LET_IN if login.let_in else End.REFUSED
        first = self._first(login)
        if login.finding in _HAS_TOKEN:
            use = OtpUse.ACTIVE
        else:
            person = self._people.person(login.customer, login.row.id)
            if person is None:
                return End.UNTOLD
            use = person.use
        if login.finding is Finding.LOCKED:
            return End.REFUSED
        if self._separator_matters(login):
            return End.UNTOLD
        if first is None:
            return End.UNTOLD
        return self._judged(login, first, use)

    def _judged(self, login: Login, first: FirstFinding, use: OtpUse) -> End:
        no_token = use is not OtpUse.ACTIVE or login.finding is Finding.LOST
        record = record_of(use, [] if no_token else [replayed_token(login.row.token or "")])
        judged = self._judge.login(self._change.would, first, _STAGES[self._change.would.mode], record, login.code)
        if judged.lets_in:
            return End.LET_IN
        if judged.finding is Finding.CODE_DUE:  # a code would be looked at that was not
            unanswered = login.asked and login.finding is Finding.CODE_DUE
            return End.REFUSED if unanswered else End.UNTOLD
        return End.REFUSED

    def _first(self, login: Login) -> FirstFinding | None:
        """What the first factor found, or would find; None where the password was never looked at and matters."""
        was, would = self._change.was.mode, self._change.would.mode
        if would is Mode.CODE:
            return FirstFinding(right=True)
        if login.finding is Finding.NOTHING_CHECKED:
            return FirstFinding(right=True, held=False)
        if self._change.realms and (was is Mode.CODE or self._change.was.code_is_enough):
            return None  # whether a password is held depends on the first factor of a realm that no row has
        if was is Mode.CODE:
            person = self._people.person(login.customer, login.row.id)
            held = self._change.would.first_factor != "local" or (person is not None and person.held)
            return FirstFinding(right=True, held=held)
        if login.asked or login.finding in _RIGHT_PASSWORD:
            return FirstFinding(right=True, held=self._is_held(login))
        return FirstFinding(right=False, reason=login.finding)

    def _is_held(self, login: Login) -> bool:
        """Whether a password was checked. Where the code alone may be enough, a right one does not tell."""
        if not self._change.was.code_is_enough or self._change.was.first_factor != "local":
            return True
        person = self._people.person(login.customer, login.row.id)
        return person is None or person.held

    def _separator_matters(self, login: Login) -> bool:
        """Whether password and code of this login came in one text that would be split in another way."""
        was, would = self._change.was, self._change.would
        same = (was.separator, was.code_first) == (would.separator, would.code_first)
        in_one = was.mode in _IN_ONE_TEXT and would.mode in _IN_ONE_TEXT and not login.asked
        return in_one and not same and login.finding in _CODE_SEEN

    def _protected(self, at: int) -> End:
        """Whether a request of this moment (ms) had a Message-Authenticator."""
        periods = {moment - moment % PERIOD_MS for moment in (at, at + _WRITTEN_LATER_MS)}
        counted = [self._protection[one] for one in periods if one in self._protection]
        requests, bare = sum(one[0] for one in counted), sum(one[1] for one in counted)
        if not requests:
            return End.UNTOLD
        return End.LET_IN if not bare else End.REFUSED if bare == requests else End.UNTOLD


def _notes(change: ClientChange) -> list[Note]:
    was, would = change.was, change.would
    table: list[tuple[bool, Note]] = [
        (True, Note.AS_SET_NOW),
        (was.mode is not would.mode, Note.TYPED_AS_ASKED),
        (was.mode is Mode.CODE and would.mode is not Mode.CODE, Note.PASSWORD_TAKEN_AS_RIGHT),
        (
            (was.separator, was.code_first) != (would.separator, would.code_first) and would.mode in _IN_ONE_TEXT,
            Note.SEPARATOR_NOT_KEPT,
        ),
        (change.would_protect and not change.protected, Note.PROTECTION_BY_PERIOD),
        (change.protected and not change.would_protect, Note.DROPPED_NOT_KEPT),
        (change.realms and (was.mode is Mode.CODE or was.code_is_enough), Note.REALM_NOT_KEPT),
    ]
    return [note for applies, note in table if applies]
