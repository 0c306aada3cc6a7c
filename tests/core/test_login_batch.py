"""The login batch: a batch of logins as one transaction, written where what was read still holds."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, update

from otp_core.audit import NodeName
from otp_core.login.requests import Decision, Facts, StepUpdate
from otp_core.model import (
    Accept,
    Challenge,
    Conflict,
    Reject,
    StoreUnavailable,
    TokenState,
)
from otp_core.store.schema import profile
from otp_core.store.sqlite import driver
from otp_core.store.sqlite.connection import SharedCommits
from otp_core.store.sqlite.login_batch import SqliteLoginBatch
from otp_core.store.sqlite.turn import Turn
from tests.core.bank import NOON, STAFF, Bank, rules
from tests.core.batches import (
    code_request,
    completed,
    first_round,
    login_batch_of,
    maintenance_of,
    reader_of,
    run_batch,
    second_round,
)
from tests.core.faulty import no_way_back, read_only
from tests.examples import examples


def test_a_batch_writes_what_was_decided_and_nothing_else(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(lock_after=2))
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")
    now = int(NOON * 1000)
    with login_batch_of(bank) as login_batch:
        verdicts = run_batch(
            bank,
            login_batch,
            [code_request(taro, taro.code(1), 99), code_request(jiro, "000000", 88), first_round(jiro)],
        )
    assert [type(verdict) for verdict in verdicts] == [Accept, Reject, Challenge]
    one, other = bank.login_record("taro"), bank.login_record("jiro")
    (own,) = one.tokens
    assert (own.last_step, own.drift, own.last_fingerprint, own.last_at) == (
        taro.step(1),
        1,
        99,
        now,
    )
    assert (other.failures, other.failed_at, other.failed_fingerprint, other.locked_at) == (1, now, 88, None)
    assert isinstance(verdicts[2], Challenge)
    assert bank.rows()["challenge"] == [
        (verdicts[2].state, other.customer_key, "gateway", now + 120_000, 3, 77, None, None)
    ]
    assert [row[1:7] for row in bank.audit(actor="gateway")] == [
        ("login.accepted", "gateway", "taro", "VSMT00000001", "192.0.2.1", "right code"),
        ("login.rejected", "gateway", "jiro", "VSMT00000002", "192.0.2.1", "wrong code"),
        ("login.challenged", "gateway", "jiro", "VSMT00000002", "", "password right, code not given yet"),
    ]


def test_one_batch_accepts_a_customer_and_locks_them(tmp_path: Path) -> None:
    """A lock touches the customer's tokens (PostgreSQL: by a trigger); the code was accepted on the token as read."""
    bank = Bank(tmp_path, rules(lock_after=2))
    taro = bank.customer()
    requests = [code_request(taro, code, number) for number, code in enumerate([taro.code(), "000000", "000001"])]
    evaluations = 0

    def evaluate(facts: Facts) -> Decision:
        nonlocal evaluations
        evaluations += 1
        return bank.evaluator.evaluate(requests, facts, bank.guarded.now(), bank.store.ids)

    with login_batch_of(bank) as login_batch:
        decision = completed(login_batch.run(["taro"], [], evaluate))
    assert [type(verdict) for verdict in decision.verdicts] == [Accept, Reject, Reject]
    assert evaluations == 1
    record = bank.login_record("taro")
    (own,) = record.tokens
    assert (own.last_step, record.failures) == (taro.step(), 2)
    assert record.locked_at is not None


