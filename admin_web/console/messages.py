"""What a page says once: after an act, or why something was not done. By name; texts are keys of the catalogue."""

from __future__ import annotations

from typing import NamedTuple

from admin_web.languages import gettext_noop as _
from otp_core.accounts import Refusal


class Message(NamedTuple):
    """``text``: English, with what is filled in as ``%(name)s``. ``error``: something was not done."""

    text: str
    error: bool = True
    field: str = ""
    """The id of the input that it is about."""


MESSAGES: dict[str, Message] = {
    # Signing in
    "name-missing": Message(_("Enter your name as staff."), field="name"),
    "passkey-wrong": Message(
        _("The passkey was not accepted. Try once more; if it goes on, use password and code, or ask an administrator.")
    ),
    "code-wrong": Message(
        _(
            "Password or code was not accepted. A code works only once: wait for the next one. If you have no account "
            "for the console, sign in with your passkey."
        ),
        field="password",
    ),
    "session-expired": Message(_("Your session has ended. Sign in, and you go on where you were."), error=False),
    "passkey-not-made": Message(_("No passkey was made. Try once more, or use another device.")),
    "passkey-added": Message(_("The passkey was added. You can sign in with it from now on."), error=False),
    "session-ended": Message(_("The session has ended."), error=False),
    "session-gone": Message(_("There is no such session any more.")),
    "confirmation-wrong": Message(_("That was not accepted. Give your passkey or code once more.")),
    # Single sign-on
    "sign-on-silent": Message(
        _("The provider of the single sign-on does not answer. Sign in with your passkey, or with password and code.")
    ),
    "sign-on-endless": Message(
        _("The provider of the single sign-on has no page to sign out. Do it where you see its own pages.")
    ),
    "left-here": Message(
        _("You are signed out of the console. You may still be signed in at the provider."), error=False
    ),
    "left": Message(_("You are back from the provider of the single sign-on."), error=False),
    "sign-on-lost": Message(_("The single sign-on took too long, or began in another browser. Begin it once more.")),
    "sign-on-wrong": Message(
        _("The single sign-on was not accepted. Begin it once more; if it goes on, sign in with your passkey.")
    ),
    "sign-on-denied": Message(_("You were not signed in at the provider. Begin it once more, or use your passkey.")),
    "sign-on-unknown": Message(
        _(
            "The provider knows you, but nobody here is linked to that. Sign in with your passkey, or with password "
            "and code; then link it on the page behind your name."
        )
    ),
    "sign-on-role": Message(_("The provider gives you no role on this console. Ask who looks after it.")),
    "sign-on-linked": Message(
        _("Linked: %(called)s. You can sign in with the single sign-on from now on."), error=False
    ),
    "sign-on-taken": Message(_("Not linked: it is linked to a member of staff already.")),
    "sign-on-narrowed": Message(
        _("The single sign-on gives you less here than you may do: sign in with your passkey, then try again.")
    ),
    "sign-on-unlinked": Message(_("The single sign-on was unlinked."), error=False),
    # Forms
    "already": Message(_("That form had been sent already. Nothing was done twice."), error=False),
    "reason-missing": Message(_("Write the reason: it stays in the audit trail."), field="reason"),
    "identity-missing": Message(_("Choose how you have checked the customer's identity."), field="identity"),
    "staff-account": Message(
        _("Staff sign in with this account: only an administrator may act on it, and nobody on their own.")
    ),
    # Acts
    "enrolled": Message(_("Enrolled with token %(token)s. Reference number: %(reference)s"), error=False),
    "suspended": Message(
        _("Suspended: the password alone is enough from the next login on. Reference number: %(reference)s"),
        error=False,
    ),
    "resumed": Message(
        _("Resumed: the code is asked for again from the next login on. Reference number: %(reference)s"), error=False
    ),
    "changed": Message(
        _("Device changed to token %(token)s. The old one is never accepted again. Reference number: %(reference)s"),
        error=False,
    ),
    "which-missing": Message(_("Choose which of the customer's tokens it is."), field="which"),
    "added": Message(_("Token %(token)s was added. Reference number: %(reference)s"), error=False),
    "removed": Message(
        _("Token %(token)s was taken away, and is never accepted again. Reference number: %(reference)s"), error=False
    ),
    "lost": Message(
        _("Reported lost: the token is refused everywhere from now on. Reference number: %(reference)s"), error=False
    ),
    "unlocked": Message(_("Unlocked, with no failures counted. Reference number: %(reference)s"), error=False),
    "resynchronised": Message(_("The token's time was corrected. Reference number: %(reference)s"), error=False),
    "sessions-ended": Message(_("Sessions ended: %(number)s"), error=False),
    "asked": Message(_("Asked for: now another person has to approve it."), error=False),
    "approved": Message(_("Approved. Whoever asked for it can carry it out now."), error=False),
    "refused": Message(_("Refused."), error=False),
    "withdrawn": Message(_("Withdrawn."), error=False),
    "staff-disabled": Message(_("Disabled: %(name)s. Their sessions have ended."), error=False),
    "role-changed": Message(_("Changed: the role of %(name)s, from their next click on."), error=False),
    "role-missing": Message(_("Choose the role."), field="role"),
    "staff-name": Message(
        _(
            "A name of staff is one word of up to 32 small letters, digits, dots and hyphens, such as sato.yoko, and "
            "none that Sekisho uses itself."
        ),
        field="name",
    ),
    "staff-known": Message(
        _("There is somebody of this name already. Their own page lets them begin anew."), field="name"
    ),
    "staff-account-taken": Message(_("Somebody else of the staff signs in with this account."), field="account"),
    "api-key-name": Message(
        _(
            "The name of an API key is one word of up to 32 letters, digits, dots, hyphens and underscores, such as "
            "call-centre."
        ),
        field="name",
    ),
    "api-key-known": Message(
        _("There is an API key of this name. Revoke it first, or give this one another name."), field="name"
    ),
    "scopes-missing": Message(_("Choose what the key is for."), field="scopes"),
    "networks-wrong": Message(_("These networks cannot be used: %(detail)s"), field="networks"),
    "api-key-revoked": Message(_("Revoked: %(name)s. Nobody gets in by this key any more."), error=False),
    "edited": Message(_("Changed. Reference number: %(reference)s"), error=False),
    # Editing a customer
    "nothing-edited": Message(_("Nothing was changed: the fields say what was known before.")),
    "edited-meanwhile": Message(
        _("Somebody else has changed this customer meanwhile. Here is what is known now: enter your change anew.")
    ),
    "edit-name": Message(_("The name may have 200 characters, and no line break or tab."), field="name"),
    "edit-reading": Message(_("The reading may have 200 characters, and no line break or tab."), field="reading"),
    "edit-email": Message(
        _("That is no e-mail address. Write it as name@example.jp, or leave it empty."), field="email"
    ),
    "edit-language": Message(_("Choose a language, or leave it to the gateway."), field="language"),
    "edit-attributes": Message(_("The reply attributes cannot be sent: %(detail)s"), field="attributes"),
    # A new token for somebody who is present
    "new-token-code": Message(
        _(
            "The code was not accepted, and counts as a failure. Has the app read the QR code? Then enter the next "
            "code; otherwise make a new QR code."
        ),
        field="code",
    ),
    "token-retired": Message(
        _("The token was retired, and is never accepted again. Reference number: %(reference)s"), error=False
    ),
    # Looking for a token
    "search-busy": Message(_("Somebody is looking for a token just now. Try again in some seconds, with new codes.")),
    "search-too-soon": Message(_("You have looked for a token just now. Wait some seconds, then enter new codes.")),
    "search-codes": Message(
        _("Enter two codes that follow one another, as digits only, all of them (usually 6)."), field="first"
    ),
    "search-failed": Message(_("The inventory could not be looked through. The log of the server says why.")),
    # Imports
    "file-missing": Message(_("Choose the file."), field="file"),
    "file-too-large": Message(
        _(
            "The file is larger than %(most)s MB. Import it by the command line, or in parts; console.import_megabytes "
            "in the settings says how large it may be."
        ),
        field="file",
    ),
    "import-kept": Message(_("The file was received, and is being checked."), error=False),
    "import-begun": Message(_("The import has begun. You may leave this page."), error=False),
    "import-asked": Message(_("Asked for: now another person has to approve it."), error=False),
    "import-withdrawn": Message(_("The file was deleted. Nothing was imported."), error=False),
    # Tokens of a list
    "list-unbounded": Message(_("Say which tokens: show a part of the list first, by the beginning of their IDs.")),
    "list-changed": Message(_("Other tokens are available now. Look at the list once more, and send it again.")),
    "list-empty": Message(_("No token of this list is available.")),
    "retirement-begun": Message(_("The tokens are being retired. You may leave this page."), error=False),
    "retirement-withdrawn": Message(_("The list was given up. No token was retired."), error=False),
    # Refusals by the desk
    "not-now": Message(_("Not possible now: the state has changed meanwhile, or this was done already.")),
    "not-permitted": Message(_("You may not do this. If you asked for it, another person has to decide.")),
    "locked": Message(_("The customer is locked: unlock them first.")),
    "too-soon": Message(_("Too soon after wrong codes. Wait about 30 seconds.")),
    "code-form": Message(_("Enter the code as digits only, all of them (usually 6)."), field="code"),
    "code": Message(
        _(
            "The code was not accepted, and counts as a failure unless it was used before. Each code works only once: "
            "wait for the next one."
        ),
        field="code",
    ),
    "token-or-code": Message(
        _(
            "Token ID or code was not accepted, and counts as a failure. Check both, and wait for the next code. The "
            "audit trail says which it was."
        ),
        field="token_id",
    ),
    "unknown": Message(_("There is no such customer or token.")),
    "held": Message(_("The customer has this token already."), field="token_id"),
    "many": Message(_("Too many of them now.")),
}

MESSAGE_OF_REFUSAL: dict[Refusal, str] = {
    Refusal.NOT_NOW: "not-now",
    Refusal.NOT_PERMITTED: "not-permitted",
    Refusal.LOCKED: "locked",
    Refusal.TOO_SOON: "too-soon",
    Refusal.NOT_A_CODE: "code-form",
    Refusal.WRONG_CODE: "code",
    Refusal.REUSED_CODE: "code",
    Refusal.RESYNC_NEEDED: "code",
    Refusal.TOKEN_OR_CODE: "token-or-code",
    Refusal.UNKNOWN_CUSTOMER: "unknown",
    Refusal.UNKNOWN_TOKEN: "unknown",
    Refusal.WRONG_PERMIT: "not-now",
    Refusal.CUSTOMER_EXISTS: "not-now",
    Refusal.TOO_MANY: "many",
    Refusal.NO_ROOM: "many",
    Refusal.WHICH_TOKEN: "which-missing",
    Refusal.HELD_ALREADY: "held",
    Refusal.BAD_NAME: "not-now",
}
