"""Batches of logins, as the login queue hands them to the login batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from otp_core.login.requests import Decision, Facts, LoginRequest
from otp_core.login.table import Stage
from otp_core.model import Attempt, Verdict
from otp_core.store.sqlite.login_batch import SqliteLoginBatch
from tests.core.bank import CHALLENGE, CODE, Bank, Holder


def code_request(holder: Holder, user_password: str, fingerprint: int = 0) -> LoginRequest:
    attempt = Attempt(holder.contract_id, user_password, CODE, "gateway", "192.0.2.1", fingerprint=fingerprint)
    return LoginRequest(attempt, Stage.CODE, code=user_password)


def first_round(holder: Holder) -> LoginRequest:
    return LoginRequest(
        Attempt(holder.contract_id, "(a password)", CHALLENGE, "gateway"), Stage.FIRST_ROUND, password_fingerprint=77
    )


def second_round(holder: Holder, state: bytes, user_password: str, fingerprint: int = 5) -> LoginRequest:
    attempt = Attempt(holder.contract_id, user_password, CHALLENGE, "gateway", challenge=state, fingerprint=fingerprint)
    return LoginRequest(attempt, Stage.SECOND_ROUND, code=user_password)


def run_batch(
    bank: Bank,
    login_batch: SqliteLoginBatch,
    requests: list[LoginRequest],
    facts: list[Facts] | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> list[Verdict]:
    """As the login queue does it. ``facts`` keeps what the evaluator knew at the end, each time it was asked.
    ``meanwhile`` happens after the batch was evaluated for the first time, and before anything is written."""
    known_each_time = [] if facts is None else facts

    def evaluate(known: Facts) -> Decision:
        known_each_time.append(known)
        decision = bank.evaluator.evaluate(requests, known, bank.guarded.now(), bank.store.ids)
        if len(known_each_time) == 1:
            meanwhile()
        return decision

    states = [request.attempt.challenge for request in requests if request.attempt.challenge is not None]
    return login_batch.run([request.attempt.customer for request in requests], states, evaluate).verdicts


@contextmanager
def login_batch_of(bank: Bank) -> Iterator[SqliteLoginBatch]:
    login_batch = bank.store.login_batch()
    try:
        yield login_batch
    finally:
        login_batch.close()