def test_a_challenge_is_taken_out_by_its_answer(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    with login_batch_of(bank) as login_batch:
        (asked,) = run_batch(bank, login_batch, [first_round(taro)])
        assert isinstance(asked, Challenge)
        assert run_batch(bank, login_batch, [second_round(taro, asked.state, taro.code())]) == [Accept()]
    assert bank.rows()["challenge"] == []


@settings(max_examples=examples(25), deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["taro", "jiro", "saburo"]),
                st.sampled_from(["code", "code", "first", "second"]),
                st.sampled_from([0, 0, 1, -1, 9]),
            ),
            min_size=1,
            max_size=6,
        ),
        max_size=6,
    )
)
def test_what_the_evaluator_believes_after_a_batch_is_what_the_store_knows(
    batches: list[list[tuple[str, str, int]]],
) -> None:
    """So the next batch is evaluated as if it had been part of this one."""
    with tempfile.TemporaryDirectory() as folder:
        bank = Bank(Path(folder), rules(lock_after=3, one_customer_per_token=False))
        holders = {who: bank.customer(who, "VSMT00000002" if who != "taro" else "VSMT00000001") for who in BORN}
        states = [b"none"]
        with login_batch_of(bank) as login_batch:
            for batch in batches:
                requests = []
                for who, kind, away in batch:
                    one = holders[who]
                    match kind:
                        case "code":
                            requests.append(code_request(one, one.code(away)))
                        case "first":
                            requests.append(first_round(one))
                        case _:
                            requests.append(second_round(one, states[-1], one.code(away)))
                facts: list[Facts] = []
                verdicts = run_batch(bank, login_batch, requests, facts)
                states += [verdict.state for verdict in verdicts if isinstance(verdict, Challenge)]
                for who, believed in facts[0].records.items():
                    known = bank.login_record(who)
                    if not known.failures:
                        believed = replace(believed, failed_at=0, failed_fingerprint=0)
                    assert believed == known
                bank.clock.now += 20
        assert len(bank.audit(actor="gateway")) == sum(map(len, batches)) + len(bank.audit(event="customer.locked"))


BORN = ["taro", "jiro", "saburo"]


def test_a_decision_that_the_store_refuses_is_not_kept_in_any_part(tmp_path: Path) -> None:
    """Another node spent one of the codes: the others' changes must not stay either."""
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")
    with login_batch_of(bank) as login_batch:
        (asked,) = run_batch(bank, login_batch, [first_round(taro)])
        assert isinstance(asked, Challenge)
        before, trail = bank.rows(), bank.audit()

        def spent_elsewhere(facts: Facts) -> Decision:
            requests = [code_request(jiro, "000000"), second_round(taro, asked.state, taro.code()), first_round(jiro)]
            decision = bank.evaluator.evaluate(requests, facts, bank.guarded.now(), bank.store.ids)
            decision.step_updates = [*decision.step_updates, *decision.step_updates]
            return decision

        with pytest.raises(Conflict):
            completed(login_batch.run(["taro", "jiro"], [asked.state], spent_elsewhere))
        assert (bank.rows(), bank.audit()) == (before, trail)
        assert run_batch(bank, login_batch, [second_round(taro, asked.state, taro.code())]) == [Accept()], (
            "and the login batch goes on"
        )


@pytest.mark.parametrize("state", [TokenState.LOST, TokenState.RETIRED])
def test_no_code_of_a_token_that_is_not_bound_is_ever_spent(tmp_path: Path, state: TokenState) -> None:
    """Whatever was decided: the condition stands in the statement itself."""
    bank = Bank(tmp_path)
    bank.customer()
    key = bank.own_token().key
    assert key is not None
    with bank.store.work() as work:
        work.set_token_state(key, TokenState.BOUND, state)
    before = bank.rows()
    with login_batch_of(bank) as login_batch, pytest.raises(Conflict):
        completed(login_batch.run(["taro"], [], lambda _: Decision(step_updates=[StepUpdate(10, 0, 0, 0, key, -1)])))
    assert bank.rows() == before


@pytest.mark.parametrize("step", [9, 10])
def test_no_step_is_spent_that_is_not_beyond_the_last_one(tmp_path: Path, step: int) -> None:
    """Whatever was decided: the condition stands in the statement itself."""
    bank = Bank(tmp_path)
    bank.customer()
    key = bank.own_token().key
    assert key is not None
    with login_batch_of(bank) as login_batch:
        completed(login_batch.run(["taro"], [], lambda _: Decision(step_updates=[StepUpdate(10, 0, 0, 0, key, -1)])))
        before = bank.rows()
        with pytest.raises(Conflict):
            completed(
                login_batch.run(["taro"], [], lambda _: Decision(step_updates=[StepUpdate(step, 0, 0, 0, key, 10)]))
            )
    assert bank.rows() == before


