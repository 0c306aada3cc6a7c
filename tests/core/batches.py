"""Batches of logins, as the docket hands them to the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from otp_core.judge import Case, Facts, Ruling
from otp_core.login import Stage
from otp_core.model import Attempt, Verdict
from otp_core.store.ledger import SqliteLedger
from tests.core.bank import CHALLENGE, CODE, Bank, Holder


def code_case(holder: Holder, typed: str, fingerprint: int = 0) -> Case:
    attempt = Attempt(holder.contract_id, typed, CODE, "gateway", "192.0.2.1", fingerprint=fingerprint)
    return Case(attempt, Stage.CODE, code=typed)


def first_round(holder: Holder) -> Case:
    return Case(Attempt(holder.contract_id, "(a password)", CHALLENGE, "gateway"), Stage.FIRST_ROUND, password_mark=77)


def second_round(holder: Holder, state: bytes, typed: str, fingerprint: int = 5) -> Case:
    attempt = Attempt(holder.contract_id, typed, CHALLENGE, "gateway", challenge=state, fingerprint=fingerprint)
    return Case(attempt, Stage.SECOND_ROUND, code=typed)


def rule(
    bank: Bank,
    ledger: SqliteLedger,
    cases: list[Case],
    facts: list[Facts] | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> list[Verdict]:
    """As the docket does it. ``facts`` keeps what the judge knew at the end, for each time it was asked; ``meanwhile``
    happens after the batch was judged for the first time, and before anything is written."""
    known_each_time = [] if facts is None else facts

    def judge(known: Facts) -> Ruling:
        known_each_time.append(known)
        ruling = bank.judge.judge(cases, known, bank.guarded.now(), bank.store.ids)
        if len(known_each_time) == 1:
            meanwhile()
        return ruling

    states = [case.attempt.challenge for case in cases if case.attempt.challenge is not None]
    return ledger.rule([case.attempt.customer for case in cases], states, judge).verdicts


@contextmanager
def ledger_of(bank: Bank) -> Iterator[SqliteLedger]:
    ledger = bank.store.ledger()
    try:
        yield ledger
    finally:
        ledger.close()
