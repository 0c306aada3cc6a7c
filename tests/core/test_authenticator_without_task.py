"""A first factor that needs no Task: a login goes on in the very call that brings its answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

from otp_core.first_factor import FirstFinding, Question
from otp_core.first_factor.failures import FailureTable
from otp_core.inline_task import Deferred
from otp_core.login.policy import Delays
from otp_core.model import Accept, Attempt, BackendSilent, Reject, Silence, Verdict
from tests.core.bank import APPEND, PASSWORD, Bank
from tests.core.entrance import PW, entrance, run

WRONG = FirstFinding(right=False)
RIGHT = FirstFinding(right=True)


class Elsewhere:
    """Answers when the test does. ``asked``: the questions that wait, and where their answers are awaited."""

    one_reading = True
    relays = True
    reachable = True
    has_rounds = False
    needs_no_task = True

    def __init__(self) -> None:
        self.asked: list[tuple[Question, Deferred[FirstFinding | Exception]]] = []
        self.is_asked = asyncio.Event()

    async def check(self, question: Question) -> FirstFinding:
        answer: Deferred[FirstFinding | Exception] = Deferred()
        self.asked.append((question, answer))
        self.is_asked.set()
        found = await answer
        if isinstance(found, Exception):
            raise found
        return found

    def tell(self, found: FirstFinding | Exception) -> None:
        self.asked.pop(0)[1].resolve(found)


def test_it_is_asked_at_once_and_its_answer_is_in_the_queue_before_anybody_else_runs(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), Elsewhere()
    taro = bank.customer()
    told: list[Verdict] = []

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            text, heard = PW + taro.code(), asyncio.Event()

            def hear(verdict: Verdict) -> None:
                told.append(verdict)
                heard.set()

            door.authenticator.admit(Attempt("taro", text, APPEND, "gateway"), hear)
            if bank.store.database.waits:  # the token is read first, to see how the text splits
                await factor.is_asked.wait()
            assert factor.asked[0][0].candidates == (PW,)
            before = len(asyncio.all_tasks())
            factor.tell(RIGHT)
            assert (len(door.queue), len(asyncio.all_tasks())) == (1, before)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if bank.store.database.waits:
                await heard.wait()

    run(scene)
    assert told == [Accept()]


def test_an_outage_is_silence_and_a_fault_too(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), Elsewhere()
    bank.customer()
    told: list[Verdict] = []

    async def scene() -> None:
        async with entrance(bank, factor, delays=Delays(free=1, first=100.0, longest=100.0)) as door:
            for trouble in (BackendSilent("nobody answers"), BackendSilent("again"), RuntimeError("a fault")):
                door.authenticator.admit(Attempt("taro", PW, PASSWORD, "gateway"), told.append)
                factor.tell(trouble)
            assert door.throttle.failures("taro", "gateway") == 1, "an outage is nobody's wrong password"

    run(scene)
    assert told == [Silence("nobody answers"), Silence("again"), Silence("the first factor failed")]


def test_who_has_to_wait_is_asked_about_afterwards(tmp_path: Path) -> None:
    """The second attempt waits in line, and passes as soon as the first one has."""
    bank, factor = Bank(tmp_path), Elsewhere()
    bank.customer()
    told: list[Verdict] = []

    async def scene() -> None:
        async with entrance(bank, factor, delays=Delays(free=0, first=10.0, longest=10.0)) as door:
            loop, both = asyncio.get_running_loop(), asyncio.Event()

            def hear(verdict: Verdict) -> None:
                told.append(verdict)
                if len(told) == 2:
                    both.set()

            for _ in range(2):
                attempt = Attempt("taro", PW, PASSWORD, "gateway", deadline=loop.time() + 20)
                door.authenticator.admit(attempt, hear)
            await asyncio.sleep(0)
            assert len(factor.asked) == 1
            factor.is_asked.clear()
            factor.tell(RIGHT)
            await factor.is_asked.wait()
            factor.tell(WRONG)
            await both.wait()

    run(scene)
    assert told[0] == Accept()
    assert isinstance(told[1], Reject)


def test_a_login_whose_failures_cannot_be_counted_gets_a_verdict(tmp_path: Path) -> None:
    bank, factor, table = Bank(tmp_path), Elsewhere(), FailureTable(10)
    bank.customer()
    told: list[Verdict] = []

    async def scene() -> None:
        async with entrance(bank, factor, failures=table) as door:
            table.close()
            door.authenticator.admit(Attempt("taro", PW, PASSWORD, "gateway"), told.append)

    run(scene)
    assert told == [Silence("wrong passwords could not be counted")] and factor.asked == []


def test_closing_lets_go_of_those_that_wait_and_tells_nobody(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), Elsewhere()
    bank.customer()
    told: list[Verdict] = []

    async def scene() -> None:
        async with entrance(bank, factor, delays=Delays(free=0, first=10.0, longest=10.0)) as door:
            for _ in range(2):  # one is asked about, one waits in line
                attempt = Attempt("taro", PW, PASSWORD, "gateway", deadline=asyncio.get_running_loop().time() + 20)
                door.authenticator.admit(attempt, told.append)
            await asyncio.sleep(0)
            await door.authenticator.close()
            await asyncio.sleep(0.01)
            factor.tell(RIGHT)
            await asyncio.sleep(0.01)
            assert len(asyncio.all_tasks()) == 2, "this one, and the one that bounds it"

    run(scene)
    assert told == []
    assert bank.audit(event="login.accepted") == []
