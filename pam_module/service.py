"""The socket that PAM modules connect to: who may connect, how many at once, and the life of each conversation.

It decides nothing about a login (dialogue.py does), and no module can hold up another one by what it sends or leaves
out.
"""

# Theory of operation
#
# Everything here runs on one thread, that of the event loop. What runs at the same time are conversations: one per
# connection, each a coroutine in an InlineTask (otp_core/inline_task.py), each at its own await. Between two awaits
# nothing else runs, so no lock is needed.
#
# A connection consists of a non-blocking socket, a coroutine (``Service._serve``), at most one reader in the loop and
# exactly one timer. Its coroutine waits for one of:
#   octets from the module    START, and after each PROMPT one ANSWER or ABORT (``ModuleConnection._arrival``)
#   a verdict                 a Deferred of this process's authenticator, or a Task of the agent's RADIUS client
#   a thread                  the groups of a user, which may come from a directory
#   a pause                   before another try at a store whose write lock another process holds
#
# What is read: octets only while a frame is awaited. START has usually arrived with the connection, so one recv is
# tried at once. Octets that arrive at any other time wait in the socket's buffer, and the reader is removed. A frame
# that was decoded before its prompt was sent is an answer without a question: BadFrame.
#
# What is written: each frame by one send, whole or not at all. A module that does not read is disconnected.
#   PROMPT, TEXT    when the dialogue says so
#   WAIT            when no frame has been sent for QUIET_SECONDS and no answer is awaited; again every WAIT_SECONDS / 2
#   RESULT          once, as the last frame, unless the conversation has ended with Gone
# A conversation has at most MAX_FRAMES frames in both directions; the last place is kept for RESULT. A frame over the
# bound raises TooManyFrames, which becomes a RESULT of MAXTRIES.
#
# Time limits:
#   START             FIRST_SECONDS
#   an answer         prompt_seconds; then Gone
#   a verdict         answer_seconds and some slack (dialogue.py); then a RESULT of UNAVAILABLE
#   the whole stop    drain_seconds (``Service.close``)
#
# When two things happen together:
#   answer and time limit       the callback that the loop runs first wins. The other one finds that nobody waits.
#   verdict and time limit      the same. A verdict that comes too late stays in the store and in the audit trail; the
#                               person reads that the login could not be checked.
#   verdict and hang-up         the hang-up is noticed when RESULT is sent. The verdict stands.
#   stop and typing             the person is disconnected at once; no attempt is lost.
#   stop and verdict            RESULT is still sent, if it comes within drain_seconds.
#   reload and conversation     a conversation keeps its profile; new limits count from the next connection on.
#
# What a module can provoke is a refusal (AUTH_ERR, PERM_DENIED, MAXTRIES) and never an outage (UNAVAILABLE): a stack
# may ignore an outage (on_unavail=ignore).
#
# Who closes what: a connection is closed by ``ModuleConnection._close`` when its coroutine has ended, however it ended;
# this also cancels its timer, removes its reader and gives its place back. A connection for which there is no place is
# closed by ``_accept``. The listening socket belongs to UnixListener, which the PamFrontend closes last.

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import structlog

from pam_module.connection import Gone, ModuleConnection, TooManyFrames
from pam_module.frame_codec import encode
from pam_module.frames import BadFrame, Result, ResultCode, Start

MAX_PER_MINUTE = 60
"""Conversations that one user other than root may begin in a minute: each may add a row to the audit trail."""

_log = structlog.get_logger("pam")


class Peer(NamedTuple):
    """The process at the other end, as the kernel knows it (SO_PEERCRED, unix(7))."""

    pid: int
    uid: int


def peer_of(connected: socket.socket) -> Peer:
    """The peer of a Unix stream socket: its ids at the moment of its connect."""
    pid, uid, _gid = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(pid, uid)


class Limits(NamedTuple):
    """The service's bounds, named as in the settings (section pam)."""

    allow_all_users: bool
    max_conversations: int
    max_per_user: int
    prompt_seconds: float


Converse = Callable[[Start, ModuleConnection], Awaitable[Result]]
"""Holds the dialogue after START and returns its result. May raise Gone, BadFrame or TooManyFrames."""


