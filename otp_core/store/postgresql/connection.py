"""Connections to PostgreSQL: opened to whichever host is the primary, and set up for what a verdict rests on.

Theory of operation
-------------------
*Which host.* A standby is refused (``target_session_attrs=read-write``); of several hosts primary.py chooses, by the
timeline that each connection is marked with. A connection that breaks, or whose server has become a standby, is thrown
away.

*What every session sets.* ``synchronous_commit``: on, whatever the server's default is, or remote_apply where that is
the default: COMMIT returns when the synchronous standbys have it. No ``statement_timeout``: it would cancel a COMMIT
that waits for a standby. A transaction that stands still for IDLE_SECONDS is ended by the server, so that a node that
was cut off keeps nobody waiting.

*No COMMIT is cancelled.* psycopg sends a cancel when a wait is interrupted (Ctrl-C, a cancelled task). A COMMIT that is
cancelled while it waits for its standby is done here and nowhere else, and lost with this server (measured:
shared/ha.md). So these connections are closed when they are interrupted, and never cancel. ``Notices`` hears when the
server or an administrator has cancelled that wait all the same (a WARNING behind COMMIT): whether it holds is then
unknown, and nobody is told that it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import psycopg
import psycopg.types.string
from psycopg import pq, waiting
from psycopg.abc import PQGen
from psycopg.errors import Diagnostic

from otp_core.model import StoreProblem
from otp_core.store.postgresql.address import Address, parameters

IDLE_SECONDS = 15
"""How long a transaction may stand still between two statements."""

OLDEST = 150000
"""PostgreSQL 15, as libpq numbers versions."""

_SESSION = """
SELECT set_config('synchronous_commit',
         CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false),
       set_config('statement_timeout', '0', false), set_config('lock_timeout', %s, false),
       set_config('idle_in_transaction_session_timeout', %s, false), set_config('timezone', 'UTC', false),
       set_config('default_transaction_isolation', 'read committed', false), set_config('jit', 'off', false)
"""

_TIMELINE = """
SELECT system_identifier::text, ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int
  FROM pg_control_system()
"""

LOGIN_ANSWER_SECONDS = 3.0
"""How long the server may take for a statement of a login or of a probe. Behind it the connection is closed, which
cancels nothing: whether a COMMIT was done is then unknown, as after any connection that broke."""

_INTERVAL = 0.1
"""How often a wait of a command looks for Ctrl-C."""

T = TypeVar("T")


class Timeline(NamedTuple):
    """Of the server of a connection. ``cluster``: what all servers of one cluster have in common; ``number``: one more
    with each promotion. "" and 0, where the server does not tell."""

    cluster: str
    number: int


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """One for a thread."""

    timeline = Timeline("", 0)

    def __del__(self, *_: object) -> None:  # a store that is let go of lets go of what its pool holds
        _finish(self)

    answer_seconds: float | None = None
    """How long the server may take for one statement; None: as long as it likes."""

    def wait(self, gen: PQGen[T], interval: float = _INTERVAL, timeout: float | None = None) -> T:
        """As psycopg's; but a wait that is interrupted or takes too long closes the connection and cancels nothing."""
        try:
            return waiting.wait(gen, self.pgconn.socket, interval=interval, timeout=timeout or self.answer_seconds)
        except (KeyboardInterrupt, SystemExit):
            self.pgconn.finish()
            raise
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()
            raise _no_answer(self.answer_seconds) from None


class LoopConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """One for an event loop. Its waits can be awaited in an InlineTask: they need no Task, and are never cancelled."""

    timeline = Timeline("", 0)

    def __del__(self, *_: object) -> None:
        _finish(self)

    async def wait(self, gen: PQGen[T], interval: float = 0.0, timeout: float | None = None) -> T:  # noqa: ASYNC109
        """As psycopg's, on bare futures; the server may take LOGIN_ANSWER_SECONDS."""
        try:
            return await _Wait(gen, self.pgconn.socket)
        except _Late:
            self.pgconn.finish()
            raise _no_answer(LOGIN_ANSWER_SECONDS) from None


class _Late(Exception):
    """The server has not answered in time."""


def _no_answer(seconds: float | None) -> psycopg.OperationalError:
    return psycopg.OperationalError(f"the server has not answered for {seconds:.0f} s: the connection is given up")


