"""A store, a key or a clock that cannot be used: silence and a line that says what to do, never an acceptance; and
logins again by themselves, as soon as it can be used again.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import sqlite3
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from otp_core.health import BUSY_FOR
from otp_core.model import StoreUnavailable
from tests.radius_peer import ACCEPT, CHALLENGE, REJECT, Packet, Peers, access_request, names, status_server
from tests.sekisho import PASSWORD, SECRET, STAFF, Customer, Sekisho, client_table, free_port, mounted

CODE, CHALLENGING, AUTO = "127.0.1.1", "127.0.2.1", "127.0.3.1"
_MODES = ((CODE, "code"), (CHALLENGING, "challenge"), (AUTO, "auto"))
CLIENTS = "request_seconds = 3.0\n" + "".join(client_table(mode, at, mode) for at, mode in _MODES)
ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="mounting, chattr and another user take root")
SILENT = "silence"
EXT4_IOC_SHUTDOWN = 0x8004587D
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


@contextmanager
def running_sekisho(folder: Path, **options: object) -> Iterator[Sekisho]:
    """Not started. It must end without a traceback in its log."""
    sekisho = Sekisho(folder, **{"clients": CLIENTS, **options})  # type: ignore[arg-type]
    try:
        yield sekisho
        assert "Traceback" not in sekisho.log_text()
    finally:
        sekisho.close()


@contextmanager
def sekisho_and_peers(folder: Path, **options: object) -> Iterator[tuple[Sekisho, Peers]]:
    """Started, with a gateway that sends codes."""
    with running_sekisho(folder, **options) as sekisho, Peers(sekisho.start().where, 4, CODE) as peers:
        (first,) = sekisho.crowd(1)
        assert names([peers.ask(ask(first, first.code()))]) == [ACCEPT]
        assert answers_status(peers)
        yield sekisho, peers
        assert sekisho.process is None or sekisho.stop() == 0


@dataclass(frozen=True)
class Asked:
    customer: Customer
    code: str
    packet: Packet


def ask(customer: Customer, code: str) -> Packet:
    return access_request(customer.contract_id, code, secret=SECRET)


def answers_status(peers: Peers) -> bool:
    return peers.ask(status_server(secret=SECRET), wait=0.4) is not None


def comes_back(peers: Peers, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answers_status(peers):
            return True
        time.sleep(0.1)
    return False


def check_trouble(
    sekisho: Sekisho, peers: Peers, customers: list[Customer], line: str, *, bears: float = 0.0
) -> list[Asked]:
    """Logins hear nothing, the log says why, the processor rests, and Status-Server is silent, which may bear it for
    some seconds. What was asked."""
    since = len(sekisho.log_text())
    asked = [Asked(one, one.code(), ask(one, one.code())) for one in customers]
    assert names(peers.ask_all([one.packet for one in asked], wait=0.4)) == [SILENT] * len(asked)
    sekisho.wait_for_log(line, since=since)
    assert "no login can be answered" in sekisho.log_text()[since:]
    assert sekisho.cpu_share(1.5) < 0.5  # those who asked still wait: they are tried again and again
    time.sleep(bears)
    assert not answers_status(peers)
    sekisho.wait_for_log("not healthy", since=since)
    assert len(sekisho.log_text()[since:].splitlines()) < 20
    return asked


def check_recovery(sekisho: Sekisho, peers: Peers, asked: list[Asked]) -> None:
    """Without a restart: what was asked is accepted now, and each code once only."""
    since = len(sekisho.log_text())
    assert comes_back(peers)
    assert names(peers.ask_all([one.packet for one in asked])) == [ACCEPT] * len(asked)
    assert "logins are answered again" in sekisho.wait_for_log("logins are answered again")[since:]
    assert names(peers.ask_all([ask(one.customer, one.code) for one in asked])) == [REJECT] * len(asked)
    for one in asked:
        assert len(sekisho.audit(one.customer.contract_id, "login.accepted")) == 1


def refuses_to_start(sekisho: Sekisho, *lines: str) -> None:
    """It ends at once, with the exit code for what cannot be used now, and one line that says why."""
    since = len(sekisho.log_text())
    assert sekisho.spawn().wait(20) == 4
    sekisho.process = None
    said = sekisho.log_text()[since:]
    for line in lines:
        assert line in said
    assert "Traceback" not in said


# Full


@as_root
def test_a_full_disk(tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=2m", "none") as disk,
        sekisho_and_peers(tmp_path, disk=disk) as (sekisho, peers),
    ):
        customers = sekisho.crowd(8)
        with filled(disk):
            asked = check_trouble(sekisho, peers, customers, "the disk is full: make room; work goes on by itself")
            with pytest.raises(StoreUnavailable):
                sekisho.desk.customers.lock(customers[0].contract_id, STAFF)
        check_recovery(sekisho, peers, asked)


@as_root
def test_a_full_disk_that_holds_the_log_as_well(tmp_path: Path) -> None:
    """Nothing can be said then; but nothing breaks either."""
    with (
        mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=2m", "none") as disk,
        sekisho_and_peers(disk) as (sekisho, peers),
    ):
        asked = [Asked(one, one.code(), ask(one, one.code())) for one in sekisho.crowd(8)]
        with filled(disk):
            assert names(peers.ask_all([one.packet for one in asked], wait=0.4)) == [SILENT] * 8
            time.sleep(1.1)
            assert not answers_status(peers)
            assert sekisho.cpu_share() < 0.5
        assert comes_back(peers)
        assert names(peers.ask_all([one.packet for one in asked])) == [ACCEPT] * 8
        assert names(peers.ask_all([ask(one.customer, one.code) for one in asked])) == [REJECT] * 8


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Not an octet is free, whatever is freed meanwhile."""
    enough = threading.Event()

    def fill() -> None:
        with (disk / "filler").open("wb", buffering=0) as file:
            while not enough.is_set():
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(4096))
                enough.wait(0.001)

    thread = threading.Thread(target=fill)
    thread.start()
    time.sleep(0.1)
    try:
        yield
    finally:
        enough.set()
        thread.join()
        (disk / "filler").unlink()


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """What a quota does, without root: the write-ahead log meets its limit in the middle of work."""
    with sekisho_and_peers(tmp_path, prefix=("prlimit", f"--fsize={160 * 1024}")) as (sekisho, peers):
        heard: dict[str, str] = {}
        while SILENT not in heard.values():
            crowd = sekisho.crowd(10)
            answers = names(peers.ask_all([ask(one, one.code()) for one in crowd], wait=0.4))
            heard |= {one.contract_id: name for one, name in zip(crowd, answers, strict=True)}
            assert len(heard) < 500
        assert set(heard.values()) == {ACCEPT, SILENT}
        sekisho.wait_for_log("the disk reports errors: check the kernel log and free space")
        assert sekisho.cpu_share() < 0.5
        assert not answers_status(peers)
        held = {row.customer for row in sekisho.audit(event="login.accepted")}
        assert {one for one, name in heard.items() if name == ACCEPT} <= held


