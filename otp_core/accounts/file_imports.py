"""Files that staff imports on the console: kept sealed until they are decided, begun, withdrawn. Their rows are checked
and written by otp_core/imports/task.py. Times are ms since the epoch.

What is done with a file is bound to its digest, which is keyed and covers how it is read: it is asked for, approved and
begun by that, and looked at again when the file is opened.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal, PrincipalKind
from otp_core.accounts.results import Refusal, Refused
from otp_core.accounts.staff import staff_principal
from otp_core.accounts.transactions import SYSTEM, Transactions, rerun_on_conflict
from otp_core.accounts.written import written
from otp_core.audit import Event
from otp_core.sealing import KeyProblem, Sealer
from otp_core.store import file_imports as statements
from otp_core.store.approvals import withdraw_open
from otp_core.store.file_imports import RETIREMENT, FileImport, FileState
from otp_core.store.retry import wait_while_busy
from otp_core.store.staff import staff_record
from otp_core.store.unit_of_work import Work
from otp_core.verifier import LOCAL_VERIFIER

if TYPE_CHECKING:
    from otp_core.accounts.approval_kinds import About
    from otp_core.accounts.desk import Desk

MOST_KEPT = 10
"""Files at once: received, waiting, or worked on."""

FILE_HOURS = 48
"""How long a file waits to be decided: it is asked for within a day, and approved within another."""

RECEIVE_SECONDS = 600
"""After which a file that was received half is given up: the process has ended."""

PIECE = 256 * 1024
"""Octets of a piece: one transaction, for which a login may have to wait."""

_PAUSE = 0.005
_PIECES_AT_ONCE = 20

UPLOADED: Mapping[str, Act] = {"customers": Act.IMPORT_CUSTOMERS, "tokens": Act.IMPORT_TOKENS}
ACTS: Mapping[str, Act] = {**UPLOADED, RETIREMENT: Act.RETIRE_TOKENS}
"""What whoever imports a file of this kind, or has a list of tokens retired, has to be permitted."""


class _Steps(NamedTuple):
    """What the audit trail calls the steps of a file. ``noun``: of what is counted; ``of``: what it is to the acts of
    its rows."""

    kept: Event | None
    begun: Event
    ended: Event
    withdrawn: Event
    noun: str
    of: str


_IMPORT = _Steps(
    Event.IMPORT_KEPT, Event.IMPORT_BEGUN, Event.IMPORT_ENDED, Event.IMPORT_WITHDRAWN, noun="rows", of="file"
)
_RETIREMENT = _Steps(
    None, Event.RETIREMENT_BEGUN, Event.RETIREMENT_ENDED, Event.RETIREMENT_WITHDRAWN, noun="tokens", of="tokens"
)


@dataclass(frozen=True, slots=True)
class FileChoices:
    """How a file is read. ``encoding``: empty for the one that is found; ``seeds``: a SeedForm; ``verifier``: who knows
    the tokens' codes; ``skip_existing``: what is in the store is left as it is; ``as_typed``: what looks damaged is
    right."""

    encoding: str = ""
    seeds: str = "hex"
    verifier: str = "local"
    skip_existing: bool = False
    as_typed: bool = False

    @property
    def text(self) -> str:
        """As the store keeps them."""
        return json.dumps(asdict(self), sort_keys=True)


class Choices(Protocol):
    """How a file is read. ``text``: as the store keeps it."""

    @property
    def text(self) -> str:
        """JSON."""


class FileImportService:
    """The steps of a file. Every one may raise Refused."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def keep(
        self,
        what: str,
        name: str,
        choices: Choices,
        file: BinaryIO,
        principal: Principal,
        facts: Mapping[str, object] | None = None,
    ) -> int:
        """Take a file in, sealed and in pieces, to be checked next; its number. ``what``: of ACTS; ``facts``: what its
        check would find, of one that needs none. May be slow: for a thread. Raises StoreUnavailable; then nothing of it
        is left after a while."""
        kind = "tokens" if what == RETIREMENT else what
        key = wait_while_busy(lambda: self._receive(what, kind, name, choices, principal))
        store, whole, size, number = self._transactions.store, hashlib.sha256(), 0, 0
        file.seek(0)
        while piece := file.read(PIECE):
            whole.update(piece)
            size += len(piece)
            sealed = store.sealer.seal_data(piece, _piece_digest(store.sealer, key, number))
            wait_while_busy(partial(self._add_piece, key, number, sealed))
            number += 1
            time.sleep(_PAUSE)
        digest = _digest(store.sealer, kind, choices.text, whole.digest())
        wait_while_busy(lambda: self._received(key, size, digest, principal, facts))
        return key

    def _add_piece(self, key: int, number: int, sealed: bytes) -> None:
        with self._transactions.store.work_aside() as work:
            statements.add_piece(work.connection, key, number, sealed)

    @rerun_on_conflict
    def _receive(self, what: str, kind: str, name: str, choices: Choices, principal: Principal) -> int:
        with self._transactions.act(ACTS[what], principal) as work:
            if statements.count_kept(work.connection) >= MOST_KEPT:
                raise Refused(Refusal.TOO_MANY, f"{MOST_KEPT} files wait: decide about them first")
            record = staff_record(work.connection, principal.name)
            if record is None:
                raise Refused(Refusal.NOT_PERMITTED, f"{principal.name} is no member of staff")
            key = self._transactions.store.ids.next()
            statements.add_file_import(
                work.connection,
                key=key,
                kind=kind,
                file_name=written(name),
                choices=choices.text,
                size=0,
                digest=b"",
                state=FileState.RECEIVING,
                asked_by=record.key,
                source=principal.source,
                reason=principal.reason,
                changed_at=self._transactions.stamp(),
            )
            return key

    @rerun_on_conflict
    def _received(
        self, key: int, size: int, digest: bytes, principal: Principal, facts: Mapping[str, object] | None
    ) -> None:
        found, after = self._found(key), FileState.CHECKING if facts is None else FileState.CHECKED
        with self._transactions.act(ACTS[found.what], principal) as work:
            changed = {"size": size, "digest": digest, "changed_at": self._transactions.stamp()}
            known = {} if facts is None else {"found": json.dumps(facts, ensure_ascii=False)}
            if not statements.move_file_import(work.connection, key, FileState.RECEIVING, after, **changed, **known):
                raise Refused(Refusal.NOT_NOW, "it took too long to receive")
            event, detail = _steps(found).kept, f"{found.kind}, {size:,} octets"
            if event is not None:
                self._transactions.record_named(work, event, principal, found.file_name, detail)

    @rerun_on_conflict
    def begin(self, key: int, principal: Principal) -> None:
        """Have a checked file written, where nobody else has to approve it: by whoever has brought it."""
        found = self._found(key)
        with self._transactions.act(ACTS[found.what], principal) as work:
            self._begin(work, found, principal, None)

    def begin_approved(self, about: About, by: Principal) -> int:
        """The same, as the act of an approved request, in its transaction; its number."""
        found = self._found(int(about.subject))
        with self._transactions.act(ACTS[found.what], by) as work:
            if found.digest.hex() != about.payload.get("digest"):
                raise Refused(Refusal.NOT_NOW, "it is not the file that was asked for")
            self._begin(work, found, by, by.reason.rpartition("; approved by ")[2])
        return found.key

    def decidable(self, work: Work, key: int, principal: Principal) -> FileImport:
        """A file that waits to be decided, of whoever asks, and that nobody was asked about."""
        found = statements.file_import_of(work.connection, key)
        if found is None or found.state != FileState.CHECKED or found.approval_key is not None:
            raise Refused(Refusal.NOT_NOW, "it is not waiting to be decided, or was asked for already")
        if found.asked_by != principal.name:
            raise Refused(Refusal.NOT_PERMITTED, "only whoever has brought the file may do this")
        self._transactions.check_may(work, principal, ACTS[found.what])
        return found

    def _begin(self, work: Work, found: FileImport, principal: Principal, approved_by: str | None) -> None:
        if found.asked_by != principal.name:
            raise Refused(Refusal.NOT_PERMITTED, "only whoever has brought the file may do this")
        changed = {"done": 0, "approved_by": approved_by, "attempts": 0, "claimed_until": 0}
        stamp = self._transactions.stamp()
        if not statements.move_file_import(
            work.connection, found.key, FileState.CHECKED, FileState.WRITING, changed_at=stamp, **changed
        ):
            raise Refused(Refusal.NOT_NOW, "it is not waiting to be decided any more")
        facts = found.facts
        steps = _steps(found)
        detail = f"{found.what}, {facts['rows'] - facts['skipped']:,} {steps.noun}"
        self._transactions.record_named(work, steps.begun, principal, found.file_name, detail)

    @rerun_on_conflict
    def withdraw(self, key: int, principal: Principal) -> None:
        """Give a file up that waits to be decided: by whoever has brought it. What was asked about it is withdrawn."""
        found = self._found(key)
        with self._transactions.act(ACTS[found.what], principal) as work:
            if found.asked_by != principal.name:
                raise Refused(Refusal.NOT_PERMITTED, "only whoever has brought the file may do this")
            if not self._give_up(work, found.key, FileState.CHECKED, "withdrawn"):
                raise Refused(Refusal.NOT_NOW, "it is not waiting to be decided any more")
            if found.approval_key is not None:
                withdraw_open(work.connection, found.approval_key)
            self._transactions.record_named(work, _steps(found).withdrawn, principal, found.file_name, found.what)
        self.tidy()

    def sweep(self) -> bool:
        """Give up what nobody decides about, delete the pieces of what is over, and later the rest of it; whether there
        was any. Raises StoreUnavailable, ClockWrong."""
        store, now = self._transactions.store, self._transactions.stamp()
        limits = now - RECEIVE_SECONDS * 1000, now - FILE_HOURS * 3_600_000
        with store.read() as connection:
            late = statements.undecided(connection, now, *limits)
        if late:
            with store.work_aside() as work:
                for key, state in late:
                    self._give_up_late(work, key, state)
        return self.tidy() or self._forget() or bool(late)

    def _give_up_late(self, work: Work, key: int, state: str) -> None:
        """Unless somebody was faster. What was received half was never recorded as kept."""
        found = statements.file_import_of(work.connection, key)
        if found is None or not self._give_up(work, key, state, "undecided") or state == FileState.RECEIVING:
            return
        principal = Principal(SYSTEM.name, SYSTEM.kind, found.source, f"nobody has decided, for {found.asked_by}")
        self._transactions.record_named(work, _steps(found).withdrawn, principal, found.file_name, found.what)

    def _forget(self) -> bool:
        """Delete some files that are long over; whether there were any. None before the clock has settled."""
        return self._transactions.forget_late(statements.has_late_file_imports, statements.forget_file_imports)

    def tidy(self) -> bool:
        """Delete some pieces of a file that is over; whether there were any. Raises StoreUnavailable."""
        store = self._transactions.store
        with store.read() as connection:
            key = statements.piece_owner_to_empty(connection)
        if key is None:
            return False
        with store.work_aside() as work:
            return statements.drop_pieces(work.connection, key, _PIECES_AT_ONCE) > 0

    def _give_up(self, work: Work, key: int, before: str, why: str) -> bool:
        """False if it is not in the state ``before`` any more."""
        changed = {"why": why, "changed_at": self._transactions.stamp()}
        return statements.move_file_import(work.connection, key, before, FileState.WITHDRAWN, **changed)

    def opened(self, found: FileImport) -> BinaryIO:
        """The file, in memory. Raises KeyProblem if it is not the one that was brought, or is read in another way."""
        store, whole, plain, number = self._transactions.store, hashlib.sha256(), io.BytesIO(), 0
        while True:
            with store.read() as connection:
                sealed = statements.piece_of(connection, found.key, number)
            if sealed is None:
                break
            piece = store.sealer.unseal_data(sealed, _piece_digest(store.sealer, found.key, number))
            whole.update(piece)
            plain.write(piece)
            number += 1
        if _digest(store.sealer, found.kind, found.choices, whole.digest()) != found.digest:
            raise KeyProblem("the file is not the one that was brought")
        return plain

    def importing(self, found: FileImport) -> Principal:
        """Whoever has brought the file, as they are now. Raises Refused if they may not import it any more."""
        store = self._transactions.store
        with store.read() as connection:
            record = staff_record(connection, found.asked_by)
            if record is None:
                raise Refused(Refusal.NOT_PERMITTED, f"{found.asked_by} is no member of staff any more")
            approved = f"; approved by {found.approved_by}" if found.approved_by else ""
            reason = f"{_steps(found).of} {found.file_name}: {found.reason}{approved}"
            principal = staff_principal(record, found.source, reason)
            self._transactions.check_may(Work(connection, store.ids), principal, ACTS[found.what])
        return principal

    def end(
        self,
        work: Work,
        found: FileImport,
        state: FileState,
        *,
        facts: str | None = None,
        why: str | None = None,
        written: int = 0,
    ) -> None:
        """Note how the check or the writing has ended, in a transaction of the task's."""
        changed: dict[str, object] = {
            "why": why,
            "changed_at": self._transactions.stamp(),
            "claimed_until": 0,
            "claim": 0,
        }
        if facts is not None:
            changed["found"] = facts
        if state is FileState.CHECKED:
            changed["done"] = 0
        if not statements.move_file_import(work.connection, found.key, found.state, state, **changed):
            return
        if found.state == FileState.WRITING:
            principal = Principal(
                "sekisho", PrincipalKind.SYSTEM, found.source, f"for {found.asked_by}: {found.reason}"
            )
            steps, stopped = _steps(found), "" if why is None else f", stopped: {why}"
            detail = f"{found.what}, {written:,} {steps.noun}{stopped}"
            self._transactions.record_named(work, steps.ended, principal, found.file_name, detail)

    def _found(self, key: int) -> FileImport:
        with self._transactions.store.read() as connection:
            found = statements.file_import_of(connection, key)
        if found is None:
            raise Refused(Refusal.NOT_NOW, "there is no such file")
        return found


