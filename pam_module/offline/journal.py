"""The journal of the codes that a host has accepted or refused offline: one line each, on the disk before the login is
accepted. It knows no users, no cache and no clock.

Each line carries a keyed digest of itself and of the line before it (a hash chain), so that a line that was changed,
removed or moved is noticed. Lines that were cut off at the end are not noticed here, but by the store, if it has
reconciled them before.
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
    """The journal is damaged or was changed. The text says from which line on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One code, by the cache with this ``serial``. ``spent``: it was accepted, for this time step; otherwise it was
    wrong, and ``step`` is -1. ``at``: milliseconds since the epoch. ``also``: the code of the entry before it,
    which fits this token, too. The fields are named as in the file's JSON, where ``also`` stands only if it is true."""

    serial: str
    user: str
    token_id: str
    step: int
    at: int
    spent: bool
    source: str
    also: bool = False


@dataclass(frozen=True, slots=True)
class JournalContent:
    """A verified journal. ``name``: random, to tell two journals of a host apart. ``digests``: the first line's, then
    each entry's. ``octets``: the length of the complete lines."""

    host: str
    name: str
    entries: tuple[Entry, ...]
    digests: tuple[bytes, ...]
    octets: int


def host_in(octets: bytes) -> str:
    """The host that the first line names. Nothing is verified yet. Raises BadJournal."""
    head = octets.partition(b"\n")[0].decode(errors="replace")
    parts = head.removeprefix(_HEAD).rsplit(" ", 1)
    if not head.startswith(_HEAD) or len(parts) != 2:
        raise BadJournal("it is not an offline journal")
    return parts[0]


def read_journal(octets: bytes, key: bytes) -> JournalContent:
    """Verify every line. An incomplete last line is left out: no login was accepted for it. Raises BadJournal."""
    host = host_in(octets)
    whole = octets[: octets.rfind(b"\n") + 1]
    if not whole:
        raise BadJournal("its first line has no end")
    head, *lines = whole.split(b"\n")[:-1]
    digests = [_digest(key, b"", head)]
    entries = []
    for number, line in enumerate(lines, 2):
        text, _, claimed = line.rpartition(b" ")
        digests.append(_digest(key, digests[-1], text))
        if not hmac.compare_digest(claimed, digests[-1].hex().encode()):
            raise BadJournal(f"line {number} was changed, or lines before it are missing")
        entries.append(Entry(**json.loads(text)))
    return JournalContent(host, head.decode().rpartition(" ")[2], tuple(entries), tuple(digests), len(whole))


def _digest(key: bytes, previous: bytes, text: bytes) -> bytes:
    return hmac.digest(hmac.digest(key, b"sekisho offline journal", hashlib.sha256), previous + text, hashlib.sha256)


class Journal:
    """The host's journal, opened for writing by one process alone (flock)."""

    def __init__(self, path: Path, key: bytes, host: str) -> None:
        """Open and verify it, or begin it if it is not there. Raises BadJournal or OSError."""
        self._key, self._path = key, path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if b"\n" not in _all(self._file):  # new, or a crash while it was begun: no entry was written
                self._begin(path, host)
            content = read_journal(_all(self._file), key)
            if content.host != host:
                raise BadJournal(f"it is the journal of {content.host}, not of {host}")
            os.ftruncate(self._file, content.octets)
        except BaseException:
            os.close(self._file)
            raise
        self.entries = list(content.entries)
        self._digest, self._end = content.digests[-1], content.octets

    def _begin(self, path: Path, host: str) -> None:
        os.ftruncate(self._file, 0)
        _write_all(self._file, f"{_HEAD}{host} {secrets.token_hex(8)}\n".encode(), 0)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def add(self, entry: Entry) -> None:
        """Write one entry. It is on the disk when this returns; a login may be accepted only after that. Raises OSError
        or BadJournal, and then nothing was written."""
        if not self._path.exists() or not os.path.samestat(self._path.stat(), os.fstat(self._file)):
            raise BadJournal("it was moved away, or another was put in its place: restart the agent")
        fields = {name: value for name, value in asdict(entry).items() if name != "also" or value}
        text = json.dumps(fields).encode()
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
        """Close the file, which also releases its lock."""
        os.close(self._file)


def _write_all(file: int, octets: bytes, at: int) -> None:
    while octets:
        written = os.pwrite(file, octets, at)
        octets, at = octets[written:], at + written
    os.fsync(file)


def _all(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)
