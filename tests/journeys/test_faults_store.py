"""A store that is locked, damaged, deleted, moved or replaced: silence, never an acceptance."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otp_core.health import BUSY_FOR
from otp_core.store.put_back import SECONDS
from otp_core.store.sqlite import driver
from tests.journeys.faults import (
    AUTO,
    CHALLENGING,
    CLIENTS,
    CODE,
    answers_status,
    ask,
    check_recovery,
    check_trouble,
    comes_back,
    refuses_to_start,
    running_sekisho,
    sekisho_and_peers,
)
from tests.radius_peer import ACCEPT, CHALLENGE, REJECT, Packet, Peers, names
from tests.sekisho import PASSWORD, STAFF, Customer, Sekisho

pytestmark = pytest.mark.sqlite_files

# Locked


def test_a_store_that_another_process_has_locked(tmp_path: Path) -> None:
    with sekisho_and_peers(tmp_path) as (sekisho, peers):
        customers = sekisho.crowd(8)
        with contextlib.closing(driver.connect(sekisho.database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            line = "another process holds its write lock: is a backup, an import or a second server running?"
            asked = check_trouble(sekisho, peers, customers, line, bears=BUSY_FOR)
        check_recovery(sekisho, peers, asked)


def test_a_short_lock_is_no_trouble_to_status_server(tmp_path: Path) -> None:
    """An import holds the lock for moments; front ends must not go elsewhere for that."""
    with sekisho_and_peers(tmp_path) as (sekisho, peers):
        since = len(sekisho.log_text())
        with contextlib.closing(driver.connect(sekisho.database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(1.1)  # an answer is remembered for a second
            assert answers_status(peers)
        assert "not healthy" not in sekisho.log_text()[since:]


def test_who_asks_during_a_short_lock_is_answered_after_it(tmp_path: Path) -> None:
    with sekisho_and_peers(tmp_path) as (sekisho, peers):
        packets = [ask(one, one.code()) for one in sekisho.crowd(8)]
        other = driver.connect(sekisho.database, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(1.0, other.close).start()
        started = time.monotonic()
        assert names(peers.ask_all(packets)) == [ACCEPT] * 8
        assert 0.9 < time.monotonic() - started < 2.5


def test_who_asks_during_a_long_lock_hears_nothing_at_all(tmp_path: Path) -> None:
    """Not late either, when the gateway has gone elsewhere with the same code: after request_seconds it is dropped."""
    with sekisho_and_peers(tmp_path, clients=CLIENTS.replace("3.0", "1.0")) as (sekisho, peers):
        (customer,) = sekisho.crowd(1)
        packet = ask(customer, customer.code())
        with contextlib.closing(driver.connect(sekisho.database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert peers.ask(packet, wait=1.6) is None
        assert comes_back(peers)
        assert sekisho.audit(customer.contract_id, "login.accepted") == []
        assert names([peers.ask(packet)]) == [ACCEPT]


# Damaged

DAMAGED = "the file is damaged: stop the server and restore the newest backup"


@pytest.mark.parametrize(
    ("table", "octet"), [("token", b"\xff"), ("customer", b"\0"), ("audit", b"\xff"), ("everything", b"\0")]
)
def test_pages_that_are_overwritten_while_it_runs(tmp_path: Path, table: str, octet: bytes) -> None:
    with sekisho_and_peers(tmp_path) as (sekisho, peers):
        customers = sekisho.crowd(8)
        good = overwrite(sekisho, table, octet)
        asked = check_trouble(sekisho, peers, customers, DAMAGED)
        sekisho.database.write_bytes(good)
        check_recovery(sekisho, peers, asked)


def overwrite(sekisho: Sekisho, table: str, octet: bytes) -> bytes:
    """A table's page (its root), or all but the first, filled with one octet; what the file was before."""
    with contextlib.closing(driver.connect(sekisho.database, isolation_level=None)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        roots = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchall()
    good = sekisho.database.read_bytes()
    with sekisho.database.open("r+b") as file:
        for page in [page for (page,) in roots] or range(2, len(good) // size + 1):
            file.seek((page - 1) * size)
            file.write(octet * size)
    return good


def test_a_damaged_file_at_the_start(tmp_path: Path) -> None:
    with running_sekisho(tmp_path) as sekisho:
        good = overwrite(sekisho, "everything", b"\xff")
        refuses_to_start(sekisho, DAMAGED)
        sekisho.database.write_bytes(b"This is somebody's shopping list.\n" * 400)
        refuses_to_start(sekisho, "the file is no SQLite database: restore the newest backup")
        sekisho.database.write_bytes(good[: len(good) // 2])
        refuses_to_start(sekisho, DAMAGED)
        sekisho.database.write_bytes(b"")
        refuses_to_start(sekisho, "the store is empty: run `sekisho init` first")


# Deleted, moved, replaced

GONE = "the file cannot be opened: check the path, its folder, their rights and mount options"


def test_a_store_that_is_deleted_while_it_runs(tmp_path: Path) -> None:
    """The kernel would let the process go on writing to the file that has no name any more, and all of it be lost."""
    with sekisho_and_peers(tmp_path) as (sekisho, peers):
        customers = sekisho.crowd(8)
        for file in tmp_path.glob("s.db*"):
            file.unlink()
        check_trouble(sekisho, peers, customers, GONE)
        assert not sekisho.database.exists(), "an empty store in its place would look like the real one"
        assert sekisho.stop() == 0
        refuses_to_start(sekisho, f"there is no store {sekisho.database}")
        assert not sekisho.database.exists()


def test_a_store_that_is_moved_away_and_back(tmp_path: Path) -> None:
    with sekisho_and_peers(tmp_path) as (sekisho, peers):
        customers = sekisho.crowd(8)
        with moved_away(sekisho):
            asked = check_trouble(sekisho, peers, customers, GONE)
        check_recovery(sekisho, peers, asked)


@pytest.mark.parametrize("source", [CHALLENGING, AUTO])
def test_no_password_is_looked_at_in_a_store_that_is_gone(tmp_path: Path, source: str) -> None:
    with sekisho_and_peers(tmp_path) as (sekisho, _), Peers(sekisho.where, 4, source) as peers:
        customer = sekisho.customer()
        user_password = PASSWORD + (customer.code() if source == AUTO else "")
        with moved_away(sekisho):
            assert peers.ask(ask(customer, user_password), wait=0.5) is None
        assert comes_back(peers)
        assert names([peers.ask(ask(customer, user_password))]) == [ACCEPT if source == AUTO else CHALLENGE]


@contextmanager
def moved_away(sekisho: Sekisho) -> Iterator[None]:
    away = sekisho.folder / "away"
    away.mkdir()
    files = list(sekisho.folder.glob("s.db*"))
    for file in files:
        file.rename(away / file.name)
    try:
        yield
    finally:
        for file in files:
            (away / file.name).rename(file)


def test_a_backup_put_in_place_of_a_running_store_waits_for_a_restart(tmp_path: Path) -> None:
    """The desk would work on the new file and the server on the old one: a token reported lost would go on working. And
    were the new file opened beside the old one's write-ahead log, SQLite would pour that into it. The start afterwards
    notices that it was put back: what may have been used since is void, and everybody goes on with later codes."""
    with sekisho_and_peers(tmp_path) as (sekisho, peers):
        customers = sekisho.crowd(8)
        backup = back_up(sekisho)
        later = sekisho.crowd(400)
        with contextlib.closing(driver.connect(sekisho.database)) as store:
            assert store.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        assert names(peers.ask_all([ask(one, one.code()) for one in later[:3]])) == [ACCEPT] * 3
        backup.rename(sekisho.database)
        check_trouble(sekisho, peers, customers, "was replaced while the server runs; stop the server, remove")
        assert sekisho.stop() == 0
        check_whole(sekisho)
        sekisho.desk.enrolment.report_lost(customers[0].contract_id, STAFF)
        with Peers(sekisho.start().where, 4, CODE) as again:
            sekisho.wait_for_log("the store was put back without `sekisho restore`")
            asked = [ask(one, one.code()) for one in (*customers, *later[:3])]
            assert names(again.ask_all(asked)) == [REJECT] * 11
            assert names(again.ask_all([go_on(sekisho, one) for one in customers[1:]])) == [ACCEPT] * 7
        check_whole(sekisho)


def test_a_backup_restored_by_sqlite_into_a_running_store(tmp_path: Path) -> None:
    """The way that needs no restart: it writes into the same file, in one transaction."""
    with sekisho_and_peers(tmp_path) as (sekisho, peers):
        customers = sekisho.crowd(8)
        backup = back_up(sekisho)
        later = sekisho.crowd(400)
        assert names(peers.ask_all([ask(one, one.code()) for one in later[:3]])) == [ACCEPT] * 3
        sekisho.wait_for_log("first start of this store")
        time.sleep(2 * SECONDS)  # the mark is a second late
        subprocess.run(["sqlite3", str(sekisho.database), f".restore {backup}"], check=True)
        sekisho.wait_for_log("the store was put back without `sekisho restore`")
        asked = [ask(one, one.code()) for one in (*customers, *later[3:6])]
        assert names(peers.ask_all(asked)) == [REJECT] * 11
        assert names(peers.ask_all([go_on(sekisho, one) for one in customers])) == [ACCEPT] * 8
        check_whole(sekisho)


def go_on(sekisho: Sekisho, one: Customer) -> Packet:
    """A login with a code that is still to come: two before it have resynchronised the token."""
    now = time.time()
    first, second, third = (one.code(away, now) for away in (3, 4, 5))
    sekisho.desk.enrolment.resynchronise(one.contract_id, first, second, STAFF)
    return ask(one, third)


def back_up(sekisho: Sekisho) -> Path:
    backup = sekisho.folder / "backup.db"
    subprocess.run(["sqlite3", str(sekisho.database), f".backup {backup}"], check=True)
    return backup


def check_whole(sekisho: Sekisho) -> None:
    with contextlib.closing(driver.connect(sekisho.database)) as store:
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
