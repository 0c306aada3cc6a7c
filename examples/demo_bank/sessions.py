"""The bank's web sessions, in memory: this sample forgets them when it ends. They hold no password and no code."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from radius_client import Server

MAX_SESSIONS = 10_000


@dataclass(frozen=True)
class Challenge:
    """An Access-Challenge that the customer has to answer with a code. ``state`` is never sent to the browser.
    ``again``: the code before was wrong."""

    customer: str
    state: bytes = field(repr=False)
    server: Server
    prompt: str
    again: bool = False


@dataclass(frozen=True)
class LoggedIn:
    """A customer whom the server has accepted. ``with_code``: a one-time password was asked for. ``last_login``: in
    seconds since the epoch, None if this is the first."""

    customer: str
    with_code: bool
    last_login: float | None


@dataclass
class Session:
    """``contract_id``: what the customer entered, to show again. ``message``: the name of a text and the server's own
    words for it, shown once. ``login``: how far the login is; None: not begun. ``lock`` keeps a double click from
    sending two requests. ``seen``: the clock at the last request."""

    id: str = field(repr=False)
    language: str
    seen: float
    contract_id: str = ""
    message: tuple[str, str] | None = None
    login: Challenge | LoggedIn | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)


class Sessions:
    """All open sessions. ``idle``: seconds without a request that end one. ``clock``: seconds, monotonic."""

    def __init__(self, idle: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle, self._clock = idle, clock
        self._open: dict[str, Session] = {}
        self._last_logins: dict[str, float] = {}

    def find(self, id_: str) -> Session | None:
        """The open session of an id."""
        session = self._open.get(id_)
        if session is None or self._clock() - session.seen > self._idle:
            return None
        session.seen = self._clock()
        return session

    def begin(self, language: str) -> Session:
        """A new session. If there are MAX_SESSIONS, the oldest ends."""
        self._make_room()
        session = Session(secrets.token_urlsafe(24), language, self._clock())
        self._open[session.id] = session
        return session

    def log_in(self, session: Session, customer: str, *, with_code: bool) -> None:
        """The server has accepted the customer. The session gets a new id, against session fixation."""
        now = time.time()
        session.login = LoggedIn(customer, with_code, self._last_logins.get(customer))
        self._last_logins[customer] = now
        self._renew_id(session)

    def log_out(self, session: Session) -> None:
        """Forget the customer; the session gets a new id."""
        session.login, session.contract_id = None, ""
        self._renew_id(session)

    def _renew_id(self, session: Session) -> None:
        del self._open[session.id]
        session.id = secrets.token_urlsafe(24)
        self._open[session.id] = session

    def _make_room(self) -> None:
        now = self._clock()
        if len(self._open) >= MAX_SESSIONS:
            self._open = {id_: one for id_, one in self._open.items() if now - one.seen <= self._idle}
        while len(self._open) >= MAX_SESSIONS:
            del self._open[next(iter(self._open))]
