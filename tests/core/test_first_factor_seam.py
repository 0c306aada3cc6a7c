"""A second first factor, as a RADIUS or LDAP server would be: elsewhere, chosen by the policy, sometimes silent, with
reply attributes, and with a question of its own before it says yes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from otp_core.first_factor import FirstFinding, NextRound, Question
from otp_core.first_factor.unasked import Unasked
from otp_core.login.policy import Delays
from otp_core.login.table import FINDING_TEXT, Finding
from otp_core.model import Accept, Attempt, BackendSilent, Challenge, Mode, Policy, Reject, Silence
from tests.core.bank import APPEND, AUTO, CHALLENGE, CODE, PASSWORD, Bank
from tests.core.entrance import entrance, run
from tests.fakes import KnownPasswords

ELSEWHERE = "directory"
GROUP = {"Filter-Id": "staff", "Class": "of the directory"}


@dataclass
class Directory:
    """Knows taro's password; asks for a PIN too, if it ``asks``. It has no hashes and reads no store."""

    asks: bool = False
    silent: bool = False
    hangs: bool = False
    problem: Finding | None = None
    one_reading: bool = False
    reachable: bool = True
    relays: bool = False
    questions: list[Question] = field(default_factory=list)

    @property
    def has_rounds(self) -> bool:
        return self.asks

    async def check(self, question: Question) -> FirstFinding | NextRound:
        self.questions.append(question)
        await asyncio.sleep(0.001)
        if self.silent:
            raise BackendSilent("the directory does not answer")
        if self.hangs:
            await asyncio.Event().wait()
        if self.problem is not None:
            return FirstFinding(right=False, reason=self.problem)
        if question.state is not None:
            right = (question.state, question.candidates) == (b"pin of taro", ("4711",))
            return FirstFinding(right=right, attributes=GROUP if right else None)
        if question.attempt.customer != "taro" or "sesame" not in question.candidates:
            return FirstFinding(right=False)
        if self.asks:
            return NextRound(b"pin of taro", "Your PIN, please")
        return FirstFinding(right=True, candidate=question.candidates.index("sesame"), attributes=GROUP)


def elsewhere(policy: Policy) -> Policy:
    return replace(policy, first_factor=ELSEWHERE)


def test_the_policy_chooses_the_first_factor(tmp_path: Path) -> None:
    bank, local, directory = Bank(tmp_path), KnownPasswords({"taro": "himitsu"}), Directory()
    bank.customer()

    async def scene() -> None:
        async with entrance(bank, local, more_factors={ELSEWHERE: directory}) as door:
            assert isinstance(await door.says("taro", "himitsu", CHALLENGE), Challenge)
            assert isinstance(await door.says("taro", "sesame", elsewhere(CHALLENGE)), Challenge)
            assert await door.why("taro", "himitsu", elsewhere(CHALLENGE)) == Finding.WRONG_PASSWORD
            assert await door.why("taro", "sesame", CHALLENGE) == Finding.WRONG_PASSWORD

    run(scene)
    assert (len(local.asked), len(directory.questions)) == (2, 2)


def test_a_silent_first_factor_is_silence_and_no_transaction_waits_for_it(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), more_factors={ELSEWHERE: Directory(silent=True)}) as door:
            waiting = asyncio.ensure_future(door.says("taro", "sesame", elsewhere(CHALLENGE)))
            await asyncio.sleep(0)
            with bank.open_store(0.01).work():
                pass  # the write lock is free while the directory is asked
            assert await waiting == Silence("the directory does not answer")
            assert await door.says("taro", taro.code(), CODE) == Accept()

    run(scene)
    assert bank.audit(event="login.rejected") == []


def test_a_first_factor_that_hangs_is_given_up_after_the_deadline(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), more_factors={ELSEWHERE: Directory(hangs=True)}) as door:
            soon = asyncio.get_running_loop().time() + 0.05
            silence = Silence("the first factor 'directory' did not answer in time")
            assert await door.says("taro", "sesame", elsewhere(CHALLENGE), deadline=soon) == silence
            assert await door.says("taro", taro.code(), CODE) == Accept()

    run(scene)


