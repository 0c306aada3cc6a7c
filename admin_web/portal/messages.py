"""Form messages: what a page says once above its form after a mistake, by name; and the message of each refusal.

Refusals that must not be told apart from outside share a message. E-mails to customers are notices: otp_core/notices.
"""

from __future__ import annotations

from typing import NamedTuple

from admin_web.languages import gettext_noop as _
from otp_core.accounts import Refusal


class FormMessage(NamedTuple):
    """``text``: English, the key of the catalogue; ``heading`` stands above it. ``field``: the id of the input that it
    is about, empty for none. ``error`` False: a remark, without heading."""

    text: str
    field: str = ""
    error: bool = True
    heading: str = _("There is a problem")


_WAIT = _("Please wait")


MESSAGES: dict[str, FormMessage] = {
    "contract-id-missing": FormMessage(_("Enter your contract ID."), "contract_id"),
    "password-missing": FormMessage(_("Enter your login password."), "password"),
    "wrong-pair": FormMessage(
        _(
            "The contract ID or the login password is not right. Check both and enter them again. After several "
            "mistakes it takes a little longer until the next try is accepted."
        ),
        "contract_id",
    ),
    "too-many-here": FormMessage(
        _("Too many tries have come from your network. Wait a few minutes, then try again."), heading=_WAIT
    ),
    "code-missing": FormMessage(_("Enter the one-time password that your token shows now."), "code"),
    "code-form": FormMessage(_("Enter the one-time password as digits only, all of them (usually 6)."), "code"),
    "code": FormMessage(
        _(
            "This one-time password could not be accepted. Each one works only once, and only while it is shown: wait "
            "until the token shows the next one (up to 30 seconds), then enter that. After the prescribed number of "
            "mistakes, one-time passwords are locked."
        ),
        "code",
    ),
    "too-soon": FormMessage(
        _("After several mistakes there is a short wait. Wait about 30 seconds, then enter the one then shown."),
        "code",
        heading=_WAIT,
    ),
    "token-id-missing": FormMessage(_("Enter the token ID (credential ID) that the token shows."), "token_id"),
    "token-id-form": FormMessage(
        _("Enter the token ID as the token shows it: 4 letters and 8 digits, for example VSMT 1234 5678."), "token_id"
    ),
    "token-or-code": FormMessage(
        _(
            "The token ID or the one-time password could not be accepted. Check the token ID, wait until the token "
            "shows the next one-time password (up to 30 seconds), and enter both again. After the prescribed number "
            "of mistakes, one-time passwords are locked."
        ),
        "token_id",
    ),
    "app-code": FormMessage(
        _(
            "The one-time password could not be accepted. Wait until the app shows the next one (up to 30 seconds) and "
            "enter that. If it happens again, check that the date and time of your device are set automatically."
        ),
        "code",
    ),
    "codes": FormMessage(
        _(
            "The two one-time passwords do not follow one another. Enter one, wait until the token shows the next one, "
            "and enter that as the second."
        ),
        "first",
    ),
    "permit-missing": FormMessage(_("Enter the reissue permit that you were given."), "permit"),
    "permit": FormMessage(
        _("This reissue permit cannot be accepted: it may be mistyped, used already, or expired."), "permit"
    ),
    "terms": FormMessage(_("To go on, tick the box that you accept the terms of use."), "accept"),
    "token-missing": FormMessage(_("Choose one of your tokens."), "token-0"),
    "held-already": FormMessage(_("You have this token already. Enter the token ID of the new one."), "token_id"),
    "name": FormMessage(
        _("The name could not be accepted. Use at most 40 letters, digits or signs, and nothing invisible."), "name"
    ),
    "named": FormMessage(_("The name was kept."), error=False),
    "too-many-tokens": FormMessage(
        _("No more QR codes can be made in this session. Use a token that you have, or sign in again.")
    ),
    "already": FormMessage(
        _("That page had been sent already, or was opened in another tab. This is where you are now."), error=False
    ),
    "changed": FormMessage(
        _("Meanwhile something has changed about your one-time passwords. This is where you are now."), error=False
    ),
    "extended": FormMessage(_("Your session goes on."), error=False),
}

MESSAGE_OF_REFUSAL: dict[Refusal, str] = {
    Refusal.WRONG_CODE: "code",
    # Same message as for a wrong code: a guesser must not learn that a code was right.
    Refusal.REUSED_CODE: "code",
    Refusal.RESYNC_NEEDED: "code",
    Refusal.NOT_A_CODE: "code-form",
    Refusal.TOO_SOON: "too-soon",
    Refusal.TOKEN_OR_CODE: "token-or-code",
    Refusal.WRONG_PERMIT: "permit",
    Refusal.HELD_ALREADY: "held-already",
    Refusal.BAD_NAME: "name",
}
"""The name of a refusal's message. A refusal that is missing here means that the customer's state has changed."""
