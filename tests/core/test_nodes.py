"""The nodes of a store: their names, signs of life, and what others make of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.audit import LENT_TAGS
from otp_core.clock import GuardedClock
from otp_core.nodes import holder
from otp_core.nodes.board import NodeBoard, Told
from otp_core.nodes.keeper import NodeKeeper, NodeTeller
from otp_core.nodes.naming import name_for
from otp_core.nodes.offset import offset_ms
from otp_core.nodes.registration import join, leave
from otp_core.nodes.state import NodeState, state_of
from otp_core.settings.nodes import host_name, node_name
from otp_core.store.nodes import KEPT_MS, LENT_MS, NodeLine, lend_tags, nodes, put, seen_below, tidy
from tests.core.bank import Bank

NOW = 1_800_000_000_000
HERE = holder.this_process().text


def line(
    name: str, *, seen: int = NOW, left: int | None = None, newest: str = "0022", silent: str | None = None
) -> NodeLine:
    """Of a node that shows life every 5 s."""
    return NodeLine(
        name, "web1", f"holder of {name}", hash(name), "1", newest, newest, 0, seen, left, 5, 0, None, silent
    )


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    made = Bank(tmp_path)
    yield made
    made.store.release()


def known(bank: Bank) -> list[NodeLine]:
    with bank.store.read() as connection:
        return nodes(connection)


# Names


@pytest.mark.parametrize(
    ("rows", "ended", "name"),
    [
        ([], (), "web1"),
        ([line("web1")], (), "web1-2"),
        ([line("web1"), line("web1-2")], (), "web1-3"),
        ([line("web1"), line("web1-3")], (), "web1-2"),
        ([line("web1", left=NOW - 1)], (), "web1"),
        ([line("web1", seen=NOW - 16_000)], (), "web1-2"),
        ([line("web1", seen=NOW - 16_001)], (), "web1"),
        ([line("web1", seen=NOW + 16_000)], (), "web1-2"),
        ([line("web1", seen=NOW + 16_001)], (), "web1"),
        ([line("web1")], ("web1",), "web1"),
        ([line("web1"), line("web1-2")], ("web1-2",), "web1-2"),
        ([line("web2")], (), "web1"),
    ],
)
def test_a_node_takes_the_first_name_that_nobody_has(rows: list[NodeLine], ended: tuple[str, ...], name: str) -> None:
    assert name_for("web1", rows, NOW, lambda text: text in [f"holder of {one}" for one in ended]) == name


def test_who_goes_on_after_it_lost_its_name_takes_none_that_was_seen_lately() -> None:
    assert name_for("web1", [line("web1")], NOW) == "web1-2"


def test_two_nodes_of_one_name_are_two(bank: Bank) -> None:
    assert [join(bank.store, "web1", "1").name for _ in range(3)] == ["web1", "web1-2", "web1-3"]
    assert [one.name for one in known(bank)] == ["web1", "web1-2", "web1-3"]
    assert len({one.run for one in known(bank)}) == 3


def test_a_node_that_was_killed_or_stopped_gets_its_name_again_at_once(bank: Bank) -> None:
    entered = join(bank.store, "web1", "1")
    with bank.store.derive() as connection:
        put(connection, known(bank)[0]._replace(holder=HERE.replace(f" {os.getpid()} ", " 4194305 ")))
    entered = join(bank.store, "web1", "2")
    assert entered.name == "web1" and [one.version for one in known(bank)] == ["2"]
    leave(bank.store, entered)
    assert known(bank)[0].left_at is not None
    assert join(bank.store, "web1", "3").name == "web1"


def test_a_process_is_only_said_to_have_ended_where_that_is_certain() -> None:
    machine, boot, space, pid, started = HERE.split(" ")
    assert not holder.has_ended(HERE)
    assert holder.has_ended(f"{machine} {boot} {space} {pid} {int(started) + 1}"), "another one has its PID"
    assert holder.has_ended(f"{machine} {boot} {space} 4194305 {started}")
    assert holder.has_ended(f"{machine} another-boot {space} {pid} {started}")
    for other in (
        f"x {boot} {space} {pid} 1",
        f"- {boot} {space} {pid} 1",
        f"{machine} {boot} pid:[1] {pid} 1",
        "",
        "a b",
    ):
        assert not holder.has_ended(other), other


@pytest.mark.parametrize("name", ["web1", "a", "A.b-c_d", "9", "x" * 64])
def test_names_that_a_node_may_have(name: str) -> None:
    assert node_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "a\n", "\u00e9", "x" * 65, "a/b", 'a"'])
def test_names_that_a_node_may_not_have(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 letters"):
        node_name(name)


def test_the_hosts_name_is_one() -> None:
    assert node_name(host_name()) == host_name()


# Signs of life


def test_a_sign_of_life_says_logins_and_the_clocks_offset(bank: Bank) -> None:
    entered = join(bank.store, "web1", "1")
    board = NodeBoard(entered.name, 2)
    board.count(0, 3)
    board.count(1, 4)
    (before,) = known(bank)
    NodeTeller(bank.store, board, entered).beat()
    (after,) = known(bank)
    assert after.seen_at >= before.seen_at and after.logins == 7
    if bank.store.database.file is None:
        assert after.clock_offset is not None and abs(after.clock_offset) < 1000
    else:
        assert after.clock_offset is None, "the machine's clock is the store's"


def test_a_node_whose_name_was_taken_goes_on_under_another(bank: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    entered = join(bank.store, "web1", "1")
    board = NodeBoard(entered.name, 1)
    teller = NodeTeller(bank.store, board, entered)
    with bank.store.derive() as connection:  # as a copy of this machine does
        put(connection, known(bank)[0]._replace(run=1))
    teller.beat()
    assert board.read().name == "web1-2" and "another node has this one's name" in capsys.readouterr().out
    teller.beat()
    assert [(one.name, one.run == entered.run) for one in known(bank)] == [("web1", False), ("web1-2", True)]


def test_a_node_whose_row_was_tidied_away_goes_on_under_its_name(
    bank: Bank, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was cut off for a week, or the database's clock was ahead by one."""
    teller = NodeTeller(bank.store, NodeBoard("web1", 1), join(bank.store, "web1", "1"))
    with bank.store.derive() as connection:
        tidy(connection, int(time.time() * 1000) + KEPT_MS + 60_000)
    teller.beat()
    assert [one.name for one in known(bank)] == ["web1"] and capsys.readouterr().out == ""


