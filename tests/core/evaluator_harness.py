"""An evaluator with a store of plain values, and the requests that tests put to it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, fields, replace
from typing import Any

from otp_core.audit import Event, Ids
from otp_core.login.evaluate import Evaluator
from otp_core.login.policy import Rules
from otp_core.login.requests import (
    GATEWAY_CHECKED,
    Decision,
    Facts,
    FirstFinding,
    LoginRequest,
    VerifierNeeded,
)
from otp_core.login.table import Stage
from otp_core.model import (
    NEVER,
    Attempt,
    AuditRow,
    Challenge,
    Kind,
    LoginRecord,
    LoginToken,
    Mode,
    OpenChallenge,
    OtpUse,
    Policy,
    Reject,
    TokenSpec,
    Verdict,
)
from otp_core.otp import code_at, step_at
from otp_core.sealing import Sealer
from tests.core.bank import APPEND, CHALLENGE, CODE, NO_DELAYS
from tests.core.batches import copy_of, verdicts_of
from tests.fakes import HandClock

SEALER = Sealer(bytes(range(32)))
NOON = 1_800_000_015_000
"""Milliseconds; the middle of a step."""
STEP = step_at(NOON, 30)
TOTP = TokenSpec()
_TOKEN_FIELDS = {one.name for one in fields(LoginToken)}
WRONG_PASSWORD = FirstFinding(right=False)
NOT_HELD = FirstFinding(right=True, held=False)


def seed_of(token_id: str) -> bytes:
    return f"the seed of {token_id}".encode()


def code_of(token_id: str = "VSMT00000001", away: int = 0, spec: TokenSpec = TOTP, now: int = NOON) -> str:
    """What a token shows now, or ``away`` steps from now; for a counter, at the counter ``away``."""
    centre = step_at(now, spec.period) if spec.kind == Kind.TOTP else 0
    return code_at(seed_of(token_id), centre + away, spec)


WRONG = next(
    text
    for text in map("{:06d}".format, range(10**6))
    if all(code_of(f"VSMT0000000{token}", away) != text for token in (1, 2, 3) for away in range(-9, 400))
)
"""A code that fits no token of these tests at any time."""


@dataclass
class Harness:
    """An evaluator with a store of plain values, which keeps what a decision says just as the real one does."""

    rules: Rules = field(default_factory=lambda: Rules(code_delays=NO_DELAYS))
    now: int = NOON
    customers: dict[str, LoginRecord] = field(default_factory=dict)
    challenges: dict[bytes, OpenChallenge] = field(default_factory=dict)
    audit: list[AuditRow] = field(default_factory=list)
    spent: list[tuple[int, int]] = field(default_factory=list)
    counts: int = 0
    remarks: list[tuple[int, str]] = field(default_factory=list)
    """Of the last batch."""

    def __post_init__(self) -> None:
        self._states = itertools.count(1)
        self.evaluator = Evaluator(
            self.rules, SEALER.unseal, lambda: next(self._states).to_bytes(16, "big"), SEALER.name_fingerprint
        )
        self._ids = Ids(HandClock(NOON / 1000), 0)

    def customer(self, contract_id: str = "taro", token: int | None = 1, spec: TokenSpec = TOTP) -> LoginRecord:
        """Somebody who logs in; with a token they are active."""
        self.customers[contract_id] = LoginRecord(
            contract_id=contract_id,
            customer_key=100 + len(self.customers),
            otp_use=OtpUse.NONE if token is None else OtpUse.ACTIVE,
            locked_at=None,
            failures=0,
            failed_at=0,
            failed_fingerprint=0,
            language=None,
            attributes=None,
            tokens=[] if token is None else [login_token(token, spec)],
        )
        return self.customers[contract_id]

    def add_token(self, token: int, spec: TokenSpec = TOTP, contract_id: str = "taro") -> LoginToken:
        """One more token of somebody's."""
        self.customers[contract_id].tokens.append(login_token(token, spec))
        return self.customers[contract_id].tokens[-1]

    def change(self, contract_id: str = "taro", **values: Any) -> None:
        """Another value of the customer's, or of their only token."""
        record = self.customers[contract_id]
        of_token = {name: value for name, value in values.items() if name in _TOKEN_FIELDS}
        of_customer = {name: value for name, value in values.items() if name not in _TOKEN_FIELDS}
        if of_token:
            (token,) = record.tokens
            of_customer["tokens"] = [replace(token, **of_token)]
        self.customers[contract_id] = replace(record, **of_customer)

    def run_batch(self, *requests: LoginRequest) -> list[Verdict]:
        """One batch: load, judge, apply."""
        customers = {request.attempt.customer for request in requests} & set(self.customers)
        states = {request.attempt.challenge or b"" for request in requests} & set(self.challenges)
        facts = Facts(
            {one: copy_of(self.customers[one]) for one in customers}, {one: self.challenges[one] for one in states}
        )
        decision = self.evaluator.evaluate(requests, facts, self.now, self._ids)
        self._apply(decision)
        assert len(decision.verdicts) == len(requests)
        return verdicts_of(decision)

    def undecided(self, request: LoginRequest) -> tuple[list[Verdict | VerifierNeeded], list[object]]:
        """What is said of a code that has to be verified elsewhere first, and all changes that go with it."""
        facts = Facts({one: copy_of(record) for one, record in self.customers.items()}, dict(self.challenges))
        decision = self.evaluator.evaluate([request], facts, self.now, self._ids)
        return decision.verdicts, [*decision.step_updates, *decision.failure_updates, *decision.audit]

    def verdict(self, request: LoginRequest) -> Verdict:
        (verdict,) = self.run_batch(request)
        return verdict

    def reason(self, request: LoginRequest) -> str:
        """Why this case is rejected."""
        verdict = self.verdict(request)
        assert isinstance(verdict, Reject), verdict
        return verdict.reason

    def ask(self, contract_id: str = "taro", **more: Any) -> bytes:
        """A first round; the State it leads to."""
        verdict = self.verdict(first(contract_id, **more))
        assert isinstance(verdict, Challenge), verdict
        return verdict.state

    def events(self) -> list[str]:
        return [row.event for row in self.audit]

    def _apply(self, decision: Decision) -> None:
        for state in decision.challenges_consumed:
            del self.challenges[state]
        for step, drift, fingerprint, at, token_key, before in decision.step_updates:
            held = [token for one in self.customers.values() for token in one.tokens if token.key == token_key]
            assert held and all(token.last_step == before < step for token in held), "the store would refuse this"
            self.spent.append((token_key, step))
            for token in held:
                token.last_step, token.drift = step, drift
                token.last_fingerprint, token.last_at = fingerprint, at
        self.counts += len(decision.failure_updates)
        for failures, at, fingerprint, locked_at, key, *read in decision.failure_updates.values():
            (who,) = [one.contract_id for one in self.customers.values() if one.customer_key == key]
            assert [self.customers[who].failures, self.customers[who].failed_at] == read
            self.change(who, failures=failures, failed_at=at, failed_fingerprint=fingerprint, locked_at=locked_at)
        for challenge in decision.challenges_created:
            assert challenge.state not in self.challenges
            self.challenges[challenge.state] = challenge
        assert decision.locked == [row for row in decision.audit if row.event == Event.CUSTOMER_LOCKED]
        self.audit += decision.audit
        self.remarks = decision.remarks


