"""The ledger: a batch of logins as one transaction. Enquiries: what is asked between the batches."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from otp_core.judge import Facts, Ruling, Spent
from otp_core.login import Finding
from otp_core.model import (
    Accept,
    Challenge,
    Language,
    OpenChallenge,
    OtpUse,
    Reject,
    StoreBusy,
    StoreUnavailable,
    TokenState,
)
from otp_core.store.driver import SharedCommits
from otp_core.store.ledger import Enquiries, LedgerConflict, SqliteLedger
from tests.core.bank import NOON, Bank, Holder, rules
from tests.core.batches import code_case, first_round, ledger_of, rule, second_round
from tests.core.faulty import no_way_back, read_only


@contextmanager
def enquiries_of(bank: Bank) -> Iterator[Enquiries]:
    enquiries = bank.store.enquiries()
    try:
        yield enquiries
    finally:
        enquiries.close()


def test_a_batch_writes_what_was_ruled_and_nothing_else(tmp_path: Path) -> None:
    bank = Bank(tmp_path, rules(lock_after=2))
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")
    now = int(NOON * 1000)
    with ledger_of(bank) as ledger:
        verdicts = rule(
            bank, ledger, [code_case(taro, taro.code(1), 99), code_case(jiro, "000000", 88), first_round(jiro)]
        )
    assert [type(verdict) for verdict in verdicts] == [Accept, Reject, Challenge]
    one, other = bank.standing("taro"), bank.standing("jiro")
    assert (one.last_step, one.drift, one.last_mark, one.last_at) == (taro.step(1), 1, 99, now)
    assert (other.failures, other.failed_at, other.failed_mark, other.locked_at) == (1, now, 88, None)
    assert isinstance(verdicts[2], Challenge)
    assert bank.rows()["challenge"] == [(verdicts[2].state, other.customer_key, "gateway", now + 120_000, 3, 77)]
    assert [row[1:] for row in bank.audit(actor="gateway")] == [
        ("login.accepted", "gateway", "taro", "VSMT00000001", "192.0.2.1", "right code"),
        ("login.rejected", "gateway", "jiro", "VSMT00000002", "192.0.2.1", "wrong code"),
        ("login.challenged", "gateway", "jiro", "VSMT00000002", "", "password right, code not given yet"),
    ]


def test_a_challenge_is_taken_out_by_its_answer(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    with ledger_of(bank) as ledger:
        (asked,) = rule(bank, ledger, [first_round(taro)])
        assert isinstance(asked, Challenge)
        assert rule(bank, ledger, [second_round(taro, asked.state, taro.code())]) == [Accept()]
    assert bank.rows()["challenge"] == []


@settings(max_examples=25, deadline=None)
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
def test_what_the_judge_believes_after_a_batch_is_what_the_store_knows(
    batches: list[list[tuple[str, str, int]]],
) -> None:
    """So the next batch is judged as if it had been part of this one."""
    with tempfile.TemporaryDirectory() as folder:
        bank = Bank(Path(folder), rules(lock_after=3, one_customer_per_token=False))
        holders = {who: bank.customer(who, "VSMT00000002" if who != "taro" else "VSMT00000001") for who in BORN}
        states = [b"none"]
        with ledger_of(bank) as ledger:
            for batch in batches:
                cases = []
                for who, kind, away in batch:
                    one = holders[who]
                    match kind:
                        case "code":
                            cases.append(code_case(one, one.code(away)))
                        case "first":
                            cases.append(first_round(one))
                        case _:
                            cases.append(second_round(one, states[-1], one.code(away)))
                facts: list[Facts] = []
                verdicts = rule(bank, ledger, cases, facts)
                states += [verdict.state for verdict in verdicts if isinstance(verdict, Challenge)]
                for who, believed in facts[0].standings.items():
                    known = bank.standing(who)
                    if not known.failures:
                        believed = replace(believed, failed_at=0, failed_mark=0)
                    assert believed == known
                bank.clock.now += 20
        assert len(bank.audit(actor="gateway")) == sum(map(len, batches)) + len(bank.audit(event="customer.locked"))


BORN = ["taro", "jiro", "saburo"]


def test_a_ruling_that_the_store_refuses_is_not_kept_in_any_part(tmp_path: Path) -> None:
    """Another node spent one of the codes: the others' changes must not stay either."""
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")
    with ledger_of(bank) as ledger:
        (asked,) = rule(bank, ledger, [first_round(taro)])
        assert isinstance(asked, Challenge)
        before, trail = bank.rows(), bank.audit()

        def spent_elsewhere(facts: Facts) -> Ruling:
            cases = [code_case(jiro, "000000"), second_round(taro, asked.state, taro.code()), first_round(jiro)]
            ruling = bank.judge.judge(cases, facts, bank.guarded.now(), bank.store.ids)
            ruling.spent = [*ruling.spent, *ruling.spent]
            return ruling

        with pytest.raises(LedgerConflict):
            ledger.rule(["taro", "jiro"], [asked.state], spent_elsewhere)
        assert (bank.rows(), bank.audit()) == (before, trail)
        assert rule(bank, ledger, [second_round(taro, asked.state, taro.code())]) == [Accept()], (
            "and the ledger goes on"
        )


