"""Which version may use which store, and what `sekisho init` and `init --contract` carry out. Two versions at work on
one store: tests/journeys/test_upgrade.py.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from otp_core.audit import Ids
from otp_core.model import StoreProblem
from otp_core.sealing import create_master_key
from otp_core.store.engines import open_database
from otp_core.store.migrating import BASELINE, Phase, Step, goal, oldest_of, steps_of
from otp_core.store.revisions import Revisions, read_revisions, refuse_unfit
from otp_core.store.schema import NEEDED, REVISION
from otp_core.store.sqlite.database import open_engine, transaction
from otp_core.store.store import Store, initialise
from tests import postgresql

OLD_POSTGRESQL = Path(__file__).parent / "store_0021" / "postgresql.sql"
EXPAND, CONTRACT = Phase.EXPAND, Phase.CONTRACT
STEPS = [
    *(Step(revision, CONTRACT) for revision in ("0021", "0022")),
    Step("0023", EXPAND),
    Step("0024", CONTRACT),
    Step("0025", EXPAND),
    Step("0026", CONTRACT),
]


@pytest.mark.parametrize(
    ("reached", "expanded", "contracted"),
    [
        ("0021", "0026", "0026"),  # no older version can use it anyway
        ("0022", "0025", "0026"),
        ("0023", "0025", "0026"),
        ("0024", "0025", "0026"),
        ("0025", "0025", "0026"),
        ("0026", "0026", "0026"),
    ],
)
def test_init_expands_and_contracts_only_where_it_is_told_to(reached: str, expanded: str, contracted: str) -> None:
    assert goal(STEPS, reached, contract=False) == expanded
    assert goal(STEPS, reached, contract=True) == contracted


@pytest.mark.parametrize(
    ("reached", "oldest"), [("0022", "0022"), ("0023", "0022"), ("0024", "0024"), ("0025", "0024"), ("0026", "0026")]
)
def test_a_version_has_to_know_what_was_taken_away(reached: str, oldest: str) -> None:
    assert oldest_of(STEPS, reached) == oldest


def steps() -> list[Step]:
    config = Config()
    config.set_main_option("script_location", "otp_core.store:migrations")
    return steps_of(ScriptDirectory.from_config(config))


def test_every_migration_says_what_it_does_and_the_code_names_the_newest_of_each_kind() -> None:
    found = steps()
    assert [step.revision for step in found] == sorted(step.revision for step in found)
    assert found[-1].revision == REVISION
    assert max([BASELINE, *(step.revision for step in found if step.phase is EXPAND)]) == NEEDED


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        (Revisions(REVISION, REVISION), None),
        (Revisions(BASELINE, "9999"), None),
        (Revisions("9999", "9999"), "too old"),
        (Revisions("٩٩٩٩", "٩٩٩٩"), "too old"),
        (Revisions("0007", "0007"), "too new"),
    ],
    ids=["its own", "of a newer version that has only added", "contracted by a newer one", "no number", "older"],
)
def test_which_store_a_version_may_use(found: Revisions, refused: str | None) -> None:
    if refused is None:
        refuse_unfit(found, "here")
        return
    with pytest.raises(StoreProblem, match=f"{refused} for the store here: .*{found.reached}") as raised:
        refuse_unfit(found, "here")
    assert ("run `sekisho init`" in str(raised.value)) is (refused == "too new")


# A store of schema 0021 is brought to the newest, and is then as a new one is.


def old_on_sqlite(folder: Path) -> str:
    """As the version of then made it: by its migrations, with one number alone."""
    url = f"sqlite:///{folder}/old.db"
    config = Config()
    config.set_main_option("script_location", "otp_core.store:migrations")
    engine = open_engine(url, busy_seconds=1.0)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        with transaction(connection):
            command.upgrade(config, "0021")
    engine.dispose()
    return url


def old_on_postgresql(folder: Path) -> str:
    at, name = postgresql.server(), f"old_{abs(hash(str(folder)))}"
    at.create_database(name)
    with at.connect(name) as connection:
        connection.execute(OLD_POSTGRESQL.read_text())
    return at.url(name)


def new_on_sqlite(folder: Path) -> str:
    return f"sqlite:///{folder}/new.db"


def new_on_postgresql(folder: Path) -> str:
    postgresql.empty_store()
    return postgresql.server().url("empty")


def on_sqlite(connection: Connection) -> set[str]:
    """All that was made, in SQLite's own words, without what only says in which order."""
    rows = connection.execute(text("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"))
    return {
        " ".join([kind, name, *sorted(part.strip(' ,"') for part in words.splitlines())]) for kind, name, words in rows
    }


