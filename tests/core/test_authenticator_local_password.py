"""The password as it is kept here: checked against its hash, which is renewed when it is old."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from otp_core.first_factor.hash_pool import HashPool
from otp_core.first_factor.hashes import Cost, hash_password, needs_rehash
from otp_core.first_factor.local import LocalPassword
from otp_core.login.table import Finding
from otp_core.model import Accept, Policy, Silence
from tests.core.bank import APPEND, AUTO, CHALLENGE, PASSWORD, Bank
from tests.core.entrance import PW, SOON, Entrance, entrance, run


def local_password(bank: Bank, pool: HashPool) -> LocalPassword:
    return LocalPassword(bank.store.login_reader(), pool, Cost(256, 1, 1), bank.desk.customers.renew_password_hash)


@asynccontextmanager
async def local(bank: Bank) -> AsyncIterator[Entrance]:
    pool = HashPool(1, 10)
    try:
        factor = local_password(bank, pool)
        async with entrance(bank, factor) as door:
            yield door
    finally:
        pool.close()


def test_a_password_that_is_kept_here_is_checked_against_its_hash(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(password_hash=hash_password(PW.encode(), Cost(256, 1, 1)))
    bank.customer("jiro", "VSMT00000002")

    async def scene() -> None:
        async with local(bank) as door:
            await door.asked(taro, PW)
            assert await door.why(taro, PW + " ", CHALLENGE) == Finding.WRONG_PASSWORD
            assert await door.why("nobody", PW, CHALLENGE) == Finding.UNKNOWN_CUSTOMER
            assert await door.why("jiro", "no password is held for jiro", CHALLENGE) == Finding.NOTHING_CHECKED

    run(scene)
    assert bank.audit(event="password.rehashed") == []


def test_an_old_hash_is_renewed_at_the_first_right_password_and_not_before(tmp_path: Path) -> None:
    bank, old = Bank(tmp_path), hash_password(PW.encode(), Cost(512, 1, 1))
    taro = bank.customer(password_hash=old)

    async def scene() -> None:
        async with local(bank) as door:
            assert await door.why(taro, "wrong", PASSWORD) == Finding.WRONG_PASSWORD
            assert held(bank) == old
            assert await door.says(taro, PW, PASSWORD) == Accept()
            await asyncio.sleep(0.2)  # it is renewed beside the login
            assert not needs_rehash(held(bank), Cost(256, 1, 1))
            assert await door.says(taro, PW, PASSWORD) == Accept()

    run(scene)
    (row,) = bank.audit(event="password.rehashed")
    assert (row.actor, row.customer) == ("sekisho", "taro")


@pytest.mark.parametrize("mode", [AUTO, CHALLENGE, PASSWORD, APPEND])
def test_an_empty_password_is_never_right_whatever_hash_was_imported(tmp_path: Path, mode: Policy) -> None:
    bank, of_nothing = Bank(tmp_path), hash_password(b"", Cost(256, 1, 1))
    taro = bank.customer(password_hash=of_nothing)
    bank.customer("jiro", None, password_hash=of_nothing)

    async def scene() -> None:
        async with local(bank) as door:
            for who, text in [("jiro", ""), ("taro", ""), ("taro", taro.code())]:
                assert await door.why(who, text, mode) == Finding.WRONG_PASSWORD

    run(scene)


class CountingPool(HashPool):
    """Remembers how often it hashed."""

    hashed = 0

    async def run(self, *work: Any, **more: Any) -> Any:  # type: ignore[override]
        self.hashed += 1
        return await super().run(*work, **more)


@pytest.mark.parametrize("who", ["taro", "jiro", "nobody"])
def test_a_hash_is_worked_out_whether_or_not_one_is_held(tmp_path: Path, who: str) -> None:
    """The time of an answer must not tell who has a password here, nor who is a customer."""
    bank = Bank(tmp_path)
    bank.customer(password_hash=hash_password(PW.encode(), Cost(256, 1, 1)))
    bank.customer("jiro", "VSMT00000002")

    async def scene() -> None:
        pool = CountingPool(1, 10)
        factor = local_password(bank, pool)
        async with entrance(bank, factor) as door:
            await door.why(who, "wrong", CHALLENGE)
        pool.close()
        assert pool.hashed == 1

    run(scene)


@pytest.mark.parametrize("mode", [AUTO, CHALLENGE, PASSWORD, APPEND])
@pytest.mark.parametrize("text", ["wrong", "wrong123456", "wrong 123 456"])
def test_a_refusal_takes_as_many_hashes_whoever_is_asked_for(tmp_path: Path, mode: Policy, text: str) -> None:
    """Known or not, with a token, without one, with a password held here or not: the time tells nothing."""
    bank, hash_ = Bank(tmp_path), hash_password(PW.encode(), Cost(256, 1, 1))
    bank.customer("with-token", password_hash=hash_)
    bank.customer("without-token", None, password_hash=hash_)
    bank.customer("no-password", "VSMT00000002")
    bank.customer("neither", None)
    hashed: dict[str, int] = {}

    async def scene() -> None:
        for who in ("with-token", "without-token", "no-password", "neither", "nobody"):
            pool = CountingPool(1, 10)
            factor = local_password(bank, pool)
            async with entrance(bank, factor) as door:
                await door.why(who, text, mode)
            pool.close()
            hashed[who] = pool.hashed

    run(scene)
    assert set(hashed.values()) == {2 if mode is AUTO and "123" in text else 1}


def held(bank: Bank) -> str:
    key = bank.login_record().customer_key
    with bank.store.work() as work:
        hash_ = work.profile(key).password_hash
    assert hash_ is not None
    return hash_


def test_nobody_is_kept_out_because_a_hash_cannot_be_renewed_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank, old = Bank(tmp_path, busy_seconds=0.01), hash_password(PW.encode(), Cost(512, 1, 1))
    taro = bank.customer(password_hash=old)
    patient = bank.open_store()

    async def scene() -> None:
        async with local(bank) as door:
            with patient.work():
                waiting = asyncio.ensure_future(door.says(taro, PW, PASSWORD))
                await asyncio.sleep(0.2)
            assert await waiting == Accept()

    run(scene)
    assert held(bank) == old
    assert "a password hash was not renewed" in capsys.readouterr().out


def test_a_hash_that_cannot_be_checked_is_silence(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(password_hash="$1$md5-crypt$is-not-known-here")

    async def scene() -> None:
        async with local(bank) as door:
            silence = await door.says(taro, PW, PASSWORD)
            assert isinstance(silence, Silence)
            assert "the password hash of taro cannot be checked" in silence.reason

    run(scene)


def test_more_passwords_than_may_wait_are_silence(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(password_hash=hash_password(PW.encode(), Cost(256, 1, 1)))

    async def scene() -> None:
        pool, busy = HashPool(1, 1), threading.Event()
        factor = local_password(bank, pool)
        async with entrance(bank, factor) as door:
            hashing = [asyncio.ensure_future(pool.run(busy.wait, SOON)) for _ in range(2)]
            await asyncio.sleep(0)
            silence = await door.says(taro, PW, PASSWORD)
            assert isinstance(silence, Silence)
            assert "max_waiting" in silence.reason
            busy.set()
            await asyncio.gather(*hashing)
            assert await door.says(taro, PW, PASSWORD) == Accept()
        pool.close()

    run(scene)


def test_a_password_that_nobody_waits_for_any_more_is_not_checked(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer(password_hash=hash_password(PW.encode(), Cost(256, 1, 1)))

    async def scene() -> None:
        async with local(bank) as door:
            deadline = asyncio.get_running_loop().time() - 1
            silence = await door.says(taro, PW, PASSWORD, deadline=deadline)
            assert isinstance(silence, Silence)
            assert "waited longer" in silence.reason
            assert await door.says(taro, PW, PASSWORD, deadline=math.inf) == Accept()

    run(scene)
