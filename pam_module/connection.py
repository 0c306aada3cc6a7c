"""One connection of a PAM module: frames in and out, their order, their number, their time limits.

It decides nothing about a login. How it works together with the service: "Theory of operation" in service.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import Awaitable, Callable, Coroutine
from functools import lru_cache, partial
from typing import Any, TypeVar

from otp_core.inline_task import Deferred, InlineTask
from pam_module.frame_codec import FrameDecoder, encode, printable
from pam_module.frames import (
    MAX_FRAMES,
    Abort,
    Answer,
    BadFrame,
    Frame,
    FrameFault,
    FromService,
    Prompt,
    Result,
    Role,
    Start,
    Style,
    Text,
    Wait,
)

FIRST_SECONDS = 5.0
"""Seconds that a module has for its START."""

QUIET_SECONDS, WAIT_SECONDS = 3.0, 30
"""After so many seconds without a frame the module is sent a WAIT, which tells it to wait for so many more."""

_OCTETS = 4096
_encoded = lru_cache(maxsize=256)(encode)
"""The service sends the same few frames again and again, and they hold no secret."""

T = TypeVar("T")


class Gone(Exception):
    """The conversation has ended early: the module has closed, the person gave up (^C) or did not answer in time, or
    the service stops."""


class TooManyFrames(Exception):
    """The conversation has reached MAX_FRAMES. One more frame may be sent: the RESULT."""


class ModuleConnection:
    """A connected socket and the coroutine that holds a conversation over it. It is the dialogue's Conversation."""

    def __init__(self, connected: socket.socket, prompt_seconds: float) -> None:
        """``connected``: a non-blocking stream socket, which this closes in the end. ``prompt_seconds``: how long a
        person may take for an answer."""
        self._socket, self._prompt_seconds = connected, prompt_seconds
        self._decoder = FrameDecoder("module")
        self._arrived: list[Frame] = []
        self._frames = 0
        self._loop = asyncio.get_running_loop()
        self._readable: Deferred[None] | None = None
        self._watched = False
        self._deadline = self._wait_at = math.inf
        self.awaits_answer = False
        """A person is typing, and no verdict is under way: the conversation may be ended without losing one."""

    def run(self, conversation: Coroutine[Any, None, None], ended: Callable[[], None]) -> None:
        """Run the coroutine, close the socket at its end, and then call ``ended``."""
        self._task = InlineTask(conversation, partial(self._close, ended))
        self._timer = self._loop.call_later(QUIET_SECONDS, self._on_timer)
        self._task.begin()

    def disconnect(self) -> None:
        """End the conversation now, wherever it waits, by raising Gone in it."""
        self._task.throw(Gone("the service stops"))

    def _close(self, ended: Callable[[], None]) -> None:
        self._timer.cancel()
        self._watch(False)
        self._socket.close()
        ended()

    # What a conversation does.

    async def receive_start(self) -> Start:
        """The first frame. Raises Gone or BadFrame."""
        self._read()  # it has usually arrived with the connection
        frame = await self._next(FIRST_SECONDS)
        if not isinstance(frame, Start):
            raise BadFrame(FrameFault.TYPE)
        return frame

    async def ask(self, text: str, role: Role, *, echo: bool = False) -> bytes:
        """Send a prompt and return what the person types, as octets. Raises Gone, BadFrame or TooManyFrames."""
        if self._arrived:
            raise BadFrame(FrameFault.TYPE)  # an answer before its prompt
        self._send(Prompt(printable(text), echo, role))
        self.awaits_answer = True
        try:
            frame = await self._next(self._prompt_seconds)
        finally:
            self.awaits_answer = False
        if isinstance(frame, Abort):
            raise Gone("the person gave up")
        if not isinstance(frame, Answer):
            raise BadFrame(FrameFault.TYPE)
        return frame.text

    async def say(self, text: str, style: Style) -> None:
        """Send a message. Raises Gone or TooManyFrames."""
        self._send(Text(style, printable(text)))

    async def within(self, seconds: float, awaitable: Awaitable[T]) -> T:
        """Await this for at most ``seconds``, then cancel it and raise TimeoutError. Not to be nested."""
        self._deadline = self._loop.time() + seconds
        if self._deadline < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
        try:
            return await awaitable
        finally:
            self._deadline = math.inf

    def finish(self, result: Result) -> None:
        """Send the last frame. It is not counted: MAX_FRAMES keeps a place for it. Raises Gone."""
        self._write(result)

    # Time.

    def _on_timer(self) -> None:
        """One timer serves both the deadline and the next WAIT. It runs at least every QUIET_SECONDS, so that a new
        WAIT never needs a new timer."""
        now = self._loop.time()
        if now >= self._wait_at:
            self._send_wait(now)
        late = now >= self._deadline
        if late:
            self._deadline = math.inf
        self._timer = self._loop.call_at(min(self._deadline, self._wait_at, now + QUIET_SECONDS), self._on_timer)
        if late:
            self._task.throw(TimeoutError())

    def _send_wait(self, now: float) -> None:
        self._wait_at = now + WAIT_SECONDS / 2
        self._frames += 1
        if self._frames < MAX_FRAMES:  # over the bound: the next frame raises TooManyFrames
            with contextlib.suppress(OSError):  # a module that is gone is noticed at the next frame
                self._socket.send(encode(Wait(WAIT_SECONDS)))

    # Writing.

    def _send(self, frame: FromService) -> None:
        self._count_frame()
        self._write(frame)

    def _write(self, frame: FromService) -> None:
        """Send all octets at once, or raise Gone: MAX_FRAMES frames fit several times into a socket's buffer, so only
        a module that does not read can fill it."""
        octets = _encoded(frame)
        self._wait_at = self._loop.time() + QUIET_SECONDS
        try:
            sent = self._socket.send(octets)
        except OSError as error:
            raise Gone("the module does not read") from error
        if sent < len(octets):
            raise Gone("the module does not read")

    def _count_frame(self) -> None:
        self._frames += 1
        if self._frames >= MAX_FRAMES:  # the last place is RESULT's
            raise TooManyFrames

    # Reading.

    async def _next(self, seconds: float) -> Frame:
        self._wait_at = math.inf  # no WAIT while the module is to send
        if not self._arrived:
            try:
                await self.within(seconds, self._arrival())
            except TimeoutError as error:
                raise Gone(f"no frame within {seconds:g} s") from error
        self._wait_at = self._loop.time() + QUIET_SECONDS
        self._refuse_who_has_gone()
        self._count_frame()
        return self._arrived.pop(0)

    def _refuse_who_has_gone(self) -> None:
        """Raise Gone if the module has closed behind its last frame: this process stood still for longer than it waits,
        and the code in that frame would be judged at an hour that is not its own, and counted as wrong."""
        try:
            left = self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            raise Gone("the module has closed") from error
        if not left:
            raise Gone("the module has closed")

    async def _arrival(self) -> None:
        """Return when at least one whole frame is there."""
        while not self._arrived:
            self._watch(True)
            self._readable = Deferred()
            await self._readable
            self._read()

    def _read(self) -> None:
        """Take what the socket has now; this may be nothing. Raises Gone at its end, and BadFrame."""
        try:
            octets = self._socket.recv(_OCTETS)
        except BlockingIOError:
            return
        except OSError as error:
            raise Gone("the module has closed") from error
        if not octets:
            self._decoder.end()
            raise Gone("the module has closed")
        self._arrived += self._decoder.feed(octets)

    def _watch(self, wanted: bool) -> None:
        if wanted and not self._watched:
            self._loop.add_reader(self._socket.fileno(), self._on_readable)
        elif self._watched and not wanted:
            self._loop.remove_reader(self._socket.fileno())
        self._watched = wanted

    def _on_readable(self) -> None:
        readable, self._readable = self._readable, None
        if readable is None:
            self._watch(False)  # nothing is awaited: the octets stay in the socket's buffer, which bounds them
        else:
            readable.resolve(None)