_ON_POSTGRESQL = """
SELECT concat_ws(' ', 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                 pg_get_expr(d.adbin, d.adrelid), a.attcollation, col_description(c.oid, a.attnum))
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
UNION ALL SELECT concat_ws(' ', 'relation', relname, relkind, reloptions)
  FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i'
UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid))
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t WHERE NOT t.tgisinternal
UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


def on_postgresql(connection: Connection) -> set[str]:
    return set(connection.execute(text(_ON_POSTGRESQL)).scalars())


Url = Callable[[Path], str]
Description = Callable[[Connection], set[str]]
ENGINES = [(old_on_sqlite, new_on_sqlite, on_sqlite), (old_on_postgresql, new_on_postgresql, on_postgresql)]


def init(url: str, folder: Path, said: list[str] | None = None) -> None:
    said = [] if said is None else said
    initialise(url, folder / "master.key", ids=Ids(), say=said.append)


@pytest.mark.parametrize(("old", "new", "described"), ENGINES, ids=["sqlite", "postgresql"])
def test_a_store_of_before_becomes_what_a_new_one_is(
    tmp_path: Path, old: Url, new: Url, described: Description
) -> None:
    upgraded, fresh = old(tmp_path), new(tmp_path)
    if new is new_on_postgresql:
        shutil.copy(postgresql.empty_store() / "master.key", tmp_path / "master.key")
    else:
        create_master_key(tmp_path / "master.key")
    said: list[str] = []
    for url in (upgraded, fresh):
        init(url, tmp_path, said)
    assert "upgraded its schema from 0021 to" in " ".join(said)
    found = []
    for url in (upgraded, fresh):
        store = Store(url, tmp_path / "master.key", ids=Ids(), busy_seconds=1.0)
        with store.read() as connection:
            found.append(described(connection))
            assert read_revisions(connection).reached >= NEEDED
        store.engine.dispose()
    assert found[0] == found[1] and len(found[0]) > 50


def test_two_machines_may_upgrade_at_once(tmp_path: Path) -> None:
    url = old_on_postgresql(tmp_path)
    create_master_key(tmp_path / "master.key")
    troubles: list[BaseException] = []

    def upgrade() -> None:
        try:
            init(url, tmp_path)
        except Exception as error:
            troubles.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert troubles == []
    database = open_database(url, busy_seconds=1.0)
    assert database.revisions().reached >= NEEDED
    database.engine.dispose()


@pytest.mark.parametrize("old", [old_on_sqlite, old_on_postgresql], ids=["sqlite", "postgresql"])
def test_an_older_version_has_nothing_to_upgrade_where_a_newer_one_has_added_something(
    tmp_path: Path, old: Url
) -> None:
    url = old(tmp_path)
    create_master_key(tmp_path / "master.key")
    init(url, tmp_path)
    database = open_database(url, busy_seconds=1.0)
    oldest = database.revisions().oldest
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_reached SET version_num = '9999'")
    init(url, tmp_path)
    assert database.revisions() == Revisions(oldest, "9999")
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9998'")
    with pytest.raises(StoreProblem, match="this version of Sekisho is too old for the store"):
        init(url, tmp_path)
    database.engine.dispose()
