"""A disk that is full, read-only or broken: silence, and logins again when it works again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otp_core.model import StoreUnavailable
from otp_core.store.sqlite import driver
from tests.journeys.faults import (
    CODE,
    SILENT,
    Asked,
    answers_status,
    as_root,
    ask,
    check_recovery,
    check_stop,
    check_trouble,
    comes_back,
    log_kept,
    refuses_to_start,
    running_sekisho,
    sekisho_and_peers,
)
from tests.radius_peer import ACCEPT, REJECT, Peers, names
from tests.sekisho import STAFF, mounted

pytestmark = pytest.mark.sqlite_files

EXT4_IOC_SHUTDOWN = 0x8004587D


# Full


@as_root
def test_a_full_disk(tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=2m", "none") as disk,
        sekisho_and_peers(tmp_path, disk=disk) as (sekisho, peers),
    ):
        customers = sekisho.crowd(8)
        with log_kept(sekisho), filled(disk):
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
        with log_kept(sekisho), filled(disk):
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
    limit = ("prlimit", f"--fsize={320 * 1024}")
    with sekisho_and_peers(tmp_path, prefix=limit) as (sekisho, peers), contextlib.ExitStack() as stack:
        heard: dict[str, str] = {}
        stack.enter_context(log_kept(sekisho))
        while answers_status(peers):
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
            with contextlib.closing(driver.connect(sekisho.database, isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                packets = [ask(one, one.code()) for one in customers]
                assert names(peers.ask_all(packets, wait=0.5)) == [SILENT] * 8
            assert comes_back(peers)
            assert names(peers.ask_all(packets)) == [ACCEPT] * 8
            assert process.poll() is None


# Read-only, and broken


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
        since = len(sekisho.log_text())
        device = next(line.split()[0] for line in Path("/proc/mounts").read_text().splitlines() if str(disk) in line)
        Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("tried by a test\n")
        check_stop(sekisho, peers, customers[4:], since)


@as_root
def test_a_disk_that_fails(tmp_path: Path) -> None:
    with ext4(tmp_path) as disk, sekisho_and_peers(tmp_path, disk=disk) as (sekisho, peers):
        customers = sekisho.crowd(8)
        since = len(sekisho.log_text())
        handle = os.open(disk, os.O_RDONLY)
        fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, struct.pack("I", 2))
        os.close(handle)
        check_stop(sekisho, peers, customers, since)
        refuses_to_start(sekisho, "Input/output error")


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