@pytest.mark.parametrize("state", [TokenState.LOST, TokenState.RETIRED])
def test_no_code_of_a_token_that_is_not_bound_is_ever_spent(tmp_path: Path, state: TokenState) -> None:
    """Whatever was ruled: the condition stands in the statement itself."""
    bank = Bank(tmp_path)
    bank.customer()
    key = bank.standing().token_key
    assert key is not None
    with bank.store.work() as work:
        work.set_token_state(key, TokenState.BOUND, state)
    before = bank.rows()
    with ledger_of(bank) as ledger, pytest.raises(LedgerConflict):
        ledger.rule(["taro"], [], lambda _: Ruling(spent=[Spent(10, 0, 0, 0, key, -1)]))
    assert bank.rows() == before


def test_a_judge_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    before, trail = bank.rows(), bank.audit()

    def fail(facts: Facts) -> Ruling:
        raise RuntimeError("poison")

    with ledger_of(bank) as ledger:
        with pytest.raises(RuntimeError, match="poison"):
            ledger.rule(["taro"], [], fail)
        assert (bank.rows(), bank.audit()) == (before, trail)
        with bank.open_store(0.01).work():
            pass  # the write lock is free again
        assert rule(bank, ledger, [code_case(taro, taro.code())]) == [Accept()]


def test_a_batch_that_the_database_refuses_leaves_nothing_behind(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    before, trail = bank.rows(), bank.audit()

    def twice(facts: Facts) -> Ruling:
        ruling = bank.judge.judge([code_case(taro, taro.code())], facts, bank.guarded.now(), bank.store.ids)
        ruling.audit = [*ruling.audit, *ruling.audit]
        return ruling

    with ledger_of(bank) as ledger:
        with pytest.raises(StoreUnavailable, match="UNIQUE constraint failed"):
            ledger.rule(["taro"], [], twice)
        assert (bank.rows(), bank.audit()) == (before, trail)
        assert rule(bank, ledger, [code_case(taro, taro.code())]) == [Accept()]


def test_the_ledger_waits_for_no_lock_longer_than_it_may(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.02)
    taro = bank.customer()
    with ledger_of(bank) as ledger:
        with bank.store.work(), pytest.raises(StoreUnavailable, match="another process holds its write lock"):
            rule(bank, ledger, [code_case(taro, taro.code())])
        assert rule(bank, ledger, [code_case(taro, taro.code())]) == [Accept()]


def test_the_ledger_begins_afresh_after_trouble(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    before = bank.rows()
    event.listen(bank.store.engine, "connect", read_only)
    with ledger_of(bank) as ledger:
        with pytest.raises(StoreUnavailable, match="cannot be written"):
            rule(bank, ledger, [code_case(taro, taro.code())])
        event.remove(bank.store.engine, "connect", read_only)
        assert bank.rows() == before
        assert rule(bank, ledger, [code_case(taro, taro.code())]) == [Accept()]


def test_a_store_that_was_deleted_while_it_was_open_is_noticed_at_the_next_use(tmp_path: Path) -> None:
    """What is written into a file without a name is lost."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    with ledger_of(bank) as ledger, enquiries_of(bank) as enquiries:
        assert rule(bank, ledger, [code_case(taro, taro.code())]) == [Accept()]
        enquiries.probe(1)
        bank.database.unlink()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="cannot be opened"):
                rule(bank, ledger, [code_case(taro, taro.code(1))])
            with pytest.raises(StoreUnavailable, match="cannot be opened"):
                enquiries.probe(2)
    assert not bank.database.exists(), "nor is an empty one made in its place"


def test_a_file_that_is_empty_for_the_moment_of_a_restore_is_not_written_to(tmp_path: Path) -> None:
    """Whoever copies a backup over the file empties it first: a page of ours in it would spoil the copy."""
    bank = Bank(tmp_path)
    enquiries = bank.store.enquiries()
    bank.database.write_bytes(b"")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="no complete store: is a restore under way"):
            enquiries.credentials("taro")
        assert bank.database.read_bytes() == b""
    enquiries.close()


def test_a_store_that_was_replaced_while_it_was_open_is_not_touched_until_a_restart(tmp_path: Path) -> None:
    """SQLite would play the write-ahead log of the old file over the new one."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    backup = tmp_path / "backup.db"
    with contextlib.closing(sqlite3.connect(bank.database)) as connection:
        connection.execute("VACUUM INTO ?", (str(backup),))
    with ledger_of(bank) as ledger, enquiries_of(bank) as enquiries:
        assert rule(bank, ledger, [code_case(taro, taro.code(-1))]) == [Accept()]
        assert enquiries.credentials("taro") is not None
        backup.replace(bank.database)
        before = bank.database.read_bytes()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="was replaced while the server runs; stop the server, remove"):
                rule(bank, ledger, [code_case(taro, taro.code())])
            with pytest.raises(StoreUnavailable, match="was replaced"):
                enquiries.credentials("taro")
        assert bank.database.read_bytes() == before


def test_a_login_is_on_disk_before_anybody_hears_of_it(tmp_path: Path) -> None:
    """Commit and flush are two steps; a disk that refuses the second one refuses the login."""
    bank = Bank(tmp_path)
    taro = bank.customer()
    commits = SharedCommits(bank.store.engine)
    ledger = SqliteLedger(commits)
    rule(bank, ledger, [code_case(taro, taro.code(-1))])
    with commits.guarded() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,), "COMMIT itself does not wait"
    (log,) = [int(one) for one in os.listdir("/proc/self/fd") if _opened_as(one) == f"{bank.database}-wal:r"]
    read_end, write_end = os.pipe()
    os.dup2(read_end, log)  # a pipe cannot be flushed
    with pytest.raises(StoreUnavailable, match="its log cannot be flushed: Invalid argument; check the disk"):
        rule(bank, ledger, [code_case(taro, taro.code())])
    for end in (read_end, write_end):
        os.close(end)
    ledger.close()


