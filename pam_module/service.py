"""The socket that PAM modules speak to: who is at the other end, how many at once, how long; and the frames to and fro.

It decides nothing about a login (dialogue.py does), and nothing that a peer sends or leaves out holds it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import pwd
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import structlog

from pam_module.frames import (
    MAX_FRAMES,
    Abort,
    Answer,
    BadFrame,
    Frame,
    FrameFault,
    Frames,
    FromService,
    Prompt,
    Result,
    ResultCode,
    Role,
    Start,
    Style,
    Text,
    Wait,
    encode,
    fits,
)
from pam_module.inline_task import Deferred, InlineTask

FIRST_SECONDS = 5.0
"""For a START."""

QUIET_SECONDS, WAIT_SECONDS = 3.0, 30
"""A module hears something at least so often: a WAIT of so many seconds."""

MAX_A_MINUTE = 60
"""Conversations that one user other than root may begin: each may leave a row in the audit trail, wanted or not."""

_OCTETS = 4096
_encoded = lru_cache(maxsize=256)(encode)
"""The service's frames are few, come again and again, and hold no secret."""

_log = structlog.get_logger("pam")
T = TypeVar("T")


class Gone(Exception):
    """Nobody is there any more: closed, gave up (^C), or did not answer in time."""


class Peer(NamedTuple):
    """The process at the other end, as the kernel has it (SO_PEERCRED)."""

    pid: int
    uid: int


def peer_of(connection: socket.socket) -> Peer:
    pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(pid, uid)


class Limits(NamedTuple):
    """The service's bounds (settings, section pam)."""

    open: bool
    max_conversations: int
    max_per_user: int
    prompt_seconds: float