def test_what_a_process_has_counted_goes_on_in_the_one_that_takes_its_place() -> None:
    board = NodeBoard("web1", 2)
    for logins in (5, 7):
        NodeKeeper(board, 1, logins.__int__, GuardedClock(time.time), None).look()
    assert (board.counted(0), board.counted(1), board.logins) == (0, 12, 12)


def test_the_board_holds_what_was_told_last_and_never_half_of_it() -> None:
    board = NodeBoard("web1", 1)
    assert board.read() == Told("web1")
    board.tell(Told("web1-2", "the clock\nis wrong " * 500, "wrong"))
    assert board.read().name == "web1-2" and "\n" not in board.read().silent


def test_the_offset_is_the_median_of_answers_dated_at_half_of_their_way() -> None:
    times = iter([100.0, 100.2, 200.0, 209.0, 300.0, 300.2])
    answers = iter([90_100, 190_000, 290_100])
    assert offset_ms(lambda: next(answers), lambda: next(times)) == 10_000


# What others make of them


@pytest.mark.parametrize(
    ("row", "ended", "state"),
    [
        (line("a"), False, NodeState.SERVING),
        (line("a", silent="its clock"), False, NodeState.SILENT),
        (line("a", seen=NOW - 16_001), False, NodeState.UNSEEN),
        (line("a", seen=NOW + 3_600_000), False, NodeState.UNSEEN),
        (line("a", seen=NOW - 16_001, silent="its clock"), False, NodeState.UNSEEN),
        (line("a"), True, NodeState.ENDED),
        (line("a", left=NOW), True, NodeState.STOPPED),
    ],
)
def test_how_a_node_stands(row: NodeLine, ended: bool, state: NodeState) -> None:
    assert state_of(row, NOW, lambda _: ended) is state


def test_nodes_that_do_not_know_a_schema_are_found_while_they_run(bank: Bank) -> None:
    rows = [
        line("old"),
        line("new", newest="0030"),
        line("old-left", left=NOW),
        line("old-gone", seen=NOW - 60_000),
        line("old-ahead", seen=NOW + 60_001),
    ]
    with bank.store.derive() as connection:
        for row in rows:
            put(connection, row)
        assert [one.name for one in seen_below(connection, "0030", NOW)] == ["old"]
        assert [one.name for one in seen_below(connection, "0030", NOW, within_ms=60_000)] == ["old", "old-gone"]
        assert seen_below(connection, "0022", NOW) == []


def test_rows_of_nodes_that_are_gone_are_kept_for_a_week(bank: Bank) -> None:
    with bank.store.derive() as connection:
        ages = {"young": -KEPT_MS, "old": -KEPT_MS - 1, "of a clock that was ahead": KEPT_MS + 1}
        for name, age in ages.items():
            put(connection, line(name, seen=NOW + age))
        tidy(connection, NOW)
    assert [one.name for one in known(bank)] == ["young"]


# Tags of audit ids


def test_each_process_of_each_node_has_a_tag_of_its_own_and_gives_it_back(bank: Bank) -> None:
    one, two = join(bank.store, "web1", "1", 30), join(bank.store, "web2", "1", 30)
    assert len({*one.tags, *two.tags}) == 60 and max(*one.tags, *two.tags) < LENT_TAGS
    leave(bank.store, one)
    three = join(bank.store, "web3", "1", LENT_TAGS)
    assert len(three.tags) == LENT_TAGS - 30 and not {*three.tags} & {*two.tags}, "as many as are free"
    assert join(bank.store, "web4", "1", 2).tags == (), "then its processes draw"


def test_tags_of_a_node_that_is_not_seen_are_free_after_ten_minutes(bank: Bank) -> None:
    assert len(join(bank.store, "web1", "1", 5).tags) == 5
    with bank.store.derive() as connection:
        (row,) = nodes(connection)
        for later, taken in ((LENT_MS, 5), (LENT_MS + 1, 0)):
            lend_tags(connection, row.run, 0, row.seen_at + later)
            assert connection.exec_driver_sql("SELECT count(*) FROM id_tag").scalar_one() == taken
