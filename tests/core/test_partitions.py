"""The audit trail on PostgreSQL, in parts: a month each, made before it begins, and dropped as a whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import insert

from otp_core.audit import id_at
from otp_core.model import Conflict, StoreBusy, StoreUnavailable
from otp_core.store.audit_drops import take_away
from otp_core.store.engines import open_database
from otp_core.store.postgresql import partitions
from otp_core.store.postgresql.partitions import AHEAD, Part, make_ahead, month_behind, parts
from otp_core.store.schema import audit
from otp_core.store.store import Store
from tests import postgresql
from tests.core.bank import Bank


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """As nobody has made the next months' parts."""
    opened = Bank(tmp_path, database_url=postgresql.store_in(tmp_path)).store
    only_first(opened)
    yield opened
    opened.engine.dispose()


def ms(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type, misc]


def stranger(store: Store) -> Any:
    return postgresql.server().connect(store.database.name)


def only_first(store: Store) -> None:
    with store.read() as connection:
        for part in parts(connection.connection.driver_connection)[1:]:  # type: ignore[arg-type]
            connection.exec_driver_sql(f"DROP TABLE {part.name}")


def there(store: Store) -> list[Part]:
    with store.read() as connection:
        return parts(connection.connection.driver_connection)  # type: ignore[arg-type]


def ahead(store: Store, now_ms: int) -> None:
    with store.read() as connection:
        make_ahead(connection.connection.driver_connection, now_ms)  # type: ignore[arg-type]


def add(store: Store, *ids: int) -> None:
    with store.derive() as connection:
        fields = {"event": "login.accepted", "actor": "gateway", "customer": "taro", "source": "", "reason": ""}
        connection.execute(insert(audit), [{"id": id_, **fields} for id_ in ids])


def held(store: Store, table: str = "audit") -> list[int]:
    with store.read() as connection:
        return list(connection.exec_driver_sql(f"SELECT id FROM {table} ORDER BY id").scalars())  # noqa: S608


def apart(store: Store, *bounds: int) -> None:
    """The first part again, in months of the past."""
    with store.read() as connection:
        connection.exec_driver_sql("DROP TABLE audit_first")
        low = "MINVALUE"
        for number, bound in enumerate(bounds):
            connection.exec_driver_sql(
                f"CREATE TABLE audit_part_{number} PARTITION OF audit FOR VALUES FROM ({low}) TO ({bound})"
            )
            low = str(bound)


def test_a_month_is_the_calendars() -> None:
    assert month_behind(ms(2026, 12, 31, 23, 59, 59)) == ms(2027, 1, 1)
    assert month_behind(ms(2027, 1, 1)) == ms(2027, 2, 1)
    assert month_behind(ms(2026, 11, 5), 3) == ms(2027, 2, 1)


def test_the_next_months_have_their_parts_and_take_their_rows(store: Store) -> None:
    (first,) = there(store)
    now = month_behind(int(datetime.now(UTC).timestamp() * 1000)) - 1000
    ahead(store, now)
    ahead(store, now)
    made = there(store)
    assert [one.low for one in made[1:]] == [one.high for one in made[:-1]] and made[0] == first and len(made) == 3
    assert made[-1].high == id_at(month_behind(now, 3))
    add(store, first.high - 1, first.high, made[-1].high + 5)
    assert (held(store, made[1].name), held(store, "audit_rest")) == ([first.high], [made[-1].high + 5])


def test_init_makes_the_parts_that_whoever_serves_may_not_make(tmp_path: Path) -> None:
    """Its role has no right to make tables: that of `sekisho init` has."""
    url = postgresql.store_in(tmp_path)
    database = open_database(url, busy_seconds=5.0)
    with database.read() as connection:
        made = parts(connection.connection.driver_connection)  # type: ignore[arg-type]
        for part in made[1:]:
            connection.exec_driver_sql(f"DROP TABLE {part.name}")
    assert len(made) >= AHEAD
    database.upgrade()
    database.upgrade()
    with database.read() as connection:
        assert parts(connection.connection.driver_connection) == made  # type: ignore[arg-type]
    database.engine.dispose()


def test_a_trail_without_any_part_gets_that_of_this_month_and_a_wrong_clock_makes_a_few_years(store: Store) -> None:
    with store.read() as connection:
        connection.exec_driver_sql("DROP TABLE audit_first")
    now = int(time.time() * 1000)
    ahead(store, now)
    assert [one.low for one in there(store)[:1]] == [id_at(month_behind(now, 0))] and len(there(store)) == AHEAD
    ahead(store, ms(2200, 1, 1))
    assert len(there(store)) == AHEAD + 36


def test_rows_of_a_month_that_was_late_are_brought_into_its_part(store: Store) -> None:
    (first,) = there(store)
    add(store, first.high + 7)
    ahead(store, month_behind(int(datetime.now(UTC).timestamp() * 1000)) - 1000)
    assert held(store, "audit_rest") == [] and held(store, there(store)[1].name) == [first.high + 7]