class ModuleConnection:
    """One connection: frames in order, counted, and each within its time. It is the dialogue's Talk."""

    def __init__(self, connection: socket.socket, prompt_seconds: float) -> None:
        self._connection, self._prompt_seconds = connection, prompt_seconds
        self._frames = Frames("module")
        self._arrived: list[Frame] = []
        self._count = 0
        self._loop = asyncio.get_running_loop()
        self._readable: Deferred[None] | None = None
        self._watched = False
        self._until = self._wait_at = math.inf
        self.asking = False
        """A person is typing: nothing is lost if they are sent away."""

    def begin(self, work: Coroutine[Any, None, None], ended: Callable[[], None]) -> None:
        """Have this done over the connection, which is closed at its end; then ``ended`` is called."""
        self._course = InlineTask(work, partial(self._end, ended))
        self._timer = self._loop.call_later(QUIET_SECONDS, self._wake)
        self._course.begin()

    def send_away(self) -> None:
        self._course.throw(Gone("sent away"))

    def _end(self, ended: Callable[[], None]) -> None:
        self._timer.cancel()
        self._watch(False)
        self._connection.close()
        ended()

    async def start(self) -> Start:
        """The first frame. Raises Gone or BadFrame."""
        self._read()  # it has usually come with the connection
        frame = await self._next(FIRST_SECONDS)
        if not isinstance(frame, Start):
            raise BadFrame(FrameFault.TYPE)
        return frame

    async def ask(self, text: str, role: Role, *, echo: bool = False) -> bytes:
        """What the person types. Raises Gone or BadFrame."""
        if self._arrived:
            raise BadFrame(FrameFault.TYPE)  # an answer before its question
        self._send(Prompt(fits(text), echo, role))
        self.asking = True
        try:
            frame = await self._next(self._prompt_seconds)
        finally:
            self.asking = False
        if isinstance(frame, Abort):
            raise Gone("gave up")
        if not isinstance(frame, Answer):
            raise BadFrame(FrameFault.TYPE)
        return frame.text

    async def say(self, text: str, style: Style) -> None:
        self._send(Text(style, fits(text)))

    def finish(self, result: Result) -> None:
        """The last frame; always sent, however many there were. Raises Gone."""
        self._write(result)

    async def within(self, seconds: float, coming: Awaitable[T]) -> T:
        """Raises TimeoutError if it does not come in that time."""
        self._until = self._loop.time() + seconds
        if self._until < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(self._until, self._wake)
        try:
            return await coming
        finally:
            self._until = math.inf

    def _wake(self) -> None:
        """One timer for all: it comes at least as often as a WAIT could be due, so that few logins need a second."""
        now = self._loop.time()
        if now >= self._wait_at:
            self._say_wait(now)
        late = now >= self._until
        if late:
            self._until = math.inf
        self._timer = self._loop.call_at(min(self._until, self._wait_at, now + QUIET_SECONDS), self._wake)
        if late:
            self._course.throw(TimeoutError())

    def _say_wait(self, now: float) -> None:
        self._wait_at = now + WAIT_SECONDS / 2
        self._count += 1
        if self._count < MAX_FRAMES:  # otherwise, whoever speaks next finds out
            with contextlib.suppress(OSError):  # who is gone, or takes nothing, is found out at the next frame
                self._connection.send(encode(Wait(WAIT_SECONDS)))

    def _send(self, frame: FromService) -> None:
        self._another()
        self._write(frame)

    def _write(self, frame: FromService) -> None:
        """At once or not at all: what a conversation may be told fits several times into a socket's buffer."""
        octets = _encoded(frame)
        self._wait_at = self._loop.time() + QUIET_SECONDS
        try:
            taken = self._connection.send(octets)
        except OSError as error:
            raise Gone("takes nothing") from error
        if taken < len(octets):
            raise Gone("takes nothing")

    async def _next(self, seconds: float) -> Frame:
        self._wait_at = math.inf
        if not self._arrived:
            try:
                await self.within(seconds, self._arrival())
            except TimeoutError as error:
                raise Gone(f"said nothing for {seconds:g} s") from error
        self._wait_at = self._loop.time() + QUIET_SECONDS
        self._another()
        return self._arrived.pop(0)

    async def _arrival(self) -> None:
        while not self._arrived:
            self._watch(True)
            self._readable = Deferred()
            await self._readable
            self._read()

    def _read(self) -> None:
        """Take what there is."""
        try:
            octets = self._connection.recv(_OCTETS)
        except BlockingIOError:
            return
        except OSError as error:
            raise Gone("closed") from error
        if not octets:
            self._frames.end()
            raise Gone("closed")
        self._arrived += self._frames.feed(octets)

    def _watch(self, wanted: bool) -> None:
        if wanted and not self._watched:
            self._loop.add_reader(self._connection.fileno(), self._stir)
        elif self._watched and not wanted:
            self._loop.remove_reader(self._connection.fileno())
        self._watched = wanted

    def _stir(self) -> None:
        readable, self._readable = self._readable, None
        if readable is None:
            self._watch(False)  # out of turn: it is left where it is, and bounded by that
        else:
            readable.resolve(None)

    def _another(self) -> None:
        self._count += 1
        if self._count >= MAX_FRAMES:  # the last place is RESULT's
            raise TooManyFrames


class TooManyFrames(Exception):
    """The conversation has been long enough."""


Converse = Callable[[Start, ModuleConnection], Awaitable[Result]]
"""What is done with a login: the dialogue, put together by the door or the agent. May raise Gone or BadFrame."""


