"""The clocks of nodes: which one is believed, and what each start is measured by. On PostgreSQL, which has a clock of
its own; a store in a file has one machine's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from otp_core.audit import Ids, id_at
from otp_core.clock import Anchor, ClockOff, ClockWrong, GuardedClock
from otp_core.nodes.board import NodeBoard
from otp_core.nodes.clocks import STEP_MS, ClockState, state_of
from otp_core.nodes.keeper import NodeKeeper, NodeTeller
from otp_core.nodes.registration import join
from otp_core.store.nodes import NodeLine, nodes, put
from otp_core.store.store import Store
from otp_core.timekeeper import KEEP_MS, Timekeeper, trust_present_time
from tests import postgresql
from tests.core.bank import Bank, rules
from tests.fakes import HandClock, HandKernel

OFF = STEP_MS + 1


@pytest.mark.parametrize(
    ("offset", "others", "state"),
    [
        (0, [], ClockState.RIGHT),
        (STEP_MS, [0, 0], ClockState.RIGHT),
        (-STEP_MS, [0, 0], ClockState.RIGHT),
        (0, [OFF, OFF], ClockState.RIGHT),
        (OFF, [], ClockState.DOUBTED),
        (-OFF, [], ClockState.DOUBTED),
        (OFF, [0], ClockState.WRONG),
        (-OFF, [0], ClockState.WRONG),
        (OFF, [1], ClockState.DOUBTED),
        (OFF, [0, OFF], ClockState.DOUBTED),
        (OFF, [0, 0, OFF], ClockState.WRONG),
        (OFF, [-OFF, 0, OFF], ClockState.WRONG),
        (OFF, [OFF, OFF, 0], ClockState.DOUBTED),
    ],
)
def test_a_clock_is_wrong_where_the_database_and_most_other_nodes_say_so(
    offset: int, others: Sequence[int], state: ClockState
) -> None:
    assert state_of(offset, others) is state


class Web:
    """The node web1 beside others, with a clock that is moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.bank = Bank(folder, database_url=postgresql.store_in(folder))
        self.ahead = 0.0
        self.store = self.opened("web1")
        self.entered = join(self.store, "web1", "1")
        self.board = NodeBoard("web1", 1)
        self.clock = GuardedClock(lambda: time.time() + self.ahead)
        self.teller = NodeTeller(
            self.store, self.board, self.entered, lambda: time.time() + self.ahead, lambda: int(time.time() * 1000)
        )
        self.keeper = NodeKeeper(self.board, 0, lambda: 3, self.clock, self.teller)

    def opened(self, name: str, machine: str = "machine") -> Store:
        """The store once more, as a node of this name opens it."""
        ids = Ids(self.bank.clock, 7)
        return Store(self.bank.url, self.bank.key_file, ids=ids, busy_seconds=1.0, place=(machine, name))

    def others(self, *offsets: int) -> None:
        with self.store.derive() as connection:
            (own,) = (one for one in nodes(connection) if one.name == "web1")
            for number, offset in enumerate(offsets):
                name = f"other{number}"
                put(connection, own._replace(name=name, configured=name, run=number, clock_offset=offset))

    def look(self) -> NodeLine:
        """As a second passes; the node's own row."""
        self.teller.beat()
        self.keeper.look()
        with self.store.read() as connection:
            return next(one for one in nodes(connection) if one.name == "web1")


@pytest.fixture
def web(tmp_path: Path) -> Web:
    return Web(tmp_path)


