"""Makes a backup: one file that holds everything committed at one moment, complete without a log, examined and flushed
before it gets its name. The master key is never in it. It changes nothing in the store; see ``note``.
"""

from __future__ import annotations

import json
import os
from glob import escape
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from otp_core.audit import Event, ms_of
from otp_core.model import StoreProblem
from otp_core.sealing import KeyProblem, Sealer
from otp_core.store.queries import read_meta
from otp_core.store.sqlite import backup as files
from otp_core.store.sqlite import driver
from otp_core.store.sqlite.backup import Advance, Contents
from otp_core.store.store import Store

LAST_BACKUP = "last backup"
"""Key in ``meta``: when the newest backup was made, and where."""

_ENDINGS = ("", "-wal", "-shm", "-journal", "-turn", ".mark", ".state", ".acts", ".acts.1")
_OF_OUTLETS = ("-syslog*", "-webhook-*")


class LastBackup(NamedTuple):
    """``at_ms``: when it was finished, in ms since the epoch. ``file``: where it was written."""

    at_ms: int
    file: str


def back_up(
    store_file: Path, target: Path, sealer: Sealer, *, keep: tuple[Path, ...], replace: bool, advance: Advance
) -> Contents:
    """Write a backup of the store to ``target``, mode 0600; what it holds. ``keep``: further files that must not be
    written over (key, settings). ``replace``: an earlier backup of that name is replaced, in one moment.

    Raises StoreProblem and KeyProblem with what to do; then nothing is left behind."""
    if not store_file.is_file():
        raise StoreProblem(f"there is no store {store_file}: run `sekisho init` first")
    _check_target(store_file, target, keep, replace)
    try:
        with files.new_file(target, "partial") as partial:
            files.copy_database(store_file, partial, live=True, advance=advance)
            contents = files.examine(partial)
            if contents.key_check is None or not sealer.opens(contents.key_check):
                raise KeyProblem(f"the master key is not the one of the store {store_file}: restore that key first")
            files.flush(partial)
            _name(partial, target, replace)
            files.flush(target.parent)
            return contents
    except driver.Error as error:
        raise StoreProblem(_cause(error, store_file, target)) from None
    except OSError as error:
        raise StoreProblem(f"{target} cannot be written: {error.strerror}; nothing is left of it") from None


def note(store: Store, target: Path, *, actor: str, source: str, reason: str) -> None:
    """Note in the store that a backup was made just now. Raises StoreUnavailable."""
    with store.work() as work:
        at_ms = ms_of(store.ids.next())
        work.put_meta(LAST_BACKUP, json.dumps({"at_ms": at_ms, "file": str(target)}).encode())
        text = f"{reason}; {target}" if reason else str(target)
        work.audit(Event.STORE_BACKED_UP, actor=actor, source=source, reason=text)


def last_backup(connection: Connection) -> LastBackup | None:
    """The newest backup that the store knows of; None: none was made."""
    value = read_meta(connection, LAST_BACKUP)
    return LastBackup(**json.loads(value)) if value else None


def _check_target(store_file: Path, target: Path, keep: tuple[Path, ...], replace: bool) -> None:
    try:
        str(target).encode()
    except UnicodeEncodeError:
        raise StoreProblem("the file's name is not UTF-8: give it another one") from None
    if target.is_symlink():
        raise StoreProblem(f"{target} is a symbolic link: name the file itself")
    if target.is_dir():
        raise StoreProblem(f"{target} is a folder: name a file in it, for example {target / 'sekisho-backup.db'}")
    if not target.parent.is_dir():
        raise StoreProblem(f"there is no folder {target.parent}: make it first, for its owner only (mode 0700)")
    parts = [store_file.with_name(store_file.name + end) for end in _ENDINGS]
    for end in _OF_OUTLETS:
        parts += store_file.parent.glob(escape(store_file.name) + end)
    for part in (*parts, *keep):
        if _is_same(target, part):
            raise StoreProblem(f"{target} is {part.name}, which Sekisho needs: name another file")
    if not os.path.lexists(target):
        return
    if not target.is_file():
        raise StoreProblem(f"{target} is no file: name a file, or one that is not there yet")
    if not replace:
        raise StoreProblem(f"{target} is there already: name another file, or add --replace")
    try:
        is_backup = target.stat().st_size == 0 or files.is_database(target)
    except OSError as error:
        raise StoreProblem(f"{target} cannot be read: {error.strerror}") from None
    if not is_backup:
        raise StoreProblem(f"{target} is no backup: --replace replaces an earlier backup, and no other file")


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return one.absolute().parent.resolve() / one.name == other


def _name(partial: Path, target: Path, replace: bool) -> None:
    """Give the backup its name: in one moment, and over nothing that came there meanwhile."""
    if replace:
        partial.replace(target)
        return
    try:
        os.link(partial, target)
    except FileExistsError:
        raise StoreProblem(f"{target} was made by somebody else just now: name another file") from None
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise StoreProblem(f"{target} was made by somebody else just now: name another file") from None
        partial.rename(target)


def _cause(error: BaseException, store_file: Path, target: Path) -> str:
    code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    if code == driver.SQLITE_FULL:
        return f"{target} cannot be written: the disk is full; nothing is left of it"
    if code in (driver.SQLITE_CORRUPT, driver.SQLITE_NOTADB):
        return f"the store {store_file} is damaged ({error}): stop the server and restore the newest backup"
    return f"the store {store_file} cannot be copied to {target}: {error}; nothing is left of it"
