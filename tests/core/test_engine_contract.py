"""What every database engine has to pass: the login queue in front of it, several batches at once, whatever happens.

SQLite, PostgreSQL and a tiny engine in memory pass it; the next engine is one more entry of ENGINES.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from otp_core.authentication.queue import LoginQueue
from otp_core.login.requests import LoginRequest
from otp_core.login.table import Finding, Stage
from otp_core.model import Accept, Attempt, Challenge, Language, LoginRecord, OtpUse, Reject, Silence, Verdict
from otp_core.store.engine import LoginBatch
from tests import postgresql
from tests.core.bank import CHALLENGE, CODE, Bank, Holder, rules
from tests.core.memory_engine import MemoryEngine


class Engine:
    """An engine with two customers in it, and what a test wants to know of it."""

    def __init__(self, folder: Path, database_url: str | None = None) -> None:
        self.bank = Bank(folder, rules(lock_after=100), database_url=database_url)
        self.taro, self.jiro = self.bank.customer(), self.bank.customer("jiro", "VSMT00000002")

    def batches(self) -> LoginBatch:
        """What a process would have: a LoginBatch of its own, on the same data."""
        raise NotImplementedError

    def record(self, contract_id: str = "taro") -> LoginRecord:
        raise NotImplementedError

    def events(self) -> list[str]:
        raise NotImplementedError

    def in_state(self, use: OtpUse) -> Holder:
        """One more customer."""
        return self.bank.in_state(use, "hana", "VSMT00000003")

    def break_down(self, *, broken: bool) -> None:
        """From now on nothing can be written; or it can be again."""
        raise NotImplementedError

    def queue(self) -> LoginQueue:
        return LoginQueue(self.batches(), self.bank.evaluator, self.bank.guarded, self.bank.store.ids)


class Sqlite(Engine):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._lock: Any = None

    def batches(self) -> LoginBatch:
        return self.bank.open_store(busy_seconds=0.01).login_batch()

    def record(self, contract_id: str = "taro") -> LoginRecord:
        return self.bank.login_record(contract_id)

    def events(self) -> list[str]:
        return [row.event for row in self.bank.audit(event="login.")]

    def break_down(self, *, broken: bool) -> None:
        if broken:
            self._lock = self.bank.store.work()
            self._lock.__enter__()
        else:
            self._lock.__exit__(None, None, None)


class Postgresql(Engine):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, postgresql.store_in(folder))
        self._made: list[LoginBatch] = []

    def batches(self) -> LoginBatch:
        return self.bank.open_store(busy_seconds=0.01).login_batch()

    def record(self, contract_id: str = "taro") -> LoginRecord:
        return self.bank.login_record(contract_id)

    def events(self) -> list[str]:
        return [row.event for row in self.bank.audit(event="login.")]

    def break_down(self, *, broken: bool) -> None:
        name = self.bank.url.partition("/@/")[2] or self.bank.url.rpartition("@/")[2].partition("?")[0]
        with postgresql.server().connect("postgres") as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {not broken}")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND %s", (name, broken)
            )


class Memory(Engine):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.engine = MemoryEngine({one: self.bank.login_record(one) for one in ("taro", "jiro")})

    def batches(self) -> LoginBatch:
        return self.engine

    def record(self, contract_id: str = "taro") -> LoginRecord:
        return self.engine.records[contract_id]

    def events(self) -> list[str]:
        return [row.event for row in self.engine.audit]

    def in_state(self, use: OtpUse) -> Holder:
        holder = super().in_state(use)
        self.engine.records["hana"] = self.bank.login_record("hana")
        return holder

    def break_down(self, *, broken: bool) -> None:
        self.engine.unavailable = broken


ENGINES = [pytest.param(Sqlite, marks=pytest.mark.sqlite_files), Postgresql, Memory]


@pytest.fixture(params=ENGINES, ids=["sqlite", "postgresql", "memory"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    made: Engine = request.param(tmp_path)
    return made


def by_code(holder: Holder, code: str, fingerprint: int = 0, deadline: float = math.inf) -> LoginRequest:
    attempt = Attempt(holder.contract_id, code, CODE, "gateway", fingerprint=fingerprint, deadline=deadline)
    return LoginRequest(attempt, Stage.CODE, code=code)


def ask(queue: LoginQueue, request: LoginRequest) -> asyncio.Future[Verdict]:
    verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
    queue.submit(request, verdict.set_result)
    return verdict


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scene(), 30)

    asyncio.run(bounded())


def test_a_code_is_accepted_once_whichever_queue_it_comes_to(engine: Engine) -> None:
    async def scene() -> None:
        queues = [engine.queue() for _ in range(3)]
        asked = []
        for number in range(30):
            asked.append(ask(queues[number % 3], by_code(engine.taro, engine.taro.code())))
            if number % 5 == 0:
                await asyncio.sleep(0.0005)  # several batches
        verdicts = await asyncio.gather(*asked)
        assert verdicts.count(Accept()) == 1
        assert {one.reason for one in verdicts if isinstance(one, Reject)} == {Finding.REUSED}
        for queue in queues:
            queue.close()

    run(scene)
    assert engine.record().tokens[0].last_step == engine.taro.step()
    assert engine.events().count("login.accepted") == 1


def test_no_wrong_code_is_forgotten_however_many_come_at_once(engine: Engine) -> None:
    async def scene() -> None:
        queues = [engine.queue() for _ in range(3)]
        asked = []
        for number in range(12):
            asked.append(ask(queues[number % 3], by_code(engine.taro, f"{number:06d}", fingerprint=number + 1)))
            await asyncio.sleep(0.0004)
        refused = sum(isinstance(one, Reject) for one in await asyncio.gather(*asked))
        assert refused == 12
        for queue in queues:
            queue.close()

    run(scene)
    assert engine.record().failures == 12
    assert engine.events() == ["login.rejected"] * 12


def test_a_state_lets_in_once(engine: Engine) -> None:
    async def scene() -> None:
        queues = [engine.queue(), engine.queue()]
        first = LoginRequest(Attempt("taro", "(a password)", CHALLENGE, "gateway"), Stage.FIRST_ROUND)
        asked = await ask(queues[0], first)
        assert isinstance(asked, Challenge)

        def second(code: str) -> LoginRequest:
            attempt = Attempt("taro", code, CHALLENGE, "gateway", challenge=asked.state)
            return LoginRequest(attempt, Stage.SECOND_ROUND, code=code)

        codes = (engine.taro.code(), engine.taro.code(1))
        verdicts = await asyncio.gather(*(ask(queue, second(code)) for queue, code in zip(queues, codes, strict=True)))
        assert sorted(type(one).__name__ for one in verdicts) == ["Accept", "Reject"]
        for queue in queues:
            queue.close()

    run(scene)


def test_a_retransmission_gets_the_same_verdict_from_another_queue(engine: Engine) -> None:
    async def scene() -> None:
        queues = [engine.queue(), engine.queue()]
        code = engine.taro.code()
        for queue in queues:
            assert await ask(queue, by_code(engine.taro, code, fingerprint=7)) == Accept()
        for queue in queues:
            queue.close()

    run(scene)
    assert engine.events() == ["login.accepted", "login.repeated"]


def test_nothing_is_accepted_while_nothing_can_be_written_and_work_goes_on_afterwards(engine: Engine) -> None:
    async def scene() -> None:
        queue = engine.queue()
        engine.break_down(broken=True)
        soon = asyncio.get_running_loop().time() + 0.1
        late = ask(queue, by_code(engine.taro, engine.taro.code(), deadline=soon))
        patient = ask(queue, by_code(engine.jiro, engine.jiro.code()))
        assert isinstance(await late, Silence)
        assert not patient.done()
        engine.break_down(broken=False)
        assert await patient == Accept()
        queue.close()

    run(scene)
    assert engine.record("taro").tokens[0].last_step < engine.taro.step()
    assert engine.events() == ["login.accepted"]


@pytest.mark.parametrize("use", [one for one in OtpUse if one is not OtpUse.ACTIVE])
def test_who_may_log_in_without_a_token_does_whatever_became_of_it(engine: Engine, use: OtpUse) -> None:
    """Nothing but the customer's own row stands behind it."""
    hana = engine.in_state(use)

    async def scene() -> None:
        queue = engine.queue()
        without = replace(CHALLENGE, password_only=frozenset(OtpUse))
        first = LoginRequest(Attempt(hana.contract_id, "(a password)", without, "gateway"), Stage.FIRST_ROUND)
        assert await ask(queue, first) == Accept()
        queue.close()

    run(scene)
    assert engine.events() == ["login.accepted"]


