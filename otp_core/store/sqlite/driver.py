"""The one SQLite of a process: ``pysqlite3``, which brings a version without the WAL-reset fault, else Python's own.

Whatever opens a store takes its driver from here, and nothing else imports ``sqlite3`` (ruff's TID251 holds that): two
SQLite libraries in one process break each other's POSIX locks, because closing one's descriptor drops the other's locks
(https://sqlite.org/howtocorrupt.html, section 2.2.1). Both drivers have the same interface; their errors are not the
same classes, and pysqlite3's carry the primary result code alone (``SQLITE_BUSY``, never ``SQLITE_BUSY_SNAPSHOT``).
Where it matters whether a write or a flush failed, ``is_failed_flush`` asks the library itself.
"""

from __future__ import annotations

import ctypes
import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3 as _driver  # pysqlite3 has the same interface and no types of its own
else:
    try:
        from pysqlite3 import dbapi2 as _driver
    except ImportError:
        import sqlite3 as _driver

MODULE: ModuleType = _driver
"""For SQLAlchemy."""

Connection = _driver.Connection
DatabaseError = _driver.DatabaseError
Error = _driver.Error
IntegrityError = _driver.IntegrityError
OperationalError = _driver.OperationalError
connect = _driver.connect

SQLITE_OK = _driver.SQLITE_OK
SQLITE_ERROR = _driver.SQLITE_ERROR
SQLITE_BUSY = _driver.SQLITE_BUSY
SQLITE_LOCKED = _driver.SQLITE_LOCKED
SQLITE_READONLY = _driver.SQLITE_READONLY
SQLITE_IOERR = _driver.SQLITE_IOERR
SQLITE_CORRUPT = _driver.SQLITE_CORRUPT
SQLITE_FULL = _driver.SQLITE_FULL
SQLITE_CANTOPEN = _driver.SQLITE_CANTOPEN
SQLITE_NOTADB = _driver.SQLITE_NOTADB
SQLITE_DENY = _driver.SQLITE_DENY
SQLITE_INSERT = _driver.SQLITE_INSERT
SQLITE_UPDATE = _driver.SQLITE_UPDATE
SQLITE_TRANSACTION = _driver.SQLITE_TRANSACTION

VERSION = _driver.sqlite_version_info
NAME = f"SQLite {_driver.sqlite_version} by {_driver.__name__.partition('.')[0]}"
"""For people: the version that is used, and whose it is."""


def resets_safely(version: tuple[int, ...] = VERSION) -> bool:
    """Whether several processes may write: 3.51.3 mended a race of checkpoints that can damage the file (3.7.0 to
    3.51.2; mended in 3.44.6 and 3.50.7 too: https://sqlite.org/wal.html, "The WAL-Reset Bug")."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


FAULT = (
    f"{NAME} has a fault that can damage a store with several writers (before 3.51.3): one worker serves, whatever "
    "radius.workers says; install pysqlite3 or a newer SQLite"
)
"""What an operator reads where ``resets_safely`` says no."""


def is_failed_flush(connection: Connection, error: Error) -> bool:
    """Whether an error says that a flush (fsync) failed, and not a write. To be asked before the connection is used for
    anything else. True where it cannot be known."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    if code & 0xFF != SQLITE_IOERR:
        return False
    return (code if code > 0xFF else _extended_code(connection)) in _FAILED_FLUSH


_FAILED_FLUSH = (SQLITE_IOERR, SQLITE_IOERR | 4 << 8, SQLITE_IOERR | 5 << 8)
"""I/O error of an unknown kind, SQLITE_IOERR_FSYNC, SQLITE_IOERR_DIR_FSYNC (https://sqlite.org/rescode.html)."""


def _extended_code(connection: Connection) -> int:
    """The extended code of the last error. Both drivers keep the pointer to SQLite's connection right behind the header
    that every Python object has, and pysqlite3 has SQLite's functions within itself: tests/core/test_driver.py."""
    try:
        library = ctypes.CDLL(importlib.import_module(f"{_driver.__name__.partition('.')[0]}._sqlite3").__file__)
        ask = library.sqlite3_extended_errcode
    except (ImportError, OSError, AttributeError):
        return SQLITE_IOERR
    ask.argtypes, ask.restype = [ctypes.c_void_p], ctypes.c_int
    code: int = ask(ctypes.c_void_p.from_address(id(connection) + object.__basicsize__).value)
    return code
