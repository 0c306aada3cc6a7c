"""What a decision changes: codes spent, wrong codes counted. Pure.

Each change goes into the decision, with the condition under which it holds (the value that was read), so that the store
can refuse what another process was faster with; and into the facts at once, so that the next request of the batch sees
what the one before did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otp_core.login.lockout import failures_after
from otp_core.login.policy import Rules
from otp_core.login.requests import LOCAL_VERIFIER, Decision, Facts, FailureUpdate, Retransmission, StepUpdate
from otp_core.model import Kind, LoginRecord, LoginToken
from otp_core.otp import learn_drift, step_at

_TOTP: Final = Kind.TOTP
"""For each login: Python 3.11 takes its time for a member of an enum."""


class Changes:
    """The changes of one batch at the moment ``now`` (ms). ``facts``: what was read for it."""

    __slots__ = ("_decision", "_facts", "_now", "_rules", "away")

    def __init__(self, decision: Decision, facts: Facts, now: int, rules: Rules) -> None:
        self._decision, self._facts, self._now, self._rules = decision, facts, now, rules
        self.away = 0
        """How many time steps from the expected one the code was that was spent last; before 0: late."""

    def spend(self, record: LoginRecord, fitting: Sequence[tuple[LoginToken, int]], fingerprint: int) -> None:
        """A code is spent on every token that it fits, with its step on each, and failures fall to 0. ``fingerprint``:
        of the login."""
        self.away = 0
        for token, step in fitting:
            self._spend_on(token, step, fingerprint)
        if record.failures:
            self._update_failures(record, 0, 0, 0, None)
        record.failures = 0

    def _spend_on(self, token: LoginToken, step: int, fingerprint: int) -> None:
        """The token's last step moves on, and its drift is learnt."""
        drift, now, rules = 0, self._now, self._rules
        if token.kind == _TOTP and token.verifier == LOCAL_VERIFIER:
            here = step_at(now, token.period)
            self.away = self.away or step - here - token.drift
            drift = learn_drift(token.drift, step, here, rules.max_drift)
        if drift != token.drift:
            self._decision.drifts = True
        self._decision.step_updates.append(StepUpdate(step, drift, fingerprint, now, token.key, token.last_step))
        token.last_step, token.drift = step, drift
        token.last_fingerprint, token.last_at = fingerprint, now
        if not rules.one_customer_per_token:
            self._update_sharers(token)

    def _update_sharers(self, spent: LoginToken) -> None:
        """A shared token's code is spent for everybody who holds the token."""
        for record in self._facts.records.values():
            for other in record.tokens:
                if other.key == spent.key:
                    other.last_step, other.drift = spent.last_step, spent.drift
                    other.last_fingerprint, other.last_at = spent.last_fingerprint, spent.last_at

    def accept_again(self, token: LoginToken, fingerprint: int) -> None:
        """A login that this token's code was accepted for came once more: at commit it has to be the last one still."""
        if not any(update.token_key == token.key for update in self._decision.step_updates):
            self._decision.retransmissions.append(Retransmission(token.key, fingerprint))

    def count(self, record: LoginRecord, fingerprint: int) -> bool:
        """One more wrong code. True if it locked the customer."""
        failures, locked_at = failures_after(record, self._now, self._rules)
        self._update_failures(record, failures, self._now, fingerprint, locked_at)
        record.failures, record.locked_at = failures, locked_at
        record.failed_at, record.failed_fingerprint = self._now, fingerprint
        return locked_at is not None

    def _update_failures(
        self, record: LoginRecord, failures: int, at: int, fingerprint: int, locked_at: int | None
    ) -> None:
        """One update a customer: a later request of the batch replaces the update of an earlier one, but the row is
        still as the earlier one found it."""
        key = record.customer_key
        earlier = self._decision.failure_updates.get(key)
        before = (
            (record.failures, record.failed_at)
            if earlier is None
            else (earlier.failures_before, earlier.failed_at_before)
        )
        self._decision.failure_updates[key] = FailureUpdate(failures, at, fingerprint, locked_at, key, *before)
