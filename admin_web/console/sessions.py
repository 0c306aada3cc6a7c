"""The console's cookie: an opaque id of 256 bits under a name of its own, because cookies ignore ports."""

from __future__ import annotations

import asyncio
import base64
import secrets

from aiohttp import web

from admin_web.http.session_locks import SessionLocks
from admin_web.http.sessions import decoded_id
from otp_core.accounts import Desk, Proof, StaffSession, StaffSessionLimits
from otp_core.store.retry import aside
from otp_core.store.staff import StaffRecord

_ID_BYTES = 32


class StaffSessions:
    """Reads and writes the cookie, and asks the desk for the rest. ``origin``: its scheme decides about the cookie."""

    def __init__(self, desk: Desk, limits: StaffSessionLimits, origin: str) -> None:
        self._desk, self.limits = desk, limits
        self.secure = origin.startswith("https:")
        self._name = "__Host-console" if self.secure else "console"
        self._locks = SessionLocks()

    def lock(self, request: web.Request) -> asyncio.Lock:
        """Of the browser's session: hold it from reading it to writing it."""
        return self._locks.of(request.cookies.get(self._name, ""))

    def has_cookie(self, request: web.Request) -> bool:
        """Whether the browser sends a session cookie, valid or not."""
        return self._name in request.cookies

    async def session(self, request: web.Request) -> StaffSession | None:
        """The browser's session; None if it has none or it has ended. Raises StoreUnavailable."""
        id_ = decoded_id(request.cookies.get(self._name, ""))
        return None if id_ is None else await aside(lambda: self._desk.staff_sessions.find(id_, self.limits))

    def begin(self, record: StaffRecord, source: str, by: Proof) -> str:
        """A new session under a new id; the value of its cookie. Raises Refused, StoreUnavailable."""
        id_ = secrets.token_bytes(_ID_BYTES)
        self._desk.staff_sessions.begin(id_, record, source, self.limits, by)
        return base64.urlsafe_b64encode(id_).decode().rstrip("=")

    def set_cookie(self, response: web.Response, value: str) -> None:
        """Send the cookie of a session that ``begin`` has made."""
        response.set_cookie(self._name, value, httponly=True, secure=self.secure, samesite="Strict", path="/")

    def delete_cookie(self, response: web.Response) -> None:
        """Make the browser forget its session."""
        response.del_cookie(self._name, httponly=True, secure=self.secure, samesite="Strict", path="/")
