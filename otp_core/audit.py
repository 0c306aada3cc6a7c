"""The events of the audit trail, and the numbers that order its rows (``model.AuditRow``). A row never holds a secret.

A row says when something happened, what, who did it, to which customer, with which token, from where, and why.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from enum import StrEnum


class Event(StrEnum):
    """Every event that can be recorded. The values are in stores and in scripts: they never change."""

    LOGIN_ACCEPTED = "login.accepted"
    LOGIN_CHALLENGED = "login.challenged"
    LOGIN_REJECTED = "login.rejected"
    LOGIN_REPEATED = "login.repeated"
    LOGIN_EXEMPT = "login.exempt"
    ACCOUNT_REFUSED = "account.refused"
    OFFLINE_KEY = "offline.key"
    OFFLINE_ISSUED = "offline.issued"
    OFFLINE_SPENT = "offline.spent"
    OFFLINE_WRONG = "offline.wrong"
    OFFLINE_CONFLICT = "offline.conflict"
    CUSTOMER_ADDED = "customer.added"
    CUSTOMER_RENAMED = "customer.renamed"
    CUSTOMER_EDITED = "customer.edited"
    CUSTOMER_LOCKED = "customer.locked"
    CUSTOMER_UNLOCKED = "customer.unlocked"
    PASSWORD_REHASHED = "password.rehashed"
    TOKEN_IMPORTED = "token.imported"
    TOKEN_ISSUED = "token.issued"
    TOKEN_SENT_AGAIN = "token.sent-again"
    TOKEN_RETIRED = "token.retired"
    TOKEN_RESYNCHRONISED = "token.resynchronised"
    TOKEN_FOUND = "token.found"
    CODE_SPENT = "token.code-spent"
    ENROLLED = "otp.enrolled"
    SUSPENDED = "otp.suspended"
    RESUMED = "otp.resumed"
    DEVICE_CHANGED = "otp.device-changed"
    TOKEN_ADDED = "otp.token-added"
    TOKEN_REMOVED = "otp.token-removed"
    TOKEN_NAMED = "otp.token-named"
    REPORTED_LOST = "otp.reported-lost"
    ONE_REPORTED_LOST = "otp.one-reported-lost"
    REISSUE_PERMITTED = "otp.reissue-permitted"
    CHANGE_ASKED = "otp.change-asked"
    TERMS_ACCEPTED = "terms.accepted"
    OLD_CODE_GIVEN = "otp.old-code-given"
    PAGES_ENTERED = "pages.entered"
    PAGES_REFUSED = "pages.refused"
    SESSION_ENDED = "session.ended"
    NOTICE_SENT = "notice.sent"
    NOTICE_FAILED = "notice.failed"
    STAFF_ADDED = "staff.added"
    STAFF_ROLE_CHANGED = "staff.role-changed"
    STAFF_DISABLED = "staff.disabled"
    STAFF_RESET = "staff.reset"
    STAFF_PASSKEY_ADDED = "staff.passkey-added"
    STAFF_SIGN_ON_LINKED = "staff.sign-on-linked"
    STAFF_SIGN_ON_UNLINKED = "staff.sign-on-unlinked"
    STAFF_ENTERED = "staff.entered"
    STAFF_REFUSED = "staff.refused"
    STAFF_CONFIRMED = "staff.confirmed"
    STAFF_SESSION_ENDED = "staff.session-ended"
    APPROVAL_ASKED = "approval.asked"
    APPROVAL_GIVEN = "approval.given"
    APPROVAL_REFUSED = "approval.refused"
    APPROVAL_WITHDRAWN = "approval.withdrawn"
    IMPORT_KEPT = "import.kept"
    IMPORT_BEGUN = "import.begun"
    IMPORT_ENDED = "import.ended"
    IMPORT_WITHDRAWN = "import.withdrawn"
    RETIREMENT_BEGUN = "retirement.begun"
    RETIREMENT_ENDED = "retirement.ended"
    RETIREMENT_WITHDRAWN = "retirement.withdrawn"
    API_KEY_CREATED = "api-key.created"
    API_KEY_REVOKED = "api-key.revoked"
    REFUSED = "act.refused"
    LOOKED_AT = "looked.at-customer"
    LOOKED_THROUGH = "looked.through-customers"
    CLOCK_TRUSTED = "clock.trusted"
    STORE_BACKED_UP = "store.backed-up"
    STORE_RESTORED = "store.restored"
    STORE_COPIED = "store.copied"
    STORE_RECOVERED = "store.recovered"
    CLOCK_REPAIRED = "clock.repaired"
    LOST_TIME_VOIDED = "store.lost-time-voided"
    PERMIT_VOIDED = "otp.permit-voided"
    AUDIT_EXPORTED = "audit.exported"
    AUDIT_DROPPED = "audit.dropped"
    SEALS_BEGUN = "seals.begun"
    SEAL_KEY_CHANGED = "seals.key-changed"


COMMAND_SOURCE = "cli"
"""How the source of what the command line has done begins. No address begins so."""

NOTICED = frozenset(
    {
        Event.ENROLLED,
        Event.SUSPENDED,
        Event.RESUMED,
        Event.DEVICE_CHANGED,
        Event.TOKEN_ADDED,
        Event.TOKEN_REMOVED,
        Event.CUSTOMER_LOCKED,
        Event.REPORTED_LOST,
        Event.ONE_REPORTED_LOST,
        Event.REISSUE_PERMITTED,
        Event.CHANGE_ASKED,
    }
)
"""Events that customers are notified of by e-mail, if notices are on."""


class NodeName:
    """What the rows that a process writes say of which node they are from; None: nothing. It may change while the
    process runs."""

    def __init__(self, value: str | None = None) -> None:
        self.value = value


TAG_BITS = 10
"""Low bits of an id, which differ between processes that make one in the same microsecond."""


LENT_TAGS = 896
"""Tags below this one are lent by the store to processes that serve it, each to one (store/nodes.py). Everybody else
draws one of the others. An id that two have made all the same is drawn again by whoever is later."""


def _drawn() -> int:
    return LENT_TAGS + secrets.randbelow((1 << TAG_BITS) - LENT_TAGS)


class Ids:
    """Makes ids in the order of time, without coordination between processes or nodes.

    An id has 63 bits: microseconds since the epoch, then the TAG_BITS bits of the process: ``tag``, which no other one
    has; None: one is drawn. In one process they are strictly rising, also when its clock is set back.
    """

    def __init__(self, clock: Callable[[], float] = time.time, tag: int | None = None) -> None:
        self._clock = clock
        self._is_lent = tag is not None
        self._tag = (_drawn() if tag is None else tag) & ((1 << TAG_BITS) - 1)
        self._last = 0

    def follow(self, clock: Callable[[], float]) -> None:
        """Number by this clock from now on. The numbers may begin again at an earlier time: then under another tag.
        ``clock``: seconds since the epoch."""
        self._clock = clock
        if not self._is_lent or int(clock() * 1_000_000) < self._last:
            self._last, self._is_lent, self._tag = 0, False, _drawn()

    def pass_(self, id_: int) -> None:
        """Number above this id from now on, whatever the clock says."""
        self._last = max(self._last, id_ >> TAG_BITS)

    def next(self) -> int:
        """The next number."""
        self._last = max(int(self._clock() * 1_000_000), self._last + 1)
        return self._last << TAG_BITS | self._tag

    def following(self) -> int:
        """The number behind the last one, without a look at the clock: for a further row of the same moment."""
        self._last += 1
        return self._last << TAG_BITS | self._tag


class SharedIds(Ids):
    """The same for a process whose threads draw ids too."""

    def __init__(self, clock: Callable[[], float] = time.time, tag: int | None = None) -> None:
        super().__init__(clock, tag)
        self._mutex = threading.Lock()

    def pass_(self, id_: int) -> None:
        """See ``Ids``."""
        with self._mutex:
            super().pass_(id_)

    def next(self) -> int:
        """See ``Ids``."""
        with self._mutex:
            return super().next()

    def following(self) -> int:
        """See ``Ids``."""
        with self._mutex:
            return super().following()


def id_at(at_ms: int) -> int:
    """The smallest id of a moment in ms since the epoch, for ranges of time."""
    return at_ms * 1000 << TAG_BITS


def ms_of(id_: int) -> int:
    """The moment in which an id was made, in ms since the epoch."""
    return (id_ >> TAG_BITS) // 1000
