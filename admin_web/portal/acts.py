"""What each page does with its form: read it, call the desk, name the next page. One function for each page, and a
table of them. A refusal by the desk is raised as Refused; journey.py turns it into a message.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from admin_web.portal.own_tokens import find_token_id
from admin_web.portal.pages import (
    APP,
    ENROL_DONE,
    NAME,
    OLD_CODE,
    PERMIT,
    REMOVE,
    RESYNC_CODES,
    RESYNC_DONE,
    SUSPEND_CODE,
    SUSPEND_DONE,
    TERMS,
    TOKEN,
    TOKENS,
)
from admin_web.portal.terms import version_of
from admin_web.settings import WebSettings
from otp_core.accounts import Desk, Principal, Receipt, Session
from otp_core.model import OtpUse
from otp_core.otp import normalise_code, normalise_token_id

MAX_TOKENS = 5
"""QR codes in one session: each is a row in the inventory for ever."""

_MAX_TOKEN_ID_SHOWN = 64
"""Characters of a refused token ID that the form shows again."""

_MAX_NAME_SHOWN = 160
"""Characters of a name for a token that are looked at."""

_CODE = re.compile(r"[0-9]{6,8}")
_TOKEN_ID = re.compile(r"[A-Z0-9]{4,32}")


@dataclass(frozen=True, slots=True)
class Submission:
    """A submitted form with everything that an act needs: the desk, the session and its customer (contract ID), the
    form's fields by name, who acts, and the settings."""

    desk: Desk
    session: Session
    customer: str
    form: Mapping[str, str] = field(repr=False)
    principal: Principal
    settings: WebSettings


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows a submission. ``page``: the path of the page that the session is at now. ``message``: the name of a
    form message to show there once. ``data``: what changes in the session's data besides."""

    page: str
    message: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)


PageAct = Callable[[Submission], Outcome]
"""The act of a page: at most one writing transaction, so that it can be run again as a whole while the store is busy
(retry_while_busy). Raises Refused, StoreUnavailable."""


def tokens(submission: Submission) -> Outcome:
    """What is to be done, of a customer who has several tokens or may have, and with which of them."""
    go, data = submission.form.get("go", ""), submission.session.data
    if go == "add":
        return Outcome(OLD_CODE, data={"doing": go, "token": None, "steps": steps(OLD_CODE, data["with_terms"])})
    typed = submission.form.get("token", "")
    chosen = find_token_id(submission.desk.devices.of(submission.customer), typed, submission.session)
    if chosen is None:
        return Outcome(TOKENS, "token-missing")
    page = {"change": OLD_CODE, "name": NAME, "remove": REMOVE}.get(go)
    if page is None:
        return Outcome(TOKENS, data={"kept": {"token": typed}})
    return Outcome(page, data={"doing": go, "token": chosen, "steps": steps(page, data["with_terms"])})


def name(submission: Submission) -> Outcome:
    """What the customer calls one of their tokens."""
    if submission.form.get("go") == "back":
        return _to_tokens()
    chosen, text = str(submission.session.data["token"]), submission.form.get("name", "")
    submission.desk.devices.rename(submission.customer, chosen, text, submission.principal)
    return _to_tokens("named")


def remove(submission: Submission) -> Outcome:
    """One token less, by a code of any of them."""
    if submission.form.get("go") == "back":
        return _to_tokens()
    code, wrong = _code(submission, "code")
    if wrong:
        return Outcome(REMOVE, wrong)
    chosen = str(submission.session.data["token"])
    receipt = submission.desk.devices.remove(
        submission.customer, code, chosen, submission.principal, session=submission.session.key
    )
    return _done(ENROL_DONE, receipt)


def _to_tokens(message: str | None = None) -> Outcome:
    return Outcome(TOKENS, message, {"doing": None, "token": None, "steps": steps(TOKENS, with_terms=False)})


def steps(page: str, with_terms: bool) -> list[str]:
    """What the step navigation shows, for a customer at this page who chooses among tokens."""
    if page == REMOVE:
        return ["identity", "tokens", "code", "done"]
    if page != OLD_CODE:
        return ["identity", "tokens"]
    return ["identity", "tokens", "old-code", *(["terms"] if with_terms else []), "token", "done"]


def old_code(submission: Submission) -> Outcome:
    """Change of device, or one more, first step: the code of a token that there is. It is spent here."""
    if submission.form.get("go") == "back" and submission.session.data.get("doing"):
        return _to_tokens()
    code, wrong = _code(submission, "code")
    if wrong:
        return Outcome(OLD_CODE, wrong)
    submission.desk.devices.give_old_code(
        submission.customer, code, submission.session, submission.settings.proof_seconds, submission.principal
    )
    return Outcome(_after_proof(submission))


def permit(submission: Submission) -> Outcome:
    """Change of device with a reissue permit instead of the old code. Only binding the new token uses it up."""
    text = submission.form.get("permit", "").strip()
    if not text:
        return Outcome(PERMIT, "permit-missing")
    submission.desk.enrolment.check_permit(submission.customer, text, submission.principal)
    return Outcome(_after_proof(submission), data={"permit": text})


def _after_proof(submission: Submission) -> str:
    return TERMS if submission.session.data["with_terms"] else TOKEN


def accept_terms(submission: Submission) -> Outcome:
    """The terms of use, in the version that the page has shown."""
    version = version_of(submission.settings)
    if version is not None and submission.form.get("version") != version:
        return Outcome(TERMS, "changed")  # replaced while the customer was reading them
    if submission.form.get("accept") != "yes":
        return Outcome(TERMS, "terms")
    if version is not None:
        submission.desk.customers.accept_terms(submission.customer, version, submission.principal)
    return Outcome(TOKEN)


