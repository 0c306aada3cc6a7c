"""Which host of ``store.url`` is the primary: all are asked at once, and the newest timeline is believed.

Theory of operation
-------------------
*Why not the first that takes writes.* A primary that was cut off, or paused, while a standby took over still takes
connections and says that it can write. Nothing is acknowledged there, because its synchronous standbys are gone; but
what it reads is old: a token that was reported lost since is not lost there. If it stands first in the URL, it would be
the one that is asked. PostgreSQL counts: with each promotion the timeline is one higher. So the host with the highest
one is taken, and a connection whose timeline is lower than one that was seen since is of no use any more
(``is_current``): it is not asked again, wherever it lies idle.

*A host that is silent* (switched off, packets dropped) delays nobody. Once another one is known to be the primary it is
waited for GRACE_SECONDS, and the next time not at all, until it answers. What it says later is heard all the same.

*While none is the primary* those that have refused are asked again, as long as another one is silent: so a promotion
is noticed at once, and not behind the silence of the host that failed.

*One search at a time.* A process looks for the primary once for all who want a connection: whoever comes meanwhile
waits for the next search, and shares what it finds or fails with. Otherwise all of them would knock at every host
several times a second while none is the primary, and each knock costs the server a handshake.

*Names* are resolved by libpq, anew for each connection: a change in the DNS needs no restart.

An engine that does not tell its timeline is believed as it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

import psycopg
from psycopg.errors import Diagnostic

from otp_core.model import StoreProblem
from otp_core.store.loop_guard import before_a_wait
from otp_core.store.postgresql import connection as connections
from otp_core.store.postgresql.address import CONNECT_SECONDS, Address
from otp_core.store.postgresql.connection import LOGIN_ANSWER_SECONDS, Connection, LoopConnection, Timeline

GRACE_SECONDS = 0.5
"""How long a silent host is waited for when another one is found to be the primary."""

ASK_AGAIN_SECONDS = 0.2
"""The pause before a host that has refused is asked again, while another one is silent."""

FRESH_SECONDS = 1.0
"""How long the host that was found is asked alone."""

LOOK_SECONDS = 5.0
"""How often a process that serves looks whether another host has become the primary."""

_Notices = Callable[[Diagnostic], None]
_Connect = Callable[[Address], Connection]
_Host = tuple[str, str]


class Primary:
    """The primary of one URL, as one process knows it. Any thread may use it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._hosts = [address._replace(hosts=(host,)) for host in address.hosts]
        self._lock = threading.Lock()
        self._newest: dict[str, int] = {}
        """The highest timeline seen, by the cluster's identifier."""
        self._silent: set[_Host] = set()
        self._looked_at = time.monotonic()
        self._searching = threading.Lock()
        self._search = _NONE

    def connect(
        self, *, lock_timeout: float, notices: _Notices, answer_seconds: float | None = LOGIN_ANSWER_SECONDS
    ) -> Connection:
        """A connection to the primary for a thread, as ``connection.connect``. Raises what that raises."""

        def connect(host: Address) -> Connection:
            return connections.connect(host, lock_timeout=lock_timeout, notices=notices, answer_seconds=answer_seconds)

        before_a_wait()
        found = connect(self._hosts[0]) if len(self._hosts) == 1 else self._searched(connect)
        self.note(found.timeline)
        if not self.is_current(found):
            newest = self._newest[found.timeline.cluster]
            found.close()
            raise psycopg.OperationalError(
                f"the server that answers is a primary of before (timeline {found.timeline.number}; {newest} was seen)"
            )
        return found

    async def connect_on_loop(self, *, lock_timeout: float, notices: _Notices) -> LoopConnection:
        """The same for the running event loop, which goes on meanwhile."""
        return await connections.connect_on_loop(
            lambda: self.connect(lock_timeout=lock_timeout, notices=notices), notices
        )

    def _searched(self, connect: _Connect) -> Connection:
        wanted_at = time.monotonic()
        with self._searching:
            last, now = self._search, time.monotonic()
            if last.trouble is not None and last.begun >= wanted_at:
                raise psycopg.OperationalError(last.trouble)
            if last.host is None or now > last.ended + FRESH_SECONDS:
                return self._search_anew(connect)
        try:
            found = connect(last.host)
        except psycopg.Error:
            self._search = _NONE
            raise
        if self.is_current(found):
            return found
        found.close()
        self._search = _NONE
        return self._searched(connect)

    def _search_anew(self, connect: _Connect) -> Connection:
        begun = time.monotonic()
        try:
            host, found = _Round(self, self._hosts, connect).run()
        except psycopg.Error as trouble:
            self._search = _Search(begun, time.monotonic(), None, str(trouble))
            raise
        self._search = _Search(begun, time.monotonic(), host, None)
        return found

    def is_current(self, connection: Connection | LoopConnection) -> bool:
        """Whether nobody was promoted since the server of this connection was, as far as is known."""
        cluster, number = connection.timeline
        return number >= self._newest.get(cluster, 0)

    def look(self) -> None:
        """From time to time: has another host become the primary, though this one goes on? May take seconds. If no
        connection can be had, nothing is known."""
        if len(self._hosts) == 1 or time.monotonic() < self._looked_at + LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        with self._searching:
            self._search = _NONE  # the host that was found a moment ago may be one of before
        with suppress(psycopg.Error, OSError, ValueError, StoreProblem):
            self.connect(lock_timeout=1.0, notices=lambda _: None).close()

    def note(self, seen: Timeline) -> None:
        """This timeline was seen."""
        with self._lock:
            self._newest[seen.cluster] = max(seen.number, self._newest.get(seen.cluster, 0))

    def note_silence(self, host: Address, is_silent: bool) -> None:
        """A host has answered, or has not."""
        with self._lock:
            (self._silent.add if is_silent else self._silent.discard)(host.hosts[0])

    def is_silent(self, host: Address) -> bool:
        """Whether it did not answer when it was last waited for."""
        return host.hosts[0] in self._silent


