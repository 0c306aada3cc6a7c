"""What was spent while no server answered: one line each, on the disk before anybody is let in.

Each line carries a keyed digest over itself and the one before, so a line that is changed, left out or put elsewhere
shows. What is cut off at the end does not show here; the store finds out at the next settlement that knows more.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

_HEAD = "sekisho-offline-journal 1 "


class BadJournal(Exception):
    """The journal cannot be believed. The text says from which line on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """``spent``: a code that was accepted; otherwise a wrong one (``step`` -1). ``at``: milliseconds."""

    serial: str
    user: str
    token_id: str
    step: int
    at: int
    spent: bool
    source: str


@dataclass(frozen=True, slots=True)
class JournalContent:
    """A journal as a file has it. ``digests``: each entry's, the first line's before them; ``octets``: how much of the
    file is whole lines."""

    host: str
    name: str
    entries: tuple[Entry, ...]
    digests: tuple[bytes, ...]
    octets: int


def host_in(octets: bytes) -> str:
    """Whose journal this says it is; nothing is proven yet. Raises BadJournal."""
    head = octets.partition(b"\n")[0].decode(errors="replace")
    parts = head.removeprefix(_HEAD).rsplit(" ", 1)
    if not head.startswith(_HEAD) or len(parts) != 2:
        raise BadJournal("it is not an offline journal")
    return parts[0]


def read_journal(octets: bytes, key: bytes) -> JournalContent:
    """Every line proven. A last line without its end was never answered for, and is left out. Raises BadJournal."""
    host = host_in(octets)
    whole = octets[: octets.rfind(b"\n") + 1]
    if not whole:
        raise BadJournal("its first line has no end")
    head, *lines = whole.split(b"\n")[:-1]
    digests = [_digest(key, b"", head)]
    entries = []
    for number, line in enumerate(lines, 2):
        text, _, told = line.rpartition(b" ")
        digests.append(_digest(key, digests[-1], text))
        if not hmac.compare_digest(told, digests[-1].hex().encode()):
            raise BadJournal(f"line {number} was changed, or lines before it are missing")
        entries.append(Entry(**json.loads(text)))
    return JournalContent(host, head.decode().rpartition(" ")[2], tuple(entries), tuple(digests), len(whole))


def _digest(key: bytes, before: bytes, text: bytes) -> bytes:
    return hmac.digest(hmac.digest(key, b"sekisho offline journal", hashlib.sha256), before + text, hashlib.sha256)


class Journal:
    """The host's journal, open for one process alone. Raises BadJournal or OSError."""

    def __init__(self, path: Path, key: bytes, host: str) -> None:
        self._key, self._path = key, path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if b"\n" not in _all(self._file):  # new, or a crash while it was begun: nobody was let in by it
                self._begin(path, host)
            read = read_journal(_all(self._file), key)
            if read.host != host:
                raise BadJournal(f"it is the journal of {read.host}, not of {host}")
            os.ftruncate(self._file, read.octets)
        except BaseException:
            os.close(self._file)
            raise
        self.entries = list(read.entries)
        self._digest, self._end = read.digests[-1], read.octets

    def _begin(self, path: Path, host: str) -> None:
        os.ftruncate(self._file, 0)
        _write_all(self._file, f"{_HEAD}{host} {secrets.token_hex(8)}\n".encode(), 0)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def add(self, entry: Entry) -> None:
        """On the disk when it returns; nobody may be let in before. Raises OSError or BadJournal, and then it counts
        for nothing."""
        if not self._path.exists() or not os.path.samestat(self._path.stat(), os.fstat(self._file)):
            raise BadJournal("it was moved away, or another was put in its place: restart the agent")
        text = json.dumps(asdict(entry)).encode()
        digest = _digest(self._key, self._digest, text)
        line = text + b" " + digest.hex().encode() + b"\n"
        try:
            _write_all(self._file, line, self._end)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._end)
            raise
        self._digest, self._end = digest, self._end + len(line)
        self.entries.append(entry)

    def close(self) -> None:
        os.close(self._file)


def _write_all(file: int, octets: bytes, at: int) -> None:
    while octets:
        written = os.pwrite(file, octets, at)
        octets, at = octets[written:], at + written
    os.fsync(file)


def _all(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)
