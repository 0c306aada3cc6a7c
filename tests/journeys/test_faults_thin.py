"""A disk that has no room for what it has promised (a thin volume): ext4 on a file of a file system that is full."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.journeys.faults import SILENT, as_root, refuses_to_start
from tests.radius_peer import ACCEPT, REJECT, Peers, access_request, names
from tests.sekisho import SECRET, Customer, Sekisho, client_table, free_port, mounted

pytestmark = pytest.mark.sqlite_files

CLIENTS = "request_seconds = 2.0\n" + client_table("gateway", "127.0.0.0/8", "code")
EXT4_IOC_SHUTDOWN, WITHOUT_FLUSHING = 0x8004587D, 2


@as_root
def test_a_thin_volume_that_is_full_for_a_moment_costs_no_acknowledged_login(tmp_path: Path) -> None:
    with mounted(tmp_path / "pool", "-t", "tmpfs", "-o", "size=48m", "none") as pool, thin_volume(pool) as volume:
        sekisho = Sekisho(tmp_path, CLIENTS, listen=(f"127.0.0.1:{free_port()}",), disk=volume.mount())
        try:
            customers = sekisho.crowd(1500)
            os.sync()
            sekisho.start()
            told = log_in_until_silent(sekisho, customers, pool)
            assert sekisho.process is not None and sekisho.process.wait(30) == 5
            sekisho.process = None
            assert "its log cannot be flushed: " in sekisho.log_text()
            start_again(sekisho, volume)
            check(sekisho, told)
            sekisho.kill()
            volume.cut_power()
            sekisho.start()
            check(sekisho, told)
        finally:
            sekisho.close()


def log_in_until_silent(sekisho: Sekisho, customers: list[Customer], pool: Path) -> dict[str, str]:
    """Everybody who was told that they are in, with their code; the pool is full for half a second meanwhile."""
    told: dict[str, str] = {}
    filler = pool / "filler"
    for at in range(0, len(customers), 30):
        crowd = customers[at : at + 30]
        if at == 300:
            fill(filler)
            full_at = time.monotonic()
        heard = log_in(sekisho, [(one.contract_id, one.code()) for one in crowd], told, wait=1.0)
        if at >= 300 and time.monotonic() > full_at + 0.5:
            filler.unlink(missing_ok=True)
        if SILENT in heard:
            filler.unlink(missing_ok=True)
            assert len(told) >= 300
            return told
    pytest.skip("this kernel found room for everything")


def log_in(sekisho: Sekisho, asked: list[tuple[str, str]], told: dict[str, str], wait: float = 4.0) -> list[str]:
    packets = [access_request(customer, code, secret=SECRET) for customer, code in asked]
    with Peers(sekisho.where, 8) as peers:
        heard = names(peers.ask_all(packets, wait=wait))
    told |= {customer: code for (customer, code), name in zip(asked, heard, strict=True) if name == ACCEPT}
    return heard


def check(sekisho: Sekisho, told: dict[str, str]) -> None:
    anew: dict[str, str] = {}
    asked = list(told.items())
    for at in range(0, len(asked), 200):
        assert set(log_in(sekisho, asked[at : at + 200], anew)) == {REJECT}
    assert anew == {}
    assert told.keys() <= {row.customer for row in sekisho.audit(event="login.accepted")}


def start_again(sekisho: Sekisho, volume: ThinVolume) -> None:
    """Put right at once; or refused with what to do, where ext4 has lost parts of its own and is read-only now."""
    if volume.is_writable():
        sekisho.start()
    else:
        refuses_to_start(sekisho, "Read-only file system", "check the path, its folder, their rights and mount options")
        volume.check_and_mount()
        sekisho.start()
    assert "the store was written anew" in sekisho.log_text()


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as opened, contextlib.suppress(OSError):
        while True:
            opened.write(bytes(65536))


class ThinVolume:
    """``image``: a file with holes; ``at``: where it is mounted."""

    def __init__(self, image: Path, at: Path) -> None:
        self._image, self._at = image, at

    def mount(self) -> Path:
        try:
            subprocess.run(["mount", "-o", "loop", str(self._image), str(self._at)], check=True, capture_output=True)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this machine has no loop devices: {error.stderr.decode()}")
        subprocess.run(["fstrim", str(self._at)], check=False, capture_output=True)  # what is free takes no room
        return self._at

    def is_writable(self) -> bool:
        try:
            (self._at / "probe").write_bytes(b"")
        except OSError:
            return False
        return True

    def check_and_mount(self) -> None:
        """What an operator does."""
        subprocess.run(["umount", str(self._at)], check=True)
        assert subprocess.run(["e2fsck", "-fy", str(self._image)], check=False, capture_output=True).returncode < 4
        self.mount()

    def cut_power(self) -> None:
        """The file system forgets what it has not written, and is checked before it is mounted, as at a boot: the full
        pool may have cost it parts of its own, which only show now."""
        handle = os.open(self._at, os.O_RDONLY)
        fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING))
        os.close(handle)
        self.check_and_mount()


@contextmanager
def thin_volume(pool: Path) -> Iterator[ThinVolume]:
    image, at = pool / "disk.img", pool / "disk"
    at.mkdir()
    image.write_bytes(bytes(32 << 20))
    options = ["-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]
    subprocess.run(["mkfs.ext4", "-q", *options, str(image)], check=True)
    # Every block has its room, those of the journal too; `mount` takes it from what is free.
    image.write_bytes(image.read_bytes())
    try:
        yield ThinVolume(image, at)
    finally:
        subprocess.run(["umount", "-l", str(at)], check=False, capture_output=True)
