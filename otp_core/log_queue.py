"""Finished log lines on their way out: a bounded queue, and a thread that writes.

A reader that stands still (a pipe that nobody empties, a journal that hangs) costs lines, never a login: a line for
which there is no room is dropped and counted. It knows no log format.

The thread is woken only when it sleeps, and rests after each write: to wake it for each line would cost whoever writes
the line more than the line itself, because the two then contend for the interpreter's lock.
"""

from __future__ import annotations

import os
import select
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable
from typing import TextIO

MAX_LINES, MAX_OCTETS = 10_000, 4 * 1024 * 1024
"""Lines and octets that may wait."""

MAX_LINE = 64 * 1024
"""Octets of one line; the rest of a longer one is cut off."""

REST_SECONDS = 0.005
"""How long the thread collects lines after a write."""

RESTS_BELOW = 16 * select.PIPE_BUF
"""Octets that may wait while it rests. Beyond them more comes than it would write with a rest after each write."""

_CUT = b" (cut)\n"


class LineQueue:
    """``target``: a file descriptor, a stream, or None to drop everything. ``say_dropped`` is called by the thread when
    lines are written again after some were dropped, with their number for each level; it may put a line.

    Fork-safe: a child begins with an empty queue and a thread of its own, and what waits at the fork is written by the
    parent."""

    def __init__(self, target: int | TextIO | None, say_dropped: Callable[[dict[str, int]], None]) -> None:
        self._target, self._say_dropped = target, say_dropped
        self._begin()
        _queues.add(self)

    def _begin(self) -> None:
        self._lines: deque[tuple[str, bytes]] = deque()
        self._octets = 0
        self._dropped: Counter[str] = Counter()
        self._writing = self._closed = self._asleep = False
        self._flushing = 0
        self._changed = threading.Condition()  # reentrant: a signal handler may log
        self._thread: threading.Thread | None = None

    def put(self, level: str, line: str) -> None:
        """Take one line (without its line break). Never waits and never raises."""
        octets = line.encode(errors="backslashreplace") + b"\n"
        if len(octets) > MAX_LINE:
            octets = octets[: MAX_LINE - len(_CUT)] + _CUT
        with self._changed:
            if self._target is None or self._closed:
                return
            if len(self._lines) >= MAX_LINES or self._octets + len(octets) > MAX_OCTETS:
                self._dropped[level] += 1
                return
            self._lines.append((level, octets))
            self._octets += len(octets)
            if self._thread is None:
                self._start()
            if self._asleep:
                self._asleep = False
                self._changed.notify_all()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="log", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread to be had now, or the interpreter is ending: the next line tries again
            return
        self._thread = thread

    def flush(self, seconds: float) -> bool:
        """Wait until everything is written, at most so long. Whether it is."""
        with self._changed:
            if self._lines and self._thread is None:
                self._start()
            self._flushing += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(self._is_idle, seconds)
            finally:
                self._flushing -= 1

    def close(self) -> None:
        """Take no further lines; those that wait are still written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_idle(self) -> bool:
        return not self._lines and not self._writing

    def _is_hurried(self) -> bool:
        return self._closed or self._flushing > 0 or self._octets > RESTS_BELOW

    def _run(self) -> None:
        while batch := self._next():
            written = self._write(b"".join(octets for _, octets in batch))
            with self._changed:
                if not written:
                    self._dropped.update(level for level, _ in batch)
                # Not before there is room again: the line about it would itself be one too many.
                dropped = dict(self._dropped) if written and len(self._lines) < MAX_LINES // 2 else {}
                if dropped:
                    self._dropped.clear()
                self._writing = False
                self._changed.notify_all()
            if dropped:
                self._say_dropped(dropped)
            with self._changed:
                hurried = self._is_hurried()
            if not hurried:
                # Not by the condition: it waits for a moment of the monotonic clock, which the tests of clocks move.
                select.poll().poll(REST_SECONDS * 1000)

    def _next(self) -> list[tuple[str, bytes]]:
        """The lines to write at once, waiting for one; none if there will be none. More than one only up to what a
        pipe takes as a whole: other processes write into the same one."""
        with self._changed:
            self._asleep = True
            self._changed.wait_for(lambda: bool(self._lines) or self._closed)
            self._asleep = False
            batch: list[tuple[str, bytes]] = []
            octets = 0
            while self._lines and (not batch or octets + len(self._lines[0][1]) <= select.PIPE_BUF):
                batch.append(self._lines.popleft())
                octets += len(batch[-1][1])
            self._octets -= octets
            self._writing = bool(batch)
            return batch

    def _write(self, octets: bytes) -> bool:
        """Whole lines, waiting as long as it takes. False if it cannot be written (full disk, closed pipe)."""
        try:
            if isinstance(self._target, int):
                _write_all(self._target, octets)
            elif self._target is not None:
                self._target.write(octets.decode())
                self._target.flush()
        except (OSError, ValueError):
            return False
        return True


def _write_all(descriptor: int, octets: bytes) -> None:
    while octets:
        try:
            octets = octets[os.write(descriptor, octets) :]
        except BlockingIOError:  # somebody made the shared pipe non-blocking
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
            time.sleep(0.001)  # POLLERR and POLLHUP are no waiting; the next write raises


_queues: weakref.WeakSet[LineQueue] = weakref.WeakSet()


def _after_fork() -> None:
    for queue in list(_queues):
        queue._begin()


os.register_at_fork(after_in_child=_after_fork)
