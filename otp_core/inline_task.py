"""Runs a coroutine without a Task: it continues inside the very call that delivers what it waits for.

Used by the PAM service for each conversation, by the login queue for each batch, and for logins whose password is asked
of a RADIUS server. No sockets, no clock, no threads.
"""

# Theory of operation
#
# An asyncio.Task resumes its coroutine through ``loop.call_soon``: each await costs a turn of the event loop. A PAM
# login awaits three or four times, and those turns were most of its cost. An InlineTask resumes its coroutine directly,
# from the function that has the result:
#
#     Deferred.resolve(value)         called by the authenticator after its commit, or by a socket's reader
#       -> InlineTask._resume         the callback that the InlineTask has left with the Deferred
#         -> coroutine.send(None)     the coroutine runs to its next await, or to its end
#     returns
#
# What can happen at once: nothing. All of this runs on the event loop's thread, and a coroutine is never interrupted
# between two awaits. But ``resolve`` returns only after the coroutine has run on. A caller therefore brings its own
# state into order first and resolves last.
#
# What can be awaited inside: a Deferred, an asyncio.Future, and with it a Task, ``asyncio.sleep`` of more than 0 s and
# ``asyncio.to_thread``. Not: ``asyncio.sleep(0)`` (it yields None) and ``asyncio.timeout`` (it needs a current Task).
#
# Three ways to continue, and one that is ignored:
#   the awaited object has its result    -> the coroutine continues with it
#   the awaited Future has failed        -> the coroutine continues with the exception
#   ``throw(error)``                     -> the coroutine continues with the error; what it awaited is cancelled
#   a result after ``throw``             -> ignored: the coroutine no longer awaits that object
#
# The end: ``ended`` is called exactly once, whether the coroutine returns or raises. An exception that the coroutine
# does not catch reaches the function that resumed it: the caller of ``begin``, ``throw`` or ``resolve``, or the event
# loop's exception handler if a Future did. After the end, ``throw`` must not be called.

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Deferred(Generic[T]):
    """A value that arrives later, once, and is awaited by one coroutine.

    Like an asyncio.Future, but where an InlineTask runs the coroutine, ``resolve`` runs it on at once and not in the
    next turn of the loop. A Task can await it too: it then goes on in the next turn, and may be cancelled meanwhile.
    """

    __slots__ = ("_asyncio_future_blocking", "_callback", "_cancelled", "_context", "_resolved", "_value")

    def __init__(self) -> None:
        self._asyncio_future_blocking = False  # by this attribute a Task knows what it may wait for
        self._callback: Callable[[Deferred[T]], object] | None = None
        self._context: Context | None = None
        self._resolved = self._cancelled = False
        self._value: T

    def resolve(self, value: T) -> None:
        """Set the value. The coroutine that awaits it in an InlineTask runs to its next await before this returns."""
        self._resolved, self._value = True, value
        if self._callback is None:
            return
        if self._context is None:
            self._callback(self)
        elif not self._cancelled:
            self.get_loop().call_soon(self._callback, self, context=self._context)

    def add_done_callback(self, callback: Callable[[Deferred[T]], object], *, context: Context | None = None) -> None:
        """Have ``callback`` called by ``resolve``. A second callback replaces the first. ``context``: of the Task that
        waits; it has to be called by the loop."""
        self._callback, self._context = callback, context

    def cancel(self, msg: object = None) -> bool:
        """Forget the callback: a value that arrives after this is ignored. A Task is woken up to be cancelled, and True
        is returned."""
        if self._context is None or self._callback is None or self._resolved or self._cancelled:
            self._callback = None
            return False
        self._cancelled = True
        self.get_loop().call_soon(self._callback, self, context=self._context)
        return True

    def result(self) -> T:
        """For a Task that is woken up. Raises CancelledError."""
        if self._cancelled:
            raise asyncio.CancelledError
        return self._value

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """For a Task: the loop that runs it."""
        return asyncio.get_running_loop()

    def __await__(self) -> Generator[Deferred[T], None, T]:
        if not self._resolved:
            self._asyncio_future_blocking = True
            yield self
        return self._value


_Awaitable = Deferred[Any] | asyncio.Future[Any]


class InlineTask:
    """One coroutine and the object that it awaits."""

    def __init__(self, coroutine: Coroutine[_Awaitable, None, None], ended: Callable[[], None]) -> None:
        """``ended`` is called once, when the coroutine has returned or raised."""
        self._coroutine, self._ended = coroutine, ended
        self._awaited: _Awaitable | None = None

    def begin(self) -> None:
        """Run the coroutine to its first await. Raises what the coroutine raises."""
        self._advance(self._coroutine.send, None)

    def throw(self, error: Exception) -> None:
        """Raise ``error`` in the coroutine where it waits, and cancel what it waits for. Raises what the coroutine
        raises. Not allowed before ``begin`` or after the end."""
        awaited, self._awaited = self._awaited, None
        assert awaited is not None
        awaited.cancel()
        self._advance(self._coroutine.throw, error)

    def end(self) -> None:
        """The coroutine has returned or raised."""
        self._ended()

    def _resume(self, awaited: _Awaitable) -> None:
        if awaited is self._awaited:  # not after throw()
            self._advance(self._coroutine.send, None)

    def _advance(self, resume: Callable[[Any], _Awaitable], argument: Exception | None) -> None:
        awaited = None
        try:
            awaited = resume(argument)
        except StopIteration:
            pass
        finally:
            self._awaited = awaited
            if awaited is None:
                self.end()
        if awaited is not None:
            awaited.add_done_callback(self._resume)
