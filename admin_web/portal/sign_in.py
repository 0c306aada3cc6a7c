"""The first page of every journey: contract ID and login password, checked by the same first factor as at every door.

Whatever is wrong with the pair, the page says the same after the same time. A right one begins a new session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from admin_web.http.server import SOURCE, form_of
from admin_web.http.sessions import Sessions
from admin_web.pages import Pages
from admin_web.portal.journey import begun
from admin_web.portal.notices import NOTICES
from admin_web.settings import WebSettings
from otp_core.accounts import Principal, Refused
from otp_core.accounts.issuance import origin_of
from otp_core.doors import Services
from otp_core.first_factor.throttle import PasswordThrottle
from otp_core.login.policy import Delays
from otp_core.model import Attempt, Mode, Policy
from otp_core.otp import normalise_contract_id
from otp_core.store.retry import Turns, retry_while_busy

NAME = "web"
PATIENCE_SECONDS = 10.0
_LONGEST = 256
_PASSWORD_ONLY = Policy(Mode.PASSWORD)


class SignIn:
    """Signing in. ``turns``: one act at the desk at a time."""

    def __init__(
        self,
        services: Services,
        turns: Turns,
        sessions: Sessions,
        pages: Pages,
        settings: Callable[[], WebSettings],
    ) -> None:
        self._services, self._turns, self._sessions, self._pages, self._settings = (
            services,
            turns,
            sessions,
            pages,
            settings,
        )
        delays = Delays(settings().address_free_failures, 1.0, 60.0)
        self._addresses = PasswordThrottle(delays, asyncio.get_running_loop().time, 100_000)

    async def show(self, request: web.Request) -> web.Response:
        """The form; after a mistake with what was wrong, once."""
        async with self._turns.mine():
            session = self._sessions.session(request)
            data = session.data if session and session.customer is None else {}
            notice = data.get("notice")
            if session is not None and notice is not None:
                kept = {name: value for name, value in data.items() if name != "notice"}
                await retry_while_busy(lambda: self._services.desk.update_session(session, kept))
        return self._form(request, data)

    async def enter(self, request: web.Request) -> web.Response:
        """Whoever is right goes on; whoever is not comes back here."""
        form = await form_of(request)
        journey = request.path.strip("/")
        contract_id = normalise_contract_id(form.get("contract_id", ""))
        password = form.get("password", "")
        source = request[SOURCE]
        principal = Principal(NAME, source)
        wrong = _missing(contract_id, password)
        if wrong is None:
            wrong = await self._refusal(contract_id, password, principal)
        if wrong is not None:
            kept = {"notice": wrong, "contract_id": contract_id[:_LONGEST]}
            return await self._again(request, kept, principal)
        return await self._begin(request, journey, contract_id, principal)

    async def _refusal(self, contract_id: str, password: str, principal: Principal) -> str | None:
        """What is wrong with a pair; None: it is right."""
        origin = origin_of(principal.source)
        try:
            if not await self._addresses.enter("", origin, PATIENCE_SECONDS):
                await self._record(contract_id, "too many wrong passwords from this address", principal)
                return "too-many-here"
        except TimeoutError:
            return "too-many-here"
        try:
            if not await self._is_right(contract_id, password, principal):
                await self._record(contract_id, "wrong password, or too soon after one", principal)
                return "wrong-pair"
            self._addresses.passed("", origin)
        finally:
            self._addresses.leave("", origin)
        return None

    async def _is_right(self, contract_id: str, password: str, principal: Principal) -> bool:
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        attempt = Attempt(
            contract_id, password, _PASSWORD_ONLY, NAME, principal.source, principal.source, deadline=deadline
        )
        return await self._services.authenticator.check_password(attempt) is not None

    async def _record(self, contract_id: str, reason: str, principal: Principal) -> None:
        await retry_while_busy(lambda: self._services.desk.audit_failed_sign_in(contract_id, reason, principal))

    async def _again(self, request: web.Request, data: Mapping[str, Any], principal: Principal) -> web.Response:
        """To the form with what was wrong; where no session may be kept for that, it is the answer."""
        response = web.HTTPSeeOther(request.path)
        async with self._turns.mine():
            session = self._sessions.session(request)
            if session is not None and session.customer is None:
                await retry_while_busy(lambda: self._services.desk.update_session(session, data))
                return response
            try:
                _, cookie = await retry_while_busy(lambda: self._sessions.begin(None, data, principal))
            except Refused:
                return self._form(request, data)
        self._sessions.put(response, cookie)
        return response

    def _form(self, request: web.Request, data: Mapping[str, Any]) -> web.Response:
        return self._pages.page(
            request,
            "portal/entry.html",
            journey=request.path.strip("/"),
            notice=NOTICES.get(data.get("notice") or ""),
            contract_id=data.get("contract_id", ""),
        )

    async def _begin(self, request: web.Request, journey: str, contract_id: str, principal: Principal) -> web.Response:
        """A new id for whoever has signed in; the one from before is worth nothing any more."""
        async with self._turns.mine():
            before = self._sessions.session(request)
            record = self._services.desk.login_record(contract_id)
            data = begun(journey, record, self._settings(), self._services.desk)
            session, cookie = await retry_while_busy(lambda: self._sessions.begin(contract_id, data, principal))
            if before is not None:
                await retry_while_busy(lambda: self._services.desk.end_sessions([before.key], principal))
        response = web.HTTPSeeOther(str(session.data["stage"]))
        self._sessions.put(response, cookie)
        return response


def _missing(contract_id: str, password: str) -> str | None:
    if not contract_id:
        return "contract-id-missing"
    return None if password else "password-missing"
