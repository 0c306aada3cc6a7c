"""What back ends have answered, for a minute: shared by the processes of one store on one machine, so that all copies
of a gateway's request ask once, and get one answer with the same attributes.

A table of fixed size in a file beside the store, its values sealed by whoever puts them in. A place that is lost (too
many logins, a full disk) costs a question more, never an acceptance. It knows no customers: its keys are fingerprints.
"""

from __future__ import annotations

import fcntl
import math
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from otp_core.first_factor.failures import boot_header

KEEP_SECONDS = 60.0
"""For which an answer is kept: as long as the store knows a retransmission (Rules.remember_seconds)."""

PLACES, LONGEST = 16_384, 2048
"""Answers that are kept at most, and octets of the longest."""

_HEAD = struct.Struct("=qdiI")
"""Key (0: free), until when it holds, the process of who asks (0: answered), octets of the answer."""
_WAYS = 8
_BUCKET = struct.Struct("=" + _WAYS * _HEAD.format.removeprefix("="))
_FREE = _HEAD.pack(0, 0.0, 0, 0)
_HEADER = 64
_MAGIC = b"sekisho answers 1\n"
_LOCK = fcntl.LOCK_EX | fcntl.LOCK_NB
_LOCK_TRIES, _LOCK_PAUSE = 100, 0.0005
_log = structlog.get_logger("first factor")


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
        now, at = self._clock(), self._at(key)
        try:
            locked = self._lock(at)
            try:
                told = self._told(at)
                place = _place_for(key, told, now)
                found, until, pid, size = told[4 * place : 4 * place + 4]
                if found == key and until > now and not (pid and _is_gone(pid)):
                    return False if pid else self._value(key, place, size)
                claim = _HEAD.pack(key, now + seconds, os.getpid(), 0)
                os.pwrite(self._descriptor, claim, at + place * _HEAD.size)
                return True
            finally:
                self._unlock(at, locked)
        except OSError:
            return True

    def settle(self, key: int, answer: bytes) -> None:
        """The answer to what was claimed, or one of one's own. One that is too long is not kept."""
        if len(answer) > LONGEST:
            self.release(key)
            return
        now, at = self._clock(), self._at(key)
        try:
            locked = self._lock(at)
            try:
                place = _place_for(key, self._told(at), now)
                os.pwrite(self._descriptor, answer, self._at_value(key, place))
                head = _HEAD.pack(key, now + KEEP_SECONDS, 0, len(answer))
                os.pwrite(self._descriptor, head, at + place * _HEAD.size)
            finally:
                self._unlock(at, locked)
        except OSError as error:
            _log.warning("an answer is not kept", cause=str(error))

    def release(self, key: int) -> None:
        """There is no answer: the next one asks anew."""
        at = self._at(key)
        try:
            locked = self._lock(at)
            try:
                told = self._told(at)
                place = _place_for(key, told, math.inf)
                if told[4 * place] == key:
                    os.pwrite(self._descriptor, _FREE, at + place * _HEAD.size)
            finally:
                self._unlock(at, locked)
        except OSError:
            pass  # nothing can be claimed there either, and nobody waits for it

    def find(self, key: int) -> bytes | None:
        """The answer that is kept; None for none."""
        now, at = self._clock(), self._at(key)
        try:
            locked = self._lock(at)
            try:
                told = self._told(at)
                place = _place_for(key, told, now)
                found, until, pid, size = told[4 * place : 4 * place + 4]
                if found == key and until > now and not pid:
                    return self._value(key, place, size)
            finally:
                self._unlock(at, locked)
        except OSError:
            return None
        return None

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _value(self, key: int, place: int, size: int) -> bytes:
        return os.pread(self._descriptor, min(size, LONGEST), self._at_value(key, place))

    def _at(self, key: int) -> int:
        return _HEADER + key % (PLACES // _WAYS) * _WAYS * _HEAD.size

    def _at_value(self, key: int, place: int) -> int:
        number = key % (PLACES // _WAYS) * _WAYS + place
        return _HEADER + PLACES * _HEAD.size + number * LONGEST

    def _lock(self, at: int) -> bool:
        """The places there are changed by one process at a time. False: one that was stopped while it does would hold
        everybody up, and they go on."""
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.lockf(self._descriptor, _LOCK, _BUCKET.size, at)
            except (BlockingIOError, PermissionError):
                time.sleep(_LOCK_PAUSE)
            else:
                return True
        return False

    def _unlock(self, at: int, locked: bool) -> None:
        if locked:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, _BUCKET.size, at)

    def _told(self, at: int) -> tuple[Any, ...]:
        """What the places there tell: four values of each, as in ``_HEAD``."""
        octets = os.pread(self._descriptor, _BUCKET.size, at)
        return _BUCKET.unpack(octets if len(octets) == _BUCKET.size else octets.ljust(_BUCKET.size, b"\0"))

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


def _place_for(key: int, told: tuple[Any, ...], now: float) -> int:
    """The key's own place, or a free one, or that of the answer that is the oldest; of those who ask last of all."""
    if key in told[::4]:
        return told[::4].index(key)
    best, best_rank = 0, math.inf
    for place in range(_WAYS):
        until: float = told[4 * place + 1]
        if told[4 * place] == 0 or until <= now:
            return place
        rank = until + (2 * KEEP_SECONDS if told[4 * place + 2] else 0.0)
        if rank < best_rank:
            best, best_rank = place, rank
    return best


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