def bring_token(submission: Submission) -> Outcome:
    """The token that the customer has, by its ID and its code; or a new one for an authenticator app."""
    if submission.form.get("go") == "app":
        return _issue(submission)
    return _own_token(submission)


def _issue(submission: Submission) -> Outcome:
    """A new token, whose seed the next page shows once."""
    issued_before = int(submission.session.data.get("tokens", 0))
    if issued_before >= MAX_TOKENS:
        return Outcome(TOKEN, "too-many-tokens")
    issued = submission.desk.enrolment.issue_for(
        submission.customer, submission.session, submission.settings.issuer, submission.principal
    )
    shown = {"secret": issued.secret, "uri": issued.uri}
    return Outcome(APP, data={"token_id": issued.token_id, "issued": shown, "tokens": issued_before + 1})


def _own_token(submission: Submission) -> Outcome:
    text = submission.form.get("token_id", "")
    shown_again = {"kept": {"token_id": text[:_MAX_TOKEN_ID_SHOWN], "name": _name(submission)}}
    if not text.strip():
        return Outcome(TOKEN, "token-id-missing")
    found = normalise_token_id(text)
    if not _TOKEN_ID.fullmatch(found):
        return Outcome(TOKEN, "token-id-form", shown_again)
    code, wrong = _code(submission, "code")
    if wrong:
        return Outcome(TOKEN, wrong, shown_again)
    return _bind(submission, found, code)


def app(submission: Submission) -> Outcome:
    """The token that was issued in this session, confirmed by its first code."""
    match submission.form.get("go"):
        case "back":
            return Outcome(TOKEN)
        case "again":
            return _issue(submission)
    code, wrong = _code(submission, "code")
    if wrong:
        return Outcome(APP, wrong)
    return _bind(submission, str(submission.session.data["token_id"]), code)


def _bind(submission: Submission, new_token_id: str, code: str) -> Outcome:
    """Make the new token the customer's: as a change of device by code or by permit, or as an enrolment."""
    desk, customer, session = submission.desk, submission.customer, submission.session
    principal, name = submission.principal, _name(submission)
    match OtpUse(desk.customers.login_record(customer).otp_use):
        case OtpUse.ACTIVE if session.data.get("doing") == "add":
            receipt = desk.devices.add_by_proof(customer, session, new_token_id, code, principal, name=name)
        case OtpUse.ACTIVE:
            goes = session.data.get("token")
            receipt = desk.devices.change_by_proof(
                customer, session, new_token_id, code, principal, goes=goes, name=name
            )
        case OtpUse.REISSUE_PERMITTED:
            text = str(session.data.get("permit", ""))
            receipt = desk.enrolment.change_by_permit(
                customer, text, new_token_id, code, principal, name=name, session=session.key
            )
        case _:
            receipt = desk.enrolment.enrol(customer, new_token_id, code, principal, name=name)
    return _done(ENROL_DONE, receipt)


def _name(submission: Submission) -> str:
    """What the customer calls the new token, as it was typed; no more of it than can be shown again."""
    return submission.form.get("name", "")[:_MAX_NAME_SHOWN]


def suspend(submission: Submission) -> Outcome:
    """Suspend one-time passwords, with the token's code."""
    code, wrong = _code(submission, "code")
    if wrong:
        return Outcome(SUSPEND_CODE, wrong)
    return _done(SUSPEND_DONE, submission.desk.enrolment.suspend(submission.customer, code, submission.principal))


def resynchronise(submission: Submission) -> Outcome:
    """Correct the token's time, with two codes in a row (RFC 6238 section 6)."""
    held, typed, chosen = submission.desk.devices.of(submission.customer), submission.form.get("token", ""), None
    if len(held) > 1:
        chosen = find_token_id(held, typed, submission.session)
        if chosen is None:
            return Outcome(RESYNC_CODES, "token-missing")
    first, wrong_first = _code(submission, "first")
    second, wrong_second = _code(submission, "second")
    if wrong_first or wrong_second or first == second:
        return Outcome(RESYNC_CODES, "codes", {"kept": {"token": typed}})
    receipt = submission.desk.enrolment.resynchronise(
        submission.customer, first, second, submission.principal, token_id=chosen
    )
    return _done(RESYNC_DONE, receipt)


def _code(submission: Submission, name: str) -> tuple[str, str | None]:
    """A field's code, normalised, and the name of the message if it cannot be a code. The store is not asked."""
    code = normalise_code(submission.form.get(name, ""))
    if not code:
        return "", "code-missing"
    return code, None if _CODE.fullmatch(code) else "code-form"


def _done(page: str, receipt: Receipt) -> Outcome:
    """The confirmation; secrets that the session held are removed from it."""
    shown = {"reference": str(receipt.reference), "token_id": receipt.token, "at": time.time()}
    return Outcome(page, data={"receipt": shown, "permit": "", "issued": None})


ACTS: dict[str, PageAct] = {
    TOKENS: tokens,
    NAME: name,
    REMOVE: remove,
    OLD_CODE: old_code,
    PERMIT: permit,
    TERMS: accept_terms,
    TOKEN: bring_token,
    APP: app,
    SUSPEND_CODE: suspend,
    RESYNC_CODES: resynchronise,
}
"""Path of a page to its act. A page without an act has no form."""
