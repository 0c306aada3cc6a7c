"""The servers of one directory: which one is asked next, and connections that are kept for the next login.

A server that does not answer is asked only after the others for ``dead_seconds``; then the next login tries it again.
While all are dead, whoever asks whether one can be reached (Status-Server) has them looked at. It knows nothing of
customers. Everything belongs to one event loop; nothing runs while nobody asks.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_address

import structlog

from otp_core.first_factor.ldap.connection import Connection, NoAnswer, Place, Security, ServerTrouble, connect
from otp_core.first_factor.ldap.filters import present
from otp_core.first_factor.ldap.messages import Result, Scope, Search
from otp_core.first_factor.ldap.outcome import INVALID_CREDENTIALS, SUCCESS, TROUBLE, Meaning, described, outcome_of

IDLE_SECONDS = 60.0
"""For which an unused connection is kept: less than servers and firewalls do."""
REVIVAL_SECONDS = 2.0
"""Between two looks whether a dead server answers again, while somebody wants to know."""
_LOOKUP_THREADS, _MOST_ADDRESSES = 2, 4
ACTIVE_DIRECTORY = b"1.2.840.113556.1.4.800"
"""Of supportedCapabilities: the server knows matching rules for members of members (MS-ADTS §3.1.1.3.4.3)."""

_OF_ITSELF: dict[Meaning | None, str] = {
    Meaning.EXPIRED: "its password has expired",
    Meaning.MUST_CHANGE: "its password has to be changed first",
    Meaning.ACCOUNT_EXPIRED: "it has expired there",
    Meaning.DISABLED: "it is disabled there",
    Meaning.LOCKED: "it is locked there",
    Meaning.NOT_PERMITTED: "it may not log in from here, or not now",
}
"""What the account that searches suffers from."""

_log = structlog.get_logger("ldap")


@dataclass(frozen=True, slots=True)
class Access:
    """How servers are reached. ``context``: verifies their certificates; None: all of them without TLS. ``bind_dn``:
    who searches; empty: nobody in particular. Times are seconds."""

    name: str
    places: tuple[Place, ...]
    context: ssl.SSLContext | None = field(default=None, repr=False)
    bind_dn: str = ""
    bind_password: bytes = field(default=b"", repr=False)
    timeout: float = 2.0
    dead_seconds: float = 30.0


@dataclass(eq=False, slots=True)
class Server:
    """One of them. ``dead_until``: the loop's time; ``refused_until``: the same, after it refused the account that
    searches, which must not be tried on and on; ``said_until``: the log has told it. ``knows_chains``: None until it
    was asked. ``counts``: logins by what came of them here: accept, reject, no-answer."""

    place: Place
    dead_until: float = float("-inf")
    refused_until: float = float("-inf")
    said_until: float = float("-inf")
    knows_chains: bool | None = None
    counts: Counter[str] = field(default_factory=Counter)
    idle: dict[bool, list[tuple[Connection, asyncio.TimerHandle]]] = field(
        default_factory=lambda: {True: [], False: []}
    )
    """Connections that nobody uses now: those that may search, and those that customers are bound on."""


class Servers:
    """All servers of one directory. ``most_idle``: connections of each kind that are kept."""

    def __init__(self, access: Access, most_idle: int) -> None:
        self._access, self._most_idle = access, most_idle
        self._servers = [Server(place) for place in access.places]
        self._revival: asyncio.Task[None] | None = None
        self._revived_at = float("-inf")
        self._lookups = ThreadPoolExecutor(_LOOKUP_THREADS, thread_name_prefix="ldap-names")

    def close(self) -> None:
        """Close what is kept. Names that are being looked up are given up."""
        if self._revival is not None:
            self._revival.cancel()
        for server in self._servers:
            for kept in server.idle.values():
                while kept:
                    connection, timer = kept.pop()
                    timer.cancel()
                    connection.close()
        self._lookups.shutdown(wait=False, cancel_futures=True)

    def all_of_them(self) -> list[tuple[Server, bool]]:
        """As in the settings, and whether each counts as dead: until it answers, also when a login may try it again."""
        return [(one, one.dead_until != float("-inf")) for one in self._servers]

    @property
    def reachable(self) -> bool:
        """False while it is known that no server answers."""
        now = asyncio.get_running_loop().time()
        return any(max(one.dead_until, one.refused_until) <= now for one in self._servers)

    def revive(self) -> None:
        """Look whether dead servers answer again, beside whoever asks: one look at a time, every REVIVAL_SECONDS at
        most. No login is at stake."""
        loop = asyncio.get_running_loop()
        if self._revival is None and loop.time() - self._revived_at >= REVIVAL_SECONDS:
            self._revival = loop.create_task(self._look())
            self._revival.add_done_callback(self._looked)

    async def _look(self) -> None:
        for server in self.in_order():
            try:
                async with asyncio.timeout(self._access.timeout):
                    connection = await self.connection(server, searches=True)
            except (ServerTrouble, TimeoutError) as error:
                self.failed(server, str(error) or "does not answer in time")
            else:
                self.give_back(server, connection, searches=True)
                self.answered(server)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._revival, self._revived_at = None, asyncio.get_running_loop().time()
        if not task.cancelled() and (error := task.exception()):
            _log.error("a look at a directory failed", directory=self._access.name, exc_info=error)

    def in_order(self) -> list[Server]:
        """Those that answer, as in the settings; then those that did not, the one that has been so for longest first.
        Not those that refuse the account that searches."""
        now = asyncio.get_running_loop().time()
        usable = [one for one in self._servers if one.refused_until <= now]
        return sorted(usable, key=lambda one: max(one.dead_until, now))

    def trying(self, server: Server) -> None:
        """A login asks it now. If it was dead, the others go round it until this one knows more."""
        now = asyncio.get_running_loop().time()
        if float("-inf") < server.dead_until <= now:
            server.dead_until = now + self._access.timeout

    def answered(self, server: Server) -> None:
        """It answered."""
        if server.dead_until != float("-inf"):
            server.dead_until = server.said_until = float("-inf")
            _log.info("a directory's server answers again", directory=self._access.name, server=str(server.place))

    def failed(self, server: Server, why: str) -> None:
        """It did not answer."""
        now = asyncio.get_running_loop().time()
        if server.said_until <= now:
            name, place = self._access.name, str(server.place)
            _log.warning("a directory's server is of no use", directory=name, server=place, cause=why)
            server.said_until = now + self._access.dead_seconds
        server.dead_until = now + self._access.dead_seconds

    async def connection(self, server: Server, *, searches: bool) -> Connection:
        """One that is kept, or a new one; bound already if it ``searches``. Raises ServerTrouble."""
        kept = server.idle[searches]
        while kept:
            connection, timer = kept.pop()
            timer.cancel()
            if connection.usable:
                return connection
            connection.abort()
        return await self.new_connection(server, searches=searches)

    async def new_connection(self, server: Server, *, searches: bool) -> Connection:
        """Raises ServerTrouble."""
        place = server.place
        context = None if place.security is Security.NONE else self._access.context
        connection = await connect(place, await self._addresses(place.host), context)
        if searches and self._access.bind_dn:
            await self._bind_as_service(server, connection)
        return connection

    def give_back(self, server: Server, connection: Connection, *, searches: bool) -> None:
        """Keep it for the next login, if it is fit for that."""
        kept = server.idle[searches]
        if not connection.usable or len(kept) >= self._most_idle:
            connection.close()
            return
        timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._drop, kept, connection)
        kept.append((connection, timer))

    async def chains(self, server: Server, connection: Connection) -> bool:
        """Whether the server finds members of members itself, as Active Directory does. Raises ServerTrouble."""
        if server.knows_chains is None:
            wanted = Search("", Scope.BASE, present(), ("supportedCapabilities",))
            entries, _ = await connection.search(wanted, self._access.timeout)
            found = entries[0].attributes.get("supportedcapabilities", ()) if entries else ()
            server.knows_chains = ACTIVE_DIRECTORY in found
        return server.knows_chains

    async def _bind_as_service(self, server: Server, connection: Connection) -> None:
        try:
            result = await connection.bind(self._access.bind_dn, self._access.bind_password)
        except BaseException:
            connection.abort()
            raise
        outcome = outcome_of(result)
        if outcome.meaning is Meaning.RIGHT:
            return
        connection.close()
        if result.code in (INVALID_CREDENTIALS, SUCCESS):
            # Active Directory locks accounts: one try in dead_seconds, however many customers come.
            server.refused_until = asyncio.get_running_loop().time() + self._access.dead_seconds
        why = f"{_OF_ITSELF[outcome.meaning]}: " if outcome.meaning in _OF_ITSELF else ""
        raise ServerTrouble(f"refuses bind_dn, the account that searches: {why}{described(result)}")

    async def _addresses(self, host: str) -> list[str]:
        """Of a host, in threads of its own: a resolver that hangs holds up nothing else."""
        try:
            return [str(ip_address(host))]
        except ValueError:
            pass
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._lookups, _look_up, host)
        except OSError as error:
            raise ServerTrouble(f"has no address that could be found: {error.strerror or error}") from error
        return found[:_MOST_ADDRESSES]

    @staticmethod
    def _drop(kept: list[tuple[Connection, asyncio.TimerHandle]], connection: Connection) -> None:
        kept[:] = [one for one in kept if one[0] is not connection]
        connection.close()


def refused(result: Result, what: str) -> ServerTrouble | NoAnswer:
    """What to raise for the end of a search that is no success: the server's own trouble, or that of this question."""
    trouble = ServerTrouble if result.code in TROUBLE else NoAnswer
    return trouble(f"{what}: {described(result)}")


def _look_up(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
