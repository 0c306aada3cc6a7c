"""The decision about a batch of logins: requests and facts in, verdicts and changes out. No clock, no SQL, no sockets.

Requests are decided in order of arrival; two answers in one batch see each other. What a decision changes is in
``changes``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, assert_never

from otp_core.audit import Event, Ids
from otp_core.login.changes import Changes
from otp_core.login.code_fit import codes_near, is_code_of_any, near_misses, steps_away, token_spec
from otp_core.login.lockout import lock_reason, too_soon
from otp_core.login.matching import match
from otp_core.login.policy import Rules
from otp_core.login.requests import (
    Decision,
    Facts,
    LoginRequest,
    VerifierNeeded,
    verifier_state,
)
from otp_core.login.spent_ahead import GRACE_MS
from otp_core.login.table import FINDING_TEXT, Action, Finding, Stage, action_for
from otp_core.model import (
    Accept,
    AuditRow,
    Challenge,
    Language,
    LoginRecord,
    LoginToken,
    NearMiss,
    OpenChallenge,
    OtpUse,
    Reject,
    Verdict,
    attributes_text,
)
from otp_core.otp import Fit, fit, normalise_code


class Evaluator:
    """The rules, and what they need from outside. ``unseal(sealed seed, token ID)`` gives the seed, ``new_state()`` a
    fresh State (RFC 2865 section 5.24), ``name_fingerprint(name)`` what is kept of a name that is no customer's: it may
    be a password that was typed into the wrong field."""

    def __init__(
        self,
        rules: Rules,
        unseal: Callable[[bytes, str], bytes],
        new_state: Callable[[], bytes],
        name_fingerprint: Callable[[str], str],
    ) -> None:
        self.rules, self._unseal = rules, unseal
        self.new_state, self.name_fingerprint = new_state, name_fingerprint

    def evaluate(self, requests: Sequence[LoginRequest], facts: Facts, now: int, ids: Ids) -> Decision:
        """Decide every request at the moment ``now`` (ms). Changes ``facts`` as it goes, so that each request sees what
        the ones before it did. ``ids`` numbers the audit rows. Raises KeyProblem for a seed that does not open."""
        decision = Decision()
        changes = Changes(decision, facts, now, self.rules)
        ids.pass_(facts.sealed)
        for request in requests:
            _Evaluation(self, request, facts, now, ids, decision, changes).evaluate()
        return decision

    def fit(self, token: LoginToken, code: str, now: int) -> tuple[Fit, int]:
        """How a code stands to a token whose seed is in the store, and its step. Raises KeyProblem."""
        assert token.seed is not None
        seed = self._unseal(token.seed, token.token_id)
        return fit(
            seed,
            token_spec(token),
            code,
            at_ms=now,
            last_step=token.last_step,
            drift=token.drift,
            window=self.rules.window,
            look_ahead=self.rules.look_ahead,
            spent_ahead=token.spent_ahead,
        )

    def codes_near(self, token: LoginToken, now: int) -> list[str]:
        """The codes of a token whose seed is in the store; see ``code_fit``. Raises KeyProblem."""
        assert token.seed is not None
        seed = self._unseal(token.seed, token.token_id)
        return codes_near(token, seed, now, self.rules.window, self.rules.look_ahead)

    def near_miss(self, record: LoginRecord, code: str, now: int) -> str:
        """How a code misses that fits none of the customer's tokens, in words for the log; see ``code_fit``. Raises
        KeyProblem."""
        return near_misses(record, self._unseal, code, now, self.rules)


_SECOND_ROUND: Final = Stage.SECOND_ROUND
_VERIFIER_NEEDED: Final = Finding.VERIFIER_NEEDED
_ACTIVE: Final = OtpUse.ACTIVE
_VERIFIER_ROUND: Final = Stage.VERIFIER_ROUND
"""Each login is compared with them, and Python 3.11 takes its time for a member of an enum."""


class _Evaluation:
    """One request of a batch."""

    __slots__ = (
        "challenge",
        "changes",
        "decision",
        "evaluator",
        "facts",
        "fingerprint",
        "fitting",
        "ids",
        "now",
        "record",
        "request",
        "token",
    )

    def __init__(
        self,
        evaluator: Evaluator,
        request: LoginRequest,
        facts: Facts,
        now: int,
        ids: Ids,
        decision: Decision,
        changes: Changes,
    ) -> None:
        self.evaluator, self.request, self.facts = evaluator, request, facts
        self.now, self.ids, self.decision, self.changes = now, ids, decision, changes
        self.record = facts.records.get(request.attempt.customer)
        self.fingerprint = request.attempt.fingerprint if request.fingerprint is None else request.fingerprint
        self.challenge: OpenChallenge | None = None
        self.fitting: Sequence[tuple[LoginToken, int]] = ()
        """The tokens that the code fits, and its step on each."""
        self.token: LoginToken | None = None
        """The one of several tokens that the finding is about."""

    def evaluate(self) -> None:
        """Put a verdict and the changes that it asks for into the decision."""
        finding = self._find()
        if finding is _VERIFIER_NEEDED:
            self.decision.verdicts.append(self._verifier_needed())
            return
        if self.challenge is not None:
            # Whatever the answer was, this State has been used.
            self.facts.challenges.pop(self.challenge.state, None)
            self.decision.challenges_consumed.append(self.challenge.state)
        self.decision.verdicts.append(self._act(action_for(self.request.stage, finding), finding))

    # What turned out, the most decisive first.

    def _find(self) -> Finding:
        request, record = self.request, self.record
        if record is None:
            return Finding.UNKNOWN_CUSTOMER
        by_code = request.stage is _SECOND_ROUND or request.stage is _VERIFIER_ROUND
        goes_on = request.attempt.challenge is not None and not by_code
        if goes_on and not self._find_challenge(record, of_first_factor=True):
            return Finding.CHALLENGE_GONE
        if not request.first.right:
            return request.first.reason
        if not request.first.held and not self._code_is_enough(record):
            return Finding.NOTHING_CHECKED
        if self.fingerprint and self._was_accepted(record):
            return Finding.REPEATED
        if by_code and not self._find_challenge(record, of_first_factor=request.stage is _VERIFIER_ROUND):
            return Finding.CHALLENGE_GONE
        if record.locked_at is not None:
            return Finding.LOCKED
        if record.otp_use != _ACTIVE:
            return self._find_without_token(record)
        if not record.tokens:
            return Finding.LOST
        if request.stage is _VERIFIER_ROUND:
            return self._find_verifiers_answer(record)
        if request.code is None:
            return Finding.CODE_DUE
        return self._find_code(record, request.code)

    def _code_is_enough(self, record: LoginRecord) -> bool:
        """Whether the code alone is enough for a customer whose password is not held here. Never without a code."""
        asked = self.request.stage is not Stage.PASSWORD and record.otp_use == OtpUse.ACTIVE
        return asked and self.request.attempt.policy.code_is_enough

    def _was_accepted(self, record: LoginRecord) -> bool:
        """Whether this same login was accepted a moment ago, by whichever token, and would still be let in."""
        for token in record.tokens:
            if token.last_fingerprint == self.fingerprint and self._recent(token.last_at):
                self.token = token
                return record.otp_use == OtpUse.ACTIVE and record.locked_at is None
        return False

    def _recent(self, at: int) -> bool:
        """Whether a fingerprint of ``at`` (ms) still recognises the same login. Not one of a clock that was wrong."""
        seconds = self.request.attempt.policy.repeated_login_seconds or self.evaluator.rules.remember_seconds
        return self.now - seconds * 1000 < at <= self.now + GRACE_MS

    def _find_challenge(self, record: LoginRecord, *, of_first_factor: bool) -> bool:
        """Find the open challenge of this State and keep it in ``self.challenge``, which uses it up whatever the
        verdict. False if none is open for this customer and client that is of the kind that is answered (a round of the
        first factor, or the question for the code), or if it has expired."""
        challenge = self.facts.challenges.get(self.request.attempt.challenge or b"")
        if (
            challenge is None
            or challenge.customer_key != record.customer_key
            or challenge.client != self.request.attempt.client
            or (challenge.first_factor_state is not None) is not of_first_factor
        ):
            return False
        self.challenge = challenge
        return challenge.expires_at > self.now

    def _find_without_token(self, record: LoginRecord) -> Finding:
        policy, use = self.request.attempt.policy, OtpUse(record.otp_use)
        if use not in policy.password_only:
            return Finding.LOST if use in (OtpUse.LOST, OtpUse.REISSUE_PERMITTED) else Finding.TOKEN_NEEDED
        return Finding.WITHOUT_TOKEN

    def _find_code(self, record: LoginRecord, text: str) -> Finding:
        code = normalise_code(text)
        if not is_code_of_any(code, record.tokens) or self._is_the_password():
            return Finding.NOT_A_CODE
        if record.failures:
            if self.fingerprint and record.failed_fingerprint == self.fingerprint and self._recent(record.failed_at):
                return Finding.REPEATED_FAILURE
            if too_soon(record, self.now, self.evaluator.rules):
                return Finding.TOO_SOON
        finding, self.token, self.fitting = match(
            record.tokens, code, self.request.code_findings, self.now, self.evaluator.fit
        )
        return finding

    def _find_verifiers_answer(self, record: LoginRecord) -> Finding:
        """What the verifier says of the answer to its own question; its text may be a PIN, and is not looked at."""
        (said,) = self.request.code_findings
        token = next((one for one in record.tokens if one.token_id == said.token_id), None)
        if token is None:  # the device was changed meanwhile
            return Finding.CHALLENGE_GONE
        self.token = token
        if said.trouble is not None:
            return said.trouble
        step = token.last_step + 1 if said.step is None else said.step
        if said.fit is Fit.FITS and step > token.last_step:
            self.fitting = ((token, step),)
            return Finding.FITS
        return Finding.WRONG if said.fit is Fit.WRONG else Finding.REUSED

    def _verifier_needed(self) -> VerifierNeeded:
        token, code = self.token, self.request.code
        assert token is not None and code is not None
        return VerifierNeeded(token.token_id, token.verifier, normalise_code(code))

    def _is_the_password(self) -> bool:
        fingerprint = self.challenge.password_fingerprint if self.challenge else None
        return fingerprint is not None and fingerprint == self.request.text_fingerprint

    # What follows from it.

    def _act(self, action: Action, finding: Finding) -> Verdict:
        match action:
            case Action.SPEND_AND_ACCEPT:  # the usual one: no other is compared with it
                assert self.record is not None
                self.changes.spend(self.record, self.fitting, self.fingerprint)
                accept = self._accept(finding, Event.LOGIN_ACCEPTED)
                if self.changes.away:
                    self._remark(accept, self.changes.away)
                return accept
            case Action.ACCEPT:
                return self._accept(finding, Event.LOGIN_ACCEPTED)
            case Action.ACCEPT_AGAIN:
                assert self.token is not None
                self.changes.accept_again(self.token, self.fingerprint)
                return self._accept(finding, Event.LOGIN_REPEATED)
            case Action.ASK:
                return self._ask(finding, self.evaluator.rules.challenge_tries)
            case Action.ASK_FIRST_FACTOR:
                return self._ask_first_factor(finding)
            case Action.ASK_VERIFIER:
                return self._ask_verifier(finding)
            case Action.ASK_AGAIN:
                return self._ask_again(finding)
            case Action.COUNT_AND_ASK_AGAIN:
                return self._reject(finding) if self._count() else self._ask_again(finding)
            case Action.COUNT_AND_REJECT:
                self._count()
                return self._reject(finding)
            case Action.REJECT:
                return self._reject(finding)
            case _:
                assert_never(action)

    def _accept(self, finding: Finding, event: Event) -> Accept:
        assert self.record is not None
        row = self._audit(event, finding)
        for token, _ in self.fitting[1:]:
            # The row of the login names one token. Which others lost a step, the audit trail has to tell, too.
            self._audit(Event.CODE_SPENT, finding, reason="the accepted code fits this token, too", token=token)
        brought = self._brought_attributes()
        own = json.loads(self.record.attributes) if self.record.attributes else None
        return Accept(own if brought is None else {**brought, **(own or {})}, row)

    def _remark(self, accept: Accept, away: int) -> None:
        """That the code was not the expected one: what `sekisho forecast` needs of it."""
        assert accept.row is not None
        self.decision.remarks.append((accept.row.id, steps_away(away)))

    def _brought_attributes(self) -> Mapping[str, object] | None:
        """What the first factor brought along, in this round or in the one before the challenge. The customer's own
        attributes outrank them."""
        if self.challenge is not None and self.challenge.attributes is not None:
            found: Mapping[str, object] = json.loads(self.challenge.attributes)
            return found
        return self.request.first.attributes

    def _reject(self, finding: Finding) -> Reject:
        row = self._audit(Event.LOGIN_REJECTED, finding)
        # In the client's language: the customer's own language would tell that this customer exists.
        return Reject(finding.value, self.request.attempt.policy.language, row, self._near_miss(finding))

    def _near_miss(self, finding: Finding) -> NearMiss | None:
        """Of a wrong code, how it misses. Nothing is computed before it is called."""
        record, code = self.record, self.request.code
        if finding is not Finding.WRONG or record is None or code is None:
            return None
        if all(token.seed is None for token in record.tokens):
            return None
        return partial(self.evaluator.near_miss, record, normalise_code(code), self.now)

    def _ask(self, finding: Finding, tries_left: int, *, again: bool = False) -> Challenge:
        """Ask for the code."""
        asked_before = self.challenge if again else None
        challenge = self._open_challenge(
            tries_left,
            password_fingerprint=(
                self.request.text_fingerprint if asked_before is None else asked_before.password_fingerprint
            ),
            attributes=(
                attributes_text(self.request.first.attributes) if asked_before is None else asked_before.attributes
            ),
        )
        row, near = self._audit(Event.LOGIN_CHALLENGED, finding), self._near_miss(finding)
        return Challenge(challenge.state, self._language(), again=again, row=row, near_miss=near)

    def _ask_first_factor(self, finding: Finding) -> Challenge:
        """Pass the first factor's own question on."""
        asked = self.request.next_round
        assert asked is not None
        challenge = self._open_challenge(1, first_factor_state=asked.state)
        row = self._audit(Event.LOGIN_CHALLENGED, finding)
        return Challenge(challenge.state, self._language(), prompt=asked.prompt, row=row)

    def _ask_verifier(self, finding: Finding) -> Challenge:
        """Pass the question of whoever verifies the codes on. What the first factor brought waits with it."""
        token = self.token
        assert token is not None
        asked = next(one for one in self.request.code_findings if one.trouble is Finding.VERIFIER_ASKS)
        challenge = self._open_challenge(
            1,
            first_factor_state=verifier_state(token.verifier, token.token_id, asked.state),
            attributes=attributes_text(self._brought_attributes()),
        )
        row = self._audit(Event.LOGIN_CHALLENGED, finding)
        return Challenge(challenge.state, self._language(), prompt=asked.prompt, row=row)

    def _open_challenge(
        self,
        tries_left: int,
        *,
        password_fingerprint: int | None = None,
        first_factor_state: bytes | None = None,
        attributes: str | None = None,
    ) -> OpenChallenge:
        assert self.record is not None
        challenge = OpenChallenge(
            self.evaluator.new_state(),
            self.record.customer_key,
            self.request.attempt.client,
            self.now + self.evaluator.rules.challenge_seconds * 1000,
            tries_left,
            password_fingerprint,
            first_factor_state,
            attributes,
        )
        self.facts.challenges[challenge.state] = challenge
        self.decision.challenges_created.append(challenge)
        return challenge

    def _ask_again(self, finding: Finding) -> Verdict:
        assert self.challenge is not None
        tries_left = self.challenge.tries_left - 1
        return self._ask(finding, tries_left, again=True) if tries_left > 0 else self._reject(finding)

    def _count(self) -> bool:
        """One more wrong code. True if it locked the customer."""
        record = self.record
        assert record is not None
        if not self.changes.count(record, self.fingerprint):
            return False
        reason = lock_reason(record.failures)
        self.decision.locked.append(self._audit(Event.CUSTOMER_LOCKED, Finding.WRONG, reason=reason))
        return True

    def _language(self) -> Language:
        wish = self.record.language if self.record else None
        return Language(wish) if wish else self.request.attempt.policy.language

    def _audit(
        self, event: Event, finding: Finding, reason: str | None = None, token: LoginToken | None = None
    ) -> AuditRow:
        """``token``: by default the one that the finding is about, or the only one that there is."""
        attempt, record, audit = self.request.attempt, self.record, self.decision.audit
        token = token or self.token
        if token is None and record is not None and len(record.tokens) == 1:
            token = record.tokens[0]
        row = AuditRow(
            self.ids.following() if audit else self.ids.next(),  # a batch is decided at one moment
            event._value_,  # as ``value``, which Python 3.11 computes
            attempt.client,
            self.evaluator.name_fingerprint(attempt.customer) if record is None else record.contract_id,
            None if token is None else token.token_id,
            attempt.calling_station_id or attempt.source,
            FINDING_TEXT[finding] if reason is None else reason,
        )
        audit.append(row)
        return row
