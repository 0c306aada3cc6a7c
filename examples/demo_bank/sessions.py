"""Who is at the bank's pages, kept in memory: a sample forgets everybody. No secret but the visits' names."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from asking import Server

MOST_VISITS = 10_000


@dataclass(frozen=True)
class Challenge:
    """What has to be answered with a code. ``state`` never leaves the bank towards the browser."""

    customer: str
    state: bytes = field(repr=False)
    server: Server
    prompt: str
    again: bool = False


@dataclass(frozen=True)
class Inside:
    """A customer who was let in. ``with_code``: a one-time password was asked for."""

    customer: str
    with_code: bool
    last_login: float | None


@dataclass
class Session:
    """``user_password`` is the contract ID to show again; ``said`` the name of a notice and its text, shown once.
    ``asking`` keeps a double click from asking twice."""

    key: str = field(repr=False)
    language: str
    seen: float
    user_password: str = ""
    said: tuple[str, str] | None = None
    at: Challenge | Inside | None = None
    asking: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)


class Sessions:
    """``idle`` seconds without a request end a visit."""

    def __init__(self, idle: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle, self._clock = idle, clock
        self._open: dict[str, Session] = {}
        self._last_logins: dict[str, float] = {}

    def find(self, key: str) -> Session | None:
        session = self._open.get(key)
        if session is None or self._clock() - session.seen > self._idle:
            return None
        session.seen = self._clock()
        return session

    def begin(self, language: str) -> Session:
        self._make_room()
        session = Session(secrets.token_urlsafe(24), language, self._clock())
        self._open[session.key] = session
        return session

    def let_in(self, session: Session, customer: str, *, with_code: bool) -> None:
        """Under a new name: whoever knew the old one is not let in with the customer."""
        now = time.time()
        session.at = Inside(customer, with_code, self._last_logins.get(customer))
        self._last_logins[customer] = now
        self._rename(session)

    def leave(self, session: Session) -> None:
        session.at, session.user_password = None, ""
        self._rename(session)

    def _rename(self, session: Session) -> None:
        del self._open[session.key]
        session.key = secrets.token_urlsafe(24)
        self._open[session.key] = session

    def _make_room(self) -> None:
        now = self._clock()
        if len(self._open) >= MOST_VISITS:
            self._open = {key: one for key, one in self._open.items() if now - one.seen <= self._idle}
        while len(self._open) >= MOST_VISITS:
            del self._open[next(iter(self._open))]
