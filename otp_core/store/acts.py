"""The journal of acts: what was done to customers and tokens lately, kept beside the store, so that it is known after
the store was put back. One line of JSON for each audit row of such an act; no secrets, as in the audit trail.

A line is on disk before the act is answered, and after its commit. Bounded: two files of about a megabyte each; the
older one is given up when the newer is full. It is never read to decide a login.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from otp_core.audit import Event
from otp_core.model import AuditRow

JOURNALED = frozenset(
    {
        Event.CUSTOMER_ADDED,
        Event.CUSTOMER_RENAMED,
        Event.CUSTOMER_EDITED,
        Event.CUSTOMER_LOCKED,
        Event.CUSTOMER_UNLOCKED,
        Event.TOKEN_IMPORTED,
        Event.TOKEN_RETIRED,
        Event.TOKEN_RESYNCHRONISED,
        Event.ENROLLED,
        Event.SUSPENDED,
        Event.RESUMED,
        Event.DEVICE_CHANGED,
        Event.TOKEN_ADDED,
        Event.TOKEN_REMOVED,
        Event.REPORTED_LOST,
        Event.ONE_REPORTED_LOST,
        Event.REISSUE_PERMITTED,
        Event.OFFLINE_ISSUED,
        Event.STAFF_ADDED,
        Event.STAFF_ROLE_CHANGED,
        Event.STAFF_DISABLED,
        Event.STAFF_RESET,
        Event.STAFF_SIGN_ON_UNLINKED,
        Event.API_KEY_CREATED,
        Event.API_KEY_REVOKED,
    }
)
"""Events whose loss somebody has to hear of."""

MOST_OCTETS = 1_000_000
"""Of one of the two files."""

_MOST_LINES = 20
"""Rows of one transaction that are written one by one; an import, which has more, gets one line for each event."""

_END = 16_000
"""Octets at the end of the file that hold a few lines."""

SWEEPERS = ("sekisho", "soft token")
"""Actors of the audit rows of tokens that were retired because nobody had confirmed them: a restore voids those by
itself. Such a row has no source, as every command and page has: a user of this machine may be called so, too."""

RENAMED = "was "
"""What stands before a customer's contract ID of before, at the end of a reason."""

_TEXT = 200
"""Characters of a reason that are kept, those at its end."""


class KnownAct(NamedTuple):
    """An act of the journal, or of an audit trail. ``id`` tells the time (audit.ms_of). ``number``: how many audit rows
    it stands for; ``customer`` and ``token`` are the last one's then."""

    id: int
    event: str
    actor: str
    customer: str | None
    token: str | None
    reason: str
    number: int = 1


def complain(event: str, path: Path, cause: OSError) -> None:
    """Tell that the journal cannot be used: in the log, or on standard error by a command, which has none."""
    if structlog.is_configured():
        structlog.get_logger("store").error(event, file=str(path), cause=str(cause))
    else:
        sys.stderr.write(f"sekisho: {event}: {cause}\n")


