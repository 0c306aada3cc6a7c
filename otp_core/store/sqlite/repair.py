"""Puts a store right after a failed flush or the loss of its log: a copy in new files, examined and put in its place.

Theory of operation
-------------------
*Why a copy.* After a failed flush the kernel counts pages as clean that are not on the disk. As long as the machine
runs it still has them in memory, so what SQLite reads is whole. Written into a new file, which is flushed without an
error, it is on the disk. To write the log back into the store (a checkpoint) is not enough: the file system may have
left extents of these very files unwritten.

*When.* Before anything is served, while nobody else has the store open. If a log or its index vanished, the process
that noticed it copies what it still sees at once (``rescue``): after its end nobody sees it any more.

*If the machine was started anew meanwhile*, what the kernel had in memory is gone. Everything that was told had been
flushed without an error before, but nobody can vouch for a disk that failed: the caller treats the store as one that
was restored (``Repaired.lost``).

*Interrupted at any point*, the next start does it again, or goes on: the flag in the state falls last, and the copy is
named ``.repaired`` only when it is complete and flushed. The old files are kept beside it under a dated name.

It knows no customer.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from otp_core.model import StoreProblem
from otp_core.store.sqlite import driver
from otp_core.store.sqlite.database import unavailable
from otp_core.store.sqlite.state import Stop, Stopped, StoreState

WAIT_SECONDS = 10.0
"""How long a start waits for others to let go of a store that has to be put right."""

Say = Callable[[str], None]


class Repaired(NamedTuple):
    """``kept``: the old file, None if nothing was replaced. ``lost``: why acknowledged logins may be missing all the
    same; None if none can be."""

    kept: Path | None
    lost: str | None


def repair(path: Path, say: Say, *, wait_seconds: float = WAIT_SECONDS) -> Repaired | None:
    """Put the store right if it has to be; None if it has not. ``path``: the store, resolved. ``say``: for the log.

    Raises StoreProblem with what to do, and then the store is as it was."""
    state_path = path.with_name(f"{path.name}.state")
    if not state_path.exists() or not (path.exists() or _repaired(path).exists()):
        _set_unused_aside(path, say)
        return None  # it was never served, or there is none
    with closing(StoreState(state_path, path if path.exists() else _repaired(path))) as state:
        if state.stopped is None:
            _set_unused_aside(path, say)
        if state.stopped is None and state.left_behind is None:
            return Repaired(None, state.lost) if state.lost else None
        stopped = _when_alone(state, path, wait_seconds)
        try:
            if stopped is not None:
                return _repair(path, state, stopped, say)
            if state.left_behind is not None:
                _write_log_anew(path, say)
                state.forget_flush()
        except driver.Error as error:
            raise StoreProblem(f"{unavailable(error)}: it cannot be put right; {_OTHERWISE}") from None
        except OSError as error:
            raise StoreProblem(
                f"store: {path} cannot be put right: {error.strerror}; check the disk, and that as much as the store "
                f"takes is free beside it, then start again; {_OTHERWISE}"
            ) from None
    return None


def _set_unused_aside(path: Path, say: Say) -> None:
    """A copy that no stop asks for is of another time: the state that asked for it was deleted. It must not be taken
    for that of a later stop."""
    if path.exists() and _repaired(path).exists():
        kept = _dated(path, "-copy")
        _repaired(path).rename(kept)
        say(f"a copy that was made when the server had to stop is not needed: it is kept as {kept}")


def _dated(path: Path, ending: str = "") -> Path:
    return path.with_name(f"{path.name}.failed-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}{ending}")


_OTHERWISE = "otherwise put the newest backup in its place (sekisho restore)"


def _when_alone(state: StoreState, path: Path, wait_seconds: float) -> Stopped | None:
    """Why everybody had to stop, once nobody else has the store open."""
    until = time.monotonic() + wait_seconds
    while not state.alone():
        if state.stopped is None and state.left_behind is None:
            return None  # those who serve found out by themselves
        if time.monotonic() > until:
            raise StoreProblem(
                f"store: {path} has to be put right, and another process still has it open: stop it first (find it "
                f"with: fuser {path})"
            )
        time.sleep(0.05)
    return state.stopped


def _repair(path: Path, state: StoreState, stopped: Stopped, say: Say) -> Repaired:
    say(f"the server had to stop: {stopped.text}: the store is put right now")
    copied = not _repaired(path).exists()
    if copied:
        copy(path, _repaired(path))
    kept = _put_in_place(path)
    lost = None
    if stopped.why is Stop.FILES_LOST:
        lost = f"{stopped.text}, and nobody could copy what was in it" if copied else None
    elif stopped.rebooted:
        lost = f"{stopped.text}, and the machine was started anew before the store was put right"
    state.go_on(lost)
    say(f"the store was written anew into {path}, examined and flushed; the old one is kept as {kept}")
    return Repaired(kept, lost)


def is_new_now(path: Path) -> None:
    """The store was replaced by files that were flushed: what is known of the old ones is out of date. Raises
    StoreUnavailable, OSError."""
    state_path = path.with_name(f"{path.name}.state")
    if state_path.exists():
        with closing(StoreState(state_path, path)) as state:
            state.go_on()


def lost_time_is_void(path: Path) -> None:
    """What ``Repaired.lost`` asks for was done and is on the disk. Raises StoreUnavailable, OSError."""
    with closing(StoreState(path.with_name(f"{path.name}.state"), path)) as state:
        state.forget_lost()


def _repaired(path: Path) -> Path:
    return path.with_name(f"{path.name}.repaired")


def rescue(connection: driver.Connection, path: Path) -> None:
    """Copy what this connection still sees, for the next start to put it in place. Raises driver.Error, OSError and
    StoreProblem; then there is no copy."""
    _remove(_repaired(path))
    _copy(connection, path, _repaired(path))


def copy(path: Path, target: Path) -> None:
    """Copy a store that nobody else has open. Raises driver.Error, OSError and StoreProblem."""
    with (
        _without_checkpoint(path),
        closing(driver.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None)) as connection,
    ):
        _copy(connection, path, target)


@contextmanager
def _without_checkpoint(path: Path) -> Iterator[None]:
    """The last connection that closes would write the log into the store, which may spoil on the disk what is still
    whole there. It does not while another program reads, which has this lock (https://sqlite.org/src/file/src/os.h,
    SHARED_FIRST). To be closed last: a process that closes any descriptor of a file loses SQLite's locks on it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        reading = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0x40000002, 510, 0)
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, reading)
        yield
    finally:
        os.close(descriptor)


