"""The words of states, events and times, as staff reads them. Values in, texts out; no store, no clock."""

from __future__ import annotations

from datetime import datetime, tzinfo

from admin_web.languages import gettext_noop as _
from admin_web.languages import translator
from otp_core.audit import ms_of
from otp_core.forecast.outcome import CHANGE_TEXT, NOTE_TEXT, Change, Note
from otp_core.login.next_step import NEXT_STEP_TEXT, NextStep
from otp_core.model import Language
from otp_core.reference import reference_of
from otp_core.store.find import COUNTED

USES = {
    "none": _("never enrolled"),
    "active": _("in use"),
    "suspended": _("suspended"),
    "lost": _("token lost"),
    "reissue permitted": _("reissue permitted"),
}
TOKEN_STATES = {
    "available": _("available"),
    "bound": _("bound"),
    "retired": _("retired"),
    "lost": _("reported lost"),
    "drifting": _("clock drifts"),
}
ROLES = {
    "auditor": _("auditor"),
    "operator": _("operator"),
    "supervisor": _("supervisor"),
    "administrator": _("administrator"),
}
SCOPES = {
    "customers:read": _("read customers"),
    "customers:write": _("act on customers, as an operator does"),
    "tokens:read": _("read tokens"),
    "tokens:write": _("retire tokens that nobody holds"),
    "audit:read": _("read the audit trail"),
    "check:password": _("check passwords at a login"),
    "check:code": _("check codes at a login"),
}
"""What an API key may do, by its scope."""

APPROVAL_STATES = {
    "asked": _("waits for a second person"),
    "approved": _("approved"),
    "refused": _("refused"),
    "withdrawn": _("withdrawn"),
    "done": _("carried out"),
    "expired": _("expired"),
}
FILE_STATES = {
    "receiving": _("is being received"),
    "checking": _("is being checked"),
    "wrong": _("has errors, nothing was imported"),
    "checked": _("waits to be decided"),
    "writing": _("is being imported"),
    "done": _("imported"),
    "stopped": _("stopped"),
    "withdrawn": _("deleted, nothing was imported"),
}
_LIST_STATES = {
    "writing": _("is being retired"),
    "done": _("retired"),
    "withdrawn": _("given up, no token was retired"),
}
"""Of a list of tokens to be retired, where it is not as of a file."""