class Service:
    """All conversations of one socket."""

    def __init__(self, limits: Limits, converse: Converse) -> None:
        self.limits = limits
        self._converse = converse
        self._of: Counter[int] = Counter()
        self._minute, self._begun = 0, Counter[int]()
        self._running: set[ModuleConnection] = set()
        self._pause: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._running)

    def open(self, listener: socket.socket) -> None:
        """Serve whoever connects, from now on until ``shut``. Plain sockets and no streams: what a peer has said by the
        time it is looked at is read at once, which halves the turns of the loop that a login takes."""
        asyncio.get_running_loop().add_reader(listener, self._welcome, listener)

    def shut(self, listener: socket.socket) -> None:
        if self._pause is not None:
            self._pause.cancel()
        asyncio.get_running_loop().remove_reader(listener)

    def _welcome(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no handle left: who waits in the backlog goes on waiting
            _log.error("nobody can be let in for a second", cause=str(error))
            loop.remove_reader(listener)
            self._pause = loop.call_later(1.0, self.open, listener)
            return
        connection.setblocking(False)
        connection_, peer = ModuleConnection(connection, self.limits.prompt_seconds), peer_of(connection)
        if not self._has_room(peer):
            with connection, contextlib.suppress(OSError):
                # No outage, which may be ignored: anybody can open many logins and leave them alone.
                connection.send(encode(Result(ResultCode.MAXTRIES)))
            return
        self._of[peer.uid] += 1
        self._running.add(connection_)
        connection_.begin(self._serve(connection_, peer), partial(self._leave, connection_, peer))

    def _leave(self, connection_: ModuleConnection, peer: Peer) -> None:
        self._running.discard(connection_)
        self._of[peer.uid] -= 1

    async def _serve(self, connection_: ModuleConnection, peer: Peer) -> None:
        """One connection, from its first octet to its last. Never raises."""
        try:
            connection_.finish(await self._hear(connection_, peer))
        except Gone as error:
            _log.debug("a conversation ended early", pid=peer.pid, uid=peer.uid, cause=str(error))

    def _has_room(self, peer: Peer) -> bool:
        if len(self._running) >= self.limits.max_conversations:
            _log.warning("too many conversations: raise max_conversations?", at_once=len(self._running))
            return False
        if peer.uid not in _trusted() and self._of[peer.uid] >= self.limits.max_per_user:
            _log.warning("too many conversations of one user", uid=peer.uid, at_once=self._of[peer.uid])
            return False
        return peer.uid in _trusted() or self._is_seldom(peer.uid)

    def _is_seldom(self, uid: int) -> bool:
        minute = int(asyncio.get_running_loop().time() // 60)
        if minute != self._minute:
            self._minute, self._begun = minute, Counter()
        self._begun[uid] += 1
        if self._begun[uid] == MAX_A_MINUTE + 1:
            _log.warning("a user begins too many conversations: refused until the minute is over", uid=uid)
        return self._begun[uid] <= MAX_A_MINUTE

    async def _hear(self, connection_: ModuleConnection, peer: Peer) -> Result:
        """The result to send. Raises Gone."""
        try:
            start = await connection_.start()
            if not self._may_ask(peer, start):
                _log.warning("a user may not ask for another", uid=peer.uid, user=start.user, pid=peer.pid)
                return Result(ResultCode.PERM_DENIED)
            return await self._converse(start, connection_)
        except BadFrame as error:
            # A refusal and not an outage: what a stranger types must never count as one.
            _log.warning("a module sent what is no frame", pid=peer.pid, uid=peer.uid, cause=str(error))
            return Result(ResultCode.AUTH_ERR)
        except TooManyFrames:
            return Result(ResultCode.MAXTRIES)
        except Gone:
            raise
        except Exception:
            _log.exception("a conversation failed", pid=peer.pid, uid=peer.uid)
            return Result(ResultCode.UNAVAILABLE)

    def _may_ask(self, peer: Peer, start: Start) -> bool:
        if peer.uid in _trusted():
            return True
        try:
            return self.limits.open and pwd.getpwnam(start.user).pw_uid == peer.uid
        except KeyError:
            return False

    async def close(self, drain_seconds: float) -> None:
        """Send away whoever is typing, and let the verdicts under way be heard."""
        end = asyncio.get_running_loop().time() + drain_seconds
        while self._running:
            late = asyncio.get_running_loop().time() >= end
            for connection_ in [connection_ for connection_ in self._running if late or connection_.asking]:
                connection_.send_away()
            await asyncio.sleep(0.05)


def _trusted() -> tuple[int, int]:
    """Who may ask for everybody: root, and whoever this process itself is."""
    return 0, os.geteuid()
