"""The functional core of a login: attempts and facts in, verdicts and changes out. No clock, no SQL, no sockets.

One call judges a batch, in order of arrival; two answers in one batch see each other. The changes carry the
condition under which they hold (the step before), so that the store can refuse what another node was faster with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, assert_never

from otp_core.audit import AuditRow, Event, Ids
from otp_core.login import Finding, Stage, Step, step_for
from otp_core.model import (
    Accept,
    Algorithm,
    Attempt,
    Challenge,
    Kind,
    Language,
    OpenChallenge,
    OtpUse,
    Reject,
    Standing,
    TokenSpec,
    Verdict,
)
from otp_core.otp import Fit, fit, is_code, learn_drift, normalise_code, step_at
from otp_core.policy import Rules


class FirstFinding(NamedTuple):
    """What the first factor found. ``held`` is False for a customer whose password is not kept here."""

    right: bool
    held: bool = True
    reason: Finding = Finding.WRONG_PASSWORD


GATEWAY_CHECKED = FirstFinding(right=True)


@dataclass(slots=True)
class Case:
    """An attempt on its way to the judge: which stage it is at, what the first factor said, and the code as it
    was told apart from the password."""

    attempt: Attempt
    stage: Stage
    first: FirstFinding = GATEWAY_CHECKED
    code: str | None = field(default=None, repr=False)
    password_mark: int | None = None
    mark: int | None = None
    """What this login is known by when it comes again; None: the attempt's own fingerprint."""


class Facts(NamedTuple):
    """What the store knows of a batch: customers by contract ID, open challenges by State."""

    standings: dict[str, Standing]
    challenges: dict[bytes, OpenChallenge]


class Spent(NamedTuple):
    """A code that is used up; ``before``: the token's last step as it was read. In the order of the statement."""

    step: int
    drift: int
    mark: int
    at: int
    token_key: int
    before: int


class Counted(NamedTuple):
    """A customer's wrong codes from now on, and those that were read. In the order of the statement."""

    failures: int
    failed_at: int
    mark: int
    locked_at: int | None
    customer_key: int
    failures_before: int
    failed_at_before: int


@dataclass(slots=True)
class Ruling:
    """The outcome of a batch: a verdict for each case, and the changes that must be durable before any is told. What
    was read stands behind what is written: a change holds only while the row is as it was judged by."""

    verdicts: list[Verdict] = field(default_factory=list)
    spent: list[Spent] = field(default_factory=list)
    counted: dict[int, Counted] = field(default_factory=dict)
    """By the customer's key."""
    repeated: list[tuple[int, int]] = field(default_factory=list)
    """Tokens by whose mark a login is known as one that was accepted, with that mark; not those in ``spent``."""
    opened: list[OpenChallenge] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)
    audit: list[AuditRow] = field(default_factory=list)
    locked: list[AuditRow] = field(default_factory=list)
    """Those of the audit rows that say that a customer was locked."""


class Judge:
    """The rules, with what they need from outside: a way to open seals, and fresh States."""

    def __init__(self, rules: Rules, unseal: Callable[[bytes, str], bytes], new_state: Callable[[], bytes]) -> None:
        self.rules = rules
        self._unseal = unseal
        self._new_state = new_state

    def judge(self, cases: Sequence[Case], facts: Facts, now: int, ids: Ids) -> Ruling:
        """Rule on every case at the moment ``now`` (ms). Changes ``facts`` as it goes, so that each case sees
        what the ones before it did."""
        ruling = Ruling()
        for case in cases:
            _Hearing(self, case, facts, now, ids, ruling).rule()
        return ruling

    def fit(self, standing: Standing, code: str, now: int) -> tuple[Fit, int]:
        """How a code stands to the customer's own token, whose seed is kept here."""
        assert standing.seed is not None and standing.token_id is not None
        return fit(
            self._unseal(standing.seed, standing.token_id),
            token_spec(standing),
            code,
            at_ms=now,
            last_step=standing.last_step,
            drift=standing.drift,
            window=self.rules.window,
            look_ahead=self.rules.look_ahead,
        )

    def new_state(self) -> bytes:
        return self._new_state()


_FIT = {Fit.FITS: Finding.FITS, Fit.REUSED: Finding.REUSED, Fit.WRONG: Finding.WRONG}


def too_soon(standing: Standing, now: int, rules: Rules) -> bool:
    """Whether the delay after this customer's wrong codes is still running; the same at every door and at the desk."""
    return now < standing.failed_at + rules.code_delays.after(standing.failures) * 1000


def counted(standing: Standing, now: int, rules: Rules) -> tuple[int, int | None]:
    """Failures and the moment of the lock, if it comes to that, after one more wrong code."""
    failures = standing.failures + 1
    return failures, (now if failures >= rules.lock_after else None)


def lock_reason(failures: int) -> str:
    return f"{failures} wrong codes in a row"