@pytest.mark.sqlite_files
def test_every_transaction_but_a_login_batch_changes_what_other_processes_look_at(tmp_path: Path) -> None:
    """The key's name is known to other versions, too, while workers are replaced one by one."""
    bank = Bank(tmp_path)
    taro = bank.customer()

    def changed() -> list[tuple[bytes]]:
        with contextlib.closing(driver.connect(bank.database)) as connection:
            return connection.execute("SELECT value FROM meta WHERE name = 'changed'").fetchall()

    before = changed()
    assert len(before) == 1
    with login_batch_of(bank) as login_batch:
        run_batch(bank, login_batch, [code_request(taro, taro.code())])
    assert changed() == before
    bank.desk.customers.lock("taro", STAFF)
    assert len(changed()) == 1 and changed() != before


def test_an_evaluator_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    before, trail = bank.rows(), bank.audit()

    def fail(facts: Facts) -> Decision:
        raise RuntimeError("poison")

    with login_batch_of(bank) as login_batch:
        with pytest.raises(RuntimeError, match="poison"):
            completed(login_batch.run(["taro"], [], fail))
        assert (bank.rows(), bank.audit()) == (before, trail)
        with bank.open_store(0.01).work():
            pass  # the write lock is free again
        assert run_batch(bank, login_batch, [code_request(taro, taro.code())]) == [Accept()]


def test_a_batch_that_the_database_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    before, trail = bank.rows(), bank.audit()

    def twice(facts: Facts) -> Decision:
        decision = bank.evaluator.evaluate([code_request(taro, taro.code())], facts, bank.guarded.now(), bank.store.ids)
        decision.audit = [*decision.audit, *decision.audit]
        return decision

    with login_batch_of(bank) as login_batch:
        with pytest.raises(StoreUnavailable, match=r"UNIQUE constraint failed|unique constraint"):
            completed(login_batch.run(["taro"], [], twice))
        assert (bank.rows(), bank.audit()) == (before, trail)
        assert run_batch(bank, login_batch, [code_request(taro, taro.code())]) == [Accept()]


@pytest.mark.sqlite_files
def test_the_login_batch_waits_for_no_lock_longer_than_it_may(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.02)
    taro = bank.customer()
    with login_batch_of(bank) as login_batch:
        with bank.store.work(), pytest.raises(StoreUnavailable, match="another process holds its write lock"):
            run_batch(bank, login_batch, [code_request(taro, taro.code())])
        assert run_batch(bank, login_batch, [code_request(taro, taro.code())]) == [Accept()]


