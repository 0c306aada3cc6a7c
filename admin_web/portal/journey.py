"""The pages behind the sign-in: show the page that the session is at, run its act, redirect (303) to the next.

Each page carries a key that is good for one submission, to whichever process it comes. A double click, a page reached
by Back and a second tab send a key that has been used; they are redirected to the page that the session is at, and
nothing is done twice.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from aiohttp import web

from admin_web.http.security import form_of, is_same_text
from admin_web.http.sessions import Sessions
from admin_web.portal.acts import ACTS, Outcome, Submission
from admin_web.portal.messages import MESSAGE_OF_REFUSAL, MESSAGES
from admin_web.portal.own_tokens import own_token
from admin_web.portal.owner import OTHER, Owners
from admin_web.portal.pages import (
    APP,
    ENDS,
    ENROL,
    FORMER,
    LOCKED,
    NAME,
    OLD_CODE,
    PAGES,
    PERMIT,
    REMOVE,
    RESYNC_CODES,
    TERMS,
    TOKEN,
    TOKENS,
    first_page,
)
from admin_web.portal.principal import ACTOR, principal_of
from admin_web.portal.terms import terms, version_of
from admin_web.rendering import Renderer, qr_code, request_language
from admin_web.settings import WebSettings
from otp_core.accounts import Desk, Refusal, Refused, Session, with_verifiers
from otp_core.doors import Services
from otp_core.model import BackendSilent, LoginRecord, OtpUse, StoreBusy, StoreUnavailable
from otp_core.reference import reference_of
from otp_core.store.retry import aside, retry_while_busy

_WITH_TOKENS = (TOKENS, NAME, REMOVE, OLD_CODE, RESYNC_CODES)
"""Pages that show the customer's tokens, or one of them."""

WARN_SECONDS = 120
"""How long before the end of an idle session its warning page is shown."""


