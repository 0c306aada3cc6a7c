"""Finished log lines on their way out: a bounded queue, and a thread that writes.

A reader that stands still (a pipe that nobody empties, a journal that hangs) costs lines, never a login: a line for
which there is no room is dropped and counted. It knows no log format.
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
        self._writing = self._closed = False
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
            return self._changed.wait_for(self._is_idle, seconds)

    def close(self) -> None:
        """Take no further lines; those that wait are still written."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_idle(self) -> bool:
        return not self._lines and not self._writing

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._lines) or self._closed)
                if not self._lines:
                    return
                level, octets = self._lines.popleft()
                self._octets -= len(octets)
                self._writing = True
            written = self._write(octets)
            with self._changed:
                if not written:
                    self._dropped[level] += 1
                # Not before there is room again: the line about it would itself be one too many.
                dropped = dict(self._dropped) if written and len(self._lines) < MAX_LINES // 2 else {}
                if dropped:
                    self._dropped.clear()
            if dropped:
                self._say_dropped(dropped)

    def _write(self, octets: bytes) -> bool:
        """One whole line, waiting as long as it takes. False if it cannot be written (full disk, closed pipe)."""
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
