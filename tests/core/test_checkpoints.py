"""Checkpoints by a process of their own: the log comes into the store's file and begins anew; nobody waits for that."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otp_core.store.sqlite import driver
from otp_core.store.sqlite.checkpoints import Checkpointer, SharedStatus, status_of
from tests.core.bank import Bank

pytestmark = [
    pytest.mark.sqlite_files,
    pytest.mark.skipif(not driver.resets_safely(), reason="never with a SQLite that has the WAL-reset fault"),
]


@contextlib.contextmanager
def checkpointer_of(bank: Bank, long: int = 20) -> Iterator[Checkpointer]:
    checkpointer = Checkpointer(bank.store.engine, long=long)
    try:
        yield checkpointer
    finally:
        checkpointer.close()


def write(bank: Bank, number: int) -> None:
    for one in range(number):
        with bank.store.work() as work:
            work.put_meta("x", os.urandom(3000) + bytes([one % 256]))


def log_size(bank: Bank) -> int:
    return Path(f"{bank.database}-wal").stat().st_size


def test_what_is_in_the_log_comes_into_the_stores_file(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    with checkpointer_of(bank) as checkpointer:
        checkpointer.checkpoint()
        write(bank, 3)
        before = bank.database.read_bytes()
        checkpointer.checkpoint()
        assert bank.database.read_bytes() != before
        status, made = status_of(str(bank.database))
        assert made and status.pages == status.copied > 0 and not status.error
        assert abs(status.succeeded_at / 1000 - time.time()) < 60
    assert not status_of(str(bank.database))[1]


def test_the_log_begins_anew_while_somebody_always_writes(tmp_path: Path) -> None:
    """Before each checkpoint something is new, so that a PASSIVE one alone would let it grow for ever."""
    bank = Bank(tmp_path)
    with checkpointer_of(bank) as checkpointer:
        sizes = []
        for _ in range(12):
            write(bank, 10)
            checkpointer.checkpoint()
            sizes.append(log_size(bank))
        assert sizes[-1] == sizes[5] and sizes[-1] < 120 * 4096, "it stays as long as it once was"


def test_a_reader_in_the_log_holds_up_no_writer_and_the_log_waits_for_it(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    with checkpointer_of(bank) as checkpointer:
        write(bank, 5)
        with contextlib.closing(driver.connect(bank.database, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            seen = reader.execute("SELECT count(*) FROM meta").fetchone()
            write(bank, 30)
            checkpointer.checkpoint()
            write(bank, 1)
            assert reader.execute("SELECT count(*) FROM meta").fetchone() == seen
            status, _ = status_of(str(bank.database))
            assert status.copied < status.pages and not status.error
            reader.execute("COMMIT")
        checkpointer.checkpoint()
        status, _ = status_of(str(bank.database))
        assert status.copied == status.pages


def test_of_two_checkpointers_one_is_at_work(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    with checkpointer_of(bank) as first:
        first.checkpoint()
        with contextlib.closing(SharedStatus(str(bank.database))) as second:
            assert second.is_taken() and not second.take()
    with contextlib.closing(SharedStatus(str(bank.database))) as second:
        assert second.take()


def test_a_checkpoint_that_fails_is_said_once_and_again_when_it_succeeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = Bank(tmp_path)
    with checkpointer_of(bank) as checkpointer:
        checkpointer.checkpoint()
        write(bank, 3)
        away = tmp_path / "away.db"
        bank.database.rename(away)  # the file is gone: nobody can copy anything into it
        checkpointer.checkpoint()
        checkpointer.checkpoint()
        status = Path(f"{bank.database}-turn").read_bytes()[1024:2048].decode(errors="replace")
        away.rename(bank.database)
        said = capsys.readouterr().out
        assert said.count("a checkpoint failed: the store's log grows until one succeeds") == 1
        assert "is gone" in said and "is gone" in status
        checkpointer.checkpoint()
        assert "checkpoints succeed again" in capsys.readouterr().out
        assert not status_of(str(bank.database))[0].error