class Journey:
    """The handlers of all pages behind the sign-in. ``settings`` is asked for every page."""

    def __init__(
        self, services: Services, sessions: Sessions, renderer: Renderer, settings: Callable[[], WebSettings]
    ) -> None:
        self._desk, self._verdict_log, self._tally = services.desk, services.verdict_log, services.tally
        self._verifiers = services.verifiers
        self._sessions, self._renderer, self._settings = sessions, renderer, settings
        self._owners = Owners(services.store.sealer.fingerprint)

    async def show(self, request: web.Request) -> web.Response:
        """The page that the session is at. What is shown once (a message, a seed) leaves the session's data now.
        Raises HTTPSeeOther for any other page."""
        async with self._sessions.lock(request):
            session = await self._session(request)
            page = str(session.data["stage"])
            if request.path != page:
                raise web.HTTPSeeOther(page)
            message, issued = None, None

            def forget(data: dict[str, Any]) -> dict[str, Any]:
                nonlocal message, issued
                message, issued = data.pop("notice", None), data.pop("issued", None)
                return data

            # Written even if nothing has changed: it keeps the session alive.
            await retry_while_busy(lambda: self._desk.sessions.update(session, forget))
        values = await self._values(request, session, issued)
        response = self._renderer.render(request, PAGES[page], message=MESSAGES.get(message or ""), **values)
        if page not in ENDS:
            idle = self._sessions.limits.idle - WARN_SECONDS
            response.headers["Refresh"] = f"{max(60, idle)};url=/session"
        return response

    async def submit(self, request: web.Request) -> web.Response:
        """Run the page's act, if the form's key is unused. Raises HTTPSeeOther to the page that the session is at
        then."""
        form = await form_of(request)
        async with self._sessions.lock(request):
            session = await self._session(request)
            if self._owners.is_anothers(form, session):
                raise web.HTTPSeeOther(OTHER)
            stage, key = session.data["stage"], session.data["key"]
            is_page = request.path == stage and is_same_text(form.get("key", ""), key)
            if not is_page or not await self._use_key(session, key):
                if stage not in ENDS:
                    await self._remember(session, {"notice": "already"})
                raise web.HTTPSeeOther(stage)
            try:
                outcome = await self._outcome(request, session, form)
            except (web.HTTPException, StoreBusy, BackendSilent):
                with suppress(StoreUnavailable):
                    await self._remember(session, {"key": key})
                raise
            after = {"kept": {}, **outcome.data, "stage": outcome.page, "key": secrets.token_hex(8)}
            if outcome.message:
                after["notice"] = outcome.message
            await self._remember(session, after)
        redirect = web.HTTPSeeOther(outcome.page)
        self._sessions.forget_pages(redirect)
        raise redirect

    async def _use_key(self, session: Session, key: str) -> bool:
        """Use up the key of the page, in the store and before the act begins: of two processes that are sent the same
        form, one gets True. One that dies in between leaves the page as it was, with another key."""

        def use(data: dict[str, Any]) -> dict[str, Any] | None:
            return {**data, "key": secrets.token_hex(8)} if data["key"] == key else None

        return await retry_while_busy(lambda: self._desk.sessions.update(session, use))

    async def _remember(self, session: Session, new: Mapping[str, Any]) -> None:
        await retry_while_busy(lambda: self._desk.sessions.update(session, lambda data: {**data, **new}))

    async def _session(self, request: web.Request) -> Session:
        """The session of a customer who has signed in. Raises HTTPSeeOther if there is none.

        If the server died after the old code was spent and before the session was written, the proof in the store shows
        that the step is done: the session goes on behind it.
        """
        session = await self._sessions.session(request)
        if session is None:
            raise self._signed_out(request)
        if session.data["stage"] in FORMER:
            return replace(session, data={**session.data, "stage": FORMER[session.data["stage"]]})
        if session.data["stage"] == OLD_CODE and session.proof_until is not None:
            return replace(session, data={**session.data, "stage": TERMS if session.data["with_terms"] else TOKEN})
        return session

    async def _outcome(self, request: web.Request, session: Session, form: Mapping[str, str]) -> Outcome:
        act = ACTS.get(request.path)
        if act is None:  # a page without a form
            return Outcome(request.path)
        submission = Submission(
            self._desk, session, session.customer, form, principal_of(request, session.customer), self._settings()
        )
        begun = time.monotonic()
        try:
            return await with_verifiers(self._desk, lambda desk: act(replace(submission, desk=desk)), self._verifiers)
        except Refused as refused:
            if refused.row is not None:
                seconds = time.monotonic() - begun
                self._tally.words("web", ACTOR, "rejected", refused.row.reason, seconds)
                self._verdict_log.write_row("web", "rejected", refused.row, seconds)
            refusal = refused.refusal
        return await aside(lambda: self._refused(submission, request.path, refusal))

    def _refused(self, submission: Submission, page: str, refusal: Refusal) -> Outcome:
        """The same page with a message; another page, if the customer's state no longer fits the page."""
        record = self._desk.customers.login_record(submission.customer)
        if record.locked_at is not None:
            return Outcome(LOCKED)
        message = MESSAGE_OF_REFUSAL.get(refusal)
        if message is None:
            anew = initial_data(str(submission.session.data["journey"]), record, submission.settings, self._desk)
            return Outcome(str(anew["stage"]), "changed", anew)
        if page == APP and refusal is Refusal.TOKEN_OR_CODE:
            message = "app-code"
        if message == "code" and page.startswith("/resync"):
            message = "codes"
        shown_again = {name: submission.form[name] for name in ("token_id", "name", "token") if name in submission.form}
        return Outcome(page, message, {"kept": shown_again})

    def _signed_out(self, request: web.Request) -> web.HTTPSeeOther:
        """To the page that says that the session has ended; without a session cookie to the journey's sign-in."""
        if self._sessions.has_cookie(request):
            return web.HTTPSeeOther("/expired")
        journey = request.path.split("/")[1]
        return web.HTTPSeeOther(f"/{journey}" if journey != "stop" else "/")

    async def _values(self, request: web.Request, session: Session, issued: Mapping[str, str] | None) -> dict[str, Any]:
        """What the templates show. ``issued``: the secret and the URI of a token that was issued just now."""
        data = session.data
        receipt = data.get("receipt")
        values: dict[str, Any] = {
            "signed_in": True,
            "customer": session.customer,
            "name": data.get("name"),
            "whose": self._owners.digest(session.customer),
            "ended": data["stage"] in ENDS,
            "page": data["stage"],
            "journey": data["journey"],
            "changing": data["changing"],
            "old_is_gone": "permit" in data["steps"],
            "steps": data["steps"],
            "key": data["key"],
            "shown_again": data.get("kept", {}),
            "minutes": self._sessions.limits.idle // 60,
            "receipt": receipt,
            "reference": reference_of(int(receipt["reference"])) if receipt else "",
            "issued": issued,
        }
        values |= await self._tokens(session)
        if data["stage"] == TOKEN and self._settings().soft_token:
            values["ticket"] = self._desk.issuance.ticket(session.customer)
        if data["stage"] == TERMS:
            values["terms"] = terms(self._settings(), request_language(request))
        if issued is not None:
            values["picture"] = await asyncio.to_thread(qr_code, issued["uri"])
        return values

    async def _tokens(self, session: Session) -> dict[str, Any]:
        """What the pages of several tokens show."""
        data, devices = session.data, self._desk.devices
        several = data.get("several", False)
        shown = several and data["stage"] in _WITH_TOKENS
        tokens = await aside(lambda: devices.of(session.customer)) if shown else []
        chosen = next((one for one in tokens if one.token_id == data.get("token")), None)
        return {
            "tokens": [own_token(one, session) for one in tokens],
            "token": chosen and own_token(chosen, session),
            "most": devices.most,
            "doing": data.get("doing"),
            "named": several or devices.most > 1,
        }


