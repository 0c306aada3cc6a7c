"""The bank's web sessions, in memory: this sample forgets them when it ends. They hold no password and no code.

Visitors' sessions and those of customers are kept apart: however many visitors come, no customer is logged out.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from radius_client import Server

MAX_SESSIONS = 10_000
"""Of visitors, and as many of customers."""

MOST_OF_ONE_CUSTOMER = 5


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
        self._visitors: dict[str, Session] = {}
        self._customers: dict[str, Session] = {}
        self._last_logins: dict[str, float] = {}

    def find(self, id_: str) -> Session | None:
        """The open session of an id."""
        session = self._customers.get(id_) or self._visitors.get(id_)
        if session is None or self._clock() - session.seen > self._idle:
            return None
        session.seen = self._clock()
        return session

    def begin(self, language: str) -> Session:
        """A new session of a visitor. If there are MAX_SESSIONS of them, the oldest ends."""
        session = Session(secrets.token_urlsafe(24), language, self._clock())
        self._keep(self._visitors, session)
        return session

    def challenge(self, session: Session, challenge: Challenge) -> None:
        """The password was right, and the server asks for a code."""
        self._remove(session)
        session.login = challenge
        self._keep_customer(session, challenge.customer)

    def log_in(self, session: Session, customer: str, *, with_code: bool) -> None:
        """The server has accepted the customer. The session gets a new id, against session fixation."""
        self._remove(session)
        session.login = LoggedIn(customer, with_code, self._last_logins.pop(customer, None))
        self._last_logins[customer] = time.time()
        if len(self._last_logins) > MAX_SESSIONS:
            del self._last_logins[next(iter(self._last_logins))]
        session.id = secrets.token_urlsafe(24)
        self._keep_customer(session, customer)

    def give_up(self, session: Session) -> None:
        """The login has failed, or was left: the session is a visitor's again."""
        if session.login is not None:
            self._remove(session)
            session.login = None
            self._keep(self._visitors, session)

    def log_out(self, session: Session) -> None:
        """Forget the customer; the session gets a new id."""
        self._remove(session)
        session.login, session.contract_id = None, ""
        session.id = secrets.token_urlsafe(24)
        self._keep(self._visitors, session)

    def _keep_customer(self, session: Session, customer: str) -> None:
        """One customer, who may know a password and no code, takes no places from the others."""
        theirs = [id_ for id_, one in self._customers.items() if one.login and one.login.customer == customer]
        for id_ in theirs[: max(0, len(theirs) - MOST_OF_ONE_CUSTOMER + 1)]:
            del self._customers[id_]
        self._keep(self._customers, session)

    def _keep(self, sessions: dict[str, Session], session: Session) -> None:
        """Add it; if there are too many, first those go that have ended, then the oldest."""
        if len(sessions) >= MAX_SESSIONS:
            now = self._clock()
            for id_ in [id_ for id_, one in sessions.items() if now - one.seen > self._idle]:
                del sessions[id_]
        while len(sessions) >= MAX_SESSIONS:
            del sessions[next(iter(sessions))]
        sessions[session.id] = session

    def _remove(self, session: Session) -> None:
        self._visitors.pop(session.id, None)
        self._customers.pop(session.id, None)