class ActsJournal:
    """The journal of one store. Every process that writes to the store appends to it."""

    def __init__(self, store_file: Path) -> None:
        self.path = store_file.with_name(store_file.name + ".acts")
        self._older = store_file.with_name(store_file.name + ".acts.1")
        self._store_file = store_file
        self._latest: Sequence[int] = ()
        self._version = (0, 0, 0)

    def add(self, rows: Iterable[AuditRow]) -> None:
        """Append the rows of one committed transaction that are to be kept, and flush. Raises OSError."""
        self.add_known(_condensed([row for row in rows if _is_kept(row)]))

    def add_known(self, acts: Iterable[KnownAct]) -> None:
        """Append acts, and flush. Raises OSError."""
        lines = "".join(json.dumps(act._asdict()) + "\n" for act in acts)
        if not lines:
            return
        descriptor = self._opened()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_size > MOST_OCTETS and _is_at(descriptor, self.path):
                self.path.replace(self._older)
                os.close(descriptor)
                descriptor = self._opened()
            os.write(descriptor, lines.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def known(self, after: int = 0) -> list[KnownAct]:
        """The acts with an id above ``after``, in the order of time. A line that is damaged is left out. Raises
        OSError."""
        found = {}
        for path in (self._older, self.path):
            try:
                with path.open("rb") as file:
                    octets = file.read(4 * MOST_OCTETS)
            except FileNotFoundError:
                continue
            for line in octets.splitlines():
                act = _parsed(line)
                if act is not None and act.id > after:
                    found[act.id, act.event] = act
        return [found[key] for key in sorted(found)]

    def latest(self) -> Sequence[int]:
        """The ids of the acts that were noted last, some dozens, the newest one last. Reads the end of the newer file,
        if that has changed. Raises OSError."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                version = (status.st_ino, status.st_size, status.st_mtime_ns)
                if version != self._version:
                    file.seek(max(0, status.st_size - _END))
                    acts = map(_parsed, file.read(_END).splitlines())
                    self._latest, self._version = [one.id for one in acts if one is not None], version
        except FileNotFoundError:
            return ()
        return self._latest

    def give_up(self) -> None:
        """Another store begins in the place of the one whose acts these are: they are the older file from now on.
        Raises OSError."""
        if self.path.exists():
            self.path.replace(self._older)

    def _opened(self) -> int:
        is_new = not self.path.exists()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if is_new:
            if os.geteuid() == 0:
                owner = (self._store_file if self._store_file.exists() else self.path.parent).stat()
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return descriptor


_AGAIN = {
    Event.CUSTOMER_ADDED: "sekisho customer add {customer}",
    Event.CUSTOMER_RENAMED: "sekisho customer rename {before} {customer}",
    Event.CUSTOMER_EDITED: "sekisho customer edit {customer}",
    Event.CUSTOMER_LOCKED: "sekisho customer lock {customer}",
    Event.CUSTOMER_UNLOCKED: "sekisho customer unlock {customer}",
    Event.TOKEN_RETIRED: "sekisho token retire {token}",
    Event.TOKEN_RESYNCHRONISED: "sekisho resync {customer} --token {token}",
    Event.ENROLLED: "sekisho enrol {customer} {token}",
    Event.SUSPENDED: "sekisho suspend {customer}",
    Event.RESUMED: "sekisho resume {customer}",
    # The old token is the customer's again, and may be in other hands: the new one is let in by a permit.
    Event.DEVICE_CHANGED: "sekisho report-lost {customer}{old}",
    Event.TOKEN_ADDED: "sekisho device add {customer} {token}",
    Event.TOKEN_REMOVED: "sekisho device remove {customer} {token}",
    Event.REPORTED_LOST: "sekisho report-lost {customer}",
    Event.ONE_REPORTED_LOST: "sekisho report-lost {customer} --token {token}",
    Event.REISSUE_PERMITTED: "sekisho permit-reissue {customer}",
    Event.OFFLINE_ISSUED: "sekisho pam-offline issue --host HOST --user {customer}",
    Event.STAFF_ADDED: "sekisho staff add {name} --role ROLE",
    Event.STAFF_ROLE_CHANGED: "sekisho staff role {name} --role ROLE",
    Event.STAFF_DISABLED: "sekisho staff disable {name}",
    Event.STAFF_RESET: "sekisho staff reset {name}",
    Event.STAFF_SIGN_ON_UNLINKED: "sekisho staff unlink {name}",
    Event.API_KEY_CREATED: "sekisho api-key create {name} --scope SCOPE",
    Event.API_KEY_REVOKED: "sekisho api-key revoke {name}",
}
_AGAIN_MANY = {
    Event.CUSTOMER_ADDED: "sekisho customer import FILE.csv",
    Event.ENROLLED: "sekisho customer import FILE.csv",
    Event.TOKEN_IMPORTED: "sekisho token import FILE.csv",
}


def enter_again(act: KnownAct) -> str | None:
    """The command by which staff enters an act again; None: there is nothing to do, or no command for it."""
    if act.event == Event.TOKEN_RETIRED and act.customer is not None:
        return None  # a part of an enrolment or a device change, which has a line of its own
    if act.event == Event.TOKEN_RESYNCHRONISED and act.customer is None:
        return f"sekisho token resync {shlex.quote(act.token or '')}"
    many, old = act.number > 1 or act.event == Event.TOKEN_IMPORTED, _changed_token(act)
    form = next((text for event, text in (_AGAIN_MANY if many else _AGAIN).items() if event == act.event), None)
    texts = {"customer": act.customer or "", "token": act.token or "", "name": subject_of(None, None, act.reason)}
    texts["before"] = act.reason.rpartition(RENAMED)[2]
    quoted = {name: shlex.quote(text) for name, text in texts.items()}
    return form and form.format(**quoted, old=f" --token {shlex.quote(old)}" if old else "")


def subject_of(customer: str | None, token: str | None, reason: str) -> str:
    """Whom or what an audit row is about. Of an act on staff or an API key it is the name at the beginning of
    the reason (accounts/transactions.py)."""
    return customer or token or reason.partition(":")[0]


_NAMES_A_TOKEN = {
    Event.TOKEN_ADDED: (Event.TOKEN_ADDED,),
    Event.TOKEN_REMOVED: (Event.TOKEN_REMOVED, Event.ONE_REPORTED_LOST, Event.REPORTED_LOST),
    # It may be the last one that there is, when it is entered again.
    Event.ONE_REPORTED_LOST: (Event.ONE_REPORTED_LOST, Event.REPORTED_LOST),
    # One that is the customer's no more needs none.
    Event.TOKEN_RESYNCHRONISED: (
        Event.TOKEN_RESYNCHRONISED,
        Event.TOKEN_RETIRED,
        Event.ONE_REPORTED_LOST,
        Event.REPORTED_LOST,
    ),
}
"""Acts on one of several tokens, each with the events of that same token by which it was entered again."""


Done = tuple[str, str | None, str | None, str]
"""Event, customer, token and reason of an audit row."""


def is_entered(act: KnownAct, since: Collection[Done]) -> bool:
    """Whether an act was entered again. ``since``: what was done after it was lost."""
    tokens = {(event, customer, token) for event, customer, token, _ in since}
    for named, by in _NAMES_A_TOKEN.items():
        if act.event == named:
            return any((one, act.customer, act.token) in tokens for one in by)
    events: tuple[str, ...] = (act.event,)
    lost = act.token if act.event == Event.REPORTED_LOST else _changed_token(act)
    if act.event == Event.DEVICE_CHANGED:
        events = (act.event, Event.REPORTED_LOST)
    if lost and (Event.ONE_REPORTED_LOST, act.customer, lost) in tokens:
        return True  # another token is the customer's again, too, and goes on working
    subject = subject_of(act.customer, act.token, act.reason)
    return any(
        event in events and subject_of(customer, token, reason) == subject for event, customer, token, reason in since
    )


def _changed_token(act: KnownAct) -> str | None:
    """The token that went with a change of device; None: not known, or several."""
    _, was, old = act.reason.rpartition(RENAMED)
    return old if was and act.event == Event.DEVICE_CHANGED and " " not in old else None


def of_rows(rows: Iterable[AuditRow]) -> list[KnownAct]:
    """The acts among rows of an audit trail. Rows that an import wrote are one act."""
    acts: list[KnownAct] = []
    for row in filter(_is_kept, rows):
        act = _act(row, 1)
        before = acts[-1] if acts and act.event in _AGAIN_MANY else None
        if before and (before.event, before.actor, before.reason) == (act.event, act.actor, act.reason):
            acts[-1] = act._replace(number=before.number + 1)
        else:
            acts.append(act)
    return acts


def _is_kept(row: AuditRow) -> bool:
    is_sweep = row.event == Event.TOKEN_RETIRED and row.customer is None and not row.source and row.actor in SWEEPERS
    return row.event in JOURNALED and not is_sweep


def _condensed(rows: Sequence[AuditRow]) -> list[KnownAct]:
    if len(rows) <= _MOST_LINES:
        return [_act(row, 1) for row in rows]
    last = {row.event: row for row in rows}
    return [_act(row, sum(one.event == event for one in rows)) for event, row in last.items()]


def _act(row: AuditRow, number: int) -> KnownAct:
    return KnownAct(row.id, row.event, row.actor, row.customer, row.token, row.reason[-_TEXT:], number)


def _parsed(line: bytes) -> KnownAct | None:
    try:
        value = json.loads(line)
        act = KnownAct(**value)
    except (ValueError, TypeError):
        return None
    texts = (act.event, act.actor, act.reason, act.customer or "", act.token or "")
    sound = all(isinstance(one, str) for one in texts) and type(act.id) is int and type(act.number) is int
    return act if sound else None


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