_FILES = {
    "customers": _("Customers"),
    "tokens": _("Tokens"),
    "retirement": _("Tokens to be retired"),
}
_MISSED = {
    ("step", "late"): _("correct code, %(number)s steps late"),
    ("step", "early"): _("correct code, %(number)s steps early"),
    ("counter", "behind"): _("correct code, %(number)s counters behind"),
    ("counter", "ahead"): _("correct code, %(number)s counters ahead"),
}
"""As login/code_fit.py says it."""
STRANGERS = {
    "unknown-client": _("no client has this address"),
    "unknown-nas-identifier": _("no client of this network has this NAS-Identifier"),
    "wrong-message-authenticator": _("wrong Message-Authenticator: another secret, most likely"),
    "wrong-secret": _("a password that nobody can type: another secret, most likely"),
}
EVENTS = {
    "login.accepted": _("logged in"),
    "login.challenged": _("right password, asked for a code"),
    "login.rejected": _("login refused"),
    "login.repeated": _("login repeated by the gateway"),
    "login.exempt": _("let in without a code, by an exemption"),
    "account.refused": _("session refused"),
    "customer.added": _("customer added"),
    "customer.renamed": _("given another contract ID"),
    "customer.edited": _("details changed"),
    "customer.locked": _("locked"),
    "customer.unlocked": _("unlocked"),
    "password.rehashed": _("password hash renewed"),
    "token.imported": _("token imported"),
    "token.issued": _("token issued"),
    "token.retired": _("token retired"),
    "token.resynchronised": _("token's time corrected"),
    "token.found": _("token looked for by two codes"),
    "otp.enrolled": _("enrolled"),
    "otp.suspended": _("suspended"),
    "otp.resumed": _("resumed"),
    "otp.device-changed": _("device changed"),
    "otp.token-added": _("one more token added"),
    "otp.token-removed": _("token taken away"),
    "otp.token-named": _("token named"),
    "otp.one-reported-lost": _("one of several tokens reported lost"),
    "otp.reported-lost": _("token reported lost"),
    "otp.reissue-permitted": _("reissue permitted"),
    "otp.change-asked": _("asked to change the token"),
    "otp.permit-voided": _("reissue permit void"),
    "otp.old-code-given": _("code of the old token given"),
    "terms.accepted": _("terms of use accepted"),
    "pages.entered": _("signed in on the customers' pages"),
    "pages.refused": _("sign-in on the customers' pages refused"),
    "session.ended": _("session ended"),
    "notice.sent": _("e-mail sent"),
    "notice.failed": _("e-mail not delivered"),
    "act.refused": _("act refused"),
    "staff.added": _("member of staff added"),
    "staff.role-changed": _("role of a member of staff changed"),
    "staff.disabled": _("member of staff disabled"),
    "staff.reset": _("member of staff reset"),
    "staff.passkey-added": _("passkey added"),
    "staff.sign-on-linked": _("single sign-on linked"),
    "staff.sign-on-unlinked": _("single sign-on unlinked"),
    "staff.entered": _("signed in on the console"),
    "staff.refused": _("sign-in on the console refused"),
    "staff.confirmed": _("confirmed once more"),
    "staff.session-ended": _("session of the console ended"),
    "approval.asked": _("approval asked for"),
    "approval.given": _("approved"),
    "approval.refused": _("approval refused"),
    "approval.withdrawn": _("request withdrawn"),
    "looked.at-customer": _("looked at"),
    "looked.through-customers": _("looked through customers"),
    "import.kept": _("file brought for an import"),
    "import.begun": _("import begun"),
    "import.ended": _("import ended"),
    "import.withdrawn": _("import withdrawn"),
    "retirement.begun": _("retirement of a list of tokens begun"),
    "retirement.ended": _("retirement of a list of tokens ended"),
    "retirement.withdrawn": _("retirement of a list of tokens given up"),
    "api-key.created": _("API key made"),
    "api-key.revoked": _("API key revoked"),
    "seals.begun": _("seals begun"),
    "seals.key-changed": _("key of the seals changed"),
    "audit.exported": _("old rows of the audit trail exported"),
    "audit.dropped": _("old rows of the audit trail dropped"),
}
"""An event that is missing here is shown by its own name."""

REASONS = frozenset(
    {
        _("retransmission of an accepted request"),
        _("retransmission of a request whose code was wrong"),
        _("unknown customer"),
        _("wrong password"),
        _("password expired, says the first factor"),
        _("password has to be changed, says the first factor"),
        _("account disabled, says the first factor"),
        _("account expired, says the first factor"),
        _("account locked, says the first factor"),
        _("not permitted to log in, says the first factor"),
        _("the first factor asks a further question, and may not"),
        _("the first factor asks a further question"),
        _("challenge unknown, used, expired or somebody else's"),
        _("locked"),
        _("token reported lost"),
        _("no active token, and the password is enough"),
        _("no active token, and the client wants one"),
        _("no active token, and no password is held here"),
        _("password right, code not given yet"),
        _("not a code: empty, ill-shaped or the password again"),
        _("too soon after wrong answers"),
        _("the code is verified elsewhere"),
        _("right code"),
        _("reused code"),
        _("wrong code"),
        _("counter token that was not resynchronised since a restore"),
        _("the verifier wants the next code, too"),
        _("the verifier asks a further question"),
        _("token locked, says its verifier"),
        _("token not enabled, says its verifier"),
        _("token unknown or not the customer's, says its verifier"),
        _("customer unknown, says the token's verifier"),
        _("wrong password, or too soon after one"),
        _("too many wrong passwords from this address"),
    }
)
"""What the audit trail says about logins, word for word; a test holds it against login/table.py. Any other reason is
shown as it was written."""

