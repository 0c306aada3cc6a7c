"""Requests to one server and their replies: connected UDP sockets, and identifiers that no two requests share.

A socket has 256 identifiers; when they are in use, another socket is opened. A reply counts if it comes from the
server's own address, has the identifier of a request under way, and is signed for it; all else is counted and ignored,
and the wait goes on. It knows nothing of logins, and does not decide how long anybody waits.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

import structlog

from otp_core.radius.codec import IGNORED_REPLIES, MAX_PACKET, NotAReply, Packet, PacketCode
from otp_core.radius.replies import read_reply
from otp_core.radius.requests import SignedRequest
from otp_core.settings.values import Address

MOST_CHANNELS = 16
"""Sockets for one server: 4,096 requests under way."""

_STATUS_SERVER = int(PacketCode.STATUS_SERVER)
_DRAINED = 64
"""Datagrams read at once before the loop does something else."""
_BUFFER = 1024 * 1024
"""Octets of replies that the kernel holds for a socket; it grants as much as net.core.rmem_max allows."""

_log = structlog.get_logger("upstream")

Write = Callable[[int, bytes], SignedRequest]
"""A request with this identifier (0 to 255) and authenticator (16 random octets). Raises CannotAsk."""


class NoRoom(Exception):
    """All identifiers of all sockets are in use."""


class CannotReach(Exception):
    """The server's address cannot be asked from here. The text says why."""


class Asker(Protocol):
    """Who waits for the reply to a call."""

    def heard(self, call: Call, reply: Packet) -> None:
        """Called once, with the valid reply."""

    def refused(self, call: Call) -> None:
        """Nobody listens there."""


class Call:
    """A request under way at one server. ``sent_at``: when it was sent first (loop time). ``ignored``: why the last
    datagram that came back was no reply; empty if none came."""

    __slots__ = ("asker", "channel", "ignored", "request", "sent_at")

    def __init__(self, request: SignedRequest, asker: Asker, channel: _Channel, sent_at: float) -> None:
        self.request, self.asker, self.channel, self.sent_at = request, asker, channel, sent_at
        self.ignored = ""

    def send(self) -> None:
        """Send it, or the same octets again. Raises CannotReach."""
        self.channel.send(self.request.octets)

    def close(self) -> None:
        """Let go of the identifier: it is used again after all others."""
        self.channel.release(self)


class Channels:
    """The sockets to one server. ``on_heard``: called for every valid reply, also for one that came late.
    ``ignored``: counts of what came back and was no reply, by code. Belongs to one event loop."""

    def __init__(
        self,
        address: Address,
        source: str | None,
        require_message_authenticator: bool,
        on_heard: Callable[[], None],
    ) -> None:
        self.address, self.source = address, source
        self.require_message_authenticator, self.on_heard = require_message_authenticator, on_heard
        self.ignored: Counter[str] = Counter()
        self._channels: list[_Channel] = []

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return sum(len(channel.calls) for channel in self._channels)

    def begin(self, write: Write, asker: Asker, now: float) -> Call:
        """A request with an identifier of its own, not sent yet. ``now``: the loop's time. Raises NoRoom, CannotReach,
        CannotAsk."""
        for channel in self._channels:
            if channel.has_room:
                return channel.begin(write, asker, now)
        return self._open().begin(write, asker, now)

    def close(self) -> None:
        """Close all sockets. Nobody may wait any more."""
        for channel in self._channels:
            channel.close()
        self._channels = []

    def _open(self) -> _Channel:
        if len(self._channels) >= MOST_CHANNELS:
            raise NoRoom
        channel = _Channel(self, connected(self.address, self.source))
        self._channels.append(channel)
        return channel


class _Channel:
    """One socket and its 256 identifiers."""

    def __init__(self, owner: Channels, connection: socket.socket) -> None:
        self._owner, self._socket = owner, connection
        self._free = deque(range(256))
        self.calls: dict[int, Call] = {}
        self._before: dict[int, SignedRequest] = {}
        """By identifier, the last request that was given up: its reply may still come, and tells that the server
        lives."""
        asyncio.get_running_loop().add_reader(connection, self._drain)

    @property
    def has_room(self) -> bool:
        return bool(self._free)

    def begin(self, write: Write, asker: Asker, now: float) -> Call:
        identifier = self._free[0]
        request = write(identifier, os.urandom(16))
        self._free.popleft()
        call = self.calls[identifier] = Call(request, asker, self, now)
        return call

    def send(self, octets: bytes) -> None:
        try:
            self._socket.send(octets)
        except BlockingIOError:
            pass  # lost, as any datagram may be
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                self._refused()
                return
            raise CannotReach(f"cannot be reached: {error.strerror or error}") from None

    def release(self, call: Call) -> None:
        identifier = call.request.identifier
        if self.calls.get(identifier) is call:
            self._let_go(identifier, call)

    def _let_go(self, identifier: int, call: Call) -> None:
        del self.calls[identifier]
        self._free.append(identifier)
        self._before[identifier] = call.request

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _drain(self) -> None:
        receive = self._socket.recv
        try:
            for _ in range(_DRAINED):
                self._receive(receive(MAX_PACKET + 1))
                if not self.calls:
                    break  # nothing is waited for, and looking for it costs as much as a datagram
        except BlockingIOError:
            pass
        except OSError as error:
            # Whatever else the network reports: nothing came, and whoever waits will be told when their time is over.
            if error.errno == errno.ECONNREFUSED:
                self._refused()

    def _receive(self, datagram: bytes) -> None:
        call = self.calls.get(datagram[1]) if len(datagram) > 1 else None
        if call is None:
            self._late(datagram, "not-a-reply")
            return
        try:
            reply = self._read(call.request, datagram)
        except NotAReply as error:
            if not self._late(datagram, error.code):
                call.ignored = str(error)  # may be forged: the right one may still come
            return
        self._owner.on_heard()
        self._let_go(datagram[1], call)
        try:
            call.asker.heard(call, reply)  # a login may go on inside, to its next wait
        except Exception:
            _log.exception("a reply could not be handed on")

    def _late(self, datagram: bytes, code: str) -> bool:
        """Whether it is the reply to a request that was given up. Anything else is counted."""
        before = self._before.get(datagram[1]) if len(datagram) > 1 else None
        if before is not None:
            try:
                self._read(before, datagram)
            except NotAReply:
                pass
            else:
                del self._before[before.identifier]
                self._owner.ignored["late"] += 1
                self._owner.on_heard()
                return True
        self._owner.ignored[code] += 1
        return False

    def _read(self, request: SignedRequest, datagram: bytes) -> Packet:
        # A sign of life lets nobody in, and FreeRADIUS before 3.2.5 signs it by its Response Authenticator only.
        required = self._owner.require_message_authenticator and request.code != _STATUS_SERVER
        return read_reply(request, datagram, required=required, needs_state=False)

    def _refused(self) -> None:
        for call in list(self.calls.values()):
            call.asker.refused(call)


IGNORED = (*IGNORED_REPLIES, "late")
"""The codes of ``Channels.ignored``; late: a valid reply to a request that was given up, or one that came twice."""


def connected(address: Address, source: str | None) -> socket.socket:
    """A UDP socket that hears of this address only. Raises CannotReach."""
    made = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        if source is not None:
            made.bind((source, 0))
        made.connect(address.for_socket())
    except OSError as error:
        made.close()
        at = f" from {source}" if source is not None else ""
        raise CannotReach(f"cannot be asked{at}: {error.strerror or error}") from None
    return made
