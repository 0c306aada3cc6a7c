"""A store in PostgreSQL that has lost what came last: who notices, and what `sekisho store recovered` does. From a real
base backup and archive: tests/journeys/test_recovery.py. Here entries are taken away by hand.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select

from otp_core.audit import Event, ms_of
from otp_core.clock import ClockSetBack
from otp_core.model import Kind, StoreProblem, TokenSpec
from otp_core.otp import RESYNC_NEEDED
from otp_core.store.mark import Mark, read_mark
from otp_core.store.put_back import lost_time, open_acts
from otp_core.store.queries import newest_audit_id
from otp_core.store.recovered import Order, RecoveryWatch, check_mark, missing_entry, recover, refuse_wrong_clock
from otp_core.store.schema import audit, session
from tests import postgresql
from tests.core.bank import NOON, STAFF, Bank

NOW = int(NOON * 1000)


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    made = Bank(tmp_path, database_url=postgresql.store_in(tmp_path))
    yield made
    made.store.engine.dispose()


def started(bank: Bank) -> Mark:
    """The mark of a node that has begun to serve, and has seen all that there is."""
    watch = RecoveryWatch(bank.store)
    watch.begin()
    assert watch.look() == watch.look() == 0
    watch.close()
    mark = read_mark(bank.store.beside)
    assert mark is not None
    return mark


def lose(bank: Bank, newest: int) -> None:
    """Take away all entries behind this one."""
    with bank.store.database.write() as connection:
        connection.execute(delete(audit).where(audit.c.id > newest))


def newest(bank: Bank) -> int:
    with bank.store.read() as connection:
        return newest_audit_id(connection)


def order(now: int = NOW, **more: object) -> Order:
    return Order(now, 1, "hanako", "cli", **more)  # type: ignore[arg-type]


def test_a_store_that_lacks_what_a_node_knew_is_not_served_before_somebody_has_seen_to_it(bank: Bank) -> None:
    bank.customer()
    before = newest(bank)
    bank.clock.now += 60
    bank.customer("jiro", "VSMT00000002")
    assert started(bank).newest_id == newest(bank) > before
    assert check_mark(bank.store) is None
    lose(bank, before)
    watch = RecoveryWatch(bank.store)
    with pytest.raises(StoreProblem, match=r"lacks an entry of the audit trail .* run `sekisho store recovered`"):
        watch.begin()
    watch.close()
    assert "was recovered to an earlier moment" in (check_mark(bank.store) or "")
    recover(bank.store, order(NOW + 61_000))
    assert check_mark(bank.store) is None
    assert started(bank).newest_id == newest(bank)


def test_one_that_serves_says_so_and_leaves_its_mark_where_it_is(bank: Bank) -> None:
    bank.customer()
    before = newest(bank)
    bank.customer("jiro", "VSMT00000002")
    watch = RecoveryWatch(bank.store)
    watch.begin()
    last = newest(bank)
    lose(bank, before)
    bank.customer("saburo", "VSMT00000003")  # later entries hide nothing
    assert watch.look() == watch.look() == last
    recover(bank.store, order(NOW + 1000))
    assert watch.look() == watch.look() == 0
    watch.close()


def test_what_is_no_loss_is_not_taken_for_one(bank: Bank) -> None:
    bank.customer()
    mark = started(bank)
    bank.clock.now += 60
    bank.customer("jiro", "VSMT00000002")
    with bank.store.read() as connection:
        assert missing_entry(connection, None) == 0
        assert missing_entry(connection, mark._replace(newest_id=0)) == 0
        assert missing_entry(connection, mark._replace(newest_id=mark.newest_id + 1)) == mark.newest_id + 1
        assert missing_entry(connection, Mark("0" * 32, mark.newest_id + 1)) == 0, "the mark is another store's"
    with bank.store.database.write() as connection:
        connection.execute(delete(audit).where(audit.c.id <= mark.newest_id))
    with bank.store.read() as connection:
        assert missing_entry(connection, mark) == 0, "it was exported and dropped"


def test_whatever_may_have_been_used_is_void_and_what_staff_did_is_listed(bank: Bank) -> None:
    taro = bank.customer(spec=TokenSpec(period=60))
    bank.customer("jiro", "VSMT00000002", spec=TokenSpec(Kind.HOTP))
    before = newest(bank)
    bank.clock.now += 60
    bank.desk.customers.lock("taro", STAFF)
    lost = newest(bank)
    lose(bank, before)
    bank.clock.now += 60
    now = int(bank.clock.now * 1000)
    done = recover(bank.store, order(now, counter_reserve=7, reason="drill"))
    assert done.as_of_id == before and done.voided is not None
    assert (done.voided.timed, done.voided.counters) == (1, 1)
    assert [(act.id, act.event) for act in done.acts] == [(lost, Event.CUSTOMER_LOCKED)]
    assert bank.own_token("taro").last_step == taro.step() + 1, "in its own period, and the window"
    counter = bank.own_token("jiro")
    assert (counter.last_step, counter.drift) == (-1 + 7, RESYNC_NEEDED)
    (row,) = bank.audit(event=Event.STORE_RECOVERED)
    assert row.actor == "hanako" and row.reason.startswith("drill; ") and ", as of " in row.reason
    assert row.id > lost and ms_of(row.id) >= now
    with bank.store.read() as connection:
        assert connection.execute(select(func.count()).select_from(session)).scalar() == 0

    again = recover(bank.store, order(now + 1000))
    assert again.voided is None and again.acts == done.acts
    assert bank.own_token("jiro").last_step == 6, "nothing has happened in between"
    assert recover(bank.store, order(now + 2000, counter_reserve=7, again=True)).voided is not None
    assert bank.own_token("jiro").last_step == 13
    bank.customer("saburo", "VSMT00000003")
    assert recover(bank.store, order(now + 3000)).voided is not None, "it was used in between"


def test_it_is_all_or_nothing(bank: Bank) -> None:
    bank.customer()
    rows, trail = bank.rows(), bank.audit()

    def interrupted(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recover(bank.store, order(), advance=interrupted)
    assert (bank.rows(), bank.audit()) == (rows, trail)


def test_a_clock_behind_what_is_known_is_refused(bank: Bank) -> None:
    bank.customer()
    with pytest.raises(ClockSetBack, match="--trust-clock"):
        recover(bank.store, order(NOW - 3_600_000))
    assert recover(bank.store, order(NOW - 3_600_000, trust_clock=True)).voided is not None


def test_a_clock_that_the_database_contradicts_is_refused(bank: Bank) -> None:
    """A machine that has no mark knows no entry of the lost time, by which it would be noticed."""
    now = int(time.time() * 1000)
    refuse_wrong_clock(bank.store, now - 25_000)
    for off, words in ((-3_600_000, "s behind the database's"), (3_600_000, "s ahead of the database's")):
        with pytest.raises(ClockSetBack, match=f"{words}.* add --trust-clock"):
            refuse_wrong_clock(bank.store, now + off)


def test_acts_that_were_entered_again_are_not_listed_any_more(bank: Bank) -> None:
    bank.customer()
    before = newest(bank)
    bank.clock.now += 60
    bank.desk.customers.lock("taro", STAFF)
    lose(bank, before)
    with bank.store.database.write() as connection:
        connection.exec_driver_sql("UPDATE customer SET locked_at = NULL")
    recover(bank.store, order(NOW + 61_000))
    with bank.store.read() as connection:
        lost = lost_time(connection)
        assert lost is not None and len(open_acts(connection, lost, bank.store.acts)) == 1
    bank.clock.now += 60
    bank.desk.customers.lock("taro", STAFF)
    with bank.store.read() as connection:
        assert open_acts(connection, lost, bank.store.acts) == []
