"""What staff may do for a customer: for each act its words, its fields, when lifecycle allows it, and its call of the
desk. One table; the desk decides, and refuses what has changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from admin_web.console.routes import Notice
from admin_web.languages import gettext_noop as _
from otp_core.accounts import Act, Desk, Principal, Receipt
from otp_core.accounts.lifecycle import CUSTOMER, Move
from otp_core.accounts.written import reason_text
from otp_core.model import OtpUse
from otp_core.reference import reference_of
from otp_core.store.queries import CustomerLine

IDENTITY = {
    "document": _("A document with a photograph was seen at the counter"),
    "callback": _("Called back at the number on file"),
    "seal": _("Signature or seal compared with the one on file"),
    "written": _("A written request was checked"),
    "none": _("Not checked: the bank's own decision"),
}
"""How the customer's identity was checked. The names go into the audit trail."""


class Situation(NamedTuple):
    """What decides which acts are possible now. ``sessions``: how many the customer has; ``most_tokens``: they may
    have."""

    line: CustomerLine
    sessions: int
    most_tokens: int


@dataclass(frozen=True, slots=True)
class Deed:
    """One act on one customer, as it was filled in. ``form``: fields by name; ``which``: the token that it is about,
    None for the only one."""

    desk: Desk
    contract_id: str
    form: Mapping[str, str] = field(repr=False)
    principal: Principal
    which: str | None = None


@dataclass(frozen=True, slots=True)
class CustomerAct:
    """An act. ``name``: the last part of its path; ``effects``: what will happen, a sentence each; ``last``: it cannot
    be undone; ``fields``: of codes and token ID; ``allowed``: whether it is possible now; ``run``: the call, None where
    the page does more than one. ``one_token``: it is about one of the customer's tokens."""

    name: str
    act: Act
    title: str
    effects: tuple[str, ...]
    allowed: Callable[[Situation], bool]
    run: Callable[[Deed], Notice] | None
    fields: tuple[str, ...] = ()
    last: bool = False
    one_token: bool = False


def _by_lifecycle(move: Move) -> Callable[[Situation], bool]:
    return lambda now: (OtpUse(now.line.otp_use), move) in CUSTOMER


def said(name: str, receipt: Receipt) -> Notice:
    """What the customer's page says about an act that was done."""
    reference = reference_of(receipt.reference)
    return Notice(name, {"reference": f"{reference[:4]} {reference[4:]}", "token": receipt.token or ""})


def _enrol(deed: Deed) -> Notice:
    enrol = deed.desk.enrolment.enrol
    return said("enrolled", enrol(deed.contract_id, deed.form["token_id"], deed.form["code"], deed.principal))


def _suspend(deed: Deed) -> Notice:
    return said("suspended", deed.desk.enrolment.suspend(deed.contract_id, None, deed.principal))


def _resume(deed: Deed) -> Notice:
    return said("resumed", deed.desk.enrolment.resume(deed.contract_id, deed.principal))


def _change(deed: Deed) -> Notice:
    codes = deed.form["old_code"], deed.form["token_id"], deed.form["code"]
    change = deed.desk.devices.change
    return said("changed", change(deed.contract_id, *codes, deed.principal, goes=deed.which))


def _add(deed: Deed) -> Notice:
    codes = deed.form["own_code"], deed.form["token_id"], deed.form["code"]
    return said("added", deed.desk.devices.add(deed.contract_id, *codes, deed.principal))


def _remove(deed: Deed) -> Notice:
    return said("removed", deed.desk.devices.remove(deed.contract_id, None, deed.which or "", deed.principal))


def _report_lost(deed: Deed) -> Notice:
    report_lost = deed.desk.enrolment.report_lost
    return said("lost", report_lost(deed.contract_id, deed.principal, token_id=deed.which))


def _unlock(deed: Deed) -> Notice:
    return said("unlocked", deed.desk.customers.unlock(deed.contract_id, deed.principal))


def _resynchronise(deed: Deed) -> Notice:
    codes = deed.form["first"], deed.form["second"]
    resynchronise = deed.desk.enrolment.resynchronise
    return said("resynchronised", resynchronise(deed.contract_id, *codes, deed.principal, token_id=deed.which))


def _end_sessions(deed: Deed) -> Notice:
    ended = deed.desk.sessions.end_of(deed.contract_id, deed.principal)
    return Notice("sessions-ended", {"number": str(ended)})


