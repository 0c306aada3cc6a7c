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
from otp_core.desk import Actor, Desk, Receipt, Visit
from otp_core.model import OtpUse
from otp_core.otp import normalise_code, normalise_token_id
from otp_core.settings import Web

MOST_TOKENS = 5
"""QR codes in one session: each is a row in the inventory for ever."""

_CODE = re.compile(r"[0-9]{6,8}")
_TOKEN_ID = re.compile(r"[A-Z0-9]{4,32}")


@dataclass(frozen=True, slots=True)
class Case:
    """What came in, and from whom."""

    desk: Desk
    visit: Visit
    customer: str
    form: Mapping[str, str] = field(repr=False)
    actor: Actor
    settings: Web


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the customer stands now, what the page says, what the session remembers besides."""

    stage: str
    notice: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)


Act = Callable[[Case], Outcome]


def old_code(case: Case) -> Outcome:
    """Journey 4: the old token's code. It is spent here."""
    code, wrong = _code(case, "code")
    if wrong:
        return Outcome(OLD_CODE, wrong)
    case.desk.give_old_code(case.customer, code, case.visit, case.settings.proof_seconds, case.actor)
    return Outcome(_after_proof(case))


def permit(case: Case) -> Outcome:
    """Journey 5: the permit in place of the old code. It stays good until the new token is there."""
    typed = case.form.get("permit", "").strip()
    if not typed:
        return Outcome(PERMIT, "permit-missing")
    case.desk.check_permit(case.customer, typed, case.actor)
    return Outcome(_after_proof(case), data={"permit": typed})


def _after_proof(case: Case) -> str:
    return TERMS if case.visit.data["with_terms"] else TOKEN


def accept_terms(case: Case) -> Outcome:
    version = version_of(case.settings)
    if version is not None and case.form.get("version") != version:
        return Outcome(TERMS, "changed")  # they were replaced while they were read
    if case.form.get("accept") != "yes":
        return Outcome(TERMS, "terms")
    if version is not None:
        case.desk.accept_terms(case.customer, version, case.actor)
    return Outcome(TOKEN)


def choose(case: Case) -> Outcome:
    """Which kind of token."""
    match case.form.get("kind"):
        case "own":
            return Outcome(TOKEN_ID)
        case "app":
            return _issue(case)
        case _:
            return Outcome(TOKEN, "kind-missing")


def _issue(case: Case) -> Outcome:
    issued_before = int(case.visit.data.get("tokens", 0))
    if issued_before >= MOST_TOKENS:
        return Outcome(TOKEN, "too-many-tokens")
    issued = case.desk.issue_for(case.customer, case.visit, case.settings.issuer, case.actor)
    shown = {"secret": issued.secret, "uri": issued.uri}
    return Outcome(APP, data={"token_id": issued.token_id, "issued": shown, "tokens": issued_before + 1})


def token_id(case: Case) -> Outcome:
    """A token that the customer has."""
    if case.form.get("go") == "back":
        return Outcome(TOKEN)
    typed = case.form.get("token_id", "")
    kept = {"kept": {"token_id": typed[:64]}}
    if not typed.strip():
        return Outcome(TOKEN_ID, "token-id-missing")
    found = normalise_token_id(typed)
    if not _TOKEN_ID.fullmatch(found):
        return Outcome(TOKEN_ID, "token-id-form", kept)
    code, wrong = _code(case, "code")
    if wrong:
        return Outcome(TOKEN_ID, wrong, kept)
    return _bring(case, found, code)


def app(case: Case) -> Outcome:
    """The token that was issued here, by its first code."""
    match case.form.get("go"):
        case "back":
            return Outcome(TOKEN)
        case "again":
            return _issue(case)
    code, wrong = _code(case, "code")
    if wrong:
        return Outcome(APP, wrong)
    return _bring(case, str(case.visit.data["token_id"]), code)


def _bring(case: Case, new: str, code: str) -> Outcome:
    """The new token becomes the customer's, in the way that they have come."""
    match OtpUse(case.desk.standing_of(case.customer).otp_use):
        case OtpUse.ACTIVE:
            receipt = case.desk.change_by_proof(case.customer, case.visit, new, code, case.actor)
        case OtpUse.REISSUE_PERMITTED:
            typed = str(case.visit.data.get("permit", ""))
            receipt = case.desk.change_by_permit(case.customer, typed, new, code, case.actor, session=case.visit.key)
        case _:
            receipt = case.desk.enrol(case.customer, new, code, case.actor)
    return _done(ENROL_DONE, receipt)


def suspend(case: Case) -> Outcome:
    """Journey 3."""
    code, wrong = _code(case, "code")
    if wrong:
        return Outcome(SUSPEND_CODE, wrong)
    return _done(SUSPEND_DONE, case.desk.suspend(case.customer, code, case.actor))


def resynchronise(case: Case) -> Outcome:
    first, wrong_first = _code(case, "first")
    second, wrong_second = _code(case, "second")
    if wrong_first or wrong_second or first == second:
        return Outcome(RESYNC_CODES, "codes")
    return _done(RESYNC_DONE, case.desk.resynchronise(case.customer, first, second, case.actor))


def _code(case: Case, name: str) -> tuple[str, str | None]:
    """A code as it was typed, and what is wrong with its form: nothing that the store knows."""
    code = normalise_code(case.form.get(name, ""))
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
