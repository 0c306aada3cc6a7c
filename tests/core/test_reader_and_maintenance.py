"""Between the batches: what is read without a lock, what is tidied, and whether a login could be written."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import event

from otp_core.login.requests import Decision
from otp_core.login.table import Finding
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
from otp_core.store.engine import LoginReader, Maintenance
from otp_core.store.sqlite import driver
from tests.core.bank import NOON, Bank, Holder, rules
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


def test_a_customer_is_known_with_their_hash_and_without_a_lock(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)
    bank.customer("taro", password_hash="a hash")
    bank.customer("jiro", None)
    with reader_of(bank) as login_reader, bank.store.work():
        assert completed(login_reader.login_record("taro")) is not None
        assert completed(login_reader.password_hash("taro")) == (True, "a hash")
        known = completed(login_reader.login_record("jiro"))
        assert known is not None and known.tokens == []
        assert completed(login_reader.password_hash("jiro")) == (True, None)
        assert completed(login_reader.login_record("nobody")) is None
        assert completed(login_reader.password_hash("nobody")) == (False, None)


def test_the_reader_and_the_desk_know_a_customer_by_the_same_facts(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    for number, use in enumerate(OtpUse):
        bank.in_state(use, f"taro{number}", f"VSMT0000000{number}")
    with reader_of(bank) as login_reader:
        for number, _ in enumerate(OtpUse):
            known = completed(login_reader.login_record(f"taro{number}"))
            assert known == bank.login_record(f"taro{number}") is not None


def test_of_what_is_known_of_a_customer_nothing_is_anothers(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer(language=Language.EN, attributes='{"Class": "gold"}')
    with reader_of(bank) as login_reader:
        known = completed(login_reader.login_record("taro"))
    assert known is not None
    assert (known.language, known.attributes, known.token_id) == ("en", '{"Class": "gold"}', "VSMT00000001")


@pytest.mark.parametrize("state", [TokenState.LOST, TokenState.RETIRED])
def test_an_active_customer_has_a_token_only_while_it_is_bound(tmp_path: Path, state: TokenState) -> None:
    """A token that two share, and that the other one has reported lost. A customer who is not active still has it: they
    are told so, and may resume."""
    bank = Bank(tmp_path, rules(one_customer_per_token=False))
    bank.customer()
    bank.in_state(OtpUse.SUSPENDED, "jiro")
    key = bank.own_token().key
    assert key == bank.own_token("jiro").key
    with bank.store.work() as work:
        work.set_token_state(key, TokenState.BOUND, state)
    with reader_of(bank) as login_reader:
        active, suspended = (completed(login_reader.login_record(name)) for name in ("taro", "jiro"))
    assert active is not None and suspended is not None
    assert active.tokens == []
    assert (suspended.tokens[0].key, suspended.token_id) == (key, "VSMT00000001")


def test_an_open_challenge_is_known_by_its_state(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    with login_batch_of(bank) as login_batch, reader_of(bank) as login_reader:
        (asked,) = run_batch(bank, login_batch, [first_round(taro)])
        assert isinstance(asked, Challenge)
        found = completed(login_reader.open_challenge(asked.state))
        assert found is not None and (found.state, found.client, found.password_fingerprint) == (
            asked.state,
            "gateway",
            77,
        )
        assert (found.first_factor_state, found.attributes) == (None, None)
        assert completed(login_reader.open_challenge(b"another")) is None


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
    with reader_of(bank) as login_reader:
        assert completed(login_reader.login_record(name)) is None
        assert completed(login_reader.password_hash(name)) == (False, None)
    with login_batch_of(bank) as login_batch:
        verdicts = run_batch(bank, login_batch, [code_request(stranger, taro.code()), code_request(taro, taro.code())])
    assert verdicts == [Reject(Finding.UNKNOWN_CUSTOMER, Language.JA), Accept()]


def test_of_one_customers_open_challenges_the_newest_five_are_kept(tmp_path: Path) -> None:
    """So that nobody who has one password fills everybody's places."""
    bank = Bank(tmp_path)
    taro, jiro = bank.customer(), bank.customer("jiro", "VSMT00000002")
    states: list[bytes] = []
    with login_batch_of(bank) as login_batch:
        (others,) = run_batch(bank, login_batch, [first_round(jiro)])
        assert isinstance(others, Challenge)
        for _ in range(7):
            bank.clock.now += 1
            (asked,) = run_batch(bank, login_batch, [first_round(taro)])
            assert isinstance(asked, Challenge)
            states.append(asked.state)
        assert {row[0] for row in bank.rows()["challenge"]} == {*states[2:], others.state}
        (gone,) = run_batch(bank, login_batch, [second_round(taro, states[1], taro.code())])
        assert gone == Reject(Finding.CHALLENGE_GONE, Language.JA)
        assert run_batch(bank, login_batch, [second_round(taro, states[2], taro.code())]) == [Accept()]


