"""What each page does with what it is sent: the form is read, the desk is asked, the next page is named. One function a
page, and a table of them. What the desk refuses, it raises; journey.py knows what to say then.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from admin_web.portal.stages import (
    APP,
    ENROL_DONE,
    OLD_CODE,
    PERMIT,
    RESYNC_CODES,
    RESYNC_DONE,
    SUSPEND_CODE,
    SUSPEND_DONE,
    TERMS,
    TOKEN,
    TOKEN_ID,
)
from admin_web.portal.terms import version_of
from admin_web.settings import WebSettings
from otp_core.accounts import Desk, Principal, Receipt, Session
from otp_core.model import OtpUse
from otp_core.otp import normalise_code, normalise_token_id

MOST_TOKENS = 5
"""QR codes in one session: each is a row in the inventory for ever."""

_CODE = re.compile(r"[0-9]{6,8}")
_TOKEN_ID = re.compile(r"[A-Z0-9]{4,32}")


@dataclass(frozen=True, slots=True)
class Submission:
    """What came in, and from whom."""

    desk: Desk
    session: Session
    customer: str
    form: Mapping[str, str] = field(repr=False)
    principal: Principal
    settings: WebSettings


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the customer stands now, what the page says, what the session remembers besides."""

    stage: str
    notice: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)


Act = Callable[[Submission], Outcome]


def old_code(submission: Submission) -> Outcome:
    """Journey 4: the old token's code. It is spent here."""
    code, wrong = _code(submission, "code")
    if wrong:
        return Outcome(OLD_CODE, wrong)
    submission.desk.give_old_code(
        submission.customer, code, submission.session, submission.settings.proof_seconds, submission.principal
    )
    return Outcome(_after_proof(submission))


def permit(submission: Submission) -> Outcome:
    """Journey 5: the permit in place of the old code. It stays good until the new token is there."""
    text = submission.form.get("permit", "").strip()
    if not text:
        return Outcome(PERMIT, "permit-missing")
    submission.desk.check_permit(submission.customer, text, submission.principal)
    return Outcome(_after_proof(submission), data={"permit": text})


def _after_proof(submission: Submission) -> str:
    return TERMS if submission.session.data["with_terms"] else TOKEN


def accept_terms(submission: Submission) -> Outcome:
    version = version_of(submission.settings)
    if version is not None and submission.form.get("version") != version:
        return Outcome(TERMS, "changed")  # they were replaced while they were read
    if submission.form.get("accept") != "yes":
        return Outcome(TERMS, "terms")
    if version is not None:
        submission.desk.accept_terms(submission.customer, version, submission.principal)
    return Outcome(TOKEN)


def choose(submission: Submission) -> Outcome:
    """Which kind of token."""
    match submission.form.get("kind"):
        case "own":
            return Outcome(TOKEN_ID)
        case "app":
            return _issue(submission)
        case _:
            return Outcome(TOKEN, "kind-missing")


def _issue(submission: Submission) -> Outcome:
    issued_before = int(submission.session.data.get("tokens", 0))
    if issued_before >= MOST_TOKENS:
        return Outcome(TOKEN, "too-many-tokens")
    issued = submission.desk.issue_for(
        submission.customer, submission.session, submission.settings.issuer, submission.principal
    )
    shown = {"secret": issued.secret, "uri": issued.uri}
    return Outcome(APP, data={"token_id": issued.token_id, "issued": shown, "tokens": issued_before + 1})


def token_id(submission: Submission) -> Outcome:
    """A token that the customer has."""
    if submission.form.get("go") == "back":
        return Outcome(TOKEN)
    text = submission.form.get("token_id", "")
    kept = {"kept": {"token_id": text[:64]}}
    if not text.strip():
        return Outcome(TOKEN_ID, "token-id-missing")
    found = normalise_token_id(text)
    if not _TOKEN_ID.fullmatch(found):
        return Outcome(TOKEN_ID, "token-id-form", kept)
    code, wrong = _code(submission, "code")
    if wrong:
        return Outcome(TOKEN_ID, wrong, kept)
    return _bring(submission, found, code)


def app(submission: Submission) -> Outcome:
    """The token that was issued here, by its first code."""
    match submission.form.get("go"):
        case "back":
            return Outcome(TOKEN)
        case "again":
            return _issue(submission)
    code, wrong = _code(submission, "code")
    if wrong:
        return Outcome(APP, wrong)
    return _bring(submission, str(submission.session.data["token_id"]), code)


def _bring(submission: Submission, new: str, code: str) -> Outcome:
    """The new token becomes the customer's, in the way that they have come."""
    match OtpUse(submission.desk.login_record(submission.customer).otp_use):
        case OtpUse.ACTIVE:
            receipt = submission.desk.change_by_proof(
                submission.customer, submission.session, new, code, submission.principal
            )
        case OtpUse.REISSUE_PERMITTED:
            text = str(submission.session.data.get("permit", ""))
            receipt = submission.desk.change_by_permit(
                submission.customer, text, new, code, submission.principal, session=submission.session.key
            )
        case _:
            receipt = submission.desk.enrol(submission.customer, new, code, submission.principal)
    return _done(ENROL_DONE, receipt)


def suspend(submission: Submission) -> Outcome:
    """Journey 3."""
    code, wrong = _code(submission, "code")
    if wrong:
        return Outcome(SUSPEND_CODE, wrong)
    return _done(SUSPEND_DONE, submission.desk.suspend(submission.customer, code, submission.principal))


def resynchronise(submission: Submission) -> Outcome:
    first, wrong_first = _code(submission, "first")
    second, wrong_second = _code(submission, "second")
    if wrong_first or wrong_second or first == second:
        return Outcome(RESYNC_CODES, "codes")
    return _done(RESYNC_DONE, submission.desk.resynchronise(submission.customer, first, second, submission.principal))


def _code(submission: Submission, name: str) -> tuple[str, str | None]:
    """A code as it was typed, and what is wrong with its form: nothing that the store knows."""
    code = normalise_code(submission.form.get(name, ""))
    if not code:
        return "", "code-missing"
    return code, None if _CODE.fullmatch(code) else "code-form"


def _done(stage: str, receipt: Receipt) -> Outcome:
    shown = {"reference": str(receipt.reference), "token_id": receipt.token, "at": time.time()}
    return Outcome(stage, data={"receipt": shown, "permit": "", "issued": None})


ACTS: dict[str, Act] = {
    OLD_CODE: old_code,
    PERMIT: permit,
    TERMS: accept_terms,
    TOKEN: choose,
    TOKEN_ID: token_id,
    APP: app,
    SUSPEND_CODE: suspend,
    RESYNC_CODES: resynchronise,
}
