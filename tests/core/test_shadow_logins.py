"""Shadow mode: what two answers say of a customer, and what is kept of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from otp_core.authentication.comparison import MOST_NOTED, Comparison, Waiting
from otp_core.login.obstacles import OBSTACLE_OF, OBSTACLE_TEXT, Obstacle, Old, Ours, Part, obstacle, standing
from otp_core.login.table import Action, Finding, Stage, action_for
from otp_core.model import Accept, Challenge, Language, Mode, OtpUse, Reject, StoreUnavailable, Verdict
from otp_core.store.retry import run_acts_aside
from otp_core.store.shadow_logins import (
    FORGOTTEN_AT_ONCE,
    Compared,
    Seen,
    after,
    customers_seen,
    forget,
    forget_client,
    note,
    report,
    room_of,
)
from otp_core.store.unit_of_work import Work
from sekisho.shadow import ShadowWriter
from tests.core.bank import Bank


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


LET_IN = (Action.ACCEPT, Action.SPEND_AND_ACCEPT, Action.ACCEPT_AGAIN)
STAGES = {
    (Mode.APPEND, Part.WHOLE): Stage.BOTH,
    (Mode.CODE, Part.WHOLE): Stage.CODE,
    (Mode.PASSWORD, Part.WHOLE): Stage.PASSWORD,
    (Mode.CHALLENGE, Part.FIRST): Stage.FIRST_ROUND,
    (Mode.CHALLENGE, Part.SECOND): Stage.CODE,
}


def verdict_of(stage: Stage, finding: Finding) -> Verdict:
    action = action_for(stage, finding)
    if action in LET_IN:
        return Accept()
    if action is Action.REJECT or action is Action.COUNT_AND_REJECT:
        return Reject(str(finding), Language.EN)
    return Challenge(b"x", Language.EN)


@pytest.mark.parametrize(("place", "finding"), list(product(STAGES, Finding)))
def test_every_refusal_of_ours_has_a_name_and_every_name_has_words(place: tuple[Mode, Part], finding: Finding) -> None:
    (mode, part), stage = place, STAGES[place]
    verdict = verdict_of(stage, finding)
    for old in Old:
        found = obstacle(old, Ours(verdict, finding, OtpUse.ACTIVE), mode, part)
        if isinstance(verdict, Reject):
            assert (found is None) == (old is Old.REJECTED)
        if isinstance(verdict, Accept) and old is Old.REJECTED:
            assert found is Obstacle.LET_IN
        assert found is None or OBSTACLE_TEXT[found].advice
    assert set(OBSTACLE_TEXT) == set(Obstacle)
    assert set(OBSTACLE_OF.values()) <= set(Obstacle)


@pytest.mark.parametrize(
    ("old", "verdict", "finding", "mode", "part", "found"),
    [
        (Old.ASKED, Challenge(b"x", Language.EN), Finding.CODE_DUE, Mode.CHALLENGE, Part.FIRST, None),
        (Old.ACCEPTED, Challenge(b"x", Language.EN), Finding.CODE_DUE, Mode.CHALLENGE, Part.WHOLE, "code-wanted"),
        (Old.ASKED, Accept(), Finding.WITHOUT_TOKEN, Mode.CHALLENGE, Part.FIRST, "no-token"),
        (Old.ACCEPTED, Accept(), Finding.WITHOUT_TOKEN, Mode.CHALLENGE, Part.WHOLE, None),
        (Old.ACCEPTED, Accept(), Finding.WITHOUT_TOKEN, Mode.CODE, Part.WHOLE, "no-token"),
        (Old.ACCEPTED, Accept(), Finding.WITHOUT_TOKEN, Mode.CHALLENGE, Part.SECOND, "no-token"),
        (Old.ACCEPTED, Accept(), Finding.FITS, Mode.APPEND, Part.WHOLE, None),
        (Old.REJECTED, Accept(), Finding.FITS, Mode.APPEND, Part.WHOLE, "let-in-here"),
        (Old.ACCEPTED, Reject("", Language.EN), None, Mode.APPEND, Part.WHOLE, "not-compared"),
    ],
)
def test_what_two_answers_say(
    old: Old, verdict: Verdict, finding: Finding | None, mode: Mode, part: Part, found: str | None
) -> None:
    assert obstacle(old, Ours(verdict, finding, OtpUse.ACTIVE), mode, part) == found


def compared(old: Old, part: Part = Part.WHOLE, found: Obstacle | None = None, name: str = "taro") -> Compared:
    return Compared("vpn", name, 1000, old, part, found, known=True)


def seen(*ones: Compared) -> Seen:
    row = Seen("vpn", "taro", 1000, 1000)
    for one in ones:
        row = after(row, one)
    return row


def test_two_rounds_agree_only_together() -> None:
    asked, code = compared(Old.ASKED, Part.FIRST), compared(Old.ACCEPTED, Part.SECOND)
    differs = compared(Old.ASKED, Part.FIRST, Obstacle.PASSWORD_DIFFERS)
    assert seen(asked, code, asked, code).standing is None
    assert seen(asked, code).standing is Obstacle.ONE_LOGIN
    assert seen(differs, code, differs, code).standing is Obstacle.PASSWORD_DIFFERS
    assert seen(differs, code, differs, code).agreed == 0
    wrong = compared(Old.ACCEPTED, Part.SECOND, Obstacle.CODE_WRONG)
    assert seen(asked, wrong).standing is Obstacle.CODE_WRONG
    assert seen(asked, wrong, asked).standing is Obstacle.CODE_WRONG, "a right password says nothing of the code"
    assert seen(asked, wrong, asked, code, asked, code).standing is None


def test_a_difference_begins_the_count_anew_and_a_refusal_by_both_does_not() -> None:
    yes, no = compared(Old.ACCEPTED), compared(Old.ACCEPTED, found=Obstacle.CODE_WRONG)
    assert seen(yes, yes, no).standing is Obstacle.CODE_WRONG
    assert seen(yes, yes, no, yes).standing is Obstacle.ONE_LOGIN
    assert seen(yes, yes, compared(Old.REJECTED)).standing is None
    assert seen(no, compared(Old.REJECTED)).standing is Obstacle.CODE_WRONG
    assert seen(compared(Old.REJECTED)).standing is Obstacle.NO_LOGIN
    assert seen(yes, yes, compared(Old.REJECTED, found=Obstacle.LET_IN)).let_in == 1


def test_the_report_counts_as_the_rows_do(bank: Bank) -> None:
    yes = compared(Old.ACCEPTED)
    with bank.store.work_aside() as work:
        note(work.connection, [yes, yes], 10)
        note(work.connection, [yes._replace(customer="hanako")], 10)
        note(work.connection, [compared(Old.ACCEPTED, found=Obstacle.LOCKED, name="jiro")], 10)
        note(work.connection, [yes._replace(client="other")], 10)
    with bank.store.read() as connection:
        found, rows = report(connection, "vpn"), customers_seen(connection, "vpn", 10)
        assert customers_seen(connection, "vpn", 1, "hanako") == [rows[1]]
    assert found.customers == {None: 1, Obstacle.ONE_LOGIN: 1, Obstacle.LOCKED: 1}
    assert (found.total, found.safe, found.percent, found.since) == (3, 1, 33, 1000)
    by_row = [one.standing for one in rows]
    assert sorted(map(str, by_row)) == sorted(
        str(one) for one, number in found.customers.items() for _ in range(number)
    )
    assert standing("locked", 5, 5) is Obstacle.LOCKED


def test_strangers_names_take_no_room_and_room_ends(bank: Bank) -> None:
    strangers = [compared(Old.REJECTED, name=f"guess{at}")._replace(known=False) for at in range(5)]
    asked = [one._replace(old=Old.ASKED, part=Part.FIRST, obstacle=Obstacle.NOT_KNOWN) for one in strangers]
    with bank.store.work_aside() as work:
        assert note(work.connection, [*strangers, *asked], 10).new == 0
        customers = [compared(Old.ACCEPTED, name=f"customer{at}") for at in range(5)]
        assert note(work.connection, customers, 3) == (3, 2)
        assert note(work.connection, customers[:3], 0) == (0, 0), "those who are known are counted on"
        assert room_of(work.connection, 1000) == (1_000_000 - 3, [])
        later = 1000 + 401 * 86_400_000
        late = room_of(work.connection, later).late
        assert late == [("vpn", f"customer{at}") for at in range(3)]
        note(work.connection, [customers[1]._replace(at=later)], 0)
        forget(work.connection, late, later)
        assert room_of(work.connection, later) == (1_000_000 - 1, []), "who was seen meanwhile stays"
        note(work.connection, customers, 10)
        assert [forget_client(work.connection, "vpn") for _ in range(2)] == [5, 0]


def test_a_big_table_is_counted_beside_the_loop_and_emptied_in_bounded_pieces(bank: Bank) -> None:
    day = 86_400_000
    rows = [compared(Old.ACCEPTED, name=f"customer{at:05d}")._replace(at=day) for at in range(1200)]
    with bank.store.work_aside() as work:
        note(work.connection, rows, 2000)
        assert len(room_of(work.connection, 500 * day).late) == FORGOTTEN_AT_ONCE
        assert [forget_client(work.connection, "vpn") for _ in range(4)] == [500, 500, 200, 0]
        note(work.connection, rows, 2000)
    threads = set[int]()

    class Looked:
        def read(self) -> AbstractContextManager[Connection]:
            threads.add(threading.get_ident())
            return bank.store.read()

        def work_aside(self) -> AbstractContextManager[Work]:
            return bank.store.work_aside()

    async def scene(comparison: Comparison) -> None:
        comparison.noted.append(compared(Old.ACCEPTED, name="hanako"))
        assert await ShadowWriter(Looked(), comparison).write() == 1  # type: ignore[arg-type]

    asyncio.run(with_comparison(scene))
    assert threads and threading.get_ident() not in threads
    with bank.store.read() as connection:
        assert report(connection, "vpn").total == 1200 - FORGOTTEN_AT_ONCE + 1


def nobody(_: object) -> Any:
    raise AssertionError("nobody is asked")


async def with_comparison(scene: Callable[[Comparison], Awaitable[None]]) -> None:
    comparison = Comparison(nobody, nobody)  # type: ignore[arg-type]
    try:
        await scene(comparison)
    finally:
        await comparison.close()


def test_names_that_strangers_type_without_a_password_to_look_at_take_no_room(bank: Bank) -> None:
    """CHAP, say: nobody looks whose name it is, so there is a row once the old server has let somebody in."""

    async def scene(comparison: Comparison) -> None:
        for name, old in (("x-1", Old.REJECTED), ("x-2", Old.ASKED), ("taro", Old.ACCEPTED)):
            comparison.add(Waiting("vpn", name, None, old, 1000))
        await comparison.idle()
        assert await ShadowWriter(bank.store, comparison).write() == 3

    asyncio.run(with_comparison(scene))
    with bank.store.read() as connection:
        assert [one.customer for one in customers_seen(connection, "vpn", 10)] == ["taro"]


def test_what_has_no_room_until_it_is_written_is_counted() -> None:
    async def scene(comparison: Comparison) -> None:
        comparison.noted.extend([compared(Old.ACCEPTED)] * MOST_NOTED)
        comparison.add(Waiting("vpn", "hana", None, Old.ACCEPTED, 1000))
        await comparison.idle()
        assert (len(comparison.noted), comparison.left_out) == (MOST_NOTED, 1)

    asyncio.run(with_comparison(scene))


def test_a_store_that_lets_one_wait_is_written_to_beside_the_loop_and_nothing_is_lost(bank: Bank) -> None:
    threads, troubles = set[int](), [StoreUnavailable("the server stops")]

    class Noting:
        read = bank.store.read

        def work_aside(self) -> AbstractContextManager[Work]:
            threads.add(threading.get_ident())
            if troubles:
                raise troubles.pop()
            return bank.store.work_aside()

    async def scene(comparison: Comparison) -> None:
        comparison.noted.extend([compared(Old.ACCEPTED, name="a"), compared(Old.ACCEPTED, name="b")])
        writer = ShadowWriter(Noting(), comparison)  # type: ignore[arg-type]
        assert await writer.write() == 0
        assert [one.customer for one in comparison.noted] == ["a", "b"]
        assert await writer.write() == 2 and not comparison.noted

    run_acts_aside(True)
    try:
        asyncio.run(with_comparison(scene))
    finally:
        run_acts_aside(False)
    assert threads and threading.get_ident() not in threads
