"""Sessions of a site: the cookie holds an opaque id of 256 bits, the store keeps only its digest and the data.

Under https the cookie is named __Host- and is Secure. Plain http is allowed for localhost only (the settings check
that), where not every browser accepts a Secure cookie; there it is neither.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from admin_web.http.session_locks import SessionLocks
from otp_core.accounts import Desk, Principal, Session, SessionLimits
from otp_core.store.retry import aside

_ID_BYTES = 32
_ID_CHARACTERS = 43
"""Of an id in URL-safe base64 without padding (RFC 4648 section 5)."""


class Sessions:
    """Reads and writes the session cookie, and asks the desk for the rest.

    ``origin``: the site's public origin; its scheme decides about the cookie.
    """

    def __init__(self, desk: Desk, limits: SessionLimits, origin: str) -> None:
        self._desk = desk
        self._secure = origin.startswith("https:")
        self._name = "__Host-session" if self._secure else "session"
        self.limits = limits
        self._locks = SessionLocks()

    def lock(self, request: web.Request) -> asyncio.Lock:
        """Guards the data of the browser's session: hold it from reading it to writing it. A second click then waits,
        and finds what the first one has changed."""
        return self._locks.of(request.cookies.get(self._name, ""))

    def has_cookie(self, request: web.Request) -> bool:
        """Whether the browser sends a session cookie, valid or not."""
        return self._name in request.cookies

    async def session(self, request: web.Request) -> Session | None:
        """The browser's session; None if it has none or it has ended. Raises StoreUnavailable."""
        id_ = decoded_id(request.cookies.get(self._name, ""))
        return None if id_ is None else await aside(lambda: self._desk.sessions.find(id_, self.limits))

    def begin(self, contract_id: str, data: Mapping[str, Any], principal: Principal) -> tuple[Session, str]:
        """A new session under a new id, and the value of its cookie. ``contract_id``: the customer who has signed in.
        Raises Refused if there are too many sessions, StoreUnavailable."""
        id_ = secrets.token_bytes(_ID_BYTES)
        session = self._desk.sessions.begin(id_, contract_id, data, self.limits, principal)
        return session, base64.urlsafe_b64encode(id_).decode().rstrip("=")

    def set_cookie(self, response: web.Response, value: str) -> None:
        """Send the cookie of a session that ``begin`` has made."""
        response.set_cookie(self._name, value, httponly=True, secure=self._secure, samesite="Lax", path="/")

    def forget_pages(self, response: web.StreamResponse) -> None:
        """Make a browser drop the pages that it keeps in memory in spite of no-store: Chromium does so when a cookie
        changes that scripts cannot read."""
        value = secrets.token_hex(4)
        response.set_cookie("changed", value, httponly=True, secure=self._secure, samesite="Lax", path="/")

    def delete_cookie(self, response: web.Response) -> None:
        """Make the browser forget its session."""
        response.del_cookie(self._name, httponly=True, secure=self._secure, samesite="Lax", path="/")


def decoded_id(text: str) -> bytes | None:
    """The id of a cookie's value; None for a value that is none."""
    if len(text) != _ID_CHARACTERS:
        return None
    try:
        return base64.b64decode(text + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
