"""What the sign-in form shows after a mistake: kept in a cookie of the browser for one page, not here.

So a stranger who sends forms takes nothing from anybody: before the sign-in there is no session. The cookie holds the
name of a message and the contract ID as it was typed. Nothing is decided by it, so it is neither sealed nor signed:
what a browser puts there, it shows to itself.
"""

from __future__ import annotations

import base64
import binascii
import json

from aiohttp import web

from admin_web.portal.messages import MESSAGES

MAX_SHOWN = 64
"""Characters of a contract ID that the form shows again."""

_SECONDS = 60
"""Until a browser that has not come back to the form forgets it."""

_LONGEST = 1024
"""Characters of the cookie's value."""


class FormNotices:
    """Sends and reads the cookie. ``origin``: the site's public origin; under https the cookie is bound to it."""

    def __init__(self, origin: str) -> None:
        self._secure = origin.startswith("https:")
        self._name = "__Host-notice" if self._secure else "notice"

    def send(self, response: web.Response, message: str, contract_id: str) -> None:
        """Make the next page show the message with this name, and the contract ID again."""
        text = json.dumps([message, contract_id[:MAX_SHOWN]], ensure_ascii=False).encode("utf-8", "replace")
        value = base64.urlsafe_b64encode(text).decode().rstrip("=")
        response.set_cookie(
            self._name, value, max_age=_SECONDS, httponly=True, secure=self._secure, samesite="Lax", path="/"
        )

    def read(self, request: web.Request) -> tuple[str, str] | None:
        """The message's name and the contract ID; None: there is nothing to show."""
        value = request.cookies.get(self._name, "")
        if not value or len(value) > _LONGEST:
            return None
        try:
            found = json.loads(base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True))
        except (binascii.Error, ValueError, RecursionError):
            return None
        match found:
            case [str(message), str(contract_id)] if message in MESSAGES and len(contract_id) <= MAX_SHOWN:
                return message, contract_id.encode("utf-8", "replace").decode()
        return None

    def forget(self, response: web.Response) -> None:
        """It has been shown."""
        response.del_cookie(self._name, httponly=True, secure=self._secure, samesite="Lax", path="/")
