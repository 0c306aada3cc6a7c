"""What the core asks of a database engine: Protocols only. SQLite's answers are in sqlite/; PostgreSQL's come beside
it.

The contract is "serialisable": an engine either lets a transaction take effect as if it had been alone, or raises
Conflict and leaves nothing of it. What is run again then, and how often, the caller decides: the login queue for
batches, ``accounts.transactions`` for the acts of the desk. A store that cannot be used now raises StoreUnavailable,
one whose write lock another process holds StoreBusy (store/retry.py waits for that).

tests/core/test_engine_contract.py holds what every engine has to pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from otp_core.login.requests import Decision, Facts
from otp_core.model import LoginRecord, OpenChallenge
from otp_core.store.trail import Lines, SealRow
from otp_core.tally import Histogram

if TYPE_CHECKING:
    from otp_core.store.api_keys import ApiKeyRecord


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

    def sealable(self, after: int, now_ms: int, limit: int) -> Lines:
        """The first rows with ids above ``after``, up to the horizon: the id above which rows may still come, or of
        moments behind ``now_ms``. Raises StoreUnavailable."""

    def append(self, seal: SealRow, before: int, after: int, rows: int) -> bool:
        """Write a seal, and have it on the disk, if ``before`` is still the highest number (0: there is none), and
        exactly ``rows`` rows lie above ``after`` and up to where it ends. From then on no row can come there. False,
        with nothing written, otherwise. Raises StoreUnavailable."""

    def close(self) -> None:
        """Let go of the connection."""
