"""The first page of every journey: contract ID and login password, checked by the same first factor as at every door.

Whatever is wrong with the pair, the page says the same after the same time. A right one begins a new session.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from admin_web.pages import Pages
from admin_web.portal.journey import begun
from admin_web.portal.notices import NOTICES
from admin_web.portal.patience import Turns, patiently
from admin_web.server import SOURCE, form_of
from admin_web.sessions import Sessions
from otp_core.build import House
from otp_core.desk import Actor, Refused
from otp_core.desk.handout import origin_of
from otp_core.first_factor.turnstile import Turnstile
from otp_core.model import Attempt, Mode, Policy
from otp_core.otp import normalise_contract_id
from otp_core.policy import Delays
from otp_core.settings import Web

NAME = "web"
PATIENCE_SECONDS = 10.0
_LONGEST = 256
_PASSWORD_ONLY = Policy(Mode.PASSWORD)


class Entry:
    """Signing in. ``turns``: one act at the desk at a time."""

    def __init__(
        self, house: House, turns: Turns, sessions: Sessions, pages: Pages, settings: Callable[[], Web]
    ) -> None:
        self._house, self._turns, self._sessions, self._pages, self._settings = house, turns, sessions, pages, settings
        delays = Delays(settings().address_free_failures, 1.0, 60.0)
        self._addresses = Turnstile(delays, asyncio.get_running_loop().time, 100_000)

    async def show(self, request: web.Request) -> web.Response:
        """The form; after a mistake with what was wrong, once."""
        async with self._turns.mine():
            visit = self._sessions.visit(request)
            data = visit.data if visit and visit.customer is None else {}
            notice = data.get("notice")
            if visit is not None and notice is not None:
                kept = {name: value for name, value in data.items() if name != "notice"}
                await patiently(lambda: self._house.desk.keep_visit(visit, kept))
        return self._form(request, data)

    async def enter(self, request: web.Request) -> web.Response:
        """Whoever is right goes on; whoever is not comes back here."""
        form = await form_of(request)
        journey = request.path.strip("/")
        contract_id = normalise_contract_id(form.get("contract_id", ""))
        password = form.get("password", "")
        source = request[SOURCE]
        actor = Actor(NAME, source)
        wrong = _missing(contract_id, password)
        if wrong is None:
            wrong = await self._refusal(contract_id, password, actor)
        if wrong is not None:
            kept = {"notice": wrong, "contract_id": contract_id[:_LONGEST]}
            return await self._again(request, kept, actor)
        return await self._begin(request, journey, contract_id, actor)

    async def _refusal(self, contract_id: str, password: str, actor: Actor) -> str | None:
        """What is wrong with a pair; None: it is right."""
        origin = origin_of(actor.source)
        try:
            if not await self._addresses.enter("", origin, PATIENCE_SECONDS):
                await self._record(contract_id, "too many wrong passwords from this address", actor)
                return "too-many-here"
        except TimeoutError:
            return "too-many-here"
        try:
            if not await self._is_right(contract_id, password, actor):
                await self._record(contract_id, "wrong password, or too soon after one", actor)
                return "wrong-pair"
            self._addresses.passed("", origin)
        finally:
            self._addresses.leave("", origin)
        return None

    async def _is_right(self, contract_id: str, password: str, actor: Actor) -> bool:
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        attempt = Attempt(contract_id, password, _PASSWORD_ONLY, NAME, actor.source, actor.source, deadline=deadline)
        return await self._house.authenticator.check_password(attempt) is not None

    async def _record(self, contract_id: str, reason: str, actor: Actor) -> None:
        await patiently(lambda: self._house.desk.refuse_visit(contract_id, reason, actor))

    async def _again(self, request: web.Request, data: Mapping[str, Any], actor: Actor) -> web.Response:
        """To the form with what was wrong; where no session may be kept for that, it is the answer."""
        response = web.HTTPSeeOther(request.path)
        async with self._turns.mine():
            visit = self._sessions.visit(request)
            if visit is not None and visit.customer is None:
                await patiently(lambda: self._house.desk.keep_visit(visit, data))
                return response
            try:
                _, cookie = await patiently(lambda: self._sessions.begin(None, data, actor))
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

    async def _begin(self, request: web.Request, journey: str, contract_id: str, actor: Actor) -> web.Response:
        """A new id for whoever has signed in; the one from before is worth nothing any more."""
        async with self._turns.mine():
            before = self._sessions.visit(request)
            standing = self._house.desk.standing_of(contract_id)
            data = begun(journey, standing, self._settings(), self._house.desk)
            visit, cookie = await patiently(lambda: self._sessions.begin(contract_id, data, actor))
            if before is not None:
                await patiently(lambda: self._house.desk.end_visits([before.key], actor))
        response = web.HTTPSeeOther(str(visit.data["stage"]))
        self._sessions.put(response, cookie)
        return response


def _missing(contract_id: str, password: str) -> str | None:
    if not contract_id:
        return "contract-id-missing"
    return None if password else "password-missing"
