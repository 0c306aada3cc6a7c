"""A coroutine that goes on in the very call that brings what it waits for.

A Task would take a turn of the loop each time, which is most of what a login costs a door. No sockets, no clock.
What is run here may wait for Told and for asyncio's futures; ``asyncio.timeout`` needs a Task around it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Deferred(Generic[T]):
    """What somebody waits to be told, once. Only within a Course."""

    __slots__ = ("_resolved", "_then", "_value")

    def __init__(self) -> None:
        self._then: Callable[[Deferred[T]], None] | None = None
        self._resolved = False
        self._value: T

    def resolve(self, value: T) -> None:
        """Whoever waits goes on before this returns."""
        self._resolved, self._value = True, value
        if self._then is not None:
            self._then(self)

    def add_done_callback(self, then: Callable[[Deferred[T]], None]) -> None:
        self._then = then

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._then = None

    def __await__(self) -> Generator[Deferred[T], None, T]:
        if not self._resolved:
            yield self
        return self._value


_Awaited = Deferred[Any] | asyncio.Future[Any]


class InlineTask:
    """One coroutine on its way. ``ended`` is called once, however it ends."""

    def __init__(self, coroutine: Coroutine[_Awaited, None, None], ended: Callable[[], None]) -> None:
        self._coroutine, self._ended = coroutine, ended
        self._awaited: _Awaited | None = None

    def begin(self) -> None:
        self._advance(self._coroutine.send, None)

    def throw(self, error: Exception) -> None:
        """Raise this where it waits, and wait for that no longer."""
        awaited, self._awaited = self._awaited, None
        assert awaited is not None
        awaited.cancel()
        self._advance(self._coroutine.throw, error)

    def _go_on(self, awaited: _Awaited) -> None:
        if awaited is self._awaited:  # and not given up meanwhile
            self._advance(self._coroutine.send, None)

    def _advance(self, how: Callable[[Any], _Awaited], what: Exception | None) -> None:
        awaited = None
        try:
            awaited = how(what)
        except StopIteration:
            pass
        finally:
            self._awaited = awaited
            if awaited is None:
                self._ended()
        if awaited is not None:
            awaited.add_done_callback(self._go_on)
