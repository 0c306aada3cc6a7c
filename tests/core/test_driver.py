"""Which SQLite a process uses, that it uses one alone, and what is said and done where that one is too old."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otp_core.store.sqlite import driver
from tests.sekisho import Sekisho, client_table

CLIENTS = client_table("gateway", "127.0.0.1", "code")


@pytest.mark.parametrize("version", [(3, 51, 3), (3, 52, 0), (3, 53, 4), (4, 0, 0), (3, 50, 7), (3, 44, 6)])
def test_these_versions_reset_their_log_safely(version: tuple[int, ...]) -> None:
    assert driver.resets_safely(version)


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 44, 5), (3, 45, 0), (3, 46, 1), (3, 50, 6), (3, 51, 2)])
def test_these_versions_have_the_fault(version: tuple[int, ...]) -> None:
    assert not driver.resets_safely(version)


def test_the_locked_driver_is_the_one_in_use_where_it_has_a_wheel() -> None:
    """Elsewhere this test has nothing to say."""
    if sys.platform == "linux" and os.uname().machine == "x86_64" and sys.version_info < (3, 15):
        assert driver.NAME.endswith("by pysqlite3") and driver.resets_safely()


@pytest.mark.sqlite_files
def test_an_open_store_has_loaded_one_sqlite_alone(tmp_path: Path) -> None:
    """The whole program, with a store that was made, migrated and read."""
    sekisho = Sekisho(tmp_path, clients=CLIENTS)
    code = f"""
import sys
import sekisho.serve, sekisho.cli
from pathlib import Path
from sekisho.settings import load
from sekisho.wiring import open_desk, open_store
settings = load(Path({str(sekisho.config)!r}), environment={{}}).settings
open_desk(settings, open_store(settings)).customers
from otp_core.store.sqlite import driver
assert driver.NAME.endswith("by sqlite3") or not {{"sqlite3", "_sqlite3"}} & set(sys.modules), "two"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    sekisho.close()


@pytest.fixture
def system_sqlite(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine that pysqlite3 has no wheel for, with a SQLite that has the fault."""
    away, old = tmp_path / "away", "3.40.1"
    away.mkdir()
    (away / "pysqlite3.py").write_text("raise ImportError\n")
    # The real driver of the system; only what it says of its version is that of Debian 12, whatever runs the test.
    (away / "sitecustomize.py").write_text(
        f"import sqlite3\nsqlite3.sqlite_version, sqlite3.sqlite_version_info = {old!r}, (3, 40, 1)\n"
    )
    return {"PYTHONPATH": str(away)}


@pytest.mark.sqlite_files
def test_a_sqlite_with_the_fault_gets_one_worker_and_says_so(tmp_path: Path, system_sqlite: dict[str, str]) -> None:
    sekisho = Sekisho(tmp_path, clients=CLIENTS, workers=2, environment=system_sqlite)
    taro = sekisho.customer()
    sekisho.spawn()
    try:
        log = sekisho.wait_for_log("ready")
        assert "SQLite 3.40.1 by sqlite3 has a fault" in log and "one worker serves" in log
        assert "workers started" not in log
        assert sekisho.login(taro.contract_id, taro.code()) == "Access-Accept"
    finally:
        sekisho.close()


@pytest.mark.sqlite_files
def test_the_doctor_names_the_version_and_its_fault(tmp_path: Path, system_sqlite: dict[str, str]) -> None:
    sekisho = Sekisho(tmp_path, clients=CLIENTS)
    command = (sys.executable, "-m", "sekisho", "--config", str(sekisho.config), "doctor")

    def told(**more: str) -> str:
        return subprocess.run(command, env=os.environ | more, check=False, capture_output=True, text=True).stdout

    assert f"ok    sqlite: {driver.NAME}" in told()
    assert "warn  sqlite: SQLite 3.40.1 by sqlite3 has a fault" in told(**system_sqlite)
    sekisho.close()


def test_the_library_itself_is_asked_which_error_it_was() -> None:
    """By the pointer that both drivers keep behind an object's header; a new version may keep it elsewhere."""
    connection = driver.connect(":memory:")
    connection.execute("CREATE TABLE t (x UNIQUE)")
    connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(driver.IntegrityError):
        connection.execute("INSERT INTO t VALUES (1)")
    assert driver._extended_code(connection) == 2067, "SQLITE_CONSTRAINT_UNIQUE"
    connection.close()