class _Wait(Awaitable[T]):
    """Runs a generator of psycopg to its end, and waits for the socket whenever it would block."""

    def __init__(self, gen: PQGen[T], socket: int) -> None:
        self._gen, self._socket = gen, socket

    def __await__(self) -> Generator[Any, None, T]:
        loop = asyncio.get_running_loop()
        end = loop.time() + LOGIN_ANSWER_SECONDS
        try:
            wanted = next(self._gen)
            while True:
                future: asyncio.Future[int] = loop.create_future()
                if wanted & waiting.WAIT_R:
                    loop.add_reader(self._socket, _ready, future, waiting.READY_R)
                if wanted & waiting.WAIT_W:
                    loop.add_writer(self._socket, _ready, future, waiting.READY_W)
                timer = loop.call_at(end, _ready, future, 0)
                try:
                    yield from future
                finally:
                    timer.cancel()
                    if wanted & waiting.WAIT_R:
                        loop.remove_reader(self._socket)
                    if wanted & waiting.WAIT_W:
                        loop.remove_writer(self._socket)
                if not future.result():
                    raise _Late
                wanted = self._gen.send(future.result())
        except StopIteration as end:
            result: T = end.value
            return result
        except OSError as error:
            raise psycopg.OperationalError("connection socket closed") from error


def _finish(connection: Connection | LoopConnection) -> None:
    pgconn = connection.__dict__.get("pgconn")
    if pgconn is not None:
        pgconn.finish()


def _ready(future: asyncio.Future[int], state: int) -> None:
    if not future.done():
        future.set_result(state)


def can_be_held(text: str) -> bool:
    """Whether PostgreSQL's text can hold it: not U+0000, and not half of a character. No stored name has either."""
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def without_nul(text: str) -> str:
    """PostgreSQL's text holds no U+0000. What somebody typed may: it is found nowhere, and shown as U+FFFD."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


class _WithoutNul(psycopg.types.string.StrDumper):
    def dump(self, obj: str) -> Any:
        return super().dump(without_nul(obj))


class Notices:
    """What the server says beside its answers, of one connection."""

    def __init__(self) -> None:
        self.is_new = True
        """Nothing was asked over the connection yet."""
        self.unreplicated = ""
        """Why a COMMIT may be on this server alone; empty: none is."""

    def __call__(self, notice: Diagnostic) -> None:
        # "canceling wait for synchronous replication due to user request", in whichever language: a COMMIT gives no
        # other warning of these classes.
        if notice.severity_nonlocalized == "WARNING" and notice.sqlstate in ("01000", "57P01", "57014"):
            self.unreplicated = notice.message_primary or "the wait for a standby was cancelled"


def connect(
    address: Address,
    *,
    lock_timeout: float,
    notices: Callable[[Diagnostic], None],
    answer_seconds: float | None = LOGIN_ANSWER_SECONDS,
) -> Connection:
    """A connection for a thread, in autocommit, to the first host that takes writes. ``lock_timeout``: seconds;
    ``answer_seconds``: see Connection. Raises psycopg.Error, OSError, ValueError and StoreProblem."""
    connection = Connection.connect("", autocommit=True, prepare_threshold=2, **parameters(address))  # type: ignore[arg-type]
    try:
        if connection.info.server_version < OLDEST:
            found = connection.info.parameter_status("server_version")
            raise StoreProblem(f"the database server is PostgreSQL {found}: Sekisho needs 15 or newer")
        connection.add_notice_handler(notices)
        connection.answer_seconds = answer_seconds
        connection.adapters.register_dumper(str, _WithoutNul)
        connection.execute(_SESSION, (f"{int(lock_timeout * 1000)}ms", f"{IDLE_SECONDS}s"))
        connection.timeline = _timeline_of(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _timeline_of(connection: Connection) -> Timeline:
    try:
        row = connection.execute(_TIMELINE).fetchone()
    except psycopg.Error:
        if connection.closed:
            raise
        row = None  # an engine of its own kind, or a service that lets nobody ask
    return Timeline("", 0) if row is None else Timeline(*row)


_OPENERS = ThreadPoolExecutor(8, thread_name_prefix="connect")
"""For the connections of logins: what else runs in threads is never in their way."""


async def connect_on_loop(opened: Callable[[], Connection], notices: Callable[[Diagnostic], None]) -> LoopConnection:
    """What ``opened`` gives in a thread, for the running event loop, which goes on meanwhile. Raises what it raises."""

    def moved() -> tuple[pq.abc.PGconn, Timeline]:
        connection = opened()
        pgconn = connection.pgconn
        del connection.pgconn  # it is the other one's now
        return pgconn, connection.timeline

    pgconn, timeline = await asyncio.get_running_loop().run_in_executor(_OPENERS, moved)
    made = LoopConnection(pgconn)
    made.timeline = timeline
    made.add_notice_handler(notices)
    await made.set_autocommit(True)
    return made
