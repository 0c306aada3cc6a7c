"""The pages behind the sign-in, as tables: path to template, and which page comes first after the sign-in, by journey
and use of OTP. A session is at one page at a time; a request for another is redirected to it. Pure.
"""

from __future__ import annotations

from otp_core.model import OtpUse

ENROL, SUSPEND, RESYNC = "enrol", "suspend", "resync"
JOURNEYS = (ENROL, SUSPEND, RESYNC)
"""A journey begins at the sign-in page of its name; enrolment and change of device are one journey."""

OLD_CODE, PERMIT, TERMS = "/enrol/old-code", "/enrol/permit", "/enrol/terms"
TOKEN, APP, ENROL_DONE = "/enrol/token", "/enrol/app", "/enrol/done"
TOKENS, NAME, REMOVE = "/enrol/tokens", "/enrol/name", "/enrol/remove"
SUSPEND_CODE, SUSPEND_DONE = "/suspend/code", "/suspend/done"
RESYNC_CODES, RESYNC_DONE = "/resync/codes", "/resync/done"
LOCKED, LOST, NOT_IN_USE = "/stop/locked", "/stop/lost", "/stop/not-in-use"

PAGES: dict[str, str] = {
    OLD_CODE: "portal/old_code.html",
    PERMIT: "portal/permit.html",
    TERMS: "portal/terms.html",
    TOKEN: "portal/token.html",
    APP: "portal/app.html",
    ENROL_DONE: "portal/done.html",
    TOKENS: "portal/tokens.html",
    NAME: "portal/name.html",
    REMOVE: "portal/remove.html",
    SUSPEND_CODE: "portal/suspend_code.html",
    SUSPEND_DONE: "portal/done.html",
    RESYNC_CODES: "portal/resync_codes.html",
    RESYNC_DONE: "portal/done.html",
    LOCKED: "portal/stop.html",
    LOST: "portal/stop.html",
    NOT_IN_USE: "portal/stop.html",
}
"""Path to template."""

FORMER: dict[str, str] = {"/enrol/token-id": TOKEN}
"""A page of an earlier release, at which a session may still be, to the one in its place."""

ENDS = frozenset((ENROL_DONE, SUSPEND_DONE, RESYNC_DONE, LOCKED, LOST, NOT_IN_USE))
"""Pages at which a journey has ended: they have no form."""

_FIRST: dict[tuple[str, OtpUse], str] = {
    (ENROL, OtpUse.NONE): TERMS,
    (ENROL, OtpUse.SUSPENDED): TERMS,
    (ENROL, OtpUse.ACTIVE): OLD_CODE,
    (ENROL, OtpUse.REISSUE_PERMITTED): PERMIT,
    (ENROL, OtpUse.LOST): LOST,
    (SUSPEND, OtpUse.ACTIVE): SUSPEND_CODE,
    (SUSPEND, OtpUse.NONE): NOT_IN_USE,
    (SUSPEND, OtpUse.SUSPENDED): NOT_IN_USE,
    (SUSPEND, OtpUse.LOST): LOST,
    (SUSPEND, OtpUse.REISSUE_PERMITTED): LOST,
    (RESYNC, OtpUse.ACTIVE): RESYNC_CODES,
    (RESYNC, OtpUse.NONE): NOT_IN_USE,
    (RESYNC, OtpUse.SUSPENDED): NOT_IN_USE,
    (RESYNC, OtpUse.LOST): LOST,
    (RESYNC, OtpUse.REISSUE_PERMITTED): LOST,
}


def first_page(journey: str, use: OtpUse, *, locked: bool, several: bool) -> str:
    """The path of the first page after the sign-in. ``locked``: whether the customer is locked; ``several``: whether
    they have several tokens, or may have: then they choose what is to be done, and with which."""
    page = LOCKED if locked else _FIRST[journey, use]
    return TOKENS if several and page == OLD_CODE else page