def _steps(found: FileImport) -> _Steps:
    return _RETIREMENT if found.what == RETIREMENT else _IMPORT


def ask_for_import(
    desk: Desk,
    key: int,
    principal: Principal,
    act: str = "import",
    payload_of: Callable[[FileImport], Mapping[str, object]] | None = None,
) -> int:
    """Ask another person to approve a checked file, as this kind of act; the number of the request. Raises Refused, and
    StoreBusy as ``Desk.together`` does."""
    refused: Refused | None = None
    with desk.together() as (joined, work):
        try:
            found = joined.file_imports.decidable(work, key, principal)
            number = joined.approvals.ask(act, str(key), principal, (payload_of or _payload)(found))
            statements.set_approval(work.connection, key, number)
        except Refused as error:
            refused = error
    if refused is not None:
        raise refused
    return number


def _payload(found: FileImport) -> Mapping[str, object]:
    facts, verifier = found.facts, json.loads(found.choices)["verifier"]
    return {
        "digest": found.digest.hex(),
        "kind": found.kind,
        "name": found.file_name,
        "size": found.size,
        "new": facts["rows"] - facts["skipped"],
        "skipped": facts["skipped"],
        "names": facts["names"],
        "verifier": "" if verifier == LOCAL_VERIFIER else verifier,
    }


def file_seen(work: Work, about: About) -> str:
    """What has to be as it was when an import was asked for: the file, how it is read, and that it waits."""
    return waiting_file(work, about).digest.hex()


def waiting_file(work: Work, about: About) -> FileImport:
    """The file that a request is about. Raises Refused if it does not wait to be decided."""
    found = statements.file_import_of(work.connection, int(about.subject))
    if found is None or found.state != FileState.CHECKED or found.asked_by != about.asked_by:
        raise Refused(Refusal.NOT_NOW, "the file does not wait to be decided any more")
    return found


def carry_out_import(desk: Desk, about: About, by: Principal) -> object:
    """Begin an import that was approved; the number of the file."""
    return desk.file_imports.begin_approved(about, by)


def import_words(about: About) -> str:
    """An import for the audit trail."""
    return f"import of {about.payload.get('name', about.subject)}, {about.payload.get('kind', 'file')}"


def _piece_digest(sealer: Sealer, key: int, number: int) -> bytes:
    return sealer.session_digest(f"file {key} piece {number}".encode())


def _digest(sealer: Sealer, kind: str, choices: str, sha256: bytes) -> bytes:
    return sealer.session_digest(b"file import\0" + kind.encode() + b"\0" + choices.encode() + b"\0" + sha256)