@pytest.mark.parametrize("mode", [APPEND, AUTO])
def test_reply_attributes_of_the_first_factor_are_those_of_the_acceptance(tmp_path: Path, mode: Policy) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), more_factors={ELSEWHERE: Directory()}) as door:
            assert await door.says(taro, "sesame" + taro.code(), elsewhere(mode)) == Accept(GROUP)
            assert await door.says(taro, "sesame", elsewhere(PASSWORD)) == Accept(GROUP)

    run(scene)


def test_they_last_over_the_challenge_and_the_customers_own_outrank_them(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(attributes='{"Class": "gold"}')

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), more_factors={ELSEWHERE: Directory()}) as door:
            state = await door.asked(taro, "sesame", elsewhere(CHALLENGE))
            again = await door.says(taro, "000000", elsewhere(CHALLENGE), challenge=state)
            assert isinstance(again, Challenge) and again.again
            verdict = await door.says(taro, taro.code(), elsewhere(CHALLENGE), challenge=again.state)
            assert verdict == Accept({"Filter-Id": "staff", "Class": "gold"})

    run(scene)


def test_a_first_factor_asks_a_question_of_its_own_and_then_the_code_is_asked_for(tmp_path: Path) -> None:
    bank, directory = Bank(tmp_path), Directory(asks=True)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), more_factors={ELSEWHERE: directory}) as door:
            first = await door.says(taro, "sesame", elsewhere(CHALLENGE))
            assert isinstance(first, Challenge) and first.prompt == "Your PIN, please"
            second = await door.says(taro, "4711", elsewhere(CHALLENGE), challenge=first.state)
            assert isinstance(second, Challenge) and second.prompt is None
            assert await door.says(taro, taro.code(), elsewhere(CHALLENGE), challenge=second.state) == Accept(GROUP)
            for used in (first.state, second.state):
                assert await door.why(taro, "4711", elsewhere(CHALLENGE), challenge=used) == Finding.CHALLENGE_GONE

    run(scene)
    assert [one.state for one in directory.questions] == [None, b"pin of taro"]
    assert [row.event for row in bank.audit(event="login.")][:3] == [
        "login.challenged", "login.challenged", "login.accepted",
    ]  # fmt: skip


def test_its_state_is_good_once_for_this_customer_and_this_client_and_not_for_a_code(tmp_path: Path) -> None:
    bank, directory = Bank(tmp_path), Directory(asks=True)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")

    async def scene() -> None:
        policy = elsewhere(CHALLENGE)
        async with entrance(bank, KnownPasswords(), more_factors={ELSEWHERE: directory}) as door:
            state = await door.asked(taro, "sesame", policy)
            assert await door.why(jiro, "4711", policy, challenge=state) == Finding.CHALLENGE_GONE
            assert await door.why(taro, "4711", policy, challenge=state, client="other") == Finding.CHALLENGE_GONE
            # A client whose first factor has no rounds takes every State for one that asks for the code.
            assert await door.why(taro, taro.code(), CHALLENGE, challenge=state) == Finding.CHALLENGE_GONE
            assert len(directory.questions) == 1, "nobody has answered it yet"
            assert isinstance(await door.says(taro, "4711", policy, challenge=state), Challenge)
            assert await door.why(taro, "4711", policy, challenge=state) == Finding.CHALLENGE_GONE
            state = await door.asked(taro, "sesame", policy)
            assert await door.why(taro, "0815", policy, challenge=state) == Finding.WRONG_PASSWORD
            assert await door.why(taro, "4711", policy, challenge=state) == Finding.CHALLENGE_GONE
            bank.clock.now += 30
            assert await door.says(taro, taro.code(), CODE) == Accept(), "none of this was a wrong code"

    run(scene)


