"""Notices when an event loop waits for the database: nobody of its process would be answered meanwhile.

An engine whose answers may take as long as a network does says so before each wait (``before_a_wait``). It is for a
process that serves, from the end of its start to the beginning of its end: before and behind that nobody is answered.
It refuses nothing, because somebody who waits is better off than somebody who is turned away: it writes one line for
each place in the program, and a test that finds one in a server's log fails (tests/sekisho.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import traceback
from collections.abc import Iterator
from typing import ClassVar

import structlog

_log = structlog.get_logger("store")

COMPLAINT = "an event loop waits for the database: please report this line"
_NOT_OURS = os.path.dirname(asyncio.__file__), contextlib.__file__
_MOST_FRAMES, _MOST_PLACES = 12, 100


class _Guard:
    """Of this process."""

    is_on = False
    told: ClassVar[set[str]] = set()


@contextlib.contextmanager
def loops_guarded(on: bool) -> Iterator[None]:
    """Inside, a wait in an event loop is noticed. ``on``: the store's answers may take as long as a network does
    (``Database.waits``)."""
    _Guard.is_on, _Guard.told = on, set()
    try:
        yield
    finally:
        _Guard.is_on = False


def before_a_wait() -> None:
    """Call it wherever a thread is about to wait for the database."""
    if _Guard.is_on and _runs_a_loop():
        _tell()


def _runs_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _tell() -> None:
    frames = [frame for frame in traceback.extract_stack()[:-2] if not frame.filename.startswith(_NOT_OURS)]
    place = " < ".join(
        f"{frame.name} ({os.path.basename(frame.filename)}:{frame.lineno})"
        for frame in frames[: -_MOST_FRAMES - 1 : -1]
    )
    if place not in _Guard.told and len(_Guard.told) < _MOST_PLACES:
        _Guard.told.add(place)
        _log.error(COMPLAINT, place=place)