class _Hearing:
    """One case before the judge."""

    __slots__ = ("case", "challenge", "facts", "ids", "judge", "mark", "now", "ruling", "standing", "step")

    def __init__(self, judge: Judge, case: Case, facts: Facts, now: int, ids: Ids, ruling: Ruling) -> None:
        self.judge, self.case, self.facts, self.now, self.ids, self.ruling = (
            judge,
            case,
            facts,
            now,
            ids,
            ruling,
        )
        self.standing = facts.standings.get(case.attempt.customer)
        self.mark = case.attempt.fingerprint if case.mark is None else case.mark
        self.challenge: OpenChallenge | None = None
        self.step = -1

    def rule(self) -> None:
        finding = self._find()
        if self.case.stage is Stage.SECOND_ROUND and self.challenge is not None:
            # Whatever the answer was, this State has been used.
            self.facts.challenges.pop(self.challenge.state, None)
            self.ruling.taken.append(self.challenge.state)
        self.ruling.verdicts.append(self._act(step_for(self.case.stage, finding), finding))

    # What turned out, most decisive first.

    def _find(self) -> Finding:
        case, standing = self.case, self.standing
        if standing is None:
            return Finding.UNKNOWN_CUSTOMER
        if not case.first.right:
            return case.first.reason
        if not case.first.held and not self._code_is_enough(standing):
            return Finding.NOTHING_CHECKED
        if self.mark and standing.last_mark == self.mark and self._still_good(standing):
            return Finding.REPEATED
        if case.stage is Stage.SECOND_ROUND and not self._take_challenge(standing):
            return Finding.CHALLENGE_GONE
        if standing.locked_at is not None:
            return Finding.LOCKED
        if standing.otp_use != OtpUse.ACTIVE:
            return self._find_without_token(standing)
        if standing.token_key is None:
            return Finding.LOST
        if case.code is None:
            return Finding.CODE_DUE
        return self._find_code(standing, case.code)

    def _code_is_enough(self, standing: Standing) -> bool:
        """No password is held here: may the code alone let this customer in? Never without a code."""
        asked = self.case.stage is not Stage.PASSWORD and standing.otp_use == OtpUse.ACTIVE
        return asked and self.case.attempt.policy.code_is_enough

    def _still_good(self, standing: Standing) -> bool:
        return self._recent(standing.last_at) and standing.otp_use == OtpUse.ACTIVE and standing.locked_at is None

    def _recent(self, at: int) -> bool:
        """Whether a mark of then still stands for the same login."""
        seconds = self.case.attempt.policy.join_seconds or self.judge.rules.remember_seconds
        return at > self.now - seconds * 1000

    def _take_challenge(self, standing: Standing) -> bool:
        """The open challenge that this State belongs to, if it is this customer's and this client's."""
        challenge = self.facts.challenges.get(self.case.attempt.challenge or b"")
        if (
            challenge is None
            or challenge.customer_key != standing.customer_key
            or challenge.client != self.case.attempt.client
        ):
            return False
        self.challenge = challenge
        return challenge.expires_at > self.now

    def _find_without_token(self, standing: Standing) -> Finding:
        policy, use = self.case.attempt.policy, OtpUse(standing.otp_use)
        if use not in policy.password_only:
            return Finding.LOST if use in (OtpUse.LOST, OtpUse.REISSUE_PERMITTED) else Finding.TOKEN_NEEDED
        return Finding.WITHOUT_TOKEN

    def _find_code(self, standing: Standing, typed: str) -> Finding:
        code = normalise_code(typed)
        if not is_code(code, standing.digits or 0) or self._is_the_password(code):
            return Finding.NOT_A_CODE
        if standing.failures:
            if self.mark and standing.failed_mark == self.mark and self._recent(standing.failed_at):
                return Finding.REPEATED_FAILURE
            if too_soon(standing, self.now, self.judge.rules):
                return Finding.TOO_SOON
        fit, self.step = self.judge.fit(standing, code, self.now)
        return _FIT[fit]

    def _is_the_password(self, code: str) -> bool:
        mark = self.challenge.password_mark if self.challenge else None
        return mark is not None and mark == self.case.password_mark

    # What follows.

    def _act(self, step: Step, finding: Finding) -> Verdict:
        match step:
            case Step.ACCEPT:
                return self._accept(finding, Event.LOGIN_ACCEPTED)
            case Step.ACCEPT_AGAIN:
                self._rely_on_mark()
                return self._accept(finding, Event.LOGIN_REPEATED)
            case Step.SPEND_AND_ACCEPT:
                self._spend()
                return self._accept(finding, Event.LOGIN_ACCEPTED)
            case Step.ASK:
                return self._ask(finding, self.judge.rules.challenge_tries)
            case Step.ASK_AGAIN:
                return self._ask_again(finding)
            case Step.COUNT_AND_ASK_AGAIN:
                return self._reject(finding) if self._count() else self._ask_again(finding)
            case Step.COUNT_AND_REJECT:
                self._count()
                return self._reject(finding)
            case Step.REJECT:
                return self._reject(finding)
            case _:
                assert_never(step)

    def _accept(self, finding: Finding, event: Event) -> Accept:
        assert self.standing is not None
        self._record(event, finding)
        text = self.standing.attributes
        return Accept(json.loads(text) if text else None)

    def _reject(self, finding: Finding) -> Reject:
        self._record(Event.LOGIN_REJECTED, finding)
        # In the client's language: the customer's own would tell that there is such a customer.
        return Reject(finding.value, self.case.attempt.policy.language)

    def _ask(self, finding: Finding, tries_left: int, *, again: bool = False) -> Challenge:
        assert self.standing is not None
        case = self.case
        challenge = OpenChallenge(
            state=self.judge.new_state(),
            customer_key=self.standing.customer_key,
            client=case.attempt.client,
            expires_at=self.now + self.judge.rules.challenge_seconds * 1000,
            tries_left=tries_left,
            password_mark=self.challenge.password_mark if self.challenge else case.password_mark,
        )
        self.facts.challenges[challenge.state] = challenge
        self.ruling.opened.append(challenge)
        self._record(Event.LOGIN_CHALLENGED, finding)
        return Challenge(challenge.state, self._language(), again=again)

    def _ask_again(self, finding: Finding) -> Verdict:
        assert self.challenge is not None
        tries_left = self.challenge.tries_left - 1
        return self._ask(finding, tries_left, again=True) if tries_left > 0 else self._reject(finding)

    def _spend(self) -> None:
        """The code is used up: the token's last step moves on, its drift is learnt, the failures are forgiven."""
        standing = self.standing
        assert standing is not None and standing.token_key is not None
        drift = 0
        if standing.kind == Kind.TOTP and standing.period is not None:
            now_step = step_at(self.now, standing.period)
            drift = learn_drift(standing.drift, self.step, now_step, self.judge.rules.max_drift)
        self.ruling.spent.append(Spent(self.step, drift, self.mark, self.now, standing.token_key, standing.last_step))
        if standing.failures:
            self._put_count(standing, 0, 0, 0, None)
        standing.last_step, standing.drift = self.step, drift
        standing.last_mark, standing.last_at = self.mark, self.now
        standing.failures = 0
        if not self.judge.rules.one_customer_per_token:
            self._tell_who_shares(standing)

    def _rely_on_mark(self) -> None:
        standing = self.standing
        assert standing is not None and standing.token_key is not None
        if not any(spent.token_key == standing.token_key for spent in self.ruling.spent):
            self.ruling.repeated.append((standing.token_key, self.mark))

    def _tell_who_shares(self, spent: Standing) -> None:
        """What one customer's code used up, it used up for the others who hold the token."""
        for other in self.facts.standings.values():
            if other.token_key == spent.token_key:
                other.last_step, other.drift = spent.last_step, spent.drift
                other.last_mark, other.last_at = spent.last_mark, spent.last_at

    def _count(self) -> bool:
        """One more wrong code. True if it locked the customer."""
        standing = self.standing
        assert standing is not None
        failures, locked_at = counted(standing, self.now, self.judge.rules)
        self._put_count(standing, failures, self.now, self.mark, locked_at)
        standing.failures, standing.locked_at = failures, locked_at
        standing.failed_at, standing.failed_mark = self.now, self.mark
        if locked_at is None:
            return False
        self._record(Event.CUSTOMER_LOCKED, Finding.WRONG, reason=lock_reason(failures))
        self.ruling.locked.append(self.ruling.audit[-1])
        return True

    def _put_count(self, standing: Standing, failures: int, at: int, mark: int, locked_at: int | None) -> None:
        """In the place of what an earlier case of the batch put; before it, the row was as that one found it."""
        key = standing.customer_key
        earlier = self.ruling.counted.get(key)
        before = (
            (standing.failures, standing.failed_at)
            if earlier is None
            else (earlier.failures_before, earlier.failed_at_before)
        )
        self.ruling.counted[key] = Counted(failures, at, mark, locked_at, key, *before)

    def _language(self) -> Language:
        wish = self.standing.language if self.standing else None
        return Language(wish) if wish else self.case.attempt.policy.language

    def _record(self, event: Event, finding: Finding, reason: str | None = None) -> None:
        attempt, standing = self.case.attempt, self.standing
        self.ruling.audit.append(
            AuditRow(
                self.ids.next(),
                event.value,
                attempt.client,
                attempt.customer,
                standing.token_id if standing else None,
                attempt.station or attempt.source,
                finding.value if reason is None else reason,
            )
        )


def token_spec(standing: Standing) -> TokenSpec:
    """The token's arithmetic as the store's row has it."""
    return _spec(standing.kind, standing.algorithm, standing.digits, standing.period)


@lru_cache(maxsize=256)
def _spec(kind: str, algorithm: str, digits: int, period: int) -> TokenSpec:
    return TokenSpec(Kind(kind), Algorithm(algorithm), digits, period)


def attributes_text(attributes: Mapping[str, object] | None) -> str | None:
    """A customer's reply attributes as the store keeps them."""
    return json.dumps(attributes, sort_keys=True, ensure_ascii=False) if attributes else None
