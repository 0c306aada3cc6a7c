"""One bad request in a batch takes none of the good ones with it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otp_core.authentication.queue import BATCH, LoginQueue
from otp_core.login.requests import Decision, Facts
from otp_core.login.table import Finding
from otp_core.model import Accept, Language, Reject, Silence, StoreBusy
from otp_core.store.engine import LoginBatch
from tests.core.bank import STAFF, Bank, Holder, rules
from tests.core.entrance import run
from tests.core.queues import CountingEvaluator, queue_of, request, seal_breaks, verdicts


@dataclass
class FailingOnce:
    """A login batch whose store is busy at the ``at_run``th run."""

    login_batch: LoginBatch
    at_run: int
    runs: int = 0
    concurrency: int = 1

    async def run(
        self, customers: Collection[str], states: Collection[bytes], evaluate: Callable[[Facts], Decision]
    ) -> Decision:
        self.runs += 1
        if self.runs == self.at_run:
            raise StoreBusy("the store is busy")
        return await self.login_batch.run(customers, states, evaluate)

    def close(self) -> None:
        self.login_batch.close()


def test_a_poisoned_request_hears_silence_and_takes_nobody_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = Bank(tmp_path)
    holders = [bank.customer(f"taro{number}", f"VSMT0000000{number}") for number in range(4)]
    seal_breaks(bank, "VSMT00000002")

    async def scene() -> None:
        async with queue_of(bank) as queue:
            found = await verdicts(queue, *(request(holder) for holder in holders))
            assert found == [Accept(), Accept(), Silence("KeyProblem while the login was evaluated"), Accept()]
            assert await verdicts(queue, request(holders[0])) == [Reject(Finding.REUSED, Language.JA)]

    run(scene)
    said = capsys.readouterr().out
    assert "a batch could not be evaluated" in said
    assert "VSMT00000002 does not open with this master key" in said


def test_a_name_that_no_database_can_hold_is_a_stranger_s(tmp_path: Path) -> None:
    """The audit trail keeps a fingerprint of it, and that it can hold."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    half = Holder("\ud800", taro.token_id, taro.seed, taro.spec, taro.clock)

    async def scene() -> None:
        async with queue_of(bank) as queue:
            stranger = Reject(Finding.UNKNOWN_CUSTOMER, Language.JA)
            assert await verdicts(queue, request(half)) == [stranger], "alone, and with others"
            assert await verdicts(queue, request(half), request(taro)) == [stranger, Accept()]

    run(scene)


def test_a_store_that_fails_while_requests_are_run_alone_is_waited_out(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    holders = [bank.customer(f"taro{number}", f"VSMT0000000{number}") for number in range(3)]
    seal_breaks(bank, "VSMT00000000")

    async def scene() -> None:
        login_batch = FailingOnce(bank.store.login_batch(), at_run=3)
        queue = LoginQueue(login_batch, bank.evaluator, bank.guarded, bank.store.ids)
        poisoned = Silence("KeyProblem while the login was evaluated")
        assert await verdicts(queue, *(request(holder) for holder in holders)) == [poisoned, Accept(), Accept()]
        assert login_batch.runs > 3 and queue.failing == frozenset()
        queue.close()

    run(scene)


def test_requests_behind_a_poisoned_batch_are_heard_too(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")
    seal_breaks(bank, "VSMT00000001")

    async def scene() -> None:
        async with queue_of(bank) as queue:
            requests = [request(taro, fingerprint=number) for number in range(BATCH)]
            found = await verdicts(queue, *requests, request(jiro))
            assert found == [Silence("KeyProblem while the login was evaluated")] * BATCH + [Accept()]

    run(scene)


def test_a_decision_that_the_store_keeps_refusing_holds_up_nobody(tmp_path: Path) -> None:
    """A token that was shared before the setting forbade it: the evaluator does not know that one code serves both."""
    shared = Bank(tmp_path, rules(one_customer_per_token=False))
    taro, jiro, saburo = (
        shared.customer(),
        shared.customer("jiro"),
        shared.customer("saburo", "VSMT00000002"),
    )
    bank = Bank(tmp_path, clock=shared.clock)

    async def scene() -> None:
        async with queue_of(bank) as queue:
            assert await verdicts(queue, request(taro), request(jiro), request(saburo)) == [
                Accept(),
                Reject(Finding.REUSED, Language.JA),
                Accept(),
            ]

    run(scene)


def test_a_shared_token_reported_lost_by_one_is_refused_from_all_and_holds_up_nobody(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(one_customer_per_token=False))
    taro, jiro, saburo = bank.customer(), bank.customer("jiro"), bank.customer("saburo", "VSMT00000002")
    bank.desk.enrolment.report_lost("taro", STAFF)

    async def scene() -> None:
        async with queue_of(bank) as queue:
            assert await verdicts(queue, request(taro), request(jiro), request(saburo)) == [
                Reject(Finding.LOST, Language.JA),
                Reject(Finding.LOST, Language.JA),
                Accept(),
            ]

    run(scene)


def test_a_conflict_that_passes_is_evaluated_again(tmp_path: Path) -> None:
    """Another node spends the code between load and apply: evaluated again, it is a reused one."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    evaluator = LateEvaluator(bank)

    async def scene() -> None:
        async with queue_of(bank, evaluator) as queue:
            assert await verdicts(queue, request(taro)) == [Accept()]

    run(scene)
    assert evaluator.times == 2


class LateEvaluator(CountingEvaluator):
    """Its first decision spends a code twice, as if another node had been faster."""

    def evaluate(self, *arguments: Any) -> Any:
        decision = super().evaluate(*arguments)
        if self.times == 1:
            decision.step_updates = decision.step_updates * 2
        return decision