def test_a_log_that_nobody_reads_any_more(tmp_path: Path) -> None:
    """Standard error is a pipe whose reader has gone: what cannot be said is not said, and logins go on."""
    with running_sekisho(tmp_path) as sekisho:
        reader, writer = os.pipe()
        process = sekisho.spawn(stderr=writer)
        os.close(writer)
        while b"ready" not in (said := sekisho.log.read_bytes()) or not said.endswith(b"\n"):
            with sekisho.log.open("ab") as log:
                assert log.write(os.read(reader, 65536)), "it ended"
        os.close(reader)
        with Peers(sekisho.where, 4, CODE) as peers:
            customers = sekisho.crowd(8)
            with contextlib.closing(sqlite3.connect(sekisho.database, isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                packets = [ask(one, one.code()) for one in customers]
                assert names(peers.ask_all(packets, wait=0.5)) == [SILENT] * 8
            assert comes_back(peers)
            assert names(peers.ask_all(packets)) == [ACCEPT] * 8
            assert process.poll() is None


# Locked


def test_a_store_that_another_process_has_locked(tmp_path: Path) -> None:
    with sekisho_and_peers(tmp_path) as (sekisho, peers):
        customers = sekisho.crowd(8)
        with contextlib.closing(sqlite3.connect(sekisho.database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            line = "another process holds its write lock: is a backup, an import or a second server running?"
            asked = check_trouble(sekisho, peers, customers, line, bears=BUSY_FOR)
        check_recovery(sekisho, peers, asked)


def test_a_short_lock_is_no_trouble_to_status_server(tmp_path: Path) -> None:
    """An import holds the lock for moments; front ends must not go elsewhere for that."""
    with sekisho_and_peers(tmp_path) as (sekisho, peers):
        since = len(sekisho.log_text())
        with contextlib.closing(sqlite3.connect(sekisho.database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(1.1)  # an answer is remembered for a second
            assert answers_status(peers)
        assert "not healthy" not in sekisho.log_text()[since:]


def test_who_asks_during_a_short_lock_is_answered_after_it(tmp_path: Path) -> None:
    with sekisho_and_peers(tmp_path) as (sekisho, peers):
        packets = [ask(one, one.code()) for one in sekisho.crowd(8)]
        other = sqlite3.connect(sekisho.database, isolation_level=None, check_same_thread=False)
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
        with contextlib.closing(sqlite3.connect(sekisho.database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert peers.ask(packet, wait=1.6) is None
        assert comes_back(peers)
        assert sekisho.audit(customer.contract_id, "login.accepted") == []
        assert names([peers.ask(packet)]) == [ACCEPT]


# Read-only, and broken disks


@as_root
def test_files_that_may_not_be_written(tmp_path: Path) -> None:
    """While it runs: the files are made immutable (chattr +i), and given back; then the kernel finds an error in the
    file system and mounts it read-only, as ext4 does in earnest."""
    with ext4(tmp_path) as disk, sekisho_and_peers(tmp_path, disk=disk) as (sekisho, peers):
        customers = sekisho.crowd(8)
        frozen = [disk, *(disk / name for name in ("s.db", "s.db-wal"))]
        with immutable(frozen):
            asked = check_trouble(
                sekisho, peers, customers[:4], "the file or its folder cannot be written: check owner"
            )
        check_recovery(sekisho, peers, asked)
        device = next(line.split()[0] for line in Path("/proc/mounts").read_text().splitlines() if str(disk) in line)
        Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("tried by a test\n")
        check_trouble(sekisho, peers, customers[4:], "check owner, rights and mount options")


@as_root
def test_a_disk_that_fails(tmp_path: Path) -> None:
    with ext4(tmp_path) as disk, sekisho_and_peers(tmp_path, disk=disk) as (sekisho, peers):
        customers = sekisho.crowd(8)
        handle = os.open(disk, os.O_RDONLY)
        fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, struct.pack("I", 2))
        os.close(handle)
        check_trouble(sekisho, peers, customers, "the disk reports errors: check the kernel log and free space")


@contextmanager
def ext4(folder: Path) -> Iterator[Path]:
    image = folder / "disk.img"
    subprocess.run(["truncate", "-s", "24M", str(image)], check=True)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    with contextlib.ExitStack() as stack:
        try:
            disk = stack.enter_context(mounted(folder / "disk", "-o", "loop,errors=remount-ro", str(image)))
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this machine has no loop devices: {error.stderr.decode()}")
        yield disk


@contextmanager
def immutable(paths: list[Path]) -> Iterator[None]:
    subprocess.run(["chattr", "+i", *map(str, paths)], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *map(str, paths)], check=True)


NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


@as_root
def test_a_store_that_belongs_to_somebody_else(folder_for_all: Path) -> None:
    """`sekisho init` as root, `sekisho serve` as a user who may only read the store."""
    with running_sekisho(folder_for_all, prefix=AS_NOBODY) as sekisho:
        customers = sekisho.crowd(8)
        give_to_nobody(folder_for_all)
        os.chown(sekisho.database, 0, 0)
        sekisho.database.chmod(0o644)
        with Peers(sekisho.start().where, 4, CODE) as peers:
            asked = check_trouble(sekisho, peers, customers, "the file or its folder cannot be written: check owner")
            os.chown(sekisho.database, NOBODY, NOBODY)
            check_recovery(sekisho, peers, asked)
        assert sekisho.stop() == 0


@as_root
def test_a_read_only_folder_at_the_start(folder_for_all: Path) -> None:
    with running_sekisho(folder_for_all, prefix=AS_NOBODY) as sekisho:
        give_to_nobody(folder_for_all)
        sekisho.database.chmod(0o444)
        os.chown(folder_for_all, 0, 0)
        refuses_to_start(sekisho, "the file or its folder cannot be written: check owner, rights and mount options")


@as_root
def test_a_read_only_file_system_at_the_start(tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=2m", "none") as disk,
        running_sekisho(tmp_path, disk=disk) as sekisho,
    ):
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        refuses_to_start(
            sekisho, "the file cannot be opened: check the path, its folder, their rights and mount options"
        )


@pytest.fixture
def folder_for_all() -> Iterator[Path]:
    """One that an unprivileged user may enter: pytest's own are its user's alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def give_to_nobody(folder: Path) -> None:
    for path in (folder, *folder.iterdir()):
        os.chown(path, NOBODY, NOBODY)


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
    with contextlib.closing(sqlite3.connect(sekisho.database, isolation_level=None)) as connection:
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
    were the new file opened beside the old one's write-ahead log, SQLite would pour that into it."""
    with sekisho_and_peers(tmp_path) as (sekisho, peers):
        customers = sekisho.crowd(8)
        backup = back_up(sekisho)
        later = sekisho.crowd(400)
        with contextlib.closing(sqlite3.connect(sekisho.database)) as store:
            assert store.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        assert names(peers.ask_all([ask(one, one.code()) for one in later[:3]])) == [ACCEPT] * 3
        backup.rename(sekisho.database)
        check_trouble(sekisho, peers, customers, "was replaced while the server runs; stop the server, remove")
        assert sekisho.stop() == 0
        check_whole(sekisho)
        sekisho.desk.enrolment.report_lost(customers[0].contract_id, STAFF)
        with Peers(sekisho.start().where, 4, CODE) as again:
            asked = [ask(one, one.code()) for one in (*customers, *later[:3])]
            assert names(again.ask_all(asked)) == [REJECT, *[ACCEPT] * 7, *[REJECT] * 3]
        check_whole(sekisho)


def test_a_backup_restored_by_sqlite_into_a_running_store(tmp_path: Path) -> None:
    """The way that needs no restart: it writes into the same file, in one transaction."""
    with sekisho_and_peers(tmp_path) as (sekisho, peers):
        customers = sekisho.crowd(8)
        backup = back_up(sekisho)
        later = sekisho.crowd(400)
        assert names(peers.ask_all([ask(one, one.code()) for one in later[:3]])) == [ACCEPT] * 3
        subprocess.run(["sqlite3", str(sekisho.database), f".restore {backup}"], check=True)
        asked = [ask(one, one.code()) for one in (*customers, *later[3:6])]
        assert names(peers.ask_all(asked)) == [*[ACCEPT] * 8, *[REJECT] * 3]
        check_whole(sekisho)


def back_up(sekisho: Sekisho) -> Path:
    backup = sekisho.folder / "backup.db"
    subprocess.run(["sqlite3", str(sekisho.database), f".backup {backup}"], check=True)
    return backup


def check_whole(sekisho: Sekisho) -> None:
    with contextlib.closing(sqlite3.connect(sekisho.database)) as store:
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# The master key


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda key: key.unlink(), "there is no master key file {key}: restore it from your backup"),
        (lambda key: key.write_bytes(base64.b64encode(bytes(32))), "{key} is not the master key of the store"),
        (lambda key: key.chmod(0o640), "the master key file {key} can be read by others: run `chmod 600 {key}`"),
        (lambda key: key.chmod(0o604), "the master key file {key} can be read by others: run `chmod 600 {key}`"),
        (lambda key: key.write_text("not base64"), "the master key file {key} is damaged"),
        (lambda key: key.write_bytes(base64.b64encode(bytes(31))), "the master key file {key} is damaged"),
        (lambda key: key.write_bytes(b"\xff\xfe"), "cannot read the master key file {key}"),
    ],
    ids=["missing", "another", "group may read", "others may read", "no base64", "short", "no text"],
)
def test_a_master_key_that_cannot_be_used(tmp_path: Path, spoil: Callable[[Path], object], line: str) -> None:
    key = tmp_path / "master.key"
    with running_sekisho(tmp_path) as sekisho:
        good = key.read_bytes()
        spoil(key)
        refuses_to_start(sekisho, line.format(key=key))
        if key.exists():
            assert key.read_text("latin-1").strip() not in sekisho.log_text()
        key.unlink(missing_ok=True)
        key.write_bytes(good)
        key.chmod(0o600)
        sekisho.start()


def test_a_master_key_that_cannot_be_used_by_workers(tmp_path: Path) -> None:
    """Found out before any of them is started."""
    with running_sekisho(tmp_path, workers=2) as sekisho:
        (tmp_path / "master.key").unlink()
        refuses_to_start(sekisho, "there is no master key file")
        assert "worker" not in sekisho.log_text().replace("radius.workers", "")


# The clock


class Hand:
    """The server's clock, moved by hand (libfaketime); monotonic time goes on."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "hand"
        self.away = 0
        self.move(0)
        self.environment = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def move(self, seconds: int) -> None:
        self.away = seconds
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}s\n")
        new.rename(self._file)

    def time(self) -> float:
        return time.time() + self.away


SET_BACK = "the clock was set back: it stands"
with_faketime = pytest.mark.skipif(not FAKETIME.exists(), reason="Debian's faketime is not installed")


@with_faketime
def test_a_clock_set_back_while_it_runs(tmp_path: Path) -> None:
    hand = Hand(tmp_path)
    with sekisho_and_peers(tmp_path, environment=hand.environment) as (sekisho, peers):
        customers = sekisho.crowd(8)
        early = customers[0]
        code = early.code()
        assert names([peers.ask(ask(early, code))]) == [ACCEPT]
        hand.move(-300)
        since = len(sekisho.log_text())
        old = [ask(one, one.code(at=hand.time())) for one in customers]
        assert names(peers.ask_all(old, wait=0.4)) == [SILENT] * 8
        sekisho.wait_for_log(SET_BACK, since=since)
        sekisho.wait_for_log("Check the time service", since=since)
        assert sekisho.cpu_share() < 0.5
        assert not answers_status(peers)
        time.sleep(1.1)
        assert not answers_status(peers)
        assert sekisho.log_text()[since:].count("no login can be answered") == 1, "it is told once in ten seconds"
        hand.move(0)
        assert comes_back(peers)
        assert names(peers.ask_all(old)) == [REJECT] * 8
        anew = [ask(one, one.code()) for one in customers[1:]]
        assert names(peers.ask_all(anew)) == [ACCEPT] * 7
        assert names([peers.ask(ask(early, code))]) == [REJECT]


@with_faketime
@pytest.mark.parametrize("source", [CHALLENGING, AUTO])
def test_a_clock_set_back_is_met_with_silence_in_every_mode(tmp_path: Path, source: str) -> None:
    hand = Hand(tmp_path)
    with (
        sekisho_and_peers(tmp_path, environment=hand.environment) as (sekisho, _),
        Peers(sekisho.where, 4, source) as peers,
    ):
        customer = sekisho.customer()
        hand.move(-300)
        user_password = PASSWORD + (customer.code(at=hand.time()) if source == AUTO else "")
        assert peers.ask(ask(customer, user_password), wait=0.5) is None
        sekisho.wait_for_log(SET_BACK)
        hand.move(0)
        assert comes_back(peers)


@with_faketime
def test_a_small_step_back_goes_unnoticed_and_opens_no_code_again(tmp_path: Path) -> None:
    hand = Hand(tmp_path)
    wide = "[login]\ncode_window = 2\n"
    with sekisho_and_peers(tmp_path, environment=hand.environment, more=wide) as (sekisho, peers):
        customers = sekisho.crowd(4)
        codes = [one.code() for one in customers]
        assert (
            names(peers.ask_all([ask(one, code) for one, code in zip(customers, codes, strict=True)])) == [ACCEPT] * 4
        )
        hand.move(-20)
        time.sleep(1.1)
        assert answers_status(peers)
        assert (
            names(peers.ask_all([ask(one, code) for one, code in zip(customers, codes, strict=True)])) == [REJECT] * 4
        )
        assert names(peers.ask_all([ask(one, one.code(1)) for one in customers])) == [ACCEPT] * 4


@with_faketime
@pytest.mark.parametrize("workers", [1, 2])
def test_a_clock_set_back_between_two_runs(tmp_path: Path, workers: int) -> None:
    hand = Hand(tmp_path)
    listen = (f"127.0.0.1:{free_port()}",)
    with sekisho_and_peers(tmp_path, environment=hand.environment, workers=workers, listen=listen) as (sekisho, peers):
        customers = sekisho.crowd(4)
        assert names([peers.ask(ask(customers[0], customers[0].code()))]) == [ACCEPT]
        assert sekisho.stop() == 0
        hand.move(-300)
        sekisho.start()
        old = [ask(one, one.code(at=hand.time())) for one in customers]
        assert names(peers.ask_all(old, wait=0.4)) == [SILENT] * 4
        sekisho.wait_for_log(SET_BACK)
        sekisho.wait_for_log("restart with `sekisho serve --trust-clock`")
        assert not answers_status(peers)
        hand.move(0)
        assert comes_back(peers)
        assert names(peers.ask_all([ask(one, one.code(1)) for one in customers])) == [ACCEPT] * 4


@with_faketime
@pytest.mark.parametrize("workers", [1, 2])
def test_a_clock_that_was_wrong_is_trusted_from_then_on(tmp_path: Path, workers: int) -> None:
    """An hour ahead for a while, then right: `--trust-clock` once, and a restart later works without it."""
    hand = Hand(tmp_path)
    listen = (f"127.0.0.1:{free_port()}",)
    with sekisho_and_peers(tmp_path, environment=hand.environment, workers=workers, listen=listen) as (sekisho, peers):
        early, *others = sekisho.crowd(6)
        code = early.code()
        assert names([peers.ask(ask(early, code))]) == [ACCEPT]
        hand.move(3600)
        assert names([peers.ask(ask(others[0], others[0].code(at=hand.time())))]) == [ACCEPT]
        assert sekisho.stop() == 0
        hand.move(0)
        for arguments, customer in (("--trust-clock",), others[1]), ((), others[2]), ((), others[3]):
            sekisho.start(*arguments)
            assert names([peers.ask(ask(customer, customer.code()))]) == [ACCEPT]
            assert names([peers.ask(ask(early, code))]) == [REJECT]
            assert answers_status(peers)
            assert sekisho.stop() == 0
        assert len(sekisho.audit(event="clock.trusted")) == 1