def test_of_one_customers_challenges_of_one_batch_five_are_kept(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    with login_batch_of(bank) as login_batch:
        run_batch(bank, login_batch, [first_round(taro)] * 300)
    assert len(bank.rows()["challenge"]) == 5


def test_expired_challenges_are_forgotten_and_open_ones_counted(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    taro = bank.customer()
    with login_batch_of(bank) as login_batch, maintenance_of(bank) as maintenance:
        assert maintenance.count_challenges() == 0
        run_batch(bank, login_batch, [first_round(taro)] * 3)
        bank.clock.now += 60
        run_batch(bank, login_batch, [first_round(taro)])
        end = int((NOON + 120) * 1000)
        assert (maintenance.expire_challenges(end), maintenance.count_challenges()) == (0, 4)
        assert (maintenance.expire_challenges(end + 60_000), maintenance.count_challenges()) == (3, 1)
        assert (maintenance.expire_challenges(end + 60_001), maintenance.count_challenges()) == (1, 0)


def test_at_most_a_thousand_challenges_are_forgotten_at_once(tmp_path: Path) -> None:
    """So that no login waits long for it."""
    bank = Bank(tmp_path)
    with login_batch_of(bank) as login_batch, maintenance_of(bank) as maintenance:
        opened_ = [OpenChallenge(n.to_bytes(16, "big"), n, "gateway", int(NOON * 1000), 3, None) for n in range(1001)]
        completed(login_batch.run([], [], lambda _: Decision(challenges_created=opened_)))
        later = int((NOON + 500) * 1000)
        assert [maintenance.expire_challenges(later) for _ in range(3)] == [1000, 1, 0]


@pytest.mark.sqlite_files
def test_nothing_is_written_where_nothing_is_to_be_forgotten(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)
    taro = bank.customer()
    with login_batch_of(bank) as login_batch:
        run_batch(bank, login_batch, [first_round(taro)])
    end = int((NOON + 120) * 1000)
    with maintenance_of(bank) as maintenance:
        with bank.store.work():
            assert maintenance.expire_challenges(end) == 0
            with pytest.raises(StoreBusy):
                maintenance.expire_challenges(end + 1)
        assert maintenance.expire_challenges(end + 1) == 1


@pytest.mark.sqlite_files
def test_a_probe_writes(tmp_path: Path) -> None:
    bank = Bank(tmp_path, busy_seconds=0.01)
    with maintenance_of(bank) as maintenance:
        maintenance.probe(1)
        maintenance.probe(2)
        with bank.store.work(), pytest.raises(StoreBusy, match="write lock"):
            maintenance.probe(3)
        maintenance.probe(4)
    assert ("probe", (4).to_bytes(8, "big")) in bank.rows()["meta"]


@pytest.mark.sqlite_files
@pytest.mark.parametrize(
    "ask",
    [
        lambda login_reader, _: completed(login_reader.login_record("taro")),
        lambda login_reader, _: completed(login_reader.password_hash("taro")),
        lambda login_reader, _: completed(login_reader.open_challenge(b"state")),
        lambda _, maintenance: maintenance.expire_challenges(0),
        lambda _, maintenance: maintenance.count_challenges(),
        lambda _, maintenance: maintenance.probe(0),
        lambda _, maintenance: maintenance.write_probe(["taro"]),
    ],
)
def test_every_question_to_a_store_that_is_gone_says_so(
    tmp_path: Path, ask: Callable[[LoginReader, Maintenance], object]
) -> None:
    bank = Bank(tmp_path)
    shutil.rmtree(tmp_path)
    refused = pytest.raises(StoreUnavailable, match="cannot be opened")
    with reader_of(bank) as login_reader, maintenance_of(bank) as maintenance, refused:
        ask(login_reader, maintenance)


@pytest.mark.sqlite_files
@pytest.mark.parametrize(
    ("action", "table"),
    [
        (driver.SQLITE_UPDATE, "token"),
        (driver.SQLITE_UPDATE, "customer"),
        (driver.SQLITE_INSERT, "challenge"),
        (driver.SQLITE_INSERT, "audit"),
    ],
)
def test_a_write_probe_does_all_that_a_login_does(tmp_path: Path, action: int, table: str) -> None:
    """If any of it is refused, logins cannot be answered."""
    bank = Bank(tmp_path)
    bank.customer()
    before = bank.rows()

    def refuse(connection: driver.Connection, _record: object) -> None:
        connection.set_authorizer(
            lambda asked, first, *_: driver.SQLITE_DENY if (asked, first) == (action, table) else driver.SQLITE_OK
        )

    with maintenance_of(bank) as maintenance:
        maintenance.write_probe(["taro"])
        event.listen(bank.store.engine, "connect", refuse)
        with pytest.raises(StoreUnavailable):
            maintenance.write_probe(["taro"])
        event.remove(bank.store.engine, "connect", refuse)
    assert bank.rows() == before


@pytest.mark.sqlite_files
def test_a_write_probe_needs_room_on_the_disk(tmp_path: Path) -> None:
    """What is rolled back asks the disk for nothing if it stays in memory, and a full disk would look well."""
    bank = Bank(tmp_path)
    bank.customer()
    before, log = bank.rows(), Path(f"{bank.database}-wal")
    with contextlib.closing(driver.connect(bank.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert log.stat().st_size == 0
        with maintenance_of(bank) as maintenance:
            maintenance.write_probe(["taro"])
        assert log.stat().st_size >= 2 * 4096
    assert bank.rows() == before


@pytest.mark.sqlite_files
def test_a_write_probe_sees_what_became_of_the_file_and_not_what_it_remembers(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.customer()
    with maintenance_of(bank) as maintenance:
        maintenance.write_probe(["taro"])
        with contextlib.closing(driver.connect(bank.database)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with bank.database.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (bank.database.stat().st_size - 4096))
        with pytest.raises(StoreUnavailable):
            maintenance.write_probe(["taro"])