def _opened_as(number: str) -> str:
    """``FILE:r`` for a file that is open for reading alone."""
    try:
        flags = Path(f"/proc/self/fdinfo/{number}").read_text().split("flags:")[1].split()[0]
        name = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""
    return f"{name}:r" if int(flags, 8) & os.O_ACCMODE == os.O_RDONLY else name


def test_a_copy_in_another_journal_mode_waits_for_the_disk_in_its_commits(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    bank.store.engine.dispose()
    with contextlib.closing(sqlite3.connect(bank.database)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    commits = SharedCommits(bank.store.engine)
    assert rule(bank, SqliteLedger(commits), [code_case(taro, taro.code())]) == [Accept()]
    with commits.guarded() as driver:
        assert driver.execute("PRAGMA synchronous").fetchone() == (2,)
    commits.close()


def test_of_two_ledgers_on_one_store_one_is_at_work(tmp_path: Path) -> None:
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


def test_a_ledger_that_cannot_roll_back_lets_the_connection_go(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    before = bank.rows()

    def twice(facts: Facts) -> Ruling:
        ruling = bank.judge.judge([code_case(taro, taro.code())], facts, bank.guarded.now(), bank.store.ids)
        ruling.audit = [*ruling.audit, *ruling.audit]
        return ruling

    event.listen(bank.store.engine, "connect", no_way_back)
    with ledger_of(bank) as ledger:
        with pytest.raises(StoreUnavailable, match="UNIQUE constraint failed"):
            ledger.rule(["taro"], [], twice)
        event.remove(bank.store.engine, "connect", no_way_back)
        assert bank.rows() == before
        assert rule(bank, ledger, [code_case(taro, taro.code())]) == [Accept()]


def test_closing_a_ledger_that_was_never_used_is_no_error(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    ledger = bank.store.ledger()
    ledger.close()
    ledger.close()


# Enquiries: what is asked between the batches.


def test_a_customer_is_known_with_their_hash_and_without_a_lock(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)
    bank.customer("taro", password_hash="a hash")
    bank.customer("jiro", None)
    with enquiries_of(bank) as enquiries, bank.store.work():
        assert enquiries.credentials("taro") == (bank_standing(enquiries, "taro"), "a hash")
        known = enquiries.credentials("jiro")
        assert known is not None and known[1] is None and known[0].token_key is None
        assert enquiries.credentials("nobody") is None


def bank_standing(enquiries: Enquiries, contract_id: str) -> object:
    known = enquiries.credentials(contract_id)
    assert known is not None
    return known[0]


def test_the_ledger_and_the_desk_know_a_customer_by_the_same_facts(tmp_path: Path) -> None:
    """Two statements for one record: they must not drift apart."""
    bank = Bank(tmp_path)
    for number, use in enumerate(OtpUse):
        bank.in_state(use, f"taro{number}", f"VSMT0000000{number}")
    with enquiries_of(bank) as enquiries:
        for number, _ in enumerate(OtpUse):
            known = enquiries.credentials(f"taro{number}")
            assert known is not None
            assert known[0] == bank.standing(f"taro{number}")


@pytest.mark.parametrize(
    "name",
    [
        "taro\0",
        "taro\0evil",
        "TARO",
        "taro ",
        "ta%",
        "'taro'",
        '"taro"',
        "[taro]",
        "",
        "9" * 5000,
        '{"a": 1}',
    ],
)
def test_a_name_is_a_name_and_nothing_else(tmp_path: Path, name: str) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    stranger = Holder(name, taro.token_id, taro.seed, taro.spec, taro.clock)
    with enquiries_of(bank) as enquiries:
        assert enquiries.credentials(name) is None
    with ledger_of(bank) as ledger:
        verdicts = rule(bank, ledger, [code_case(stranger, taro.code()), code_case(taro, taro.code())])
    assert verdicts == [Reject(Finding.UNKNOWN_CUSTOMER, Language.JA), Accept()]


def test_of_one_customers_open_challenges_the_newest_five_are_kept(tmp_path: Path) -> None:
    """So that nobody who has one password fills everybody's places."""
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")
    states: list[bytes] = []
    with ledger_of(bank) as ledger:
        (others,) = rule(bank, ledger, [first_round(jiro)])
        assert isinstance(others, Challenge)
        for _ in range(7):
            bank.clock.now += 1
            (asked,) = rule(bank, ledger, [first_round(taro)])
            assert isinstance(asked, Challenge)
            states.append(asked.state)
        assert {row[0] for row in bank.rows()["challenge"]} == {*states[2:], others.state}
        (gone,) = rule(bank, ledger, [second_round(taro, states[1], taro.code())])
        assert gone == Reject(Finding.CHALLENGE_GONE, Language.JA)
        assert rule(bank, ledger, [second_round(taro, states[2], taro.code())]) == [Accept()]


def test_of_one_customers_challenges_of_one_batch_five_are_kept(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    with ledger_of(bank) as ledger:
        rule(bank, ledger, [first_round(taro)] * 300)
    assert len(bank.rows()["challenge"]) == 5


def test_expired_challenges_are_forgotten_and_open_ones_counted(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    with ledger_of(bank) as ledger, enquiries_of(bank) as enquiries:
        assert enquiries.open_challenges() == 0
        rule(bank, ledger, [first_round(taro)] * 3)
        bank.clock.now += 60
        rule(bank, ledger, [first_round(taro)])
        end = int((NOON + 120) * 1000)
        assert (enquiries.expire(end), enquiries.open_challenges()) == (0, 4)
        assert (enquiries.expire(end + 1), enquiries.open_challenges()) == (3, 1)
        assert (enquiries.expire(end + 60_001), enquiries.open_challenges()) == (1, 0)


def test_at_most_a_thousand_challenges_are_forgotten_at_once(tmp_path: Path) -> None:
    """So that no login waits long for it."""
    bank = Bank(tmp_path)
    with ledger_of(bank) as ledger, enquiries_of(bank) as enquiries:
        opened_ = [OpenChallenge(n.to_bytes(16, "big"), n, "gateway", int(NOON * 1000), 3, None) for n in range(1001)]
        ledger.rule([], [], lambda _: Ruling(opened=opened_))
        later = int((NOON + 500) * 1000)
        assert [enquiries.expire(later) for _ in range(3)] == [1000, 1, 0]


def test_nothing_is_written_where_nothing_is_to_be_forgotten(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)
    with enquiries_of(bank) as enquiries, bank.store.work():
        assert enquiries.expire(int(NOON * 1000)) == 0


def test_a_probe_writes(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)
    with enquiries_of(bank) as enquiries:
        enquiries.probe(1)
        enquiries.probe(2)
        with bank.store.work(), pytest.raises(StoreBusy, match="write lock"):
            enquiries.probe(3)
        enquiries.probe(4)
    assert ("probe", (4).to_bytes(8, "big")) in bank.rows()["meta"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda enquiries: enquiries.credentials("taro"),
        lambda enquiries: enquiries.expire(0),
        lambda enquiries: enquiries.open_challenges(),
        lambda enquiries: enquiries.probe(0),
    ],
)
def test_every_enquiry_of_a_store_that_is_gone_says_so(tmp_path: Path, ask: Callable[[Enquiries], object]) -> None:
    bank = Bank(tmp_path)
    shutil.rmtree(tmp_path)
    with enquiries_of(bank) as enquiries, pytest.raises(StoreUnavailable, match="cannot be opened"):
        ask(enquiries)
