"""Wrong passwords are slowed down before the first factor is asked, and lock nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from otp_core.first_factor.failures import FailureTable
from otp_core.login.policy import Delays
from otp_core.login.table import Finding
from otp_core.model import Accept, OtpUse, Silence
from tests.core.at_the_desk import wrong
from tests.core.bank import APPEND, AUTO, CHALLENGE, PASSWORD, Bank, rules
from tests.core.entrance import PW, SOON, entrance, knows, run
from tests.fakes import HandClock, KnownPasswords


def test_wrong_passwords_make_the_next_one_wait_and_being_let_in_clears_the_way(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), knows()
    taro = bank.customer()

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        async with entrance(bank, factor, delays=Delays(free=1, first=0.1, longest=0.1)) as door:
            for _ in range(2):
                await door.why(taro, "wrong", PASSWORD)
            began = loop.time()
            assert await door.says(taro, PW, PASSWORD) == Accept()
            assert loop.time() >= began + 0.09
            began = loop.time()
            assert await door.says(taro, PW, PASSWORD) == Accept()
            assert loop.time() < began + 0.09

    run(scene)


def test_a_burst_of_right_passwords_all_pass_in_the_end(tmp_path: Path) -> None:
    """Behind a wrong one, with a delay that none of them could bear for each of those before."""
    bank, factor = Bank(tmp_path), KnownPasswords({"taro": PW}, slow=0.001)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor, delays=Delays(free=0, first=0.1, longest=30.0)) as door:
            await door.why(taro, "wrong", PASSWORD)
            deadline = asyncio.get_running_loop().time() + SOON / 2
            found = await asyncio.gather(*(door.says(taro, PW, PASSWORD, deadline=deadline) for _ in range(50)))
            assert found == [Accept()] * 50

    run(scene)


def test_a_line_that_moves_too_slowly_is_silence_and_no_refusal(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), KnownPasswords({"taro": PW}, slow=0.5)
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor, delays=Delays(free=0, first=30.0, longest=30.0)) as door:
            first = asyncio.ensure_future(door.says(taro, PW, PASSWORD))
            await asyncio.sleep(0)
            deadline = asyncio.get_running_loop().time() + 0.05
            silence = await door.says(taro, PW, PASSWORD, deadline=deadline)
            assert isinstance(silence, Silence) and silence.busy
            assert await first == Accept()

    run(scene)


def test_the_way_is_cleared_by_the_verdict_and_not_by_a_right_password(tmp_path: Path) -> None:
    """Otherwise the next delay would tell that the password was right."""
    bank, factor = Bank(tmp_path), knows(taro=PW, hanako=PW)
    taro = bank.customer()
    bank.in_state(OtpUse.LOST, "hanako", "VSMT00000002")

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            assert await door.why(taro, PW + wrong(taro), APPEND) == Finding.WRONG
            assert await door.why(taro, "wrong" + taro.code(), APPEND) == Finding.WRONG_PASSWORD
            assert door.throttle.failures("taro", "gateway") == 2
            assert await door.why("hanako", PW, CHALLENGE) == Finding.LOST
            assert door.throttle.failures("hanako", "gateway") == 1
            await door.asked(taro, PW)
            assert door.throttle.failures("taro", "gateway") == 0

    run(scene)


def test_a_burst_of_passwords_stands_in_line_before_any_is_known_to_be_wrong(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), KnownPasswords({"taro": PW}, slow=0.01)
    taro = bank.customer()

    async def scene() -> None:
        delays = Delays(free=2, first=5.0, longest=5.0)
        async with entrance(bank, factor, delays=delays, clock=HandClock(1.0)) as door:
            deadline = asyncio.get_running_loop().time() + 1
            guesses = (door.why(taro, f"guess {n}", PASSWORD, deadline=deadline) for n in range(10))
            found = await asyncio.gather(*guesses)
            assert sorted(found) == [Finding.TOO_SOON] * 7 + [Finding.WRONG_PASSWORD] * 3

    run(scene)
    assert len(factor.asked) == 3


def test_a_wait_past_the_deadline_is_a_refusal_unseen_and_makes_the_next_wait_no_longer(tmp_path: Path) -> None:
    bank, factor, clock = Bank(tmp_path), knows(), HandClock(1.0)
    taro = bank.customer()

    async def scene() -> None:
        delays = Delays(free=0, first=5.0, longest=5.0)
        async with entrance(bank, factor, delays=delays, clock=clock) as door:
            now = asyncio.get_running_loop().time()
            await door.why(taro, "wrong", PASSWORD)
            for _ in range(5):
                assert await door.why(taro, PW, PASSWORD, deadline=now + 4) == Finding.TOO_SOON
            clock.now += 5.0
            assert await door.says(taro, PW, PASSWORD, deadline=now + 4) == Accept()

    run(scene)
    assert factor.asked == [("taro", "wrong"), ("taro", PW)]


def test_a_stranger_slows_nobody_down_who_calls_from_elsewhere(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), knows()
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor, delays=Delays(free=0, first=5.0, longest=5.0), clock=HandClock(1.0)) as door:
            await door.why(taro, "wrong", PASSWORD, calling_station_id="a stranger's phone")
            assert await door.says(taro, PW, PASSWORD, calling_station_id="taro's phone") == Accept()
            assert door.throttle.failures("taro", "a stranger's phone") == 1

    run(scene)


def test_wrong_passwords_never_lock_anybody(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path, rules(lock_after=2)), knows()
    taro = bank.customer()

    async def scene() -> None:
        async with entrance(bank, factor) as door:
            for policy in (PASSWORD, CHALLENGE, APPEND, AUTO):
                for _ in range(5):
                    await door.why(taro, "wrong" + taro.code(), policy)
            assert await door.says(taro, PW + taro.code(), APPEND) == Accept()

    run(scene)


# Stations.


def test_a_spray_over_customers_from_one_station_is_slowed_however_it_is_spelled(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    names = [bank.customer(f"c{n}", f"VSMT{n:08d}").contract_id for n in range(20)]
    factor = KnownPasswords(dict.fromkeys(names, PW))
    spellings = ["198.51.100.7:{n}", "198.51.100.7\0", " 198.51.100.7", "::ffff:198.51.100.7", "198.51.100.7"]

    async def scene() -> None:
        delays = Delays(free=5, first=100.0, longest=100.0)
        async with entrance(bank, factor, station_delays=delays, clock=HandClock(1.0)) as door:
            soon = asyncio.get_running_loop().time() + 30
            found = [
                await door.why(
                    name, "wrong", PASSWORD, calling_station_id=spellings[n % 5].format(n=40000 + n), deadline=soon
                )
                for n, name in enumerate(names)
            ]
            assert found == [Finding.WRONG_PASSWORD] * 6 + [Finding.TOO_SOON] * 14
            assert await door.says(names[0], PW, PASSWORD, calling_station_id="198.51.100.8") == Accept()

    run(scene)
    assert len(factor.asked) == 7


@pytest.mark.parametrize("calling_station_id", ["", "192.0.2.1", "192.0.2.1:1812"])
def test_a_gateway_that_names_no_station_or_itself_is_not_slowed(tmp_path: Path, calling_station_id: str) -> None:
    """All of the bank's customers are behind its address."""
    bank = Bank(tmp_path)
    names = [bank.customer(f"c{n}", f"VSMT{n:08d}").contract_id for n in range(20)]

    async def scene() -> None:
        delays = Delays(free=1, first=100.0, longest=100.0)
        factor = KnownPasswords(dict.fromkeys(names, PW))
        async with entrance(bank, factor, station_delays=delays, clock=HandClock(1.0)) as door:
            for name in names:
                why = await door.why(name, "wrong", PASSWORD, calling_station_id=calling_station_id)
                assert why == Finding.WRONG_PASSWORD
            assert await door.says(names[0], PW, PASSWORD, calling_station_id=calling_station_id) == Accept()

    run(scene)