def test_wrong_answers_to_its_questions_are_slowed_down_whoever_knows_the_password(tmp_path: Path) -> None:
    bank, directory = Bank(tmp_path), Directory(asks=True)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(
            bank, KnownPasswords(), delays=Delays(2, 60, 60), more_factors={ELSEWHERE: directory}
        ) as door:
            for pin in ("0001", "0002"):
                state = await door.asked(taro, "sesame", elsewhere(PASSWORD))
                assert await door.why(taro, pin, elsewhere(PASSWORD), challenge=state) == Finding.WRONG_PASSWORD
            assert door.throttle.failures(taro.contract_id, "gateway") == 2, "a question is no success"
            state = await door.asked(taro, "sesame", elsewhere(PASSWORD))
            assert await door.says(taro, "4711", elsewhere(PASSWORD), challenge=state) == Accept(GROUP)
            assert door.throttle.failures(taro.contract_id, "gateway") == 0

    run(scene)


@pytest.mark.parametrize("mode", [Mode.PASSWORD, Mode.AUTO])
def test_rounds_in_the_other_modes(tmp_path: Path, mode: Mode) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    policy = Policy(mode, first_factor=ELSEWHERE)

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), more_factors={ELSEWHERE: Directory(asks=True)}) as door:
            state = await door.asked(taro, "sesame", policy)
            verdict = await door.says(taro, "4711", policy, challenge=state)
            if mode is Mode.PASSWORD:
                assert verdict == Accept(GROUP)
            else:
                assert isinstance(verdict, Challenge) and verdict.prompt is None

    run(scene)


def test_a_customer_who_is_not_here_is_refused_whatever_the_first_factor_says(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer("jiro", "VSMT00000002")

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), more_factors={ELSEWHERE: Directory()}) as door:
            verdict = await door.says("taro", "sesame", elsewhere(CHALLENGE))
            assert isinstance(verdict, Reject) and verdict.reason == Finding.UNKNOWN_CUSTOMER

    run(scene)


def test_a_server_elsewhere_is_asked_once_whatever_the_text_may_mean(tmp_path: Path) -> None:
    """Where a text ends with a code's digits, that is the code, even a wrong or used one; otherwise it is password."""
    bank, directory = Bank(tmp_path), Directory(one_reading=True)
    taro = bank.customer()
    jiro = bank.customer("jiro", None)

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), more_factors={ELSEWHERE: directory}) as door:
            used = "sesame" + taro.code()
            assert await door.says(taro, used, elsewhere(AUTO)) == Accept(GROUP)
            for mode in (AUTO, APPEND):
                assert await door.why(taro, used, elsewhere(mode)) == Finding.REUSED
                assert await door.why(taro, "sesame000000", elsewhere(mode)) == Finding.WRONG
                assert await door.why(taro, "wrong000000", elsewhere(mode)) == Finding.WRONG_PASSWORD
            assert isinstance(await door.says(taro, "sesame", elsewhere(AUTO)), Challenge)
            assert await door.why(taro, "sesame", elsewhere(APPEND)) == Finding.NOT_A_CODE
            assert await door.why(jiro, "sesame000000", elsewhere(AUTO)) == Finding.WRONG_PASSWORD

    run(scene)
    sesame, wrong = ("sesame",), ("wrong",)
    asked = [sesame, *[sesame, sesame, wrong] * 2, sesame, sesame, ("sesame000000",)]
    assert [one.candidates for one in directory.questions] == asked


def test_wrong_codes_behind_a_right_password_are_counted_and_lock(tmp_path: Path) -> None:
    bank, directory = Bank(tmp_path), Directory(one_reading=True)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), more_factors={ELSEWHERE: directory}) as door:
            for _ in range(10):
                assert await door.why(taro, "sesame000000", elsewhere(AUTO)) in (Finding.WRONG, Finding.TOO_SOON)
                bank.clock.now += 60
            assert await door.why(taro, "sesame" + taro.code(), elsewhere(AUTO)) == Finding.LOCKED

    run(scene)


def test_an_empty_password_is_refused_before_anybody_elsewhere_is_asked(tmp_path: Path) -> None:
    bank, directory = Bank(tmp_path), Directory(one_reading=True)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), more_factors={ELSEWHERE: directory}) as door:
            for text, mode in (("", PASSWORD), ("", CHALLENGE), (taro.code(), APPEND), ("", AUTO)):
                assert await door.why(taro, text, elsewhere(mode)) == Finding.WRONG_PASSWORD

    run(scene)
    assert directory.questions == []