def test_a_name_that_no_database_can_hold_is_a_strangers_and_keeps_nobody_waiting(engine: Engine) -> None:
    async def scene() -> None:
        queue = engine.queue()
        unknown = Reject(Finding.UNKNOWN_CUSTOMER, Language.JA)
        for name in ("\ud800", "a\0", "\ud800\0"):
            stranger = Holder(name, "", engine.taro.seed, engine.taro.spec, engine.taro.clock)
            told = [ask(queue, by_code(one, engine.taro.code())) for one in (stranger, engine.jiro)]
            assert (await asyncio.gather(*told))[0] == unknown
        queue.close()

    run(scene)


def test_requests_of_different_customers_do_not_hold_one_another_up(engine: Engine) -> None:
    async def scene() -> None:
        queue = engine.queue()
        first = ask(queue, by_code(engine.taro, engine.taro.code()))
        await asyncio.sleep(0)
        second = ask(queue, by_code(engine.jiro, engine.jiro.code()))
        assert list(await asyncio.gather(first, second)) == [Accept(), Accept()]
        queue.close()

    run(scene)


def test_the_queue_keeps_as_many_batches_under_way_as_the_engine_wants(tmp_path: Path) -> None:
    engine = Memory(tmp_path)
    told: list[Verdict] = []

    async def scene() -> None:
        queue = engine.queue()
        asked = []
        for number in range(40):
            asked.append(ask(queue, by_code(engine.jiro, f"{number:06d}", fingerprint=number + 1)))
            await asyncio.sleep(0.0003)
        told.extend(await asyncio.gather(*asked))

    run(scene)
    assert engine.engine.most_under_way == engine.engine.concurrency
    assert engine.engine.conflicts > 0, "and those that collided were run again"
    rejected = [one for one in told if isinstance(one, Reject)]
    assert engine.record("jiro").failures == len(rejected) >= 30, (
        "who lost every race heard silence, and was not counted"
    )
