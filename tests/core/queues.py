"""What tests of the login queue share: a queue on a real store, requests to it, and what disturbs it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import event, update

from otp_core.authentication.queue import BatchEvaluator, LoginQueue
from otp_core.login.evaluate import Evaluator
from otp_core.login.requests import LoginRequest
from otp_core.login.table import Stage
from otp_core.model import Attempt, Verdict
from otp_core.store.schema import token
from otp_core.store.sqlite import driver
from tests import postgresql
from tests.core.bank import CODE, Bank, Holder
from tests.core.faulty import read_only


@asynccontextmanager
async def queue_of(bank: Bank, evaluator: BatchEvaluator | None = None) -> AsyncIterator[LoginQueue]:
    queue = LoginQueue(bank.store.login_batch(), evaluator or bank.evaluator, bank.guarded, bank.store.ids)
    try:
        yield queue
    finally:
        queue.close()


def request(
    holder: Holder, user_password: str | None = None, fingerprint: int = 0, deadline: float = math.inf
) -> LoginRequest:
    user_password = holder.code() if user_password is None else user_password
    attempt = Attempt(
        holder.contract_id, user_password, CODE, "gateway", "192.0.2.1", fingerprint=fingerprint, deadline=deadline
    )
    return LoginRequest(attempt, Stage.CODE, code=user_password)


async def verdicts(queue: LoginQueue, *requests: LoginRequest) -> list[Verdict]:
    """What is told of cases that arrive at once."""
    loop = asyncio.get_running_loop()
    told: list[asyncio.Future[Verdict]] = [loop.create_future() for _ in requests]
    for one, future in zip(requests, told, strict=True):
        queue.submit(one, future.set_result)  # a second verdict would raise InvalidStateError
    return await asyncio.gather(*told)


def later() -> float:
    """The loop's time, a little from now."""
    return asyncio.get_running_loop().time() + 0.02


@contextmanager
def locked(bank: Bank) -> Iterator[None]:
    """Another process holds the write lock; in PostgreSQL, which has none, nobody is let in to the database."""
    if bank.store.database.file is None:
        with postgresql.shut(bank.store.database.name):
            yield
        return
    connection = driver.connect(bank.database, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


def cause_of_lock(bank: Bank) -> str:
    """What is said of it."""
    return "not currently accepting connections" if bank.store.database.file is None else "holds its write lock"


@contextmanager
def unwritable(bank: Bank) -> Iterator[str]:
    """The store can be read, but not written; what is said of it."""
    if bank.store.database.file is None:
        with postgresql.read_only(bank.store.database.name):
            yield "is a standby"
        return
    event.listen(bank.store.engine, "connect", read_only)
    yield "cannot be written"
    event.remove(bank.store.engine, "connect", read_only)


def seal_breaks(bank: Bank, token_id: str) -> None:
    """Nothing opens this token's seed any more."""
    with bank.store.work() as work:
        work.connection.execute(update(token).where(token.c.token_id == token_id).values(seed=b"\1\0"))


class CountingEvaluator:
    """An evaluator that counts how often it was asked."""

    def __init__(self, bank: Bank) -> None:
        sealer = bank.store.sealer
        self._evaluator = Evaluator(bank.rules, sealer.unseal, lambda: b"state", sealer.name_fingerprint)
        self.times = 0

    def evaluate(self, *arguments: Any) -> Any:
        self.times += 1
        return self._evaluator.evaluate(*arguments)
