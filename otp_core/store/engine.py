"""What the core asks of a database engine: Protocols only. SQLite's answers are in sqlite/, PostgreSQL's in
postgresql/; engines.py chooses by the URL, and nothing else does.

The contract is "serialisable": an engine either lets a transaction take effect as if it had been alone, or raises
Conflict and leaves nothing of it. What is run again then, and how often, the caller decides: the login queue for
batches, ``accounts.transactions`` for the acts of the desk. A store that cannot be used now raises StoreUnavailable,
one whose write lock another process holds StoreBusy (store/retry.py waits for that).

tests/core/test_engine_contract.py holds what every engine has to pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sqlalchemy import Connection, Engine

from otp_core.audit import NodeName
from otp_core.checks import CheckResult
from otp_core.login.requests import Decision, Facts
from otp_core.model import AuditRow, LoginRecord, OpenChallenge
from otp_core.store.revisions import Revisions
from otp_core.store.trail import Lines, Piece, SealRow
from otp_core.tally import Histogram

if TYPE_CHECKING:
    from otp_core.store.api_keys import ApiKeyRecord
    from otp_core.store.migrating import Migrated


class LoginBatch(Protocol):
    """Runs batches of logins: read, evaluate, write on condition, be durable. No audit row that it writes lies at or
    below what a seal covers (SealStore)."""

    @property
    def concurrency(self) -> int:
        """How many batches may be under way at once."""

    def run(
        self, customers: Collection[str], states: Collection[bytes], evaluate: Callable[[Facts], Decision]
    ) -> Coroutine[Any, Any, Decision]:
        """Load what is known of these customers (contract IDs) and States, let ``evaluate`` decide, make the decision
        durable in one transaction. ``evaluate`` may be called again, with newer facts; the last decision counts.

        Runs in an InlineTask: otp_core/inline_task.py says what may be awaited there. Raises Conflict or
        StoreUnavailable, and then nothing was written."""

    def close(self) -> None:
        """Let go of the connections."""


@runtime_checkable
class TimedFlushes(Protocol):
    """A login batch that measures its flushes by itself."""

    flush_seconds: Histogram
    """How long each flush of the disk took, waiting for other processes' flushes included."""


class LoginReader(Protocol):
    """What has to be known before a batch: one row, without a lock. An engine in the same process answers without
    giving the loop away."""

    async def login_record(self, contract_id: str) -> LoginRecord | None:
        """A customer as of now; None if there is none. Raises StoreUnavailable."""

    async def password_hash(self, contract_id: str) -> tuple[bool, str | None]:
        """Whether there is such a customer, and their password hash if one is kept. Raises StoreUnavailable."""

    async def open_challenge(self, state: bytes) -> OpenChallenge | None:
        """The challenge of a State, expired or not. Raises StoreUnavailable."""

    def close(self) -> None:
        """Let go of the connection."""


class KeyReader(Protocol):
    """Whose key a request of the API has, without a lock: asked before anything else, for each of them."""

    def api_key_of(self, digest: bytes) -> ApiKeyRecord | None:
        """The key with this digest as of now; None: there is none, or none any more. Raises StoreUnavailable."""

    def close(self) -> None:
        """Let go of the connection."""


class Maintenance(Protocol):
    """Tidying, and whether a login could be written now."""

    def expire_challenges(self, now: int) -> int:
        """Delete some challenges that expired before ``now`` (ms); how many. Raises StoreUnavailable."""

    def count_challenges(self) -> int:
        """How many challenges are open, the expired ones that are not deleted yet included. Raises StoreUnavailable."""

    def probe(self, now: int) -> None:
        """Write something and wait for the disk. Raises StoreUnavailable."""

    def write_probe(self, customers: Iterable[str]) -> None:
        """Do what a batch of these customers does, with a fresh connection, some pages of it as far as the disk, and
        roll all of it back. Raises StoreUnavailable."""

    def close(self) -> None:
        """Let go of the connection."""


class SealStore(Protocol):
    """What the task that seals the audit trail asks of an engine: which rows can be sealed, because no further row can
    come between them any more, and one more seal."""

    def newest(self) -> SealRow | None:
        """The seal with the highest number; None: there is none. Raises StoreUnavailable."""

    def seal(self, number: int) -> SealRow | None:
        """The seal with this number. Raises StoreUnavailable."""

    def newest_drop(self) -> SealRow | None:
        """The seal of the newest drop, by what the store has noted of it; None: there is none. Raises
        StoreUnavailable."""

    def sealable(self, after: int, now_ms: int, limit: int) -> Lines:
        """The first rows with ids above ``after``, up to the horizon: the id above which rows may still come, or of
        moments behind ``now_ms``. Raises StoreUnavailable."""

    def append(self, seal: SealRow, before: int, after: int, rows: int) -> bool:
        """Write a seal, and have it on the disk, if ``before`` is still the highest number (0: there is none), and
        exactly ``rows`` rows lie above ``after`` and up to where it ends. From then on no row can come there. False,
        with nothing written, otherwise. Raises StoreUnavailable."""

    def close(self) -> None:
        """Let go of the connection."""


class ShortWrites(Protocol):
    """Takes away what nobody decides by, a statement at a time: no login is delayed, none has to be decided anew."""

    most: int
    """Rows that one statement may change."""

    def run(self, statement: str, values: Mapping[str, object]) -> int:
        """One statement, with names for its values (``:name``), as a transaction of its own; how many rows it changed.
        It is on the disk behind ``flush``. Raises StoreBusy and StoreUnavailable."""

    def drop_partitions(self, until: int) -> int:
        """Drop the parts of the audit trail that hold only rows up to this id, or few others, which are kept; about how
        many rows that were. 0 where the trail has no such parts. Raises StoreUnavailable."""

    def flush(self) -> None:
        """What was done is on the disk when this returns. Raises StoreUnavailable."""

    def close(self) -> None:
        """Let go of the connection."""


