"""How an outlet does, for other processes to read: since when it fails and why, and what it gave up; and how far behind
the trail it is. The condition is kept where the position is; losing it loses nothing but what is said here.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple, Protocol

from sqlalchemy import Connection, func, select

from otp_core.audit import ms_of
from otp_core.outwards.position import Position
from otp_core.regular_file import read_regular
from otp_core.store.queries import read_meta
from otp_core.store.schema import audit
from otp_core.store.store import Store

MOST_COUNTED = 100_000
"""Rows that wait; more are not counted, because counting reads them."""
_MOST_OF_A_CAUSE = 300
_MOST_OCTETS = 4000


@dataclass(frozen=True, slots=True)
class Condition:
    """``failing_since``: ms since the epoch, 0: it does not fail. ``cause``: the last error; it stays when the receiver
    takes messages again. ``given_up``: events since the file began; ``given_up_at``: when the last ones were."""

    failing_since: int = 0
    cause: str = ""
    given_up: int = 0
    given_up_at: int = 0


class KeptCondition(Protocol):
    """The condition of one outlet."""

    def read(self) -> Condition:
        """What was written last; that of a new outlet where there is none, or none that can be understood. Raises
        StoreUnavailable."""

    def write(self, condition: Condition) -> None:
        """For others to read. Raises StoreUnavailable and OSError."""


def condition_of(store: Store, outlet: str) -> KeptCondition:
    """Where the condition is kept: where the position is. ``outlet``: as ``position_of`` has it."""
    file = store.database.file
    return StoredCondition(store, outlet) if file is None else ConditionFile(file, outlet)


class StoredCondition:
    """In ``meta``."""

    def __init__(self, store: Store, outlet: str) -> None:
        self._store, self._name = store, f"{outlet}.condition"

    def read(self) -> Condition:
        """See ``KeptCondition``."""
        with self._store.read() as connection:
            return _understood(read_meta(connection, self._name) or b"")

    def write(self, condition: Condition) -> None:
        """See ``KeptCondition``."""
        with self._store.work_aside() as work:
            work.put_meta(self._name, _as_text(condition))


class ConditionFile:
    """In a file. ``store``: the path of the store's file."""

    def __init__(self, store: Path, outlet: str) -> None:
        self._path = store.with_name(f"{store.name}-{outlet}.condition")

    def read(self) -> Condition:
        """See ``KeptCondition``."""
        try:
            return _understood(read_regular(self._path, _MOST_OCTETS))
        except OSError:
            return Condition()

    def write(self, condition: Condition) -> None:
        """See ``KeptCondition``."""
        new = self._path.with_name(f"{self._path.name}.new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_as_text(condition))
        new.replace(self._path)


def _as_text(condition: Condition) -> bytes:
    return json.dumps(asdict(condition) | {"cause": condition.cause[:_MOST_OF_A_CAUSE]}).encode()


def _understood(octets: bytes) -> Condition:
    try:
        found = json.loads(octets)
    except (ValueError, RecursionError):
        return Condition()
    known = {one.name: type(one.default) for one in fields(Condition)}
    if not isinstance(found, dict) or any(type(found.get(name)) is not kind for name, kind in known.items()):
        return Condition()
    return Condition(**{name: found[name] for name in known})


class Lag(NamedTuple):
    """``rows``: that wait, MOST_COUNTED at most, events that are not sent included; ``seconds``: age of the oldest."""

    rows: int
    seconds: float


def lag_of(connection: Connection, position: Position, now: float) -> Lag | None:
    """How far it is behind; None before its first start. ``now``: seconds since the epoch. Raises StoreProblem,
    StoreUnavailable and OSError for a position that cannot be read."""
    after = position.read()
    if after is None:
        return None
    waiting = select(audit.c.id).where(audit.c.id > after).order_by(audit.c.id).limit(MOST_COUNTED).subquery()
    rows, oldest = connection.execute(select(func.count(), func.min(waiting.c.id))).one()
    return Lag(rows, 0.0 if oldest is None else max(0.0, now - ms_of(oldest) / 1000))
