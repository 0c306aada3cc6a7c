"""Answers that are given again to the same request of a program: an act happens once, however often it is asked.

An answer is kept in the transaction of its act, so there is neither without the other. It is sealed, because it may
hold a permit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hmac import compare_digest

from otp_core.accounts.transactions import SWEPT_AT_ONCE, Transactions
from otp_core.store import kept_answers as statements
from otp_core.store.kept_answers import KeptRow
from otp_core.store.unit_of_work import Work

KEPT_HOURS = 24


class AskedDifferently(Exception):
    """The same program has used this Idempotency-Key for something else."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A request that is known again. ``digest``: of who asks, where, and the key; ``request``: of what is asked."""

    digest: bytes
    request: bytes = field(repr=False)


class KeptAnswerService:
    """Used in an open transaction (``Desk.together``)."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def key_of(self, api_key: int, path: str, idempotency_key: str, asked: bytes) -> RequestKey:
        """``api_key``: its key in the store, which is never used again; ``idempotency_key``: without NUL."""
        digest = self._transactions.store.sealer.session_digest
        name = f"{api_key}\0{path}\0{idempotency_key}".encode(errors="backslashreplace")
        return RequestKey(digest(b"idempotency key " + name), digest(b"idempotent request " + asked))

    def find(self, work: Work, key: RequestKey) -> bytes | None:
        """What was answered; None: this is the first time, or the first for a day. Raises AskedDifferently."""
        row = statements.kept_answer_of(work.connection, key.digest)
        if row is None or row.expires_at <= self._transactions.stamp():
            return None
        if not compare_digest(row.request, key.request):
            raise AskedDifferently
        return self._transactions.store.sealer.unseal_data(row.answer, key.digest)

    def keep(self, work: Work, key: RequestKey, answer: bytes) -> None:
        """Keep what is answered, for a day."""
        sealed = self._transactions.store.sealer.seal_data(answer, key.digest)
        until = self._transactions.stamp() + KEPT_HOURS * 3_600_000
        statements.put_kept_answer(work.connection, key.digest, KeptRow(key.request, sealed, until))

    def expire(self) -> int:
        """Delete some that have expired; how many. None until the clock is settled. Raises StoreUnavailable and
        ClockWrong."""
        if not self._transactions.settled():
            return 0
        now, store = self._transactions.now(), self._transactions.store
        with store.read() as connection:  # before the write lock is taken: mostly there is nothing to do
            if not statements.has_expired(connection, now):
                return 0
        with store.work() as work:
            return statements.drop_kept_answers(work.connection, now, SWEPT_AT_ONCE)