def _copy(source: driver.Connection, path: Path, target: Path) -> None:
    partial = path.with_name(f"{path.name}.repairing")
    _remove(partial)
    owner = path.stat()
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, owner.st_mode & 0o600)
    try:
        if os.geteuid() == 0:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        with closing(driver.connect(str(partial), isolation_level=None)) as copied:
            copied.execute("PRAGMA synchronous=OFF")  # flushed as a whole, below
            source.backup(copied)
            _examine(copied, path)
        os.fsync(descriptor)
        partial.rename(target)
        _flush_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            _remove(partial)
        raise
    finally:
        os.close(descriptor)


def _examine(copied: driver.Connection, path: Path) -> None:
    found = copied.execute("PRAGMA integrity_check(3)").fetchall()
    if found != [("ok",)]:
        raise StoreProblem(
            f"store: {path} is damaged ({found[0][0]}), so it cannot be put right: put the newest backup in its place "
            "(sekisho restore)"
        )
    if (broken := copied.execute("PRAGMA foreign_key_check").fetchone()) is not None:
        raise StoreProblem(
            f"store: in {path} table {broken[0]} has a row that refers to nothing, so it cannot be put right: put the "
            "newest backup in its place (sekisho restore)"
        )


def _put_in_place(path: Path) -> Path:
    """The copy takes the store's name; what the old one is called now."""
    kept = _dated(path)
    log, index = Path(f"{path}-wal"), Path(f"{path}-shm")
    if path.exists():
        if log.exists():
            log.rename(f"{kept}-wal")
        index.unlink(missing_ok=True)
        path.rename(kept)
    _repaired(path).rename(path)
    _flush_folder(path.parent)
    return kept


def _write_log_anew(path: Path, say: Say) -> None:
    """A process was killed while it flushed, and nobody knows whether that failed: the log is copied into a new file
    and flushed."""
    log, anew = Path(f"{path}-wal"), Path(f"{path}-wal.repairing")
    if not log.exists():
        return
    like = log.stat()
    descriptor = os.open(
        anew, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, like.st_mode & 0o600
    )
    try:
        if os.geteuid() == 0:
            os.fchown(descriptor, like.st_uid, like.st_gid)
        with log.open("rb") as old:
            while block := old.read(1 << 20):
                view = memoryview(block)
                while view:
                    view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    anew.rename(log)
    _flush_folder(path.parent)
    say("a process was killed while it flushed the log: the log was written anew")


def _remove(file: Path) -> None:
    for ending in ("", "-wal", "-shm", "-journal"):
        Path(f"{file}{ending}").unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