def test_a_first_factor_that_a_reload_names_and_nobody_has_made_is_silence(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords({"taro": "himitsu"})) as door:
            state = await door.asked(taro, "himitsu", CHALLENGE)
            for mode in (PASSWORD, CHALLENGE, APPEND, AUTO):
                verdict = await door.says(taro, "sesame", elsewhere(mode))
                assert isinstance(verdict, Silence) and "waits for a restart" in verdict.reason
            assert await door.says(taro, taro.code(), elsewhere(CHALLENGE), challenge=state) == Accept()
            assert not door.authenticator.reachable(ELSEWHERE)
            assert door.authenticator.reachable("local")

    run(scene)


def test_where_nobody_is_asked_the_code_alone_decides(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", None)
    policies = {mode: Policy(mode, first_factor="nobody", code_is_enough=True) for mode in Mode}

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), more_factors={"nobody": Unasked()}) as door:
            assert await door.says(taro, taro.code(), policies[Mode.APPEND]) == Accept()
            assert await door.why(taro, "anything", policies[Mode.APPEND]) == Finding.NOT_A_CODE
            bank.clock.now += 30
            state = await door.asked(taro, "anything", policies[Mode.CHALLENGE])
            assert await door.says(taro, taro.code(), policies[Mode.CHALLENGE], challenge=state) == Accept()
            for mode in (Mode.PASSWORD, Mode.CHALLENGE, Mode.APPEND, Mode.AUTO):
                assert await door.why(jiro, "anything", policies[mode]) == Finding.NOTHING_CHECKED
            assert await door.why(taro, "anything", policies[Mode.PASSWORD]) == Finding.NOTHING_CHECKED

    run(scene)


@pytest.mark.parametrize(
    "reason",
    [
        Finding.PASSWORD_EXPIRED, Finding.PASSWORD_MUST_CHANGE, Finding.ACCOUNT_DISABLED, Finding.ACCOUNT_EXPIRED,
        Finding.ACCOUNT_LOCKED_THERE, Finding.NOT_PERMITTED_THERE, Finding.QUESTION_REFUSED,
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_account_there_is_told_apart_and_refused(tmp_path: Path, reason: Finding) -> None:
    bank, directory = Bank(tmp_path), Directory(problem=reason)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, KnownPasswords(), more_factors={ELSEWHERE: directory}) as door:
            for mode in (PASSWORD, CHALLENGE, APPEND, AUTO):
                assert await door.why(taro, "sesame" + taro.code(), elsewhere(mode)) == reason

    run(scene)
    assert {row.reason for row in bank.audit(event="login.rejected")} == {FINDING_TEXT[reason]}


@pytest.mark.parametrize(("one_reading", "counted"), [(True, 3), (False, 1)])
def test_all_spellings_of_a_name_are_counted_as_one_where_a_server_elsewhere_takes_them_for_one(
    tmp_path: Path, one_reading: bool, counted: int
) -> None:
    """Each of them would have free tries of its own at that server. Here they are different customers."""
    bank = Bank(tmp_path)
    bank.customer("taro")
    policy = replace(CHALLENGE, first_factor=ELSEWHERE)

    async def scene() -> None:
        there = Directory(one_reading=one_reading)
        async with entrance(bank, KnownPasswords({}), more_factors={ELSEWHERE: there}) as door:
            for spelled in ("TARO", "Taro", "taro"):
                await door.says(spelled, "wrong", policy)
            name = door.authenticator.counted_as(Attempt("TARO", "", policy, "gateway"))
            assert door.throttle.failures(name, "gateway") == counted
            await door.says("taro", "sesame", policy)
            assert door.throttle.failures("taro", "gateway") == 0
            assert sum(door.throttle.failures(one, "gateway") for one in ("TARO", "Taro")) == (0 if one_reading else 2)

    run(scene)
