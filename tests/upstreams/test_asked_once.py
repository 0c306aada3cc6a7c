"""All copies of a gateway's request ask once, whichever process they reach, and get one answer."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from otp_core.first_factor import FirstFinding, NextRound, Question
from otp_core.first_factor.asked_once import AskedOnce, KeptAttributes
from otp_core.first_factor.shared_answers import KEEP_SECONDS, LONGEST, PLACES, SharedAnswers
from otp_core.login.table import Finding
from otp_core.model import Attempt, BackendSilent, InClear, Mode, Policy
from otp_core.sealing import Sealer
from tests.fakes import HandClock
from tests.fakes_radius import in_loop

SEALER = Sealer(bytes(32))
POLICY = Policy(Mode.PASSWORD, first_factor="elsewhere")


@dataclass
class Elsewhere:
    """Answers when it is told to. ``asked``: how often it was asked."""

    answer: FirstFinding | NextRound | None = None
    asked: int = 0
    told: asyncio.Event = field(default_factory=asyncio.Event)
    has_rounds: bool = False
    one_reading: bool = True
    relays: bool = True
    reachable: bool = True

    async def check(self, question: Question) -> FirstFinding | NextRound:
        self.asked += 1
        await self.told.wait()
        if self.answer is None:
            raise BackendSilent("nobody answers")
        return self.answer


def question(fingerprint: int = 7, seconds: float = 5.0) -> Question:
    deadline = asyncio.get_running_loop().time() + seconds
    return Question(Attempt("taro", "x", POLICY, "gw", fingerprint=fingerprint, deadline=deadline), ("x",))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "s.db-answers"


FOUND: list[FirstFinding | NextRound] = [
    FirstFinding(right=True, attributes={"Class": ["a", "b"]}),
    FirstFinding(right=False, reason=Finding.PASSWORD_EXPIRED),
    FirstFinding(right=True, held=False),
    FirstFinding(right=True, attributes={}),
    FirstFinding(right=True),
    FirstFinding(right=True, attributes={"relayed": InClear(b"\0\1Class", SEALER.seal_value)}),
    NextRound(b"\0state", "新しい暗証番号"),
]


@pytest.mark.parametrize("found", FOUND)
@in_loop
async def test_copies_at_two_processes_ask_once_and_hear_the_same(
    tmp_path: Path, found: FirstFinding | NextRound
) -> None:
    first, second = SharedAnswers(tmp_path / "a"), SharedAnswers(tmp_path / "a")
    elsewhere, other = Elsewhere(found), Elsewhere()
    one, two = AskedOnce(elsewhere, first, SEALER), AskedOnce(other, second, SEALER)
    waiting = [asyncio.ensure_future(one.check(question()))]
    await asyncio.sleep(0)
    waiting += [asyncio.ensure_future(two.check(question())) for _ in range(3)]
    await asyncio.sleep(0.05)
    elsewhere.told.set()
    assert await asyncio.gather(*waiting) == [found] * 4
    assert await two.check(question()) == found, "and later"
    assert (elsewhere.asked, other.asked) == (1, 0)
    assert b"Class" not in (tmp_path / "a").read_bytes(), "what is kept is sealed"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


@in_loop
async def test_an_outage_is_not_kept_and_the_next_copy_asks_anew(table: Path) -> None:
    answers, elsewhere = SharedAnswers(table), Elsewhere()
    elsewhere.told.set()
    one = AskedOnce(elsewhere, answers, SEALER)
    for _ in range(2):
        with pytest.raises(BackendSilent):
            await one.check(question())
    elsewhere.answer = FOUND[0]
    assert await one.check(question()) == FOUND[0]
    assert elsewhere.asked == 3


@in_loop
async def test_one_that_was_given_up_lets_the_next_one_ask(table: Path) -> None:
    answers, elsewhere = SharedAnswers(table), Elsewhere(FOUND[0])
    one = AskedOnce(elsewhere, answers, SEALER)
    waiting = asyncio.ensure_future(one.check(question()))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    elsewhere.told.set()
    assert await one.check(question()) == FOUND[0]
    assert elsewhere.asked == 2


@in_loop
async def test_a_copy_waits_no_longer_than_its_gateway(table: Path) -> None:
    answers = SharedAnswers(table)
    assert answers.claim(7, 10.0) is True
    with pytest.raises(BackendSilent):
        await AskedOnce(Elsewhere(), answers, SEALER).check(question(seconds=0.05))


def test_what_a_dead_process_has_begun_is_begun_anew(table: Path) -> None:
    answers = SharedAnswers(table)
    if (pid := os.fork()) == 0:
        answers.claim(7, 60.0)
        os._exit(0)
    os.waitpid(pid, 0)
    assert answers.claim(7, 60.0) is True
    assert answers.claim(7, 60.0) is False, "this process lives"


@in_loop
async def test_other_requests_and_attempts_without_a_fingerprint_have_no_copies(table: Path) -> None:
    elsewhere = Elsewhere(FOUND[0])
    elsewhere.told.set()
    one = AskedOnce(elsewhere, SharedAnswers(table), SEALER)
    for fingerprint in (1, 2, -3, 0, 0):
        await one.check(question(fingerprint))
    assert elsewhere.asked == 5


@in_loop
async def test_of_several_answers_to_one_question_one_is_passed_on(tmp_path: Path) -> None:
    """Also at two processes: whoever sends a thousand PINs at once has tried one."""
    path, elsewhere, other = tmp_path / "a", Elsewhere(FirstFinding(right=False)), Elsewhere(FOUND[0])
    one = AskedOnce(elsewhere, SharedAnswers(path), SEALER)
    two = AskedOnce(other, SharedAnswers(path), SEALER)
    waiting = [asyncio.ensure_future(one.check(question(1)._replace(state=b"pin")))]
    await asyncio.sleep(0)
    gone = FirstFinding(right=False, reason=Finding.CHALLENGE_GONE)
    async with asyncio.timeout(5):
        for number, asked in enumerate((one, two, one, two)):
            assert await asked.check(question((0, 0, 2, 3)[number])._replace(state=b"pin")) == gone
    elsewhere.told.set()
    assert await asyncio.gather(*waiting) == [FirstFinding(right=False)]
    assert await two.check(question(4)._replace(state=b"pin")) == gone, "and later"
    assert (elsewhere.asked, other.asked) == (1, 0)
    other.told.set()
    assert await two.check(question(5)._replace(state=b"the next question")) == FOUND[0]


@in_loop
async def test_a_question_whose_answer_nobody_took_may_be_answered_again(table: Path) -> None:
    elsewhere = Elsewhere()
    elsewhere.told.set()
    one = AskedOnce(elsewhere, SharedAnswers(table), SEALER)
    with pytest.raises(BackendSilent):
        await one.check(question(1)._replace(state=b"pin"))
    elsewhere.answer = FOUND[0]
    assert await one.check(question(2)._replace(state=b"pin")) == FOUND[0]


@in_loop
async def test_an_answer_that_somebody_moved_to_another_request_is_none(table: Path) -> None:
    """Whoever can write the file cannot make one customer's acceptance another one's."""
    answers = SharedAnswers(table)
    elsewhere = Elsewhere(FOUND[0])
    elsewhere.told.set()
    one = AskedOnce(elsewhere, answers, SEALER)
    await one.check(question(1))
    kept = answers.find(1)
    assert kept is not None
    answers.settle(2, kept)
    elsewhere.answer = FirstFinding(right=False)
    assert await one.check(question(2)) == FirstFinding(right=False)


def test_answers_last_for_a_minute_and_the_oldest_give_way(table: Path) -> None:
    clock = HandClock(1000.0)
    answers = SharedAnswers(table, clock)
    answers.settle(5, b"five")
    assert answers.find(5) == answers.claim(5, 1.0) == b"five"
    clock.now += KEEP_SECONDS
    assert answers.find(5) is None
    for number in range(9):
        clock.now += 1
        answers.settle(5 + number * (PLACES // 8), b"%d" % number)
    kept = [answers.find(5 + number * (PLACES // 8)) for number in range(9)]
    assert kept == [None, *(b"%d" % number for number in range(1, 9))]
    answers.settle(5, bytes(LONGEST + 1))
    assert answers.find(5) is None
    answers.close()


def test_without_its_file_a_process_is_on_its_own(tmp_path: Path) -> None:
    answers = SharedAnswers(tmp_path / "no" / "folder")
    assert answers.claim(7, 1.0) is True
    answers.settle(7, b"found")
    assert answers.find(7) == b"found"
    answers.close()


def test_attributes_of_an_accepted_login_are_kept_for_its_copies(table: Path) -> None:
    kept = KeptAttributes(SharedAnswers(table), SEALER)
    kept.keep(7, {"Class": "a"})
    kept.keep(8, {})
    found = KeptAttributes(SharedAnswers(table), SEALER)
    assert (found.find(7), found.find(8), found.find(9)) == ({"Class": "a"}, {}, None)