def test_a_node_whose_clock_is_wrong_is_silent_until_it_is_right(web: Web, capsys: pytest.CaptureFixture[str]) -> None:
    timekeeper = Timekeeper(web.store, web.clock, HandKernel(HandClock(0), held=True), rules())
    web.others(0, 2000)
    assert web.look().silent is None
    web.clock.now()
    web.ahead = 100.0
    row = web.look()
    assert row.silent == "the clock stands 100 s ahead of the database's and most other nodes'"
    assert row.clock_offset is not None and abs(row.clock_offset - 100_000) < 5_000
    with pytest.raises(ClockOff, match="Check the time service of this machine"):
        web.clock.now()
    timekeeper.look()
    assert "no login is answered" in capsys.readouterr().out
    web.ahead = 200.0
    assert web.look().silent == row.silent, "causes are counted by their words"
    timekeeper.look()
    assert capsys.readouterr().out == "", "it is told once, and the kernel's word does not outdo it"
    web.ahead = 1.0
    assert web.look().silent is None
    web.clock.now()
    timekeeper.look()
    assert "believed again" in capsys.readouterr().out


def test_where_the_others_are_off_as_well_the_database_may_be_wrong(
    web: Web, capsys: pytest.CaptureFixture[str]
) -> None:
    web.others(-100_000, -101_000, 0)
    web.ahead = -100.0
    assert web.look().silent is None
    web.clock.now()
    assert "which clock is right" in capsys.readouterr().out
    web.look()
    assert capsys.readouterr().out == "", "not every few seconds"


def test_a_node_that_is_not_seen_has_no_voice(web: Web) -> None:
    web.others(0, 0)
    with web.store.derive() as connection:
        for one in nodes(connection):
            if one.name != "web1":
                put(connection, one._replace(seen_at=one.seen_at - 60_000))
    web.ahead = 100.0
    assert web.look().silent is None


def test_a_database_whose_clock_was_set_back_silences_nobody(web: Web) -> None:
    """The first node that asks it is off, and what the others have said was said by the clock of before."""
    web.look()
    web.others(0, 0)
    with web.store.derive() as connection:
        for one in nodes(connection):
            put(connection, one._replace(seen_at=one.seen_at + 100_000))
    web.ahead = 100.0
    assert web.look().silent is None


# What a start is measured by


def known(web: Web, name: str, machine: str = "machine") -> tuple[int, Anchor | None]:
    store = web.opened(name, machine)
    with store.read() as connection:
        return store.time.known(connection)


def test_one_node_whose_clock_was_ahead_does_not_keep_the_others_from_starting(web: Web) -> None:
    now = int(time.time() * 1000)
    with web.store.work() as work:
        work.connection.exec_driver_sql(
            "INSERT INTO audit (id, event, actor, source, reason) VALUES (%s, 'x', 'x', '', '')",
            (id_at(now + 3_600_000),),
        )
    web.look()
    assert abs(known(web, "web1")[0] - now) < 60_000
    assert abs(known(web, "never seen")[0] - now) < 60_000
    store = web.opened("fast")
    ahead = now + 3_600_000
    fast = NodeTeller(store, NodeBoard("fast", 1), join(store, "fast", "1"), believed=lambda: ahead)
    fast.beat()
    assert known(web, "fast")[0] == ahead
    assert abs(known(web, "web1")[0] - now) < 60_000
    assert abs(known(web, "fast", "another machine")[0] - now) < 60_000, "it is another clock"


def test_a_clock_that_is_not_believed_leaves_no_mark(web: Web) -> None:
    web.others(0)
    web.look()
    before = known(web, "web1")
    web.ahead = 3600.0
    web.look()
    assert known(web, "web1") == before


def test_the_anchor_and_the_operators_word_are_of_one_machine(web: Web) -> None:
    kernel = HandKernel(HandClock(time.time()))
    clock = GuardedClock(kernel.clock, kernel=kernel)
    keeper = Timekeeper(web.store, clock, kernel, rules())
    keeper.look()
    assert known(web, "web1")[1] == clock.anchor()
    assert known(web, "web2")[1] is None
    kernel.step(3600)
    keeper.look()
    with pytest.raises(ClockWrong):
        clock.now()
    trust_present_time(web.store, clock, rules(), actor="staff", reason="the wall")
    latest, anchor = known(web, "web1")
    assert anchor == clock.anchor() and latest == anchor.at
    kernel.pass_time(KEEP_MS / 1000)
    assert known(web, "web2")[1] is None