def test_signing_in_to_ones_own_account_clears_ones_own_failures_alone(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    names = [bank.customer(f"c{n}", f"VSMT{n:08d}").contract_id for n in range(12)]
    factor = KnownPasswords(dict.fromkeys(names, PW))

    async def scene() -> None:
        delays = Delays(free=5, first=100.0, longest=100.0)
        async with entrance(bank, factor, station_delays=delays, clock=HandClock(1.0)) as door:
            here = {"calling_station_id": "198.51.100.7", "deadline": asyncio.get_running_loop().time() + 30}
            for name in names[1:6]:
                assert await door.why(name, "wrong", PASSWORD, **here) == Finding.WRONG_PASSWORD
                assert await door.says(names[0], PW, PASSWORD, **here) == Accept()
            assert await door.why(names[6], "wrong", PASSWORD, **here) == Finding.WRONG_PASSWORD
            for name in names[7:]:
                assert await door.why(name, "wrong", PASSWORD, **here) == Finding.TOO_SOON

    run(scene)


def test_who_is_refused_for_their_own_failures_adds_none_to_the_station(tmp_path: Path) -> None:
    bank, factor = Bank(tmp_path), knows()
    taro = bank.customer()

    async def scene() -> None:
        slow = Delays(free=0, first=100.0, longest=100.0)
        delays = Delays(free=5, first=100.0, longest=100.0)
        async with entrance(bank, factor, delays=slow, station_delays=delays, clock=HandClock(1.0)) as door:
            here = {"calling_station_id": "198.51.100.7", "deadline": asyncio.get_running_loop().time() + 30}
            assert await door.why(taro, "wrong", PASSWORD, **here) == Finding.WRONG_PASSWORD
            for _ in range(20):
                assert await door.why(taro, "wrong", PASSWORD, **here) == Finding.TOO_SOON
            assert await door.why("hanako", "wrong", PASSWORD, **here) != Finding.TOO_SOON

    run(scene)


def test_several_processes_count_one_customers_failures_together(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()

    async def scene() -> None:
        failures, delays = FailureTable(100), Delays(free=2, first=100.0, longest=100.0)
        found = []
        for _ in range(4):
            async with entrance(bank, knows(), delays=delays, clock=HandClock(1.0), failures=failures) as door:
                soon = asyncio.get_running_loop().time() + 30
                found += [await door.why(taro, "wrong", PASSWORD, deadline=soon) for _ in range(2)]
        assert found == [Finding.WRONG_PASSWORD] * 3 + [Finding.TOO_SOON] * 5

    run(scene)
