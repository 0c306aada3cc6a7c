"""What back ends have answered, for a minute: shared by the processes of one store on one machine, so that all copies
of a gateway's request ask once, and get one answer with the same attributes.

A table of fixed size in a file beside the store, its values sealed by whoever puts them in. A place that is lost (too
many logins, a full disk) costs a question more, never an acceptance. It knows no customers: its keys are fingerprints.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from otp_core.first_factor.failures import boot_header

KEEP_SECONDS = 60.0
"""For which an answer is kept: as long as the store knows a retransmission (Rules.remember_seconds)."""

PLACES, LONGEST = 16_384, 2048
"""Answers that are kept at most, and octets of the longest."""

_HEAD = struct.Struct("=qdiI")  # key, until, pid of the one who asks (0: answered), octets
_WAYS = 8
_HEADER = 64
_MAGIC = b"sekisho answers 1\n"
_LOCK_TRIES, _LOCK_PAUSE = 100, 0.0005
_log = structlog.get_logger("first factor")


_Place = tuple[int, float, int, int]
"""Key (0: free), until when it holds, who asks (0: answered), octets of the answer."""


class SharedAnswers:
    """``path``: the file, made with mode 0600 and begun anew after each boot; None, or one that cannot be used: memory
    of this process. ``clock``: seconds, the same in all processes."""

    def __init__(self, path: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._descriptor = os.memfd_create("sekisho answers")
        if path is not None:
            try:
                opened = self._open(path)
            except OSError as error:
                _log.warning("answers are not shared with other processes", file=str(path), cause=str(error))
            else:
                os.close(self._descriptor)
                self._descriptor = opened

    def claim(self, key: int, seconds: float) -> bytes | bool:
        """True: nobody has asked this, so ask, and call ``settle`` or ``release`` within so many seconds. False:
        another one asks now. Octets: the answer."""
        now = self._clock()
        try:
            with self._bucket(key) as places:
                for place, (found, until, pid, size) in enumerate(places):
                    if found == key and until > now and not (pid and _is_gone(pid)):
                        return False if pid else self._value(key, place, size)
                self._put(key, _place_for(key, places, now), _HEAD.pack(key, now + seconds, os.getpid(), 0))
                return True
        except OSError:
            return True

    def settle(self, key: int, answer: bytes) -> None:
        """The answer to what was claimed, or one of one's own. One that is too long is not kept."""
        if len(answer) > LONGEST:
            self.release(key)
            return
        now = self._clock()
        try:
            with self._bucket(key) as places:
                place = _place_for(key, places, now)
                os.pwrite(self._descriptor, answer, self._at_value(key, place))
                self._put(key, place, _HEAD.pack(key, now + KEEP_SECONDS, 0, len(answer)))
        except OSError as error:
            _log.warning("an answer is not kept", cause=str(error))

    def release(self, key: int) -> None:
        """There is no answer: the next one asks anew."""
        with contextlib.suppress(OSError), self._bucket(key) as places:
            for place, (found, *_) in enumerate(places):
                if found == key:
                    self._put(key, place, _HEAD.pack(0, 0.0, 0, 0))

    def find(self, key: int) -> bytes | None:
        """The answer that is kept; None for none."""
        now = self._clock()
        try:
            with self._bucket(key) as places:
                for place, (found, until, pid, size) in enumerate(places):
                    if found == key and until > now and not pid:
                        return self._value(key, place, size)
        except OSError:
            return None
        return None

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _value(self, key: int, place: int, size: int) -> bytes:
        return os.pread(self._descriptor, min(size, LONGEST), self._at_value(key, place))

    def _put(self, key: int, place: int, head: bytes) -> None:
        os.pwrite(self._descriptor, head, self._at(key) + place * _HEAD.size)

    def _at(self, key: int) -> int:
        return _HEADER + key % (PLACES // _WAYS) * _WAYS * _HEAD.size

    def _at_value(self, key: int, place: int) -> int:
        number = key % (PLACES // _WAYS) * _WAYS + place
        return _HEADER + PLACES * _HEAD.size + number * LONGEST

    @contextlib.contextmanager
    def _bucket(self, key: int) -> Iterator[list[_Place]]:
        """The places of a key, changed by one process at a time. One that is stopped while it does holds nobody up."""
        at, length = self._at(key), _WAYS * _HEAD.size
        locked = False
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length, at)
                locked = True
                break
            except (BlockingIOError, PermissionError):
                time.sleep(_LOCK_PAUSE)
        try:
            octets = os.pread(self._descriptor, length, at).ljust(length, b"\0")
            yield list(_HEAD.iter_unpack(octets))
        finally:
            if locked:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, length, at)

    @staticmethod
    def _open(path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            header = boot_header(_MAGIC, _HEADER)
            if os.pread(descriptor, _HEADER, 0) != header:
                os.ftruncate(descriptor, 0)
                os.ftruncate(descriptor, _HEADER + PLACES * (_HEAD.size + LONGEST))
                os.pwrite(descriptor, header, 0)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


def _place_for(key: int, places: list[_Place], now: float) -> int:
    """The key's own place, or a free one, or that of the answer that is the oldest; of those who ask last of all."""
    ranks = [
        float("-inf") if found in (0, key) or until <= now else until + (2 * KEEP_SECONDS if pid else 0.0)
        for found, until, pid, _ in places
    ]
    own = [place for place, (found, *_) in enumerate(places) if found == key]
    return own[0] if own else ranks.index(min(ranks))


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
