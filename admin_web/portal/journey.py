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

from admin_web.http.server import SOURCE, form_of
from admin_web.http.sessions import Sessions
from admin_web.pages import Pages, language_in
from admin_web.portal.acts import ACTS, Outcome, Submission
from admin_web.portal.notices import NOTICES, OF_REFUSAL
from admin_web.portal.stages import APP, ENDS, ENROL, LOCKED, OLD_CODE, PERMIT, STAGES, TERMS, TOKEN, first_stage
from admin_web.portal.terms import terms, version_of
from admin_web.settings import WebSettings
from otp_core.accounts import Desk, Principal, Refusal, Refused, Session
from otp_core.model import LoginRecord, OtpUse
from otp_core.store.retry import Turns, retry_while_busy

WARN_SECONDS = 120
NAME = "web"


class Journey:
    """All pages behind the sign-in."""

    def __init__(
        self, desk: Desk, turns: Turns, sessions: Sessions, pages: Pages, settings: Callable[[], WebSettings]
    ) -> None:
        self._desk, self._turns, self._sessions, self._pages, self._settings = desk, turns, sessions, pages, settings

    async def show(self, request: web.Request) -> web.Response:
        """The page, if the customer is there; what is shown once is forgotten now."""
        async with self._turns.mine():
            session = self._session(request)
            stage = str(session.data["stage"])
            if request.path != stage:
                raise web.HTTPSeeOther(stage)
            data = dict(session.data)
            notice, issued = data.pop("notice", None), data.pop("issued", None)
            # Also what keeps the session alive: somebody is here.
            await retry_while_busy(lambda: self._desk.update_session(session, data))
        values = await self._values(request, session, issued)
        response = self._pages.page(request, STAGES[stage], notice=NOTICES.get(notice or ""), **values)
        if stage not in ENDS:
            idle = self._sessions.bounds.idle - WARN_SECONDS
            response.headers["Refresh"] = f"{max(60, idle)};url=/session"
        return response

    async def act(self, request: web.Request) -> web.Response:
        """One step: done, or back with what was wrong."""
        form = await form_of(request)
        async with self._turns.mine():
            session = self._session(request)
            data = dict(session.data)
            if request.path != data["stage"] or not secrets.compare_digest(form.get("key", ""), data["key"]):
                if data["stage"] not in ENDS:
                    data["notice"] = "already"
                    await retry_while_busy(lambda: self._desk.update_session(session, data))
                raise web.HTTPSeeOther(data["stage"])
            outcome = await self._outcome(request, session, form)
            after = {**data, "kept": {}, **outcome.data, "stage": outcome.stage, "key": secrets.token_hex(8)}
            if outcome.notice:
                after["notice"] = outcome.notice
            await retry_while_busy(lambda: self._desk.update_session(session, after))
        raise web.HTTPSeeOther(outcome.stage)

    def _session(self, request: web.Request) -> Session:
        """The session of somebody who has signed in. Whose old code was spent just before the server died, goes on
        behind that step."""
        session = self._sessions.session(request)
        if session is None or session.customer is None:
            raise self._signed_out(request)
        if session.data["stage"] == OLD_CODE and session.proof_until is not None:
            return replace(session, data={**session.data, "stage": TERMS if session.data["with_terms"] else TOKEN})
        return session

    async def _outcome(self, request: web.Request, session: Session, form: Mapping[str, str]) -> Outcome:
        assert session.customer is not None
        submission = Submission(
            self._desk, session, session.customer, form, Principal(NAME, request[SOURCE]), self._settings()
        )
        act = ACTS.get(request.path)
        if act is None:  # a page without a form
            return Outcome(request.path)
        try:
            return await retry_while_busy(lambda: act(submission))
        except Refused as refused:
            return self._refused(submission, request.path, refused.refusal)

    def _refused(self, submission: Submission, stage: str, refusal: Refusal) -> Outcome:
        """Back to the page with what was wrong; or to another one, if the customer does not stand there any more."""
        record = self._desk.login_record(submission.customer)
        if record.locked_at is not None:
            return Outcome(LOCKED)
        notice = OF_REFUSAL.get(refusal)
        if notice is None:
            again = begun(str(submission.session.data["journey"]), record, submission.settings, self._desk)
            return Outcome(str(again["stage"]), "changed", again)
        if stage == APP and refusal is Refusal.TOKEN_OR_CODE:
            notice = "app-code"
        if notice == "code" and stage.startswith("/resync"):
            notice = "codes"
        kept = {name: submission.form[name] for name in ("token_id",) if name in submission.form}
        return Outcome(stage, notice, {"kept": kept})

    def _signed_out(self, request: web.Request) -> web.HTTPSeeOther:
        """Whoever had a session is told that it has ended; whoever had none begins at the beginning."""
        if self._sessions.has_cookie(request):
            return web.HTTPSeeOther("/expired")
        journey = request.path.split("/")[1]
        return web.HTTPSeeOther(f"/{journey}" if journey != "stop" else "/")

    async def _values(self, request: web.Request, session: Session, issued: Mapping[str, str] | None) -> dict[str, Any]:
        """What a page shows."""
        data = session.data
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


def begun(journey: str, record: LoginRecord, settings: WebSettings, desk: Desk) -> dict[str, Any]:
    """What a session remembers at the beginning of a journey."""
    stage = first_stage(journey, OtpUse(record.otp_use), locked=record.locked_at is not None)
    version = version_of(settings)
    with_terms = journey == ENROL and version is not None and not desk.has_accepted(record, version)
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
        "changing": record.otp_use in (OtpUse.ACTIVE, OtpUse.REISSUE_PERMITTED),
        "with_terms": with_terms,
        "steps": [*steps, "token" if journey == ENROL else "code", "done"],
        "began": int(time.time()),
    }


def _qr_code(uri: str) -> str:
    return segno.make(uri, error="m").svg_data_uri(scale=4, border=4, light="#fff")


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()
