"""A customer who has signed in, page by page: show where they stand, take what they send, send them on. Always 303.

A page is sent with a key that is good once: a double click, a page gone back to and a second tab find that what they
send was sent before, and are led to where the customer stands now.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import segno
from aiohttp import web

from admin_web.pages import Pages, language_in
from admin_web.portal.acts import ACTS, Case, Outcome
from admin_web.portal.notices import NOTICES, OF_REFUSAL
from admin_web.portal.patience import Turns, patiently
from admin_web.portal.stages import APP, ENDS, ENROL, LOCKED, OLD_CODE, PERMIT, STAGES, TERMS, TOKEN, first_stage
from admin_web.portal.terms import terms, version_of
from admin_web.server import SOURCE, form_of
from admin_web.sessions import Sessions
from otp_core.desk import Actor, Desk, Refusal, Refused, Visit
from otp_core.model import OtpUse, Standing
from otp_core.settings import Web

WARN_SECONDS = 120
NAME = "web"


class Journey:
    """All pages behind the sign-in."""

    def __init__(self, desk: Desk, turns: Turns, sessions: Sessions, pages: Pages, settings: Callable[[], Web]) -> None:
        self._desk, self._turns, self._sessions, self._pages, self._settings = desk, turns, sessions, pages, settings

    async def show(self, request: web.Request) -> web.Response:
        """The page, if the customer is there; what is shown once is forgotten now."""
        async with self._turns.mine():
            visit = self._visit(request)
            stage = str(visit.data["stage"])
            if request.path != stage:
                raise web.HTTPSeeOther(stage)
            data = dict(visit.data)
            notice, issued = data.pop("notice", None), data.pop("issued", None)
            # Also what keeps the session alive: somebody is here.
            await patiently(lambda: self._desk.keep_visit(visit, data))
        values = await self._values(request, visit, issued)
        response = self._pages.page(request, STAGES[stage], notice=NOTICES.get(notice or ""), **values)
        if stage not in ENDS:
            idle = self._sessions.bounds.idle - WARN_SECONDS
            response.headers["Refresh"] = f"{max(60, idle)};url=/session"
        return response

    async def act(self, request: web.Request) -> web.Response:
        """One step: done, or back with what was wrong."""
        form = await form_of(request)
        async with self._turns.mine():
            visit = self._visit(request)
            data = dict(visit.data)
            if request.path != data["stage"] or not secrets.compare_digest(form.get("key", ""), data["key"]):
                if data["stage"] not in ENDS:
                    data["notice"] = "already"
                    await patiently(lambda: self._desk.keep_visit(visit, data))
                raise web.HTTPSeeOther(data["stage"])
            outcome = await self._outcome(request, visit, form)
            after = {**data, "kept": {}, **outcome.data, "stage": outcome.stage, "key": secrets.token_hex(8)}
            if outcome.notice:
                after["notice"] = outcome.notice
            await patiently(lambda: self._desk.keep_visit(visit, after))
        raise web.HTTPSeeOther(outcome.stage)

    def _visit(self, request: web.Request) -> Visit:
        """The session of somebody who has signed in. Whose old code was spent just before the server died, goes on
        behind that step."""
        visit = self._sessions.visit(request)
        if visit is None or visit.customer is None:
            raise self._signed_out(request)
        if visit.data["stage"] == OLD_CODE and visit.proof_until is not None:
            return replace(visit, data={**visit.data, "stage": TERMS if visit.data["with_terms"] else TOKEN})
        return visit

    async def _outcome(self, request: web.Request, visit: Visit, form: Mapping[str, str]) -> Outcome:
        assert visit.customer is not None
        case = Case(self._desk, visit, visit.customer, form, Actor(NAME, request[SOURCE]), self._settings())
        act = ACTS.get(request.path)
        if act is None:  # a page without a form
            return Outcome(request.path)
        try:
            return await patiently(lambda: act(case))
        except Refused as refused:
            return self._refused(case, request.path, refused.refusal)

    def _refused(self, case: Case, stage: str, refusal: Refusal) -> Outcome:
        """Back to the page with what was wrong; or to another one, if the customer does not stand there any more."""
        standing = self._desk.standing_of(case.customer)
        if standing.locked_at is not None:
            return Outcome(LOCKED)
        notice = OF_REFUSAL.get(refusal)
        if notice is None:
            again = begun(str(case.visit.data["journey"]), standing, case.settings, self._desk)
            return Outcome(str(again["stage"]), "changed", again)
        if stage == APP and refusal is Refusal.TOKEN_OR_CODE:
            notice = "app-code"
        if notice == "code" and stage.startswith("/resync"):
            notice = "codes"
        kept = {name: case.form[name] for name in ("token_id",) if name in case.form}
        return Outcome(stage, notice, {"kept": kept})

    def _signed_out(self, request: web.Request) -> web.HTTPSeeOther:
        """Whoever had a session is told that it has ended; whoever had none begins at the beginning."""
        if self._sessions.has_cookie(request):
            return web.HTTPSeeOther("/expired")
        journey = request.path.split("/")[1]
        return web.HTTPSeeOther(f"/{journey}" if journey != "stop" else "/")

    async def _values(self, request: web.Request, visit: Visit, issued: Mapping[str, str] | None) -> dict[str, Any]:
        """What a page shows."""
        data = visit.data
        receipt = data.get("receipt")
        values: dict[str, Any] = {
            "signed_in": True,
            "ended": data["stage"] in ENDS,
            "stage": data["stage"],
            "journey": data["journey"],
            "changing": data["changing"],
            "steps": data["steps"],
            "key": data["key"],
            "kept": data.get("kept", {}),
            "minutes": self._sessions.bounds.idle // 60,
            "receipt": receipt,
            "at": _local(receipt["at"]) if receipt else None,
            "issued": issued,
        }
        if data["stage"] == TERMS:
            values["terms"] = terms(self._settings(), language_in(request))
        if issued is not None:
            values["picture"] = await asyncio.to_thread(_qr_code, issued["uri"])
        return values


def begun(journey: str, standing: Standing, settings: Web, desk: Desk) -> dict[str, Any]:
    """What a session remembers at the beginning of a journey."""
    stage = first_stage(journey, OtpUse(standing.otp_use), locked=standing.locked_at is not None)
    version = version_of(settings)
    with_terms = journey == ENROL and version is not None and not desk.has_accepted(standing, version)
    if stage == TERMS and not with_terms:
        stage = TOKEN
    steps = ["identity"]
    if stage == OLD_CODE:
        steps.append("old-code")
    if stage == PERMIT:
        steps.append("permit")
    if with_terms:
        steps.append("terms")
    return {
        "journey": journey,
        "stage": stage,
        "key": secrets.token_hex(8),
        "changing": standing.otp_use in (OtpUse.ACTIVE, OtpUse.REISSUE_PERMITTED),
        "with_terms": with_terms,
        "steps": [*steps, "token" if journey == ENROL else "code", "done"],
        "began": int(time.time()),
    }


def _qr_code(uri: str) -> str:
    return segno.make(uri, error="m").svg_data_uri(scale=4, border=4, light="#fff")


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()