PERMIT_REISSUE = CustomerAct(
    "permit-reissue",
    Act.PERMIT_REISSUE,
    _("Permit a reissue"),
    (
        _("A permit is shown once, to you alone. The customer enters it on the bank's pages to enrol a new token."),
        _("A permit that was made before is void."),
    ),
    _by_lifecycle(Move.PERMIT_REISSUE),
    None,
)

ACTS: tuple[CustomerAct, ...] = (
    CustomerAct(
        "enrol",
        Act.ENROL,
        _("Enrol"),
        (_("The token becomes the customer's. From the next login on its code is asked for."),),
        _by_lifecycle(Move.ENROL),
        _enrol,
        ("token_id", "code"),
    ),
    CustomerAct(
        "suspend",
        Act.SUSPEND_WITHOUT_CODE,
        _("Suspend"),
        (
            _("From the next login on the password alone is enough."),
            _("The customer keeps the token, and it can be resumed."),
        ),
        _by_lifecycle(Move.SUSPEND),
        _suspend,
    ),
    CustomerAct(
        "resume",
        Act.RESUME,
        _("Resume"),
        (_("From the next login on the code of the token that the customer had is asked for again."),),
        _by_lifecycle(Move.RESUME),
        _resume,
    ),
    CustomerAct(
        "change-device",
        Act.CHANGE_DEVICE,
        _("Change the device"),
        (
            _("The code of the old token lets the new token in, by its own code."),
            _("The old token is never accepted again."),
        ),
        _by_lifecycle(Move.CHANGE_DEVICE),
        _change,
        ("old_code", "token_id", "code"),
        last=True,
        one_token=True,
    ),
    CustomerAct(
        "add-token",
        Act.ADD_TOKEN,
        _("Add one more token"),
        (_("The customer has one more token; the code of any of them is good from now on."),),
        lambda now: _by_lifecycle(Move.ADD_TOKEN)(now) and len(now.line.tokens) < now.most_tokens,
        _add,
        ("own_code", "token_id", "code"),
    ),
    CustomerAct(
        "remove-token",
        Act.REMOVE_TOKEN_WITHOUT_CODE,
        _("Take a token away"),
        (_("This one of the customer's tokens is never accepted again; the others go on working."),),
        lambda now: _by_lifecycle(Move.REMOVE_TOKEN)(now) and len(now.line.tokens) > 1,
        _remove,
        last=True,
        one_token=True,
    ),
    CustomerAct(
        "report-lost",
        Act.REPORT_LOST,
        _("Report lost or stolen"),
        (
            _("The token is refused everywhere from this moment, and never accepted again, even if it is found."),
            _("Without another token logins are refused until a new one is enrolled: permit a reissue afterwards."),
            _("The customer's sessions end, and a reissue permit is void."),
        ),
        _by_lifecycle(Move.REPORT_LOST),
        _report_lost,
        last=True,
        one_token=True,
    ),
    PERMIT_REISSUE,
    CustomerAct(
        "unlock",
        Act.UNLOCK,
        _("Unlock"),
        (_("The customer can log in again, and the count of failures begins at 0."),),
        lambda now: now.line.locked_at is not None or now.line.failures > 0,
        _unlock,
    ),
    CustomerAct(
        "resync",
        Act.RESYNCHRONISE,
        _("Correct the token's time"),
        (_("Two codes that follow one another tell how far the token's clock has run away."),),
        lambda now: now.line.otp_use == OtpUse.ACTIVE,
        _resynchronise,
        ("first", "second"),
        one_token=True,
    ),
    CustomerAct(
        "end-sessions",
        Act.END_SESSIONS_OF,
        _("End the sessions"),
        (_("Whoever is signed in on the customers' pages as this customer has to sign in again."),),
        lambda now: now.sessions > 0,
        _end_sessions,
    ),
)

BY_NAME = {one.name: one for one in ACTS}

FIELDS = {
    "token_id": _("New token's ID"),
    "code": _("Code that the new token shows"),
    "old_code": _("Code that a token of the customer's shows"),
    "own_code": _("Code that a token of the customer's shows"),
    "first": _("First code"),
    "second": _("The code after it"),
}
"""The labels of the fields of codes and token ID."""


def reason_of(form: Mapping[str, str]) -> str:
    """What the audit trail says why: the reason, how the identity was checked, and the ticket if there is one."""
    return reason_text(form["reason"], identity=form["identity"], ticket=form.get("ticket", ""))
