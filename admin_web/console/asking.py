"""What forms of acts share that are about no customer: the reason with its ticket, and the way through a second person
where the settings want one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from admin_web.console.approval_pages import REQUEST_PAGES
from admin_web.console.messages import MESSAGE_OF_REFUSAL
from admin_web.console.routes import Call, Notice, Outcome
from otp_core.accounts import Desk, Refused
from otp_core.accounts.approval_kinds import KINDS, About, Payload
from otp_core.accounts.desk import CarriedOut
from otp_core.accounts.written import reason_text, says_something
from otp_core.store.retry import retry_while_busy

_LONGEST = {"reason": 200, "ticket": 64}


def kept_why(form: Mapping[str, str]) -> dict[str, str]:
    """Reason and ticket of a form, cut to what is recorded."""
    return {name: form.get(name, "")[:most] for name, most in _LONGEST.items()}


def typed(form: Mapping[str, str]) -> dict[str, str]:
    """The fields that a form shows again."""
    return {name: value for name, value in form.items() if name != "key"}


def why(kept: Mapping[str, str]) -> str:
    """What the audit trail says why: the reason, and the ticket if there is one."""
    return reason_text(kept["reason"], ticket=kept["ticket"])


async def ask_or_carry_out(
    desk: Desk, approvals: Collection[str], act: str, subject: str, payload: Payload, call: Call, form: str
) -> Outcome:
    """Ask a second person for an act of this kind where ``approvals`` says so, else do it. ``form``: the page to go
    back to with what was typed, if it is refused or no reason was given."""
    kept = kept_why(call.form)
    back = typed(call.form) | kept
    if not says_something(kept["reason"]):
        return Outcome(form, Notice("reason-missing"), back)
    principal = call.principal(why(kept))
    try:
        if act in approvals:
            await retry_while_busy(lambda: desk.approvals.ask(act, subject, principal, payload))
            return Outcome("/approvals", Notice("asked"))
        about = About(subject, payload, principal.name)
        made = await retry_while_busy(lambda: KINDS[act].carry_out(desk, about, principal))
    except Refused as refused:
        return Outcome(form, Notice(MESSAGE_OF_REFUSAL[refused.refusal]), back)
    return REQUEST_PAGES[act].then(CarriedOut(None, about, made), None)
