"""The store on PostgreSQL: how it is made, what is said where it cannot be had, and what settles a lost COMMIT."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.event import listen
from sqlalchemy.exc import IntegrityError

from otp_core.audit import Event, Ids, id_at, ms_of
from otp_core.checks import CheckState
from otp_core.login.requests import Decision, Facts
from otp_core.model import Accept, AuditRow, Conflict, LoginRecord, StoreBusy, StoreProblem, StoreUnavailable
from otp_core.store.postgresql import engine, horizon, partitions
from otp_core.store.postgresql.errors import unavailable
from otp_core.store.queries import AuditFilter, audit_rows
from otp_core.store.store import Store, initialise
from otp_core.store.trail import SealRow
from tests import postgresql
from tests.core.bank import Bank
from tests.core.batches import code_request, maintenance_of


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    made = Bank(tmp_path, database_url=postgresql.store_in(tmp_path))
    yield made
    made.store.engine.dispose()


def opened(bank: Bank, url: str) -> Store:
    return Store(url, bank.key_file, ids=Ids(), busy_seconds=5.0)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda url: url.replace("sekisho@", "nobody@"), "createuser"),
        (lambda url: url.replace("@/s", "@/missing"), "createdb"),
        (lambda url: url.replace("5432", "5433"), "check store.url, and that the database server runs"),
    ],
    ids=["user", "database", "server"],
)
def test_a_store_that_cannot_be_had_is_one_line_with_what_to_do(bank: Bank, change: object, expected: str) -> None:
    with pytest.raises(StoreUnavailable, match=expected) as raised:
        opened(bank, change(bank.url))  # type: ignore[operator]
    assert "\n" not in str(raised.value)


def test_a_database_without_a_store_asks_for_init(bank: Bank) -> None:
    at = postgresql.server()
    at.create_database(f"{bank.folder.name[:20]}_none".replace("-", "_").lower())
    with pytest.raises(StoreProblem, match="run `sekisho init` first"):
        opened(bank, at.url(f"{bank.folder.name[:20]}_none".replace("-", "_").lower()))


def test_a_role_without_rights_is_told_so(bank: Bank) -> None:
    with postgresql.server().connect("postgres") as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
    with pytest.raises(StoreUnavailable, match="lacks a right"):
        opened(bank, bank.url.replace("sekisho@", "reader@"))


def test_a_newer_schema_is_not_served(bank: Bank) -> None:
    with bank.store.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreProblem, match=r"too old for the store .*schema is .*9999.*, this version works with"):
        bank.open_store()


def test_init_may_run_on_several_machines_at_once(tmp_path: Path) -> None:
    at, name = postgresql.server(), f"init_{abs(hash(str(tmp_path)))}"
    at.create_database(name)
    shutil.copy(postgresql.empty_store() / "master.key", tmp_path / "master.key")
    said: list[str] = []
    troubles: list[BaseException] = []

    def init() -> None:
        try:
            initialise(at.url(name), tmp_path / "master.key", ids=Ids(), say=said.append)
        except Exception as error:
            troubles.append(error)

    threads = [threading.Thread(target=init) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert troubles == [] and len(said) == 4
    initialise(at.url(name), tmp_path / "master.key", ids=Ids(), say=said.append)
    assert said[-1].startswith("checked the store")


def test_init_waits_for_its_turn_behind_that_of_other_machines(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine each of them has the turn for seconds."""
    monkeypatch.setattr("otp_core.store.store._BUSY_SECONDS", 0.02)
    plain, had, tried = engine.PostgresqlDatabase.upgrade, threading.Event(), threading.Event()

    def hold() -> None:
        with bank.store.derive():
            had.set()
            assert tried.wait(30)

    holder = threading.Thread(target=hold)

    def upgraded(database: engine.PostgresqlDatabase, *, contract: bool) -> object:
        done = plain(database, contract=contract)
        holder.start()
        assert had.wait(30)
        listen(database.engine, "handle_error", lambda _: tried.set())
        return done

    monkeypatch.setattr(engine.PostgresqlDatabase, "upgrade", upgraded)
    said: list[str] = []
    initialise(bank.url, bank.key_file, ids=Ids(), say=said.append)
    holder.join()
    assert tried.is_set() and said[-1].startswith("checked the store")