class _Search(NamedTuple):
    """How the last one went, and when, by time.monotonic()."""

    begun: float
    ended: float
    host: Address | None
    trouble: str | None


_NONE = _Search(float("-inf"), float("-inf"), None, None)


class _Round:
    """All hosts are asked once. Each in a thread: a name that cannot be resolved keeps libpq for as long as it
    likes."""

    def __init__(self, primary: Primary, hosts: list[Address], connect: _Connect) -> None:
        self._primary, self._hosts, self._connect = primary, hosts, connect
        self._answers: SimpleQueue[tuple[Address, Connection | Exception]] = SimpleQueue()
        self._lock = threading.Lock()
        self._is_over = False
        self._found: tuple[Address, Connection] | None = None
        self._troubles: dict[_Host, Exception] = {}

    def run(self) -> tuple[Address, Connection]:
        """The host with the newest timeline, and the connection to it. Raises what the hosts have raised."""
        try:
            self._gather()
            found, self._found = self._found, None
        finally:
            with self._lock:
                self._is_over = True
            while not self._answers.empty():
                self._too_late(self._answers.get()[1])
            if self._found is not None:
                self._found[1].close()
        if found is None:
            raise self._trouble()
        return found

    def _gather(self) -> None:
        waiting = {host.hosts[0]: host for host in self._hosts}
        for host in self._hosts:
            self._ask(host)
        end = time.monotonic() + CONNECT_SECONDS + GRACE_SECONDS
        while waiting:
            try:
                host, answer = self._answers.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                break
            waiting.pop(host.hosts[0], None)
            self._primary.note_silence(host, False)
            if isinstance(answer, Connection):
                self._take(host, answer)
                end = min(end, time.monotonic() + GRACE_SECONDS)
            else:
                self._troubles[host.hosts[0]] = answer
            if self._found is None:
                self._ask(host, ASK_AGAIN_SECONDS)
            elif all(self._primary.is_silent(one) for one in waiting.values()):
                break
        for host in waiting.values():
            self._primary.note_silence(host, True)

    def _ask(self, host: Address, pause: float = 0.0) -> None:
        threading.Thread(target=self._ask_one, args=(host, pause), name="connect to a host", daemon=True).start()

    def _ask_one(self, host: Address, pause: float) -> None:
        time.sleep(pause)
        if self._is_over:
            return
        answer: Connection | Exception
        try:
            answer = self._connect(host)
        except Exception as error:
            # Without its frames: they hold the socket of a handshake that was given up, and a server that is to be
            # shut down waits a minute for it.
            answer = error.with_traceback(None)
            answer.__context__ = answer.__cause__ = None
        with self._lock:
            if not self._is_over:
                self._answers.put((host, answer))
                return
        self._too_late(answer)
        self._primary.note_silence(host, False)

    def _take(self, host: Address, connection: Connection) -> None:
        self._primary.note(connection.timeline)
        before, self._found = self._found, (host, connection)
        if before is None:
            return
        if before[1].timeline.number >= connection.timeline.number:
            before, self._found = self._found, before
        before[1].close()

    def _too_late(self, answer: Connection | Exception) -> None:
        if isinstance(answer, Connection):
            self._primary.note(answer.timeline)
            answer.close()

    def _trouble(self) -> Exception:
        for trouble in self._troubles.values():
            if not isinstance(trouble, psycopg.Error):
                return trouble
        lines = [str(trouble) for trouble in self._troubles.values()]
        lines += [f"{host.hosts[0][0]} does not answer" for host in self._hosts if host.hosts[0] not in self._troubles]
        return psycopg.OperationalError("\n".join(lines))
