"""Shadow mode: what stands in the way of moving a customer from the old server to this one. Pure.

The old server's answer and ours to the same request go through one table. A pair that says nothing against the customer
is an agreement; every other one has a name, words and advice. What our answer goes back to is a Finding of the login.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from otp_core.login.table import Finding
from otp_core.model import Accept, Challenge, Mode, OtpUse, Verdict


class Old(StrEnum):
    """What the old server has answered."""

    ACCEPTED = "accepted"
    ASKED = "asked"
    REJECTED = "rejected"


class Part(StrEnum):
    """Of what a request decides: of the whole login, of its first round, or of the answer to the code's question."""

    WHOLE = "whole"
    FIRST = "first round"
    SECOND = "second round"


class Obstacle(StrEnum):
    """Stable codes: in the store, in files and in the JSON of the report."""

    NOT_KNOWN = "not-known"
    NO_TOKEN = "no-token"
    TOKEN_LOST = "token-lost"
    LOCKED = "locked"
    PASSWORD_DIFFERS = "password-differs"
    NO_PASSWORD = "no-password"
    CODE_WRONG = "code-wrong"
    CODE_USED = "code-used"
    RESYNC_NEEDED = "resync-needed"
    CODE_ELSEWHERE = "code-elsewhere"
    CODE_WANTED = "code-wanted"
    LET_IN = "let-in-here"
    NOT_COMPARED = "not-compared"
    OTHER = "other"
    ONE_LOGIN = "one-login-seen"
    NO_LOGIN = "no-login-seen"


class Words(NamedTuple):
    """For staff, in English; ``advice``: what to do about it."""

    what: str
    advice: str


OBSTACLE_TEXT: dict[Obstacle, Words] = {
    Obstacle.NOT_KNOWN: Words(
        "not known here",
        "import these customers, or check how this gateway writes their names (realm, fold_case, user_name_charset)",
    ),
    Obstacle.NO_TOKEN: Words(
        "no active token here",
        "import their tokens bound to them, let them enrol at the portal, or resume the use of OTP",
    ),
    Obstacle.TOKEN_LOST: Words("token reported lost here", "permit a reissue, or look why the old server lets it in"),
    Obstacle.LOCKED: Words("locked here", "unlock them"),
    Obstacle.PASSWORD_DIFFERS: Words(
        "the password differs", "import their password hashes again, or name a first_factor that knows the passwords"
    ),
    Obstacle.NO_PASSWORD: Words(
        "no password is kept here",
        'import their password hashes, name a first_factor, or write without_password = "code"',
    ),
    Obstacle.CODE_WRONG: Words(
        "the code would be wrong here",
        "compare seed and clock of the token: import the seed again, `sekisho resync`, or enrol the token anew",
    ),
    Obstacle.CODE_USED: Words(
        "the code was used here already", "it was used at another door; look again after one more login"
    ),
    Obstacle.RESYNC_NEEDED: Words(
        "the counter token is out of step",
        "nothing is spent here meanwhile: `sekisho resync` when this gateway is switched",
    ),
    Obstacle.CODE_ELSEWHERE: Words(
        "another server verifies the codes", "it is not asked, because a code would be used up: try one login by hand"
    ),
    Obstacle.CODE_WANTED: Words(
        "would be asked for a code here",
        "the old server lets them in without one: tell them before the gateway is switched",
    ),
    Obstacle.LET_IN: Words(
        "refused there, and let in here", "compare the two accounts: disabled there, or an older password kept here"
    ),
    Obstacle.NOT_COMPARED: Words(
        "could not be compared", "CHAP, MS-CHAP and EAP hold no password to look at: let the gateway use PAP"
    ),
    Obstacle.OTHER: Words("would be refused here", "see `sekisho explain login`"),
    Obstacle.ONE_LOGIN: Words("only one login was seen", "wait for another login of theirs"),
    Obstacle.NO_LOGIN: Words("no login was seen through to its end", "wait for a login of theirs"),
}

OBSTACLE_OF: dict[Finding, Obstacle] = {
    Finding.UNKNOWN_CUSTOMER: Obstacle.NOT_KNOWN,
    Finding.WRONG_PASSWORD: Obstacle.PASSWORD_DIFFERS,
    Finding.LOCKED: Obstacle.LOCKED,
    Finding.LOST: Obstacle.TOKEN_LOST,
    Finding.WITHOUT_TOKEN: Obstacle.NO_TOKEN,
    Finding.TOKEN_NEEDED: Obstacle.NO_TOKEN,
    Finding.NOTHING_CHECKED: Obstacle.NO_PASSWORD,
    Finding.NOT_A_CODE: Obstacle.CODE_WRONG,
    Finding.WRONG: Obstacle.CODE_WRONG,
    Finding.REUSED: Obstacle.CODE_USED,
    Finding.RESYNC_NEEDED: Obstacle.RESYNC_NEEDED,
    Finding.VERIFIER_NEEDED: Obstacle.CODE_ELSEWHERE,
}
"""For a customer whom the old server has let in, or asked further."""


ENOUGH = 2
"""Logins in a row that both servers would have accepted, before a customer counts as safe to move."""


def standing(code: str | None, logins: int, in_a_row: int) -> Obstacle | None:
    """Why a customer is not safe to move; None: they are. ``code``: what stood in the way when they were compared last;
    ``logins``: accepted by the old server; ``in_a_row``: by both since the last difference."""
    if code is not None:
        return Obstacle(code)
    if not logins:
        return Obstacle.NO_LOGIN
    return None if in_a_row >= ENOUGH else Obstacle.ONE_LOGIN


class Ours(NamedTuple):
    """What this server would have answered. ``finding`` None: nothing can be said. ``use``: the customer's of one-time
    passwords; None: there is no such customer."""

    verdict: Verdict
    finding: Finding | None
    use: OtpUse | None


def obstacle(old: Old, ours: Ours, mode: Mode, part: Part) -> Obstacle | None:
    """What the two answers say against this customer; None: nothing. ``mode``: of the client, at its first request."""
    if old is Old.REJECTED:
        return Obstacle.LET_IN if isinstance(ours.verdict, Accept) else None
    if ours.finding is None:
        return Obstacle.NOT_COMPARED
    if isinstance(ours.verdict, Accept):
        return _accepted_here(old, ours, mode, part)
    if isinstance(ours.verdict, Challenge):
        return Obstacle.CODE_WANTED if old is Old.ACCEPTED else None
    if ours.finding is Finding.WRONG_PASSWORD and mode in (Mode.APPEND, Mode.AUTO) and ours.use in _WITHOUT_TOKEN:
        return _WITHOUT_TOKEN[ours.use]  # the code behind the password was taken for a part of it
    return OBSTACLE_OF.get(ours.finding, Obstacle.OTHER)


_WITHOUT_TOKEN: dict[OtpUse | None, Obstacle] = {
    OtpUse.NONE: Obstacle.NO_TOKEN,
    OtpUse.SUSPENDED: Obstacle.NO_TOKEN,
    OtpUse.LOST: Obstacle.TOKEN_LOST,
    OtpUse.REISSUE_PERMITTED: Obstacle.TOKEN_LOST,
}


def _accepted_here(old: Old, ours: Ours, mode: Mode, part: Part) -> Obstacle | None:
    """Let in without a token, where the old server wanted a code, is no agreement."""
    if ours.finding is not Finding.WITHOUT_TOKEN:
        return None
    wanted = old is Old.ASKED or part is Part.SECOND or mode is Mode.CODE
    return Obstacle.NO_TOKEN if wanted else None