def test_acts_take_turns_and_say_when_they_have_waited_long_enough(bank: Bank) -> None:
    with bank.store.work() as work:
        work.put_meta("a", b"1")
        with pytest.raises(StoreBusy, match="turn to write"), bank.open_store(0.05).work():
            pass
    with bank.open_store(0.05).work() as work:
        assert work.meta("a") == b"1"


def test_what_fails_in_the_middle_leaves_nothing(bank: Bank) -> None:
    before, trail = bank.rows(), bank.audit()

    def act() -> None:
        with bank.store.work() as work:
            work.put_meta("a", b"1")
            work.audit(Event.SEALS_BEGUN, actor="test")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        act()
    assert (bank.rows(), bank.audit()) == (before, trail)


BROKEN = psycopg.OperationalError("server closed the connection unexpectedly")
UNKNOWN = psycopg.errors.StatementCompletionUnknown("result is ambiguous")
"""40003. PostgreSQL itself never says so; engines and proxies that speak its protocol do."""


@pytest.mark.parametrize("trouble", [BROKEN, UNKNOWN], ids=["the connection broke", "40003"])
@pytest.mark.parametrize("done", [True, False], ids=["it was done", "it was not"])
def test_an_act_whose_answer_was_lost_is_looked_up_by_its_audit_row(
    bank: Bank, done: bool, trouble: psycopg.Error
) -> None:
    """COMMIT has no answer: the server has not heard of it, or has done it."""

    def act() -> None:
        with bank.store.work() as work:
            work.audit(Event.SEALS_BEGUN, actor="test")
            raw = work.connection.connection.driver_connection
            commit = raw.execute  # type: ignore[union-attr]

            def lost(statement: str) -> object:
                if done:
                    commit(statement)
                raw.pgconn.finish()  # type: ignore[union-attr]
                raise trouble

            raw.execute = lost  # type: ignore[union-attr]

    if done:
        act()
    else:
        with pytest.raises(Conflict):
            act()
    with bank.store.read() as connection:
        assert len(audit_rows(connection, AuditFilter(event="seals"))) == done


def test_a_commit_whose_wait_for_a_standby_was_cancelled_is_not_told_as_done(bank: Bank) -> None:

    def act() -> None:
        with bank.store.work() as work:
            work.put_meta("a", b"1")
            raw = work.connection.connection.driver_connection
            commit = raw.execute  # type: ignore[union-attr]

            def cancelled(statement: str) -> object:
                result = commit(statement)
                words = "canceling wait for synchronous replication due to user request"
                raw.sekisho_notices.unreplicated = words  # type: ignore[union-attr]
                return result

            raw.execute = cancelled  # type: ignore[union-attr]

    with pytest.raises(StoreUnavailable, match="whether this was done is not known"):
        act()


