"""The store: how it is made and opened, and what it says when it cannot be."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from otp_core.audit import Ids
from otp_core.model import (
    StoreProblem,
    StoreUnavailable,
    TokenSpec,
)
from otp_core.sealing import KeyProblem, create_master_key
from otp_core.store.revisions import read_revisions
from otp_core.store.schema import NEEDED, REVISION, metadata
from otp_core.store.sqlite import driver
from otp_core.store.sqlite.database import file_of, open_engine
from otp_core.store.store import Store, initialise
from otp_core.store.unit_of_work import NewToken


def init(folder: Path) -> list[str]:
    """What `sekisho init` would say."""
    said: list[str] = []
    initialise(f"sqlite:///{folder}/s.db", folder / "master.key", ids=Ids(), say=said.append)
    return said


def opened(folder: Path) -> Store:
    return Store(f"sqlite:///{folder}/s.db", folder / "master.key", ids=Ids(), busy_seconds=0.05)


def sql(folder: Path, statement: str, *values: object) -> list[Any]:
    """Something done to the file behind the store's back."""
    connection = driver.connect(folder / "s.db", isolation_level=None)
    try:
        return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


# Making one.


def test_init_makes_a_store_and_its_key_for_their_owner_alone(tmp_path: Path) -> None:
    said = init(tmp_path / "new")
    assert len(said) == 2
    assert "created the master key file" in said[0] and "back it up" in said[0]
    assert said[1].startswith("created the store")
    for name in ("s.db", "master.key"):
        assert stat.S_IMODE((tmp_path / "new" / name).stat().st_mode) == 0o600
    opened(tmp_path / "new")


def test_store_and_key_may_be_kept_apart(tmp_path: Path) -> None:
    key = tmp_path / "etc" / "master.key"
    url = f"sqlite:///{tmp_path}/var/lib/s.db"
    initialise(url, key, ids=Ids(), say=lambda _: None)
    Store(url, key, ids=Ids(), busy_seconds=1)


def test_init_may_be_repeated_and_changes_nothing(tmp_path: Path) -> None:
    init(tmp_path)
    key = (tmp_path / "master.key").read_bytes()
    with opened(tmp_path).work() as work:
        work.add_tokens([NewToken("VSMT00000001", b"sealed", TokenSpec())])
    rows = sql(tmp_path, "SELECT * FROM meta UNION ALL SELECT token_id, seed FROM token")
    assert init(tmp_path) == [f"checked the store {tmp_path}/s.db"]
    assert (tmp_path / "master.key").read_bytes() == key
    assert sql(tmp_path, "SELECT * FROM meta UNION ALL SELECT token_id, seed FROM token") == rows


def test_init_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    """A key without a store; then a file without tables."""
    create_master_key(tmp_path / "master.key")
    (tmp_path / "s.db").touch()
    assert init(tmp_path) == [f"checked the store {tmp_path}/s.db"]
    opened(tmp_path)


def test_init_never_makes_a_new_key_for_an_old_store(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "master.key").unlink()
    with pytest.raises(KeyProblem, match="restore the key from your backup"):
        init(tmp_path)
    assert not (tmp_path / "master.key").exists()


def test_init_finds_out_that_the_key_is_another_stores(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "master.key").unlink()
    create_master_key(tmp_path / "master.key")
    with pytest.raises(KeyProblem, match="is not the master key of the store"):
        init(tmp_path)


def test_init_touches_nothing_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_text("Dear diary, " * 100)
    with pytest.raises(StoreProblem, match="no SQLite database"):
        init(tmp_path)
    assert (tmp_path / "s.db").read_text().startswith("Dear diary")


def at_revision(folder: Path, revision: str) -> None:
    sql(folder, "UPDATE alembic_version SET version_num = ?", revision)
    sql(folder, "UPDATE alembic_reached SET version_num = ?", revision)


def test_init_of_a_newer_store_says_so_and_leaves_it_alone(tmp_path: Path) -> None:
    init(tmp_path)
    at_revision(tmp_path, "9999")
    rows = sql(tmp_path, "SELECT * FROM sqlite_master")
    with pytest.raises(StoreProblem, match=r"too old for the store .* schema is 9999, .*: install the version"):
        init(tmp_path)
    assert sql(tmp_path, "SELECT * FROM sqlite_master") == rows


def test_init_in_a_folder_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "occupied").touch()
    create_master_key(tmp_path / "master.key")
    with pytest.raises(StoreProblem, match="cannot create the store"):
        initialise(f"sqlite:///{tmp_path}/occupied/s.db", tmp_path / "master.key", ids=Ids(), say=print)


def test_the_migrations_lead_to_the_schema_of_the_code(tmp_path: Path) -> None:
    """Otherwise a store that was upgraded would differ from a new one."""
    init(tmp_path)
    with opened(tmp_path).read() as connection:
        opts = {"include_name": lambda name, type_, _: type_ != "table" or name in metadata.tables}
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, metadata) == []
        assert read_revisions(connection).reached == REVISION


