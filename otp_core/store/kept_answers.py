"""Answers of the API that are given again to the same request. Statements only; digests and sealed answers alone."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from otp_core.store.schema import kept_answer


class KeptRow(NamedTuple):
    """``request``: the digest of what was asked; ``answer``: sealed; ``expires_at``: ms since the epoch."""

    request: bytes
    answer: bytes
    expires_at: int


def kept_answer_of(connection: Connection, digest: bytes) -> KeptRow | None:
    """The answer with this digest, expired or not; None: there is none."""
    columns = (kept_answer.c.request, kept_answer.c.answer, kept_answer.c.expires_at)
    row = connection.execute(select(*columns).where(kept_answer.c.digest == digest)).one_or_none()
    return KeptRow(*row) if row else None


def put_kept_answer(connection: Connection, digest: bytes, row: KeptRow) -> None:
    """Keep an answer, in the place of an expired one if there is one."""
    connection.execute(delete(kept_answer).where(kept_answer.c.digest == digest))
    connection.execute(insert(kept_answer).values(digest=digest, **row._asdict()))


def has_expired(connection: Connection, now: int) -> bool:
    """Whether some have expired at ``now`` (ms)."""
    due = select(kept_answer.c.digest).where(kept_answer.c.expires_at <= now)
    return connection.execute(due.limit(1)).first() is not None


def drop_kept_answers(connection: Connection, now: int, limit: int) -> int:
    """Delete some of the answers that have expired at ``now`` (ms); how many."""
    due = select(kept_answer.c.digest).where(kept_answer.c.expires_at <= now).limit(limit)
    digests = connection.execute(due).scalars().all()
    return connection.execute(delete(kept_answer).where(kept_answer.c.digest.in_(digests))).rowcount
