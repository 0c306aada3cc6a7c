"""The first page of every journey: contract ID and login password, checked by the same first factor as at every door.

A wrong password and an unknown contract ID get the same page after the same time. A correct pair begins a new session.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from aiohttp import web

from admin_web.http.security import form_of
from admin_web.http.sessions import Sessions
from admin_web.portal.form_notice import FormNotices
from admin_web.portal.journey import initial_data
from admin_web.portal.messages import MESSAGES
from admin_web.portal.principal import ACTOR, principal_of
from admin_web.rendering import Renderer
from admin_web.settings import WebSettings
from otp_core.accounts import Principal, Session
from otp_core.audit import Event
from otp_core.doors import Services
from otp_core.first_factor.throttle import STATION_FIRST_DELAY, STATION_LONGEST_DELAY, StationThrottle
from otp_core.login.policy import Delays
from otp_core.model import Attempt, AuditRow, BackendSilent, Mode, Policy
from otp_core.otp import normalise_contract_id
from otp_core.station import station_of
from otp_core.store.retry import aside, retry_while_busy

PASSWORD_SECONDS = 10.0
"""For the check of a password, delays of the throttles included."""

REFUSAL_SECONDS = 1.0
"""From the arrival of a wrong pair until its answer, as RADIUS has its reject_delay: imported hashes take several times
as long to check as our own, and the time would tell whose password is one. What takes longer is answered after the next
whole number of these, so that it tells little."""


class SignIn:
    """The handlers of the sign-in page. ``settings`` is asked for every page, except for the throttle of addresses."""

    def __init__(
        self, services: Services, sessions: Sessions, renderer: Renderer, settings: Callable[[], WebSettings]
    ) -> None:
        self._services, self._sessions = services, sessions
        self._renderer, self._settings = renderer, settings
        self._notices = FormNotices(settings().public_origin)
        delays = Delays(settings().address_free_failures, STATION_FIRST_DELAY, STATION_LONGEST_DELAY)
        self._addresses = StationThrottle(delays, time.monotonic, services.failures, services.store.sealer.fingerprint)

    async def show(self, request: web.Request) -> web.Response:
        """The form; after a mistake once with its message. The store is not asked."""
        message, contract_id = self._notices.read(request) or (None, "")
        response = self._renderer.render(
            request,
            "portal/sign_in.html",
            journey=request.path.strip("/"),
            message=MESSAGES.get(message or ""),
            contract_id=contract_id,
        )
        if message is not None:
            self._notices.forget(response)
        return response

    async def submit(self, request: web.Request) -> web.Response:
        """Check the pair: on to the first page of the journey, or back to the form with a message."""
        form, arrived = await form_of(request), asyncio.get_running_loop().time()
        journey = request.path.strip("/")
        contract_id = normalise_contract_id(form.get("contract_id", ""))
        password = form.get("password", "")
        principal = principal_of(request, None)
        message = _missing(contract_id, password)
        if message is None:
            message, contract_id = await self._check(contract_id, password, principal, arrived)
            if message == "wrong-pair":
                await _until_refusal(arrived)
        if message is not None:
            response = web.HTTPSeeOther(request.path)
            self._notices.send(response, message, contract_id)
            return response
        return await self._start_journey(request, journey, contract_id, arrived)

    async def _check(
        self, contract_id: str, password: str, principal: Principal, arrived: float
    ) -> tuple[str | None, str]:
        """The name of the message for a wrong pair, None if it is correct; and the contract ID of the name that was
        typed. ``arrived``: the loop's time at which the form did. Raises BackendSilent."""
        address = station_of(principal.source)
        try:
            if not await self._addresses.enter("", address, PASSWORD_SECONDS):
                await self._audit_failure(contract_id, "too many wrong passwords from this address", principal, arrived)
                return "too-many-here", contract_id
        except TimeoutError:
            return "too-many-here", contract_id
        try:
            attempt = await self._attempt(contract_id, password, principal)
            if not await self._services.authenticator.check_password(attempt):
                await self._audit_failure(attempt.customer, "wrong password, or too soon after one", principal, arrived)
                return "wrong-pair", contract_id
            self._addresses.passed("", address)
        except BackendSilent:
            self._addresses.take_back("", address)  # an outage is nobody's wrong password
            raise
        finally:
            self._addresses.leave("", address)
        return None, attempt.customer

    async def _attempt(self, typed: str, password: str, principal: Principal) -> Attempt:
        """By the customer's contract ID, whichever of their names was typed."""
        deadline = asyncio.get_running_loop().time() + PASSWORD_SECONDS
        policy = Policy(Mode.PASSWORD, first_factor=self._settings().first_factor)
        attempt = Attempt(typed, password, policy, ACTOR, principal.source, principal.source, deadline=deadline)
        return await self._services.authenticator.with_contract_id(attempt)

    async def _audit_failure(self, contract_id: str, reason: str, principal: Principal, arrived: float) -> None:
        row = await retry_while_busy(
            lambda: self._services.desk.sessions.audit_failed_sign_in(contract_id, reason, principal)
        )
        seconds = asyncio.get_running_loop().time() - arrived
        self._services.tally.words("web", ACTOR, "rejected", reason, seconds)
        self._services.verdict_log.write_row("web", "rejected", row, seconds)

    async def _start_journey(
        self, request: web.Request, journey: str, contract_id: str, arrived: float
    ) -> web.Response:
        """A session under a new id, against session fixation; the browser's previous session ends."""
        async with self._sessions.lock(request):
            before = await self._sessions.session(request)
            desk, settings = self._services.desk, self._settings()
            record = await aside(lambda: desk.customers.login_record(contract_id))
            data = await aside(lambda: initial_data(journey, record, settings, desk))
            principal = principal_of(request, record.contract_id)
            session, cookie = await retry_while_busy(lambda: self._sessions.begin(contract_id, data, principal))
            if before is not None:
                previous = principal_of(request, before.customer)
                await retry_while_busy(lambda: self._services.desk.sessions.end(before, previous))
        self._say_entered(session, record.token_id, principal, asyncio.get_running_loop().time() - arrived)
        response = web.HTTPSeeOther(str(session.data["stage"]))
        self._sessions.set_cookie(response, cookie)
        return response

    def _say_entered(self, session: Session, token_id: str | None, principal: Principal, seconds: float) -> None:
        id_ = session.entered.reference if session.entered is not None else 0
        row = AuditRow(id_, Event.PAGES_ENTERED, ACTOR, session.customer, token_id, principal.source, "right password")
        self._services.tally.words("web", ACTOR, "accepted", row.reason, seconds)
        self._services.verdict_log.write_row("web", "accepted", row, seconds)


async def _until_refusal(arrived: float) -> None:
    """Wait until a refusal may leave. ``arrived``: the loop's time."""
    taken = asyncio.get_running_loop().time() - arrived
    await asyncio.sleep(max(1, math.ceil(taken / REFUSAL_SECONDS)) * REFUSAL_SECONDS - taken)


def _missing(contract_id: str, password: str) -> str | None:
    if not contract_id:
        return "contract-id-missing"
    return None if password else "password-missing"
