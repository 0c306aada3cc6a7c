"""A token whose codes somebody else knows: asked before the batch, spent in it. A tiny service stands for VIP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import update

from otp_core.login.table import Finding
from otp_core.model import Accept, BackendSilent, Challenge, Policy, Reject, Silence
from otp_core.otp import Fit
from otp_core.store.schema import token
from otp_core.verifier import CodeFinding, CodeQuestion
from tests.core.bank import APPEND, AUTO, CHALLENGE, CODE, Bank
from tests.core.entrance import entrance, run
from tests.fakes import KnownPasswords

PW = "himitsu"


@dataclass
class Service:
    """Knows one code, and that it is good once. ``step``: some services tell it."""

    code: str = "246802"
    silent: bool = False
    hangs: bool = False
    step: int | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    async def verify(self, question: CodeQuestion) -> CodeFinding:
        token_id, code = question.token_id, question.code
        self.asked.append((token_id, code))
        await asyncio.sleep(0.001)
        if self.silent:
            raise BackendSilent("the service does not answer")
        if self.hangs:
            await asyncio.Event().wait()
        if code != self.code:
            return CodeFinding(token_id, Fit.WRONG)
        fit = Fit.REUSED if code in self.used else Fit.FITS
        self.used.add(code)
        return CodeFinding(token_id, fit, self.step)

    enrol = verify


def bank_with_a_token_from_elsewhere(folder: Path) -> Bank:
    """Taro's token has no seed here; jiro's has."""
    bank = Bank(folder)
    bank.customer()
    bank.customer("jiro", "VSMT00000002")
    with bank.store.work() as work:
        where = token.c.token_id == "VSMT00000001"
        work.connection.execute(update(token).where(where).values(verifier="vip", seed=None))
    return bank


@pytest.mark.parametrize(("policy", "text"), [(CODE, "246 802"), (APPEND, PW + "246802"), (AUTO, PW + "246802")])
def test_a_right_code_is_asked_for_once_and_spent_here_too(tmp_path: Path, policy: Policy, text: str) -> None:
    bank, service = bank_with_a_token_from_elsewhere(tmp_path), Service()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords({"taro": PW}), verifiers={"vip": service}) as door:
            assert await door.says("taro", text, policy, fingerprint=7) == Accept()
            assert await door.says("taro", text, policy, fingerprint=7) == Accept(), "a retransmission"
            assert service.asked == [("VSMT00000001", "246802")], "which is known here"
            assert await door.why("taro", text, policy, fingerprint=8) == Finding.REUSED

    run(scene)
    record = bank.login_record()
    assert (record.tokens[0].last_step, record.tokens[0].drift, record.failures) == (0, 0, 0)
    assert [row.event for row in bank.audit(actor="gateway")] == ["login.accepted", "login.repeated", "login.rejected"]


def test_the_answer_to_a_challenge_is_verified_elsewhere_and_its_state_is_used_once(tmp_path: Path) -> None:
    bank, service = bank_with_a_token_from_elsewhere(tmp_path), Service()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords({"taro": PW}), verifiers={"vip": service}) as door:
            state = await door.asked("taro", PW, CHALLENGE)
            again = await door.says("taro", "000000", CHALLENGE, challenge=state)
            assert isinstance(again, Challenge) and again.again
            assert await door.says("taro", "246802", CHALLENGE, challenge=again.state) == Accept()
            assert await door.why("taro", "246802", CHALLENGE, challenge=again.state) == Finding.CHALLENGE_GONE

    run(scene)


def test_wrong_codes_count_and_lock_here(tmp_path: Path) -> None:
    bank, service = bank_with_a_token_from_elsewhere(tmp_path), Service()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), verifiers={"vip": service}) as door:
            for _ in range(10):
                assert await door.why("taro", "000000", CODE) == Finding.WRONG
            assert await door.why("taro", "246802", CODE) == Finding.LOCKED

    run(scene)
    assert len(service.asked) == 10, "a locked customer's code is not asked for"


def test_a_silent_verifier_is_silence_and_changes_nothing(tmp_path: Path) -> None:
    bank, service = bank_with_a_token_from_elsewhere(tmp_path), Service(silent=True)
    before, trail = bank.rows(), bank.audit()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), verifiers={"vip": service}) as door:
            assert await door.says("taro", "246802", CODE) == Silence("the service does not answer")

    run(scene)
    assert (bank.rows(), bank.audit()) == (before, trail)


def test_a_verifier_that_hangs_is_given_up_after_the_deadline_and_changes_nothing(tmp_path: Path) -> None:
    bank, service = bank_with_a_token_from_elsewhere(tmp_path), Service(hangs=True)
    before, trail = bank.rows(), bank.audit()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), verifiers={"vip": service}) as door:
            soon = asyncio.get_running_loop().time() + 0.05
            silence = Silence("the verifier 'vip' did not answer in time")
            assert await door.says("taro", "246802", CODE, deadline=soon) == silence

    run(scene)
    assert (bank.rows(), bank.audit()) == (before, trail)


def test_a_verifier_that_is_not_configured_is_silence(tmp_path: Path) -> None:
    bank = bank_with_a_token_from_elsewhere(tmp_path)

    async def scene() -> None:
        async with entrance(bank, KnownPasswords()) as door:
            verdict = await door.says("taro", "246802", CODE)
            assert isinstance(verdict, Silence) and "'vip'" in verdict.reason

    run(scene)


def test_local_tokens_of_the_same_batch_do_not_wait_for_it(tmp_path: Path) -> None:
    bank, service = bank_with_a_token_from_elsewhere(tmp_path), Service()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), verifiers={"vip": service}) as door:
            taro = asyncio.ensure_future(door.says("taro", "246802", CODE))
            jiro = asyncio.ensure_future(door.says("jiro", "000000", CODE))
            done, _ = await asyncio.wait([taro, jiro], return_when=asyncio.FIRST_COMPLETED)
            assert done == {jiro} and isinstance(jiro.result(), Reject)
            assert await taro == Accept()

    run(scene)


def test_two_logins_with_one_code_at_once_let_one_in_even_if_the_service_says_yes_twice(tmp_path: Path) -> None:
    bank, service = bank_with_a_token_from_elsewhere(tmp_path), Service(step=55)

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), verifiers={"vip": service}) as door:
            first = asyncio.ensure_future(door.says("taro", "246802", CODE, fingerprint=1))
            await asyncio.sleep(0)
            service.used.clear()
            second = asyncio.ensure_future(door.says("taro", "246802", CODE, fingerprint=2))
            service.used.clear()
            verdicts = await asyncio.gather(first, second)
            assert sorted(type(one).__name__ for one in verdicts) == ["Accept", "Reject"]

    run(scene)
    assert bank.own_token().last_step == 55
