"""Somebody else was faster: an act is run again as a whole, and nothing of the first run stays.

SQLite's write lock lets no conflict happen, so two other engines stand in here: one whose COMMIT fails, and one that
takes no lock before its first write, as databases with optimistic concurrency do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from otp_core.accounts import Act, Desk, Receipt, Refusal, Refused, ReissuePermit
from otp_core.accounts.transactions import MOST_RUNS
from otp_core.audit import Event
from otp_core.model import Conflict, LoginRecord, OtpUse
from otp_core.store.sqlite import driver
from otp_core.store.store import Store
from otp_core.store.unit_of_work import Work
from tests.core.bank import STAFF, Bank, Holder, rules
from tests.core.desk_acts import CALLS, LIMITS, NEW, TARO, scene
from tests.core.test_permissions import EVERYBODY, EXPECTED


class FailingCommits(Store):
    """A store whose next ``conflicts`` commits raise Conflict."""

    conflicts = 0
    runs = 0

    @contextmanager
    def _transaction(self, stamp: Callable[[], int] | None) -> Iterator[Work]:
        with super()._transaction(stamp) as work:
            yield work
            self.runs += 1
            if self.conflicts:
                self.conflicts -= 1
                raise Conflict("somebody else was faster")


class Optimistic(Store):
    """A store whose transactions read a snapshot and take the write lock with their first write: a conflict, if anybody
    has committed by then. ``meanwhile`` is called once, when a transaction has read a customer."""

    meanwhile: Callable[[], object] | None = None
    conflicts = 0

    @contextmanager
    def work(self) -> Iterator[Work]:
        with self.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN DEFERRED")
            try:
                yield _Interrupted(self, connection)
                connection.exec_driver_sql("COMMIT")
            except BaseException as error:
                opened: Any = connection.connection.driver_connection
                opened.rollback()
                code = getattr(error.orig, "sqlite_errorcode", 0) if isinstance(error, DBAPIError) else 0
                if code & 0xFF == driver.SQLITE_BUSY:  # pysqlite3 does not say SQLITE_BUSY_SNAPSHOT
                    self.conflicts += 1
                    raise Conflict("somebody has committed since this was read") from error
                raise


class _Interrupted(Work):
    def __init__(self, store: Optimistic, connection: Any) -> None:
        super().__init__(connection, store.ids)
        self._store = store

    def login_record(self, contract_id: str) -> LoginRecord | None:
        record = super().login_record(contract_id)
        meanwhile, self._store.meanwhile = self._store.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return record


def on(store: Store, bank: Bank) -> Desk:
    return Desk(store, bank.evaluator, bank.guarded.now)


def failing(bank: Bank, conflicts: int) -> FailingCommits:
    store = FailingCommits(bank.url, bank.key_file, ids=bank.store.ids, busy_seconds=5.0)
    store.conflicts = conflicts
    return store


def numbers(bank: Bank) -> dict[str, int]:
    return {table: len(rows) for table, rows in bank.rows().items()}


@pytest.mark.parametrize("act", list(Act))
def test_an_act_that_meets_a_conflict_is_run_again_and_leaves_one_run(tmp_path: Path, act: Act) -> None:
    plain, at = scene(tmp_path / "plain", act), scene(tmp_path / "conflict", act)
    who = EVERYBODY[EXPECTED[act].split()[-1]]
    CALLS[act](plain.bank.desk, plain, who)
    store = failing(at.bank, conflicts=1)
    result = CALLS[act](on(store, at.bank), at, who)
    assert store.runs == (3 if act is Act.FIND_TOKEN else 2), "what was looked at is written down by itself"
    assert numbers(at.bank) == numbers(plain.bank)
    trail = at.bank.audit()
    assert [(row.event, row.actor, row.customer) for row in trail] == [
        (row.event, row.actor, row.customer) for row in plain.bank.audit()
    ]
    if isinstance(result, Receipt):
        assert result.reference == trail[-1].id, "the result is that of the run that was committed"


@pytest.mark.parametrize("act", list(Act))
def test_an_act_that_meets_conflicts_only_raises_the_last_and_leaves_nothing(tmp_path: Path, act: Act) -> None:
    at = scene(tmp_path, act)
    store, before, trail = failing(at.bank, conflicts=MOST_RUNS), at.bank.rows(), at.bank.audit()
    with pytest.raises(Conflict):
        CALLS[act](on(store, at.bank), at, EVERYBODY[EXPECTED[act].split()[-1]])
    assert store.runs == MOST_RUNS
    assert (at.bank.rows(), at.bank.audit()) == (before, trail)


def test_a_session_is_updated_in_a_second_run(tmp_path: Path) -> None:
    at = scene(tmp_path, Act.END_SESSION)
    store = failing(at.bank, conflicts=1)
    assert on(store, at.bank).sessions.update(at.session, lambda data: {**data, "stage": "/x"})
    assert store.runs == 2


def test_a_refused_act_is_recorded_and_counted_once(tmp_path: Path) -> None:
    at = scene(tmp_path, Act.SUSPEND)
    store = failing(at.bank, conflicts=3)
    with pytest.raises(Refused) as caught:
        on(store, at.bank).enrolment.suspend("taro", wrong(at.taro), TARO)
    assert caught.value.refusal is Refusal.WRONG_CODE
    assert at.bank.login_record().failures == 1
    assert [row.event for row in at.bank.audit(event=Event.REFUSED)] == [Event.REFUSED]


def wrong(holder: Holder) -> str:
    shown = {holder.code(away) for away in range(-3, 4)}
    return next(text for text in map("{:06d}".format, range(900_000, 900_100)) if text not in shown)


# Two acts, one in the middle of the other.


def interrupted(bank: Bank, meanwhile: Callable[[Desk], object]) -> tuple[Optimistic, Desk]:
    """A desk in the middle of whose next act another desk does something."""
    store = Optimistic(bank.url, bank.key_file, ids=bank.store.ids, busy_seconds=5.0)
    store.meanwhile = lambda: meanwhile(bank.desk)
    return store, on(store, bank)


@pytest.mark.sqlite_files
def test_no_wrong_code_is_lost(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(lock_after=100))
    taro = bank.customer()

    def fail(desk: Desk) -> None:
        with pytest.raises(Refused):
            desk.enrolment.suspend("taro", wrong(taro), TARO)

    store, desk = interrupted(bank, fail)
    fail(desk)
    assert store.conflicts == 1
    assert bank.login_record().failures == 2
    assert len(bank.audit(event=Event.REFUSED)) == 2


@pytest.mark.sqlite_files
def test_a_second_run_decides_on_what_it_finds(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    store, desk = interrupted(bank, lambda other: other.customers.lock("taro", STAFF))
    with pytest.raises(Refused, match="locked already"):
        desk.customers.lock("taro", STAFF)
    assert store.conflicts == 1
    assert [row.event for row in bank.audit()][-2:] == [Event.CUSTOMER_LOCKED, Event.REFUSED]


@pytest.mark.sqlite_files
def test_of_two_acts_with_one_code_the_second_run_finds_it_used(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    session = bank.desk.sessions.begin(b"t" * 32, "taro", {}, LIMITS, TARO)
    store, desk = interrupted(bank, lambda other: other.devices.give_old_code("taro", taro.code(), session, 300, TARO))
    with pytest.raises(Refused) as caught:
        desk.enrolment.suspend("taro", taro.code(), TARO)
    assert caught.value.refusal is Refusal.REUSED_CODE
    assert store.conflicts == 1
    assert (bank.login_record().otp_use, bank.login_record().failures) == (OtpUse.ACTIVE, 0)


@pytest.mark.sqlite_files
def test_of_two_permits_made_at_once_the_later_one_is_good(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.LOST)
    new, first = bank.token(NEW), []
    store, desk = interrupted(bank, lambda other: first.append(other.enrolment.permit_reissue("taro", STAFF)))
    second = desk.enrolment.permit_reissue("taro", STAFF)
    assert store.conflicts == 1
    (early,) = first
    assert isinstance(early, ReissuePermit)
    with pytest.raises(Refused) as caught:
        bank.desk.enrolment.change_by_permit("taro", early.text, NEW, new.code(), TARO)
    assert caught.value.refusal is Refusal.WRONG_PERMIT
    bank.desk.enrolment.change_by_permit("taro", second.text, NEW, new.code(), TARO)


@pytest.mark.sqlite_files
def test_of_two_changes_of_the_device_one_binds_its_token(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro, new, other_new = bank.customer(), bank.token(NEW), bank.token("VSMT00000098")
    store, desk = interrupted(bank, lambda other: other.devices.change("taro", taro.code(1), NEW, new.code(), TARO))
    with pytest.raises(Refused) as caught:
        desk.devices.change("taro", taro.code(), other_new.token_id, other_new.code(), TARO)
    assert caught.value.refusal is Refusal.WRONG_CODE, "it is not the code of the token that is bound by then"
    assert store.conflicts == 1
    assert bank.login_record().token_id == NEW
    assert bank.token_line(other_new.token_id).state == "available"


@pytest.mark.sqlite_files
@pytest.mark.parametrize("most", [2, 3])
def test_two_tokens_added_at_once_never_are_more_than_there_is_room_for(tmp_path: Path, most: int) -> None:
    bank = Bank(tmp_path, rules(tokens_per_customer=most))
    taro, one, other = bank.customer(), bank.token(NEW), bank.token("VSMT00000098")
    store, desk = interrupted(bank, lambda other: other.devices.add("taro", taro.code(0), NEW, one.code(), TARO))
    with nullcontext() if most == 3 else pytest.raises(Refused, match="2 of 2"):
        desk.devices.add("taro", taro.code(1), other.token_id, other.code(), TARO)
    assert store.conflicts == 1
    assert len(bank.login_record().tokens) == most
    assert bank.token_line(other.token_id).state == ("bound" if most == 3 else "available")


@pytest.mark.sqlite_files
def test_of_two_removals_at_once_one_token_is_left(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(tokens_per_customer=2))
    taro = bank.customer()
    bank.another_token(NEW)
    store, desk = interrupted(bank, lambda other: other.devices.remove("taro", None, taro.token_id, STAFF))
    with pytest.raises(Refused, match="it is the only token"):
        desk.devices.remove("taro", None, NEW, STAFF)
    assert store.conflicts == 1
    assert bank.login_record().token_id == NEW


# The conditions in the SQL, for an engine that finds no conflict by itself.


def test_a_count_and_a_lock_are_set_only_over_those_that_were_read(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    read = bank.login_record()
    with bank.store.work() as work:
        assert work.set_failures(read, 1, 1000, None)
        assert not work.set_failures(read, 1, 1000, None), "the count that was read is gone"
    counted = bank.login_record()
    with bank.store.work() as work:
        assert work.set_failures(counted, 1, 1000, 2000)
        assert not work.set_failures(counted, 0, 0, None), "they were locked meanwhile"
    assert bank.login_record().locked_at == 2000


def test_a_permit_replaces_only_the_one_that_was_read(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.in_state(OtpUse.LOST)
    key = bank.login_record().customer_key
    with bank.store.work() as work:
        assert work.permit_digest(key) is None
        assert work.put_permit(key, None, 1, 1000)
    with bank.store.work() as work:
        assert not work.put_permit(key, 2, 3, 1000)
        assert work.put_permit(key, 1, 3, 1000)
        assert work.permit_digest(key) == 3
    with pytest.raises(Conflict), bank.store.work() as work:
        work.put_permit(key, None, 4, 1000)