NEXT_STEPS = frozenset(
    {
        _("Compare the contract ID, letter by letter: nobody has this one."),
        _("The customer types the login password once more. Wrong passwords lock nobody."),
        _("The customer changes the login password where it is kept, then logs in with it."),
        _("Look at the account where the password is kept: it may not be used as it is."),
        _("No password is kept here for this customer: give them one, or let the code be enough."),
        _("The customer types the code that the token shows now, all of its digits."),
        _("The customer waits for the next code: each works only once."),
        _("The customer waits for half a minute: the delay after wrong answers ends by itself."),
        _("The customer begins the login again, with the password."),
        _("Compare the token ID that the app shows with the one here: it may be another token."),
        _("Look at the token where its codes are verified: it is not used there as it is here."),
        _("Correct the token's time, by two codes that follow one another."),
        _("Unlock the customer, once it is clear why they were locked."),
        _("Enrol a token."),
        _("Resume: the customer's token is suspended."),
        _("Report the token lost here too: somebody else who shares it has done so."),
        _("Permit a reissue, so that the customer can enrol a new token."),
        _("The customer enrols a new token with the permit that was handed over."),
        _("Look at the server: sekisho doctor says what is wrong."),
    }
)
"""What to do about a login that was refused, word for word; a test holds it against login/next_step.py."""

OBSTACLES = frozenset(
    {
        _("not known here"),
        _("import these customers, or check how this gateway writes their names (realm, fold_case, user_name_charset)"),
        _("no active token here"),
        _("import their tokens bound to them, let them enrol at the portal, or resume the use of OTP"),
        _("token reported lost here"),
        _("permit a reissue, or look why the old server lets it in"),
        _("locked here"),
        _("unlock them"),
        _("the password differs"),
        _("import their password hashes again, or name a first_factor that knows the passwords"),
        _("no password is kept here"),
        _('import their password hashes, name a first_factor, or write without_password = "code"'),
        _("the code would be wrong here"),
        _("compare seed and clock of the token: import the seed again, `sekisho resync`, or enrol the token anew"),
        _("the code was used here already"),
        _("it was used at another door; look again after one more login"),
        _("the counter token is out of step"),
        _("nothing is spent here meanwhile: `sekisho resync` when this gateway is switched"),
        _("another server verifies the codes"),
        _("it is not asked, because a code would be used up: try one login by hand"),
        _("would be asked for a code here"),
        _("the old server lets them in without one: tell them before the gateway is switched"),
        _("refused there, and let in here"),
        _("compare the two accounts: disabled there, or an older password kept here"),
        _("could not be compared"),
        _("CHAP, MS-CHAP and EAP hold no password to look at: let the gateway use PAP"),
        _("would be refused here"),
        _("see `sekisho explain login`"),
        _("only one login was seen"),
        _("wait for another login of theirs"),
        _("no login was seen through to its end"),
        _("wait for a login of theirs"),
    }
)
"""Shadow mode: what stands in the way of a customer, and what to do, word for word; a test holds it against
login/obstacles.py."""

_UNITS = (
    (86_400, _("%(number)s days"), _("%(number)s day")),
    (3600, _("%(number)s h"), _("%(number)s h")),
    (60, _("%(number)s min"), _("%(number)s min")),
)
_AGO, _AHEAD, _NOW = _("%(time)s ago"), _("in %(time)s"), _("just now")