def test_an_act_that_still_waits_for_its_standby_is_not_done_again(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its turn lasts until the server lets go of it. StoreBusy would have whoever waits run it a second time."""
    monkeypatch.setattr(engine, "_SERVER_ANSWER_SECONDS", 0.5)
    server = bank.open_store(0.05)

    def act() -> None:
        with server.work() as work:
            work.audit(Event.SEALS_BEGUN, actor="test")

    with no_standby(), pytest.raises(StoreUnavailable, match="whether this was done is not known") as raised:
        act()
    assert not isinstance(raised.value, StoreBusy | Conflict)
    server.engine.dispose()


@contextlib.contextmanager
def no_standby() -> Iterator[None]:
    """The server waits for a standby that there is not."""
    with postgresql.server().connect("postgres") as connection:
        try:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            connection.execute("SELECT pg_reload_conf()")
            while connection.execute("SHOW synchronous_standby_names").fetchone() != ("nobody",):
                time.sleep(0.01)
            yield
        finally:
            connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
            connection.execute("SELECT pg_reload_conf()")


def test_a_connection_that_breaks_where_a_lost_commit_is_looked_up_is_not_known_either(bank: Bank) -> None:
    def break_commit(raw: Any) -> None:
        commit = raw.execute

        def lost(statement: str) -> object:
            if statement != "COMMIT":
                return commit(statement)
            raw.pgconn.finish()
            raise psycopg.OperationalError("server closed the connection unexpectedly")

        raw.execute = lost

    bank.store.engine.dispose()
    listen(bank.store.engine, "connect", lambda raw, _record: break_commit(raw))

    def act() -> None:
        with bank.store.work() as work:
            work.audit(Event.SEALS_BEGUN, actor="test")

    with pytest.raises(StoreUnavailable, match="whether this was done is not known"):
        act()


def test_no_row_comes_below_the_horizon_whenever_its_batch_began_to_write(bank: Bank) -> None:
    """A batch that looks at the closed id before that is committed is waited for, though its number is above that of
    the transaction that closes."""
    database = bank.url.split("@/")[1].split("?")[0]
    with postgresql.server().connect(database) as batch:
        with bank.store.database.write() as connection:
            horizon.close(connection, 7)
            batch.execute("BEGIN")
            batch.execute("SELECT pg_current_xact_id()")
            assert batch.execute(horizon.LOOK, ((7).to_bytes(8, "big"),)).fetchone() == (1,)
        with bank.store.read() as connection:
            number = horizon.next_number(connection)
            assert not horizon.is_past(connection, number)
            batch.execute("COMMIT")
            assert horizon.is_past(connection, number)
        with pytest.raises(psycopg.errors.DivisionByZero):
            batch.execute(horizon.LOOK, ((7).to_bytes(8, "big"),))


def test_a_server_that_has_restarted_costs_no_question_of_a_login_or_an_api_key(bank: Bank) -> None:
    """All connections that lie idle are broken: none of them is believed after the first."""
    bank.customer("taro")
    reader, keys = bank.store.login_reader(), bank.store.key_reader()

    async def ask() -> list[LoginRecord | None]:
        return await asyncio.gather(*(reader.login_record("taro") for _ in range(4)))

    async def scene() -> None:
        assert all(await ask()) and keys.api_key_of(b"none") is None
        with postgresql.server().connect("postgres") as connection:
            ended = connection.execute(
                "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
                "WHERE application_name LIKE 'sekisho%'"
            ).fetchone()
        assert ended is not None and int(str(ended[0])) >= 5
        assert all(await ask()) and keys.api_key_of(b"none") is None
        reader.close()

    asyncio.run(scene())
    keys.close()


def test_an_error_repeats_no_value_of_a_row(bank: Bank) -> None:

    def twice() -> None:
        with bank.store.database.write() as connection:
            for _ in range(2):
                connection.exec_driver_sql("INSERT INTO meta VALUES ('himitsu', '')")

    with pytest.raises(IntegrityError) as raised:
        twice()
    assert "himitsu" not in str(unavailable(raised.value.orig))


@pytest.mark.parametrize(
    ("action", "table"), [("UPDATE", "token"), ("UPDATE", "customer"), ("INSERT", "challenge"), ("INSERT", "audit")]
)
def test_a_write_probe_does_all_that_a_login_does(bank: Bank, action: str, table: str) -> None:
    """If any of it is refused, logins cannot be answered."""
    bank.customer()
    before, trail = bank.rows(), bank.audit()
    with maintenance_of(bank) as maintenance:
        maintenance.write_probe(["taro"])
        with bank.store.database.write() as connection:
            connection.exec_driver_sql(
                "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'"
            )
            connection.exec_driver_sql(
                f"CREATE TRIGGER a_no BEFORE {action} ON {table} FOR EACH ROW EXECUTE FUNCTION no()"
            )
        with pytest.raises(StoreUnavailable):
            maintenance.write_probe(["taro"])
    assert (bank.rows(), bank.audit()) == (before, trail)


def test_doctor_says_what_a_verdict_rests_on(bank: Bank) -> None:
    found = {one.check: one for one in bank.store.database.facts()}
    assert found["database"].state is CheckState.OK
    assert found["database disk"].state is CheckState.FAIL, "the tests' server has fsync=off"
    standbys = found["database standbys"]
    assert standbys.state is CheckState.WARN and "none is synchronous" in standbys.text
    assert found["database clock"].state is CheckState.OK
    parts = found["database audit"]
    assert parts.state is CheckState.OK and "the next months' included" in parts.text


def test_doctor_says_that_the_next_months_part_of_the_trail_is_missing(bank: Bank) -> None:
    """As where the role that serves may not make it, and `init` was not run as the owner."""
    with bank.store.database.read() as connection:
        raw: Any = connection.connection.driver_connection
        behind = [one for one in partitions.parts(raw) if ms_of(one.low) > time.time() * 1000]
        assert behind, "of the months to come"
        for one in behind:
            connection.exec_driver_sql(f"DROP TABLE {one.name}")
    (parts,) = [one for one in bank.store.database.facts() if one.check == "database audit"]
    assert parts.state is CheckState.WARN
    assert "no part for the next month" in parts.text and "run `sekisho init` as the owner" in parts.text


def test_a_seal_covers_what_lies_there_and_no_row_comes_below_it_any_more(bank: Bank) -> None:
    """Though the id of a batch was drawn before the horizon was closed, and by a clock that is behind it."""
    taro, batch, seals = bank.customer(), bank.store.login_batch(), bank.store.seals()
    now, known = bank.guarded.now(), list[int]()

    def evaluate(facts: Facts) -> Decision:
        request = code_request(taro, taro.code())
        decision = bank.evaluator.evaluate([request], facts, now, bank.store.ids)
        if not known:
            lines = seals.sealable(0, now + 60_000, 1000)
            seal = SealRow(1, lines.ids[-1], "{}", b"", b"")
            assert seals.append(seal, 0, 0, len(lines.ids)) and not seals.append(seal, 0, 0, len(lines.ids))
        known.append(decision.audit[0].id)
        return decision

    async def log_in() -> Decision:
        with pytest.raises(Conflict):
            await batch.run(["taro"], [], evaluate)
        return await batch.run(["taro"], [], evaluate)

    assert asyncio.run(log_in()).verdicts == [Accept()]
    batch.close()
    overtaken, written = known
    assert overtaken < id_at(now + 59_000) < written == bank.audit(event="login.accepted")[0].id
    assert bank.own_token().last_step == taro.step()


def test_a_transaction_that_writes_for_long_keeps_the_horizon_where_it_is(bank: Bank) -> None:
    bank.customer()
    now, seals = bank.guarded.now() + 60_000, bank.store.seals()
    with psycopg.connect(bank.url) as other:
        other.execute("INSERT INTO meta VALUES ('slow', '')")
        assert not seals.sealable(0, now, 1000).lines
    assert seals.sealable(0, now, 1000).lines


def test_no_seal_is_written_where_the_closed_horizon_was_lost_in_a_fail_over(bank: Bank) -> None:
    """A standby that was behind has become the primary: below the horizon of before, rows may come there again."""
    bank.customer()
    seals = bank.store.seals()
    lines = seals.sealable(0, bank.guarded.now() + 60_000, 1000)
    seal = SealRow(1, lines.ids[-1], "{}", b"", b"")
    with bank.store.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM meta WHERE name = 'closed'")
    assert not seals.append(seal, 0, 0, len(lines.ids))
    assert seals.sealable(0, bank.guarded.now() + 60_000, 1000).ids == lines.ids
    assert seals.append(seal, 0, 0, len(lines.ids))


@pytest.mark.parametrize("statement", ["locked_at = 5", "otp_use = 'suspended'", "contract_id = 'jiro'"])
def test_whatever_changes_a_customer_overtakes_a_login_that_has_read_them(bank: Bank, statement: str) -> None:
    """By whichever statement, and whoever wrote it: the login's own row is the token's."""
    taro, batch = bank.customer(), bank.store.login_batch()

    def evaluate(facts: Facts) -> Decision:
        request = code_request(taro, taro.code())
        decision = bank.evaluator.evaluate([request], facts, bank.guarded.now(), bank.store.ids)
        assert decision.verdicts == [Accept()]
        with psycopg.connect(bank.url) as other:
            other.execute(f"UPDATE customer SET {statement}")  # noqa: S608  the test's own
        return decision

    async def log_in() -> None:
        with pytest.raises(Conflict):
            await batch.run(["taro"], [], evaluate)

    asyncio.run(log_in())
    batch.close()
    assert not bank.audit(event="login.accepted")


def test_an_acceptance_without_a_code_rests_on_the_customers_row(bank: Bank) -> None:
    bank.customer("taro", None)
    batch = bank.store.login_batch()

    def evaluate(facts: Facts) -> Decision:
        row = AuditRow(bank.store.ids.next(), "login.accepted", "gateway", "taro", None, "", "")
        with psycopg.connect(bank.url) as other:
            other.execute("UPDATE customer SET locked_at = 5")
        return Decision(verdicts=[Accept()], audit=[row])

    async def log_in() -> None:
        with pytest.raises(Conflict):
            await batch.run(["taro"], [], evaluate)

    asyncio.run(log_in())
    batch.close()
