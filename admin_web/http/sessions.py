"""The session's cookie: an opaque id of 256 bits that the store never sees. What a session remembers, the store keeps.

Under https the cookie is named __Host- and is Secure; http is for localhost only (the settings see to that), where not
every browser takes a Secure cookie, so there it is neither.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from admin_web.settings import WebSettings
from otp_core.accounts import Desk, Principal, Session, SessionLimits


class Sessions:
    """Reads and writes the cookie, and asks the desk for the rest."""

    def __init__(self, desk: Desk, settings: WebSettings) -> None:
        self._desk = desk
        self._secure = settings.public_origin.startswith("https:")
        self._name = "__Host-session" if self._secure else "session"
        self.bounds = SessionLimits(settings.idle_seconds, settings.session_seconds, settings.max_sessions)

    def has_cookie(self, request: web.Request) -> bool:
        return self._name in request.cookies

    def session(self, request: web.Request) -> Session | None:
        """The browser's session, unless it has ended."""
        id_ = _read(request.cookies.get(self._name, ""))
        return None if id_ is None else self._desk.session(id_, self.bounds)

    def begin(self, contract_id: str | None, data: Mapping[str, Any], principal: Principal) -> tuple[Session, str]:
        """A new session under a new id, and what its cookie says."""
        id_ = secrets.token_bytes(32)
        session = self._desk.begin_session(id_, contract_id, data, self.bounds, principal)
        return session, base64.urlsafe_b64encode(id_).decode().rstrip("=")

    def put(self, response: web.Response, value: str) -> None:
        response.set_cookie(self._name, value, httponly=True, secure=self._secure, samesite="Lax", path="/")

    def drop(self, response: web.Response) -> None:
        response.del_cookie(self._name, httponly=True, secure=self._secure, samesite="Lax", path="/")


def _read(text: str) -> bytes | None:
    if len(text) != 43:
        return None
    try:
        return base64.b64decode(text + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