@pytest.mark.sqlite_files
def test_the_login_batch_begins_afresh_after_trouble(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    before = bank.rows()
    event.listen(bank.store.engine, "connect", read_only)
    with login_batch_of(bank) as login_batch:
        with pytest.raises(StoreUnavailable, match="cannot be written"):
            run_batch(bank, login_batch, [code_request(taro, taro.code())])
        event.remove(bank.store.engine, "connect", read_only)
        assert bank.rows() == before
        assert run_batch(bank, login_batch, [code_request(taro, taro.code())]) == [Accept()]


@pytest.mark.sqlite_files
def test_a_store_that_was_deleted_while_it_was_open_is_noticed_at_the_next_use(tmp_path: Path) -> None:
    """What is written into a file without a name is lost."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    with login_batch_of(bank) as login_batch, maintenance_of(bank) as maintenance:
        assert run_batch(bank, login_batch, [code_request(taro, taro.code())]) == [Accept()]
        maintenance.probe(1)
        bank.database.unlink()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="cannot be opened"):
                run_batch(bank, login_batch, [code_request(taro, taro.code(1))])
            with pytest.raises(StoreUnavailable, match="cannot be opened"):
                maintenance.probe(2)
    assert not bank.database.exists(), "nor is an empty one made in its place"


@pytest.mark.sqlite_files
def test_a_file_that_is_empty_for_the_moment_of_a_restore_is_not_written_to(tmp_path: Path) -> None:
    """Whoever copies a backup over the file empties it first: a page of ours in it would spoil the copy."""
    bank = Bank(tmp_path)
    login_reader = bank.store.login_reader()
    bank.database.write_bytes(b"")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="no complete store: is a restore under way"):
            completed(login_reader.login_record("taro"))
        assert bank.database.read_bytes() == b""
    login_reader.close()


@pytest.mark.sqlite_files
def test_a_store_that_was_replaced_while_it_was_open_is_not_touched_until_a_restart(tmp_path: Path) -> None:
    """SQLite would play the write-ahead log of the old file over the new one."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    backup = tmp_path / "backup.db"
    with contextlib.closing(driver.connect(bank.database)) as connection:
        connection.execute("VACUUM INTO ?", (str(backup),))
    with login_batch_of(bank) as login_batch, reader_of(bank) as login_reader:
        assert run_batch(bank, login_batch, [code_request(taro, taro.code(-1))]) == [Accept()]
        assert completed(login_reader.login_record("taro")) is not None
        backup.replace(bank.database)
        before = bank.database.read_bytes()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="was replaced while the server runs; stop the server, remove"):
                run_batch(bank, login_batch, [code_request(taro, taro.code())])
            with pytest.raises(StoreUnavailable, match="was replaced"):
                completed(login_reader.login_record("taro"))
        assert bank.database.read_bytes() == before


