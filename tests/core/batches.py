"""Batches of logins, as the login queue hands them to the login batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from otp_core.authentication.queue import CONFLICT_RUNS
from otp_core.login.requests import Decision, Facts, LoginRequest, VerifierNeeded
from otp_core.login.table import Stage
from otp_core.model import Attempt, Conflict, LoginRecord, Verdict
from otp_core.store.engine import LoginBatch, LoginReader, Maintenance
from tests.core.bank import CHALLENGE, CODE, Bank, Holder
from tests.postgresql import BY_ENVIRONMENT

T = TypeVar("T")


def code_request(holder: Holder, user_password: str, fingerprint: int = 0) -> LoginRequest:
    attempt = Attempt(holder.contract_id, user_password, CODE, "gateway", "192.0.2.1", fingerprint=fingerprint)
    return LoginRequest(attempt, Stage.CODE, code=user_password)


def first_round(holder: Holder) -> LoginRequest:
    return LoginRequest(
        Attempt(holder.contract_id, "(a password)", CHALLENGE, "gateway"), Stage.FIRST_ROUND, text_fingerprint=77
    )


def second_round(holder: Holder, state: bytes, user_password: str, fingerprint: int = 5) -> LoginRequest:
    attempt = Attempt(holder.contract_id, user_password, CHALLENGE, "gateway", challenge=state, fingerprint=fingerprint)
    return LoginRequest(attempt, Stage.SECOND_ROUND, code=user_password)


def copy_of(record: LoginRecord) -> LoginRecord:
    """With tokens of its own: an evaluator changes what it is given."""
    return replace(record, tokens=[replace(token) for token in record.tokens])


def completed(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing, as SQLite's engine runs on the thread that calls it; or for
    PostgreSQL."""
    if BY_ENVIRONMENT:
        return _waited_for(work)
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waited")


def _waited_for(work: Coroutine[Any, Any, T]) -> T:
    """On a loop of a thread of its own: it may be another batch's evaluator that waits."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def verdicts_of(decision: Decision) -> list[Verdict]:
    """The verdicts of a batch in which no code has to be verified elsewhere."""
    verdicts = [one for one in decision.verdicts if not isinstance(one, VerifierNeeded)]
    assert len(verdicts) == len(decision.verdicts)
    return verdicts


def run_batch(
    bank: Bank,
    login_batch: LoginBatch,
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
    customers = [one.attempt.customer for one in requests]
    for _ in range(CONFLICT_RUNS - 1):
        try:
            return verdicts_of(completed(login_batch.run(customers, states, evaluate)))
        except Conflict:
            if not BY_ENVIRONMENT:
                raise  # SQLite's engine runs it again by itself
    return verdicts_of(completed(login_batch.run(customers, states, evaluate)))


@contextmanager
def login_batch_of(bank: Bank) -> Iterator[LoginBatch]:
    login_batch = bank.store.login_batch()
    try:
        yield login_batch
    finally:
        login_batch.close()


@contextmanager
def reader_of(bank: Bank) -> Iterator[LoginReader]:
    login_reader = bank.store.login_reader()
    try:
        yield login_reader
    finally:
        login_reader.close()


@contextmanager
def maintenance_of(bank: Bank) -> Iterator[Maintenance]:
    maintenance = bank.store.maintenance()
    try:
        yield maintenance
    finally:
        maintenance.close()