def test_the_migrated_tables_hold_the_same_constraints_as_the_codes(tmp_path: Path) -> None:
    """Alembic does not compare CHECK constraints and defaults: the database's own words do."""
    init(tmp_path)
    fresh = open_engine(f"sqlite:///{tmp_path}/fresh.db", busy_seconds=1)
    metadata.create_all(fresh)

    def described(engine: Engine) -> dict[str, object]:
        with engine.connect() as connection:
            rows = connection.execute(
                text("SELECT type || ' ' || name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
            )
            return {name: sorted(clauses(words or "")) for name, words in rows if "alembic" not in name}

    assert described(fresh) == described(opened(tmp_path).engine)
    fresh.dispose()


def clauses(words: str) -> list[str]:
    """The clauses of a CREATE statement, in no order, with a default's brackets off. A column that was added later
    stands on the line of the one before it."""
    text = words.replace("DEFAULT (-1)", "DEFAULT -1").replace('"', "")
    parts = (part for line in text.splitlines() for part in re.split(r",\s+(?![^(]*\))", line.strip().rstrip(",")))
    return [" ".join(part.split()) for part in parts if part]


# Opening one.


def test_a_missing_store_says_to_make_one(tmp_path: Path) -> None:
    create_master_key(tmp_path / "master.key")
    with pytest.raises(StoreProblem, match=r"there is no store .*run `sekisho init`"):
        opened(tmp_path)
    assert not (tmp_path / "s.db").exists(), "looking for it must not make it"


def test_an_empty_file_says_to_make_a_store(tmp_path: Path) -> None:
    create_master_key(tmp_path / "master.key")
    (tmp_path / "s.db").touch()
    with pytest.raises(StoreProblem, match="the store is empty: run `sekisho init`"):
        opened(tmp_path)


def test_a_missing_key_is_a_problem_of_the_key(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "master.key").unlink()
    with pytest.raises(KeyProblem, match="there is no master key file"):
        opened(tmp_path)


def test_another_key_is_found_out_before_anything_is_done(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "master.key").unlink()
    create_master_key(tmp_path / "master.key")
    with pytest.raises(KeyProblem, match=r"is not the master key of the store .*restore the key that belongs to it"):
        opened(tmp_path)


def test_a_store_without_its_key_check_is_not_trusted(tmp_path: Path) -> None:
    init(tmp_path)
    sql(tmp_path, "DELETE FROM meta")
    with pytest.raises(KeyProblem, match="is not the master key"):
        opened(tmp_path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "master.key").chmod(0o644)
    with pytest.raises(KeyProblem, match="chmod 600"):
        opened(tmp_path)


@pytest.mark.parametrize(("revision", "why"), [("0000", "too new"), ("9999", "too old"), ("", "too old")])
def test_a_store_of_another_revision_is_refused(tmp_path: Path, revision: str, why: str) -> None:
    init(tmp_path)
    at_revision(tmp_path, revision)
    with pytest.raises(StoreProblem, match=f"{why} .*schema is {revision}, this version works with {NEEDED} to"):
        opened(tmp_path)


def test_a_file_that_is_no_database_is_told_apart(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "s.db").write_text("Dear diary, " * 100)
    with pytest.raises(StoreUnavailable, match="no SQLite database: restore the newest backup"):
        opened(tmp_path)


def test_a_damaged_store_is_told_so(tmp_path: Path) -> None:
    init(tmp_path)
    (page_size,) = sql(tmp_path, "PRAGMA page_size")[0]
    content = bytearray((tmp_path / "s.db").read_bytes())
    for page in range(1, len(content) // page_size):
        content[page * page_size : page * page_size + 100] = b"\xff" * 100
    (tmp_path / "s.db").write_bytes(content)
    with pytest.raises(
        (StoreProblem, StoreUnavailable), match="damaged: stop the server and restore the newest backup"
    ):
        opened(tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://somebody:hunter2@db/sekisho",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://db/sekisho",
        "nonsense",
        "",
        "sqlite:/only/one/slash.db",
    ],
)
def test_a_url_that_cannot_be_served_is_told_the_right_form(url: str) -> None:
    with pytest.raises(StoreProblem, match=r"write sqlite:////absolute/path/file\.db$") as caught:
        open_engine(url, busy_seconds=1)
    assert "hunter2" not in str(caught.value)


def test_the_file_of_a_url_is_its_path() -> None:
    assert file_of("sqlite:////var/lib/sekisho/s.db") == Path("/var/lib/sekisho/s.db")


def test_a_store_is_durable_and_minds_its_keys(tmp_path: Path) -> None:
    """What "once" rests on: every commit waits for the disk (synchronous 2 is FULL)."""
    init(tmp_path)
    with opened(tmp_path).read() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 50}