@pytest.mark.sqlite_files
def test_a_login_is_on_disk_before_anybody_hears_of_it(tmp_path: Path) -> None:
    """Commit and flush are two steps; a disk that refuses the second one refuses the login."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    commits = SharedCommits(bank.store.engine)
    login_batch = SqliteLoginBatch(commits)
    run_batch(bank, login_batch, [code_request(taro, taro.code(-1))])
    with commits.guarded() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,), "COMMIT itself does not wait"
    (log,) = [int(one) for one in os.listdir("/proc/self/fd") if _opened_as(one) == f"{bank.database}-wal:r"]
    read_end, write_end = os.pipe()
    os.dup2(read_end, log)  # a pipe cannot be flushed
    with pytest.raises(StoreUnavailable, match="its log cannot be flushed: Invalid argument; check the disk"):
        run_batch(bank, login_batch, [code_request(taro, taro.code())])
    for end in (read_end, write_end):
        os.close(end)
    login_batch.close()


def _opened_as(number: str) -> str:
    """``FILE:r`` for a file that is open for reading alone."""
    try:
        flags = Path(f"/proc/self/fdinfo/{number}").read_text().split("flags:")[1].split()[0]
        name = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""
    return f"{name}:r" if int(flags, 8) & os.O_ACCMODE == os.O_RDONLY else name


@pytest.mark.sqlite_files
def test_a_copy_in_another_journal_mode_waits_for_the_disk_in_its_commits(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    bank.store.engine.dispose()
    with contextlib.closing(driver.connect(bank.database)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    commits = SharedCommits(bank.store.engine)
    assert run_batch(bank, SqliteLoginBatch(commits), [code_request(taro, taro.code())]) == [Accept()]
    with commits.guarded() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    commits.close()


@pytest.mark.sqlite_files
@pytest.mark.parametrize("busy", ["", "another batch", "the desk", "the turn"])
def test_a_batch_that_is_alone_takes_one_transaction_and_any_other_a_second_one(tmp_path: Path, busy: str) -> None:
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")
    connection = SharedCommits(bank.store.engine)
    statements: list[str] = []
    with contextlib.ExitStack() as stack:
        login_batch = stack.enter_context(contextlib.closing(SqliteLoginBatch(connection)))
        other = stack.enter_context(login_batch_of(bank))
        run_batch(bank, login_batch, [code_request(taro, taro.code(-1))])
        with connection.guarded() as opened:
            opened.set_trace_callback(statements.append)

        def meanwhile() -> None:
            if busy == "another batch":
                run_batch(bank, other, [code_request(jiro, jiro.code())])
            if busy == "the desk":
                bank.desk.customers.lock("jiro", STAFF)
            if busy == "the turn":
                threading.Timer(0.1, stack.enter_context(_held(bank)).set).start()

        assert run_batch(bank, login_batch, [code_request(taro, taro.code())], meanwhile=meanwhile) == [Accept()]
    assert [one for one in statements if one.startswith(("BEGIN", "COMMIT", "ROLLBACK"))] == {
        "": ["BEGIN", "COMMIT"],
        "another batch": ["BEGIN", "ROLLBACK", "BEGIN IMMEDIATE", "COMMIT"],
        "the desk": ["BEGIN", "ROLLBACK", "BEGIN IMMEDIATE", "ROLLBACK", "BEGIN IMMEDIATE", "COMMIT"],
        "the turn": ["BEGIN", "COMMIT", "BEGIN IMMEDIATE", "COMMIT"],
    }[busy]


@contextlib.contextmanager
def _held(bank: Bank) -> Iterator[threading.Event]:
    """Another thread has the turn, until the event is set."""
    taken, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with contextlib.closing(Turn(str(bank.database))) as turn, turn:
            taken.set()
            enough.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(20)
    try:
        yield enough
    finally:
        enough.set()
        thread.join(20)


@pytest.mark.sqlite_files
def test_of_two_login_batches_on_one_store_one_is_at_work(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    mine, others = SharedCommits(bank.store.engine), SharedCommits(bank.open_store().engine)
    order = []

    def wait_for_my_turn() -> None:
        with others.guarded(), others.turn():
            order.append("other")

    with mine.guarded(), mine.turn():
        waiting = threading.Thread(target=wait_for_my_turn)
        waiting.start()
        waiting.join(0.2)
        order.append("mine")
    waiting.join(20)
    assert order == ["mine", "other"]
    mine.close()
    others.close()


@pytest.mark.sqlite_files
def test_a_login_batch_that_cannot_roll_back_lets_the_connection_go(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    before = bank.rows()

    def twice(facts: Facts) -> Decision:
        decision = bank.evaluator.evaluate([code_request(taro, taro.code())], facts, bank.guarded.now(), bank.store.ids)
        decision.audit = [*decision.audit, *decision.audit]
        return decision

    event.listen(bank.store.engine, "connect", no_way_back)
    with login_batch_of(bank) as login_batch:
        with pytest.raises(StoreUnavailable, match=r"UNIQUE constraint failed|unique constraint"):
            completed(login_batch.run(["taro"], [], twice))
        event.remove(bank.store.engine, "connect", no_way_back)
        assert bank.rows() == before
        assert run_batch(bank, login_batch, [code_request(taro, taro.code())]) == [Accept()]


def test_closing_a_login_batch_that_was_never_used_is_no_error(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    login_batch = bank.store.login_batch()
    login_batch.close()
    login_batch.close()


@pytest.mark.parametrize("notices", [False, True])
def test_a_lock_is_a_notice_only_where_notices_are_on(tmp_path: Path, notices: bool) -> None:
    bank = Bank(tmp_path, rules(lock_after=1))
    taro = bank.customer()
    with bank.store.work() as work:
        work.connection.execute(update(profile).values(email="taro@example.jp"))
    login_batch = bank.store.database.login_batch(notices=notices, note=lambda _: None, node=NodeName())
    run_batch(bank, login_batch, [code_request(taro, "000000")])
    login_batch.close()
    (row,) = bank.audit(event="customer.locked")
    waiting = [(one[0], one[2], one[4]) for one in bank.rows()["outbox"]]
    assert waiting == ([(row.id, "customer.locked", "taro@example.jp")] if notices else [])