def initial_data(journey: str, record: LoginRecord, settings: WebSettings, desk: Desk) -> dict[str, Any]:
    """The data of a session at the start of a journey. Raises OSError if the terms cannot be read, StoreUnavailable.

    These keys are at rest in the sessions that are open, so they keep their spelling: ``stage`` is the path of the page
    that the session is at, ``key`` that page's key, ``name`` the customer's, ``steps`` what the step navigation shows;
    later also ``notice`` (a form message to show once), ``kept`` (fields to show again), ``issued``, ``token_id``,
    ``tokens``, ``permit`` and ``receipt``. ``several``: whether the customer chooses among tokens; then ``doing`` is
    what they chose to do ("add", "change", "name", "remove"), and ``token`` with which.
    """
    several = record.otp_use == OtpUse.ACTIVE and (desk.devices.most > 1 or len(record.tokens) > 1)
    page = first_page(journey, OtpUse(record.otp_use), locked=record.locked_at is not None, several=several)
    version = version_of(settings)
    with_terms = journey == ENROL and version is not None and not desk.customers.has_accepted_terms(record, version)
    if page == TERMS and not with_terms:
        page = TOKEN
    steps = ["identity"]
    if page == TOKENS:
        steps.append("tokens")
    if page == OLD_CODE:
        steps.append("old-code")
    if page == PERMIT:
        steps.append("permit")
    if with_terms and page != TOKENS:
        steps.append("terms")
    return {
        "journey": journey,
        "stage": page,
        "key": secrets.token_hex(8),
        "changing": record.otp_use in (OtpUse.ACTIVE, OtpUse.REISSUE_PERMITTED),
        "name": desk.customers.name_of(record.contract_id),
        "with_terms": with_terms,
        "several": several,
        "steps": steps if page == TOKENS else [*steps, "token" if journey == ENROL else "code", "done"],
        "began": int(time.time()),
    }