class Words:
    """The words of one page. ``now``: seconds since the epoch."""

    def __init__(self, language: Language, zone: tzinfo, now: float) -> None:
        self._translate, self._zone, self._now = translator(language), zone, now

    def use(self, use: str) -> str:
        """A customer's use of one-time passwords."""
        return self._translate(USES[use])

    def token(self, state: str) -> str:
        """A token's state, or the list of those that drift."""
        return self._translate(TOKEN_STATES[state])

    def role(self, role: str) -> str:
        """A role of staff."""
        return self._translate(ROLES[role])

    def approval(self, state: str, expires_at: int) -> str:
        """Where a request has got to."""
        over = state in ("asked", "approved") and expires_at <= self._now * 1000
        return self._translate(APPROVAL_STATES["expired" if over else state])

    def event(self, event: str) -> str:
        """An event of the audit trail."""
        return self._translate(EVENTS[event]) if event in EVENTS else event

    def why(self, reason: str) -> str:
        """The reason of an audit row."""
        return self._translate(reason) if reason in REASONS else reason

    def file(self, state: str, what: str = "") -> str:
        """Where a file to be imported, or a list of tokens to be retired, has got to."""
        states = {**FILE_STATES, **_LIST_STATES} if what == "retirement" else FILE_STATES
        return self._translate(states[state])

    def file_of(self, what: str) -> str:
        """What a file has in it."""
        return self._translate(_FILES[what])

    def stranger(self, cause: str) -> str:
        """Why a datagram was no client's."""
        return self._translate(STRANGERS[cause]) if cause in STRANGERS else cause

    def remark(self, text: str) -> str:
        """How a wrong code missed: ``correct code, 3 steps late``; for each token that it is said of."""
        return "; ".join(self._missed(part) for part in text.split("; "))

    def _missed(self, text: str) -> str:
        said, _of, token_id = text.partition(", of token ")
        words = said.split()
        if len(words) != 5 or words[:2] != ["correct", "code,"] or (words[3].rstrip("s"), words[4]) not in _MISSED:
            return text
        message = _MISSED[words[3].rstrip("s"), words[4]]
        translated = self._translate(message)
        missed = said if translated == message else translated % {"number": words[2]}
        return f"{missed} ({token_id})" if token_id else missed

    def next_step(self, step: NextStep) -> str:
        """What to do about a login that was refused."""
        return self._translate(NEXT_STEP_TEXT[step])

    def forecast_change(self, change: Change) -> str:
        """How logins would fare otherwise."""
        return self._translate(CHANGE_TEXT[change])

    def forecast_note(self, note: Note) -> str:
        """What the reader of a forecast has to know."""
        return self._translate(NOTE_TEXT[note])

    def at(self, at_ms: int | None) -> str:
        """A moment in the bank's zone, to the second: ``2026-11-29 13:38:05``; a dash for never."""
        if not at_ms:
            return "-"
        return datetime.fromtimestamp(at_ms / 1000, self._zone).strftime("%Y-%m-%d %H:%M:%S")

    def made(self, id_: int) -> int:
        """When a row with this number was made (ms)."""
        return ms_of(id_)

    def ago(self, at_ms: int) -> str:
        """How long ago, or in how long, in the largest unit: ``3 min ago``."""
        return self.seconds_ago(self._now - at_ms / 1000)

    def seconds_ago(self, seconds: float) -> str:
        """The same of what lies so many seconds back; ahead, where there are fewer than none."""
        for size, many, one in _UNITS:
            number = int(abs(seconds) // size)
            if number:
                span = self._translate(one if number == 1 else many) % {"number": number}
                return self._translate(_AGO if seconds > 0 else _AHEAD) % {"time": span}
        return self._translate(_NOW)

    def many(self, number: int) -> str:
        """How many, as far as they were counted: ``10,000+``."""
        return f"{COUNTED:,}+" if number > COUNTED else f"{number:,}"

    def reference(self, id_: int) -> str:
        """The reference number of an audit row, in two groups."""
        text = reference_of(id_)
        return f"{text[:4]} {text[4:]}"