def login_token(token: int, spec: TokenSpec = TOTP) -> LoginToken:
    """A token that no code was ever accepted for."""
    token_id = f"VSMT{token:08d}"
    return LoginToken(
        key=token,
        token_id=token_id,
        seed=SEALER.seal(seed_of(token_id), token_id),
        verifier="local",  # as the store has it
        kind=spec.kind,
        algorithm=spec.algorithm,
        digits=spec.digits,
        period=spec.period,
        last_step=NEVER,
        drift=0,
        last_fingerprint=0,
        last_at=0,
    )


def attempt(customer: str, policy: Policy, **more: Any) -> Attempt:
    values = {"user_password": "(read by the authenticator)", "client": "gateway", "source": "192.0.2.1", **more}
    return Attempt(customer=customer, policy=policy, **values)


def code(user_password: str, customer: str = "taro", policy: Policy = CODE, **more: Any) -> LoginRequest:
    return LoginRequest(attempt(customer, policy, **more), Stage.CODE, code=user_password)


def both(
    user_password: str, customer: str = "taro", first: FirstFinding = GATEWAY_CHECKED, **more: Any
) -> LoginRequest:
    return LoginRequest(attempt(customer, APPEND, **more), Stage.BOTH, first, user_password)


def first(
    customer: str = "taro",
    first: FirstFinding = GATEWAY_CHECKED,
    policy: Policy = CHALLENGE,
    text_fingerprint: int | None = None,
    **more: Any,
) -> LoginRequest:
    return LoginRequest(attempt(customer, policy, **more), Stage.FIRST_ROUND, first, text_fingerprint=text_fingerprint)


def second(
    state: bytes, user_password: str, customer: str = "taro", text_fingerprint: int | None = None, **more: Any
) -> LoginRequest:
    return LoginRequest(
        attempt(customer, CHALLENGE, challenge=state, **more),
        Stage.SECOND_ROUND,
        code=user_password,
        text_fingerprint=text_fingerprint,
    )


def password(customer: str = "taro", first: FirstFinding = GATEWAY_CHECKED, **more: Any) -> LoginRequest:
    return LoginRequest(attempt(customer, Policy(Mode.PASSWORD), **more), Stage.PASSWORD, first)


def make_harness(**rules: Any) -> Harness:
    """A harness with one active customer, taro."""
    made = Harness(Rules(**{"code_delays": NO_DELAYS, **rules}))
    made.customer()
    return made