class Trail(Protocol):
    """The audit trail as it lies in the store, whatever somebody has done to it: read piece by piece, so that nobody
    waits for it."""

    def newest(self) -> int:
        """The highest number of a seal, 0 for none; how far ``pieces`` goes. Raises StoreUnavailable."""

    def strange(self) -> list[str]:
        """Triggers and views that Sekisho does not make: at most 20, and each name cut to 40 characters. Raises
        StoreUnavailable."""

    def size(self) -> int:
        """About how many rows there are. Raises StoreUnavailable."""

    def pieces(self, newest: int) -> Iterator[Piece]:
        """All seals up to the number ``newest`` in their order, each with the rows that lie where it says; rows between
        them as a piece without one; at last the rows behind them. Raises StoreUnavailable."""


class Task(Enum):
    """What one process does for all that serve a store."""

    SEALS = "seals"
    SYSLOG = "syslog"
    WEBHOOKS = "webhooks"
    DROP = "drop"


class TaskLock(Protocol):
    """The lock of a task."""

    def take(self) -> bool:
        """Make the task one's own, until ``close`` or the end of the process; False: it is another one's, or cannot be
        known now."""

    def close(self) -> None:
        """Let go of the task."""


class Database(Protocol):
    """One opened database: what differs between the engines for everything but a login. ``engine``: SQLAlchemy's.
    ``file``: the store's file, beside which its journal, its mark and what its processes share lie; None where the
    store is no file of this machine. ``place``: for people, as in "the store /var/lib/sekisho/sekisho.db"."""

    engine: Engine
    file: Path | None
    place: str
    name: str
    """Short, for the name of a file."""
    waits: bool
    """Whether an answer may take as long as a network does: then an event loop asks in a thread."""
    beat_seconds: int
    """Between two signs of life of a node."""

    def exists(self) -> bool:
        """Whether there is a store, of whichever schema. Raises StoreProblem if that cannot be known."""

    def check(self) -> None:
        """Before it is used: raises StoreProblem, with what to do, unless there is a store that this version may use
        (revisions.py), and StoreUnavailable."""

    def revisions(self) -> Revisions:
        """How far the store's schema is. Raises StoreProblem if there is no store, and StoreUnavailable."""

    def refuse_read_only(self) -> None:
        """Raises StoreUnavailable, with what to do, if this user may not write the store. It writes nothing."""

    def upgrade(self, *, contract: bool = False) -> Migrated:
        """Create the store's tables, or bring them to a newer schema (migrating.py). Safe to repeat, and from several
        processes at once. Raises StoreProblem, StoreUnavailable and OSError."""

    def read(self) -> AbstractContextManager[Connection]:
        """A connection for questions. Raises StoreUnavailable, at the end too."""

    def write(
        self, recorded: Sequence[AuditRow] = (), *, stamp: Callable[[], int] | None = None
    ) -> AbstractContextManager[Connection]:
        """One transaction: committed and durable at the end, rolled back on any exception. ``recorded``: the audit rows
        that it has written by its end. ``stamp``: gives a new number if logins are decided by what it changes; None:
        none is. Raises Conflict, StoreBusy and StoreUnavailable, and then nobody may be told that it was done."""

    def aside(self) -> AbstractContextManager[Connection]:
        """One small transaction that no login and no act is decided by, and that a crash of the server may take back.
        It waits for no act. Any thread may use it. Raises StoreUnavailable."""

    def time_ms(self, connection: Connection) -> int:
        """The time in ms since the epoch, by the clock that all nodes of this store share."""

    def sealed_until(self, connection: Connection) -> int:
        """No audit row may be added at or below this id, by the transaction of ``write`` that asks."""

    def login_batch(self, *, notices: bool, note: Callable[[Sequence[AuditRow]], None], node: NodeName) -> LoginBatch:
        """For the login batches of one process. ``notices``: locks are told to customers by e-mail. ``note``: told the
        audit rows of the locks of a batch that is durable, before anybody is told. ``node``: for its audit rows."""

    def login_reader(self) -> LoginReader:
        """For what is asked between them."""

    def key_reader(self) -> KeyReader:
        """For who asks with an API key."""

    def maintenance(self) -> Maintenance:
        """For tidying, and for the health of the store."""

    def seals(self) -> SealStore:
        """For the task that seals the audit trail."""

    def trail(self) -> Trail:
        """For who verifies or exports the audit trail."""

    def short_writes(self) -> ShortWrites:
        """For who takes away what is old."""

    def task_lock(self, task: Task) -> TaskLock:
        """Raises OSError and StoreUnavailable."""

    def facts(self) -> Sequence[CheckResult]:
        """What `sekisho doctor` says of a database server. Raises StoreUnavailable."""

    def damage(self, connection: Connection) -> list[str]:
        """The damage that the engine finds when it reads the whole store; empty for a sound one."""

    def hold(self) -> None:
        """For who answers logins, until ``release``. Raises StoreProblem and StoreUnavailable."""

    def release(self) -> None:
        """The counterpart of ``hold``."""

    def flushed_id(self) -> int:
        """The id of an audit row that is known, outside the database, to be on disk; 0: none is known."""

    def has_to_stop(self) -> bool:
        """Whether this process has to end, because what is written may be lost."""

    def rescue(self) -> None:
        """Before it ends: copy what only this process can still read, if there is such a thing."""

    def checkpoint(self) -> None:
        """Have what is committed in the store's main file, as far as that goes now. Raises StoreUnavailable."""