def test_whole_months_are_dropped_and_of_the_last_one_what_is_younger_stays(store: Store) -> None:
    bounds = [id_at(ms(2026, month, 1)) for month in (3, 4, 5)]
    apart(store, *bounds, id_at(ms(2030, 1, 1)))
    ids = [id_at(ms(2026, month, day)) for month in (1, 3, 4, 5) for day in (2, 29)]
    add(store, *ids)
    until = ids[5] - 5  # late in April: the younger row of it stays
    take_away(store, until, 0)
    assert held(store) == ids[5:]
    assert [(one.name, one.low) for one in there(store)] == [
        ("audit_part_2", until + 1),
        ("audit_part_3", bounds[2]),
    ]
    add(store, ids[5] + 1)
    assert held(store, "audit_part_2") == [ids[5], ids[5] + 1]
    with store.read() as connection, pytest.raises(Exception, match="duplicate key"):
        connection.exec_driver_sql(
            f"INSERT INTO audit (id, event, actor, source, reason) SELECT {ids[5]}, '', '', '', ''"
        )


def test_one_session_at_a_time_takes_parts_away_and_what_a_killed_one_has_left_goes(store: Store) -> None:
    apart(store, id_at(ms(2026, 3, 1)), id_at(ms(2030, 1, 1)))
    ids = [id_at(ms(2026, 2, day)) for day in (2, 3, 28)]
    add(store, *ids)
    with store.read() as connection:
        connection.exec_driver_sql("CREATE TABLE audit_part_0_rest (LIKE audit)")
        other = stranger(store)
        other.execute("SELECT pg_advisory_lock(%s, %s)", (0x53656B69, 16))
        with pytest.raises(StoreBusy, match="another session takes old parts"):
            take_away(store, ids[1], 0)
        assert held(store) == ids
        other.execute("SELECT pg_advisory_unlock_all()")
        other.close()
    take_away(store, ids[1], 0)
    assert held(store) == ids[2:]
    with store.read() as connection:
        tables = connection.exec_driver_sql("SELECT relname FROM pg_class WHERE relname LIKE 'audit%%rest'").scalars()
        assert list(tables) == ["audit_rest"]


def test_what_is_left_of_a_part_is_copied_a_little_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "_FILLED_AT_ONCE", 3)
    apart(store, id_at(ms(2026, 3, 1)), id_at(ms(2030, 1, 1)))
    first = id_at(ms(2026, 2, 20))
    add(store, *range(first, first + 8))
    take_away(store, first, 0)
    assert held(store) == list(range(first + 1, first + 8)) and there(store)[0].low == first + 1


def test_who_reads_the_trail_for_long_has_the_rows_deleted_and_no_table_is_left(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a dump of the database does."""
    monkeypatch.setattr(partitions, "_TRIES", 1)
    monkeypatch.setattr(partitions, "LOCK_MS", 5)
    apart(store, id_at(ms(2026, 3, 1)), id_at(ms(2030, 1, 1)))
    ids = [id_at(ms(2026, 2, day)) for day in (20, 21)]
    add(store, *ids)
    reader = stranger(store)
    reader.execute("BEGIN")
    reader.execute("SELECT 1 FROM audit")
    take_away(store, ids[0], 0)
    reader.close()
    assert held(store) == ids[1:] and [one.name for one in there(store)] == ["audit_part_0", "audit_part_1"]
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT to_regclass('audit_part_0_rest')").scalar() is None


def test_a_part_of_which_little_is_old_is_left_and_its_rows_are_deleted(store: Store) -> None:
    bounds = [id_at(ms(2026, 3, 1)), id_at(ms(2026, 4, 1)), id_at(ms(2030, 1, 1))]
    apart(store, *bounds)
    ids = [id_at(ms(2026, 3, day)) for day in (2, 29)]
    add(store, *ids)
    take_away(store, ids[0], 0)
    assert held(store) == ids[1:] and [one.name for one in there(store)] == ["audit_part_1", "audit_part_2"]


def test_who_does_not_own_the_tables_deletes_the_rows(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise psycopg.errors.InsufficientPrivilege("must be owner of table audit")

    monkeypatch.setattr(partitions, "drop_until", refused)
    add(store, 5, 6, 7)
    take_away(store, 6, 0)
    assert held(store) == [7]


def test_a_connection_that_breaks_meanwhile_is_told_as_any_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(partitions, "drop_until", broken)
    with pytest.raises(StoreUnavailable, match="server closed the connection"):
        take_away(store, 6, 0)


def test_a_part_that_lies_elsewhere_is_named_when_the_trail_is_verified(store: Store) -> None:
    """Triggers of another schema are not looked for, and may change rows before they are sealed."""
    assert store.trail().strange() == []
    with store.read() as connection:
        connection.exec_driver_sql("CREATE SCHEMA elsewhere")
        low, high = id_at(ms(2040, 1, 1)), id_at(ms(2041, 1, 1))
        values = f"FOR VALUES FROM ({low}) TO ({high})"
        connection.exec_driver_sql(f"CREATE TABLE elsewhere.audit_2040 PARTITION OF audit {values}")
    assert store.trail().strange() == ["partition 'audit_2040'"]


def test_an_id_that_two_processes_have_drawn_is_a_conflict(store: Store) -> None:
    add(store, 5)
    with pytest.raises(Conflict, match="has drawn the same id"):
        add(store, 5)
