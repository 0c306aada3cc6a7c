"""The console's pages from templates: the frame with the menu, the person, times, messages. Decides nothing."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from admin_web.console.filters import WRONG_FILTER
from admin_web.console.messages import MESSAGES
from admin_web.console.settings import ConsoleSettings
from admin_web.console.words import Words
from admin_web.languages import gettext_noop, translator
from admin_web.rendering import StaticFiles, request_language, templates
from otp_core.accounts import Act, StaffSession
from otp_core.accounts.permissions import is_allowed
from otp_core.model import Language
from otp_core.settings.values import zone

MENU = (
    ("/", gettext_noop("Search")),
    ("/customers", gettext_noop("Customers")),
    ("/tokens", gettext_noop("Tokens")),
    ("/audit", gettext_noop("Audit")),
    ("/clients", gettext_noop("Clients")),
    ("/approvals", gettext_noop("Approvals")),
    ("/staff", gettext_noop("Staff")),
    ("/api-keys", gettext_noop("API keys")),
    ("/dashboard", gettext_noop("Dashboard")),
)
"""The places of the menu, with their texts."""


WAITING = "waiting for approval"
"""Of a request by somebody who may approve: how many there are (gate.py)."""


class ConsoleRenderer:
    """Renders templates below templates/console. ``settings`` is asked for every page; ``fingerprint``: the store's."""

    def __init__(
        self,
        settings: Callable[[], ConsoleSettings],
        static: StaticFiles,
        fingerprint: Callable[..., int],
    ) -> None:
        self._settings, self._static, self._fingerprint = settings, static, fingerprint
        self._templates = templates()

    def render(
        self,
        request: web.Request,
        template: str,
        session: StaffSession | None = None,
        status: int = 200,
        **values: Any,
    ) -> web.Response:
        """A page: the template's name, who has signed in, the HTTP status, and what the template shows besides.
        ``message``: the name of a message, where the session holds none."""
        language, settings = request_language(request), self._settings()
        bank = settings.bank
        said, name = {}, values.pop("message", None)
        if session is not None and "notice" in session.data:
            name, said = session.data["notice"]
        translate = translator(language)

        def may(act: str) -> bool:
            return session is not None and is_allowed(session.principal(""), Act[act], None)

        text = self._templates.get_template(f"console/{template}").render(
            _=translate,
            say=lambda one: one if isinstance(one, str) else translate(one.text) % one.values,
            language=language.value,
            path=request.path,
            static=f"/static/{self._static.version}",
            bank=bank.bank_name if language is Language.JA else bank.bank_name_en,
            words=Words(language, zone(bank.time_zone), time.time()),
            session=session,
            menu=MENU,
            badges={"/approvals": request[WAITING]} if WAITING in request else {},
            single_sign_on=settings.oidc is not None,
            key=lambda path: "" if session is None else self._key(session, path),
            may=may,
            message=MESSAGES.get(str(name)),
            said=said,
            kept=lambda field: session.data.get("kept", {}).get(field, "") if session is not None else "",
            **values,
        )
        return web.Response(
            text=text, status=status, content_type="text/html", headers={"Vary": "Accept-Language, Cookie"}
        )

    def _key(self, session: StaffSession, path: str) -> str:
        return form_key(self._fingerprint, session, path, secrets.token_hex(8))

    async def error_page(self, request: web.Request, status: int) -> web.Response:
        """The page of an HTTP error. It says nothing about the cause inside."""
        wrong, origin = request.get(WRONG_FILTER), self._settings().public_origin
        return self.render(request, "error.html", None, status, code=status, wrong_filter=wrong, origin=origin)


def form_key(fingerprint: Callable[..., int], session: StaffSession, path: str, nonce: str) -> str:
    """The key of a form that is sent to ``path`` in this session, for a nonce of 16 characters."""
    mac = fingerprint(b"form", session.digest, path.encode(), nonce.encode("utf-8", "replace")) % 2**64
    return f"{nonce}{mac:016x}"
