"""One's own pages: passkeys, single sign-on, sessions; the page that asks who one is before a dangerous act."""

from __future__ import annotations

from aiohttp import web

from admin_web.console.passkeys import Passkeys, WrongAnswer
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Notice, Outcome
from admin_web.console.sign_in import handle_of, page_to_return_to
from admin_web.console.verification import Verification
from otp_core.accounts import PasskeyAnswer, Refusal, Refused, StaffSession
from otp_core.doors import Services
from otp_core.store.retry import aside, retry_while_busy


class OwnPages:
    """The handlers."""

    def __init__(
        self, services: Services, renderer: ConsoleRenderer, passkeys: Passkeys, verification: Verification
    ) -> None:
        self._desk, self._renderer = services.desk, renderer
        self._passkeys, self._verification = passkeys, verification

    async def show(self, call: Call) -> web.Response:
        """Who one is, with passkeys and sessions."""
        record = call.session.staff
        kept, passkeys, sign_on, sessions = await aside(
            lambda: (
                self._desk.staff.named(record.name),
                self._desk.staff.passkeys(record),
                self._desk.sign_on.of(record),
                self._desk.staff_sessions.of(record),
            )
        )
        return self._renderer.render(
            call.request,
            "own.html",
            call.session,
            narrowed_from=kept.role if kept is not None and kept.role != record.role else None,
            message=call.request.query.get("why"),
            passkeys=passkeys,
            sign_on=sign_on,
            sessions=sessions,
        )

    async def end_session(self, call: Call) -> Outcome:
        """End one of one's own sessions."""
        key, principal = call.number("session"), call.principal()
        ended = await retry_while_busy(lambda: self._desk.staff_sessions.end(call.session.staff, key, principal))
        return Outcome("/me", Notice("session-ended" if ended else "session-gone"))

    async def ask_new_passkey(self, call: Call) -> web.Response:
        """The question for one more passkey."""
        record = call.session.staff
        known = await aside(lambda: self._desk.staff.passkeys(record))
        options = self._passkeys.registration(record.name, handle_of(record), _for_more(call.session), known)
        return self._renderer.render(call.request, "passkey.html", call.session, options=options)

    async def add_passkey(self, call: Call) -> Outcome:
        """One more passkey."""
        try:
            new = self._passkeys.registered(call.form.get("answer", ""), _for_more(call.session))
            await retry_while_busy(lambda: self._desk.staff.add_passkey(call.session.staff, new, call.source))
        except Refused as refused:
            narrowed = refused.refusal is Refusal.NOT_PERMITTED
            return Outcome("/me", Notice("sign-on-narrowed" if narrowed else "passkey-not-made"))
        except WrongAnswer:
            return Outcome("/me", Notice("passkey-not-made"))
        return Outcome("/me", Notice("passkey-added"))

    async def ask_confirmation(self, call: Call) -> web.Response:
        """Passkey or code once more."""
        record = call.session.staff
        passkeys, sign_on = await aside(lambda: (self._desk.staff.passkeys(record), self._desk.sign_on.of(record)))
        ids = [one.credential_id for one in passkeys]
        options = self._passkeys.question(ids, _for_confirmation(call.session)) if ids else None
        return self._renderer.render(
            call.request,
            "confirm.html",
            call.session,
            message=call.request.query.get("why"),
            options=options,
            sign_on=sign_on,
            account=record.account,
            back=page_to_return_to(call.request),
        )

    async def confirm(self, call: Call) -> Outcome:
        """Passkey, or password and code: then back to where it was asked for."""
        back = page_to_return_to(call.request)
        try:
            by = await self._proof(call)
            await retry_while_busy(lambda: self._desk.staff_sessions.confirm(call.session, call.source, by))
        except (WrongAnswer, Refused) as cause:
            name, words = call.session.staff.name, f"confirmation: {cause}"
            await retry_while_busy(lambda: self._desk.staff_sessions.audit_failed_sign_in(name, words, call.source))
            return Outcome(str(call.request.rel_url), Notice("confirmation-wrong"))
        return Outcome(back)

    async def _proof(self, call: Call) -> PasskeyAnswer | str:
        record = call.session.staff
        if "answer" in call.form:
            known = list(await aside(lambda: self._desk.staff.passkeys(record)))
            purpose = _for_confirmation(call.session)
            return await self._verification.by_passkey(call.form["answer"], purpose, known, call.source)
        password, code = call.form.get("password", ""), call.form.get("code", "")
        await self._verification.by_code(record.account, record.name, password, code, call.source)
        return "password and code"


def _for_more(session: StaffSession) -> bytes:
    return b"one more passkey " + session.digest


def _for_confirmation(session: StaffSession) -> bytes:
    return b"confirm " + session.digest