class Service:
    """All conversations of one listening socket."""

    def __init__(self, limits: Limits, converse: Converse) -> None:
        """``limits`` may be replaced at any time; new ones hold from the next connection on."""
        self.limits = limits
        self._converse = converse
        self._running: set[ModuleConnection] = set()
        self._running_of: Counter[int] = Counter()
        self._minute, self._begun_by = 0, Counter[int]()
        self._pause: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many conversations there are now."""
        return len(self._running)

    def open(self, listener: socket.socket) -> None:
        """Accept connections from now on until ``shut``. Plain sockets and no asyncio streams: what a module has sent
        is read in the callback that reports it, which halves the turns of the loop that a login takes."""
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def shut(self, listener: socket.socket) -> None:
        """Accept no further connections. Those that there are go on."""
        if self._pause is not None:
            self._pause.cancel()
        asyncio.get_running_loop().remove_reader(listener)

    async def close(self, drain_seconds: float) -> None:
        """End all conversations: at once where a person is typing, otherwise when the result is sent, and at the latest
        after ``drain_seconds``. Call ``shut`` before."""
        end = asyncio.get_running_loop().time() + drain_seconds
        while self._running:
            late = asyncio.get_running_loop().time() >= end
            for connection in [one for one in self._running if late or one.awaits_answer]:
                connection.disconnect()
            await asyncio.sleep(0.05)

    # Accepting.

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            connected, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no file descriptor left: new connections stay in the backlog
            _log.error("no connection can be accepted; trying again in a second", cause=str(error))
            loop.remove_reader(listener)
            self._pause = loop.call_later(1.0, self.open, listener)
            return
        connected.setblocking(False)
        peer = peer_of(connected)
        if not self._has_room(peer):
            with connected, contextlib.suppress(OSError):
                # Not UNAVAILABLE, which a stack may ignore: any user can open many connections.
                connected.send(encode(Result(ResultCode.MAXTRIES)))
            return
        connection = ModuleConnection(connected, self.limits.prompt_seconds)
        self._running.add(connection)
        self._running_of[peer.uid] += 1
        connection.run(self._serve(connection, peer), partial(self._remove, connection, peer))

    def _remove(self, connection: ModuleConnection, peer: Peer) -> None:
        self._running.discard(connection)
        self._running_of[peer.uid] -= 1

    def _has_room(self, peer: Peer) -> bool:
        if len(self._running) >= self.limits.max_conversations:
            _log.warning("too many conversations: raise max_conversations?", conversations=len(self._running))
            return False
        if peer.uid in _trusted_uids():
            return True
        if self._running_of[peer.uid] >= self.limits.max_per_user:
            _log.warning("too many conversations of one user", uid=peer.uid, conversations=self._running_of[peer.uid])
            return False
        return self._within_rate(peer.uid)

    def _within_rate(self, uid: int) -> bool:
        """Count one more conversation of this user; False over MAX_PER_MINUTE."""
        minute = int(asyncio.get_running_loop().time() // 60)
        if minute != self._minute:
            self._minute, self._begun_by = minute, Counter()
        self._begun_by[uid] += 1
        if self._begun_by[uid] == MAX_PER_MINUTE + 1:
            _log.warning("too many conversations of one user this minute: the others are refused", uid=uid)
        return self._begun_by[uid] <= MAX_PER_MINUTE

    # A conversation.

    async def _serve(self, connection: ModuleConnection, peer: Peer) -> None:
        """One conversation, from its first octet to its last. Never raises."""
        try:
            connection.finish(await self._result(connection, peer))
        except Gone as error:
            _log.debug("a conversation ended early", pid=peer.pid, uid=peer.uid, cause=str(error))

    async def _result(self, connection: ModuleConnection, peer: Peer) -> Result:
        """What the module is told in the end. Raises Gone."""
        try:
            start = await connection.receive_start()
            if not self._may_ask_for(peer, start.user):
                _log.warning("a user may not ask for another", uid=peer.uid, pid=peer.pid)
                return Result(ResultCode.PERM_DENIED)
            return await self._converse(start, connection)
        except BadFrame as error:
            # Not UNAVAILABLE, which a stack may ignore: what a person types can bring this about.
            _log.warning("a bad frame from a module", pid=peer.pid, uid=peer.uid, cause=str(error))
            return Result(ResultCode.AUTH_ERR)
        except TooManyFrames:
            return Result(ResultCode.MAXTRIES)
        except Gone:
            raise
        except Exception:
            _log.exception("a conversation failed", pid=peer.pid, uid=peer.uid)
            return Result(ResultCode.UNAVAILABLE)

    def _may_ask_for(self, peer: Peer, user: str) -> bool:
        """Root and this process's own user ask for everybody; others for themselves alone, and only if every user may
        connect at all."""
        if peer.uid in _trusted_uids():
            return True
        try:
            return self.limits.allow_all_users and pwd.getpwnam(user).pw_uid == peer.uid
        except KeyError:
            return False


def _trusted_uids() -> tuple[int, int]:
    return 0, os.geteuid()
