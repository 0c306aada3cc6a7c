"""Makes the seals: one more for the rows that came since the last, signed and chained to it, and a copy outside.

It runs beside the logins, in one process for a store. What goes wrong is logged, and tried again; nobody waits for it.
It never makes a seal in silence over seals that are gone: the next one says which (``Lost``), and what the trail gives
as the reason.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from otp_core.audit import Event
from otp_core.model import StoreBusy, StoreStopped, StoreUnavailable
from otp_core.sealing import KeyProblem
from otp_core.seals.copies import CopiedSeal, SealCopy
from otp_core.seals.keys import public_name, read_seal_key
from otp_core.seals.rows import stretch_of
from otp_core.seals.seal import MOST_ROWS, Dropped, Lost, Seal, hash_of, is_signed, read_seal
from otp_core.store.engine import SealStore
from otp_core.store.trail import Lines, SealRow, lines_of

_log = structlog.get_logger("seals")

INTERVAL = 1.0
"""Seconds between two seals, where rows come."""

_SAY_AGAIN = 300.0
"""Seconds between two lines about one trouble."""

NO_LINES = lines_of([])

EXPLAINS = (Event.STORE_RESTORED.encode(), Event.LOST_TIME_VOIDED.encode())
"""Events of the trail that say why seals may be gone: the store is an older one."""


class Sealer:
    """``key_file`` and ``copy``: as in the settings. ``now_ms``: the best known time, in ms since the epoch. ``begun``:
    called when the very first seal was made, for a row in the trail."""

    def __init__(
        self,
        store: SealStore,
        key_file: Path,
        copy: Path | None,
        now_ms: Callable[[], int],
        begun: Callable[[], object] = lambda: None,
        *,
        most_rows: int = MOST_ROWS,
    ) -> None:
        self._store, self._now_ms, self._begun, self._most_rows = store, now_ms, begun, most_rows
        self._key_file = key_file
        self._copy = None if copy is None else SealCopy(copy)
        self._known: CopiedSeal | None = None
        self._compared = self._uncopied = False
        self._said: dict[str, float] = {}
        self.made = self.failed = 0
        """Seals so far, and tries that failed."""

    def seal(self) -> bool:
        """Seal what can be sealed, once; True: there may be more. What goes wrong is said. Raises StoreStopped."""
        try:
            key = read_seal_key(self._key_file)
            more = self._seal(key)
        except StoreStopped:
            raise
        except StoreBusy:
            return False
        except (KeyProblem, StoreUnavailable) as problem:
            self.failed += 1
            self._say("the audit trail is not sealed, and logins go on", str(problem))
            return False
        self._went_well("the audit trail is not sealed, and logins go on")
        return more

    def hand_over(self, successor: str | None) -> None:
        """Make a seal over no rows: one that names the public key that seals from now on; None: the first one of that
        key, behind which the key of before seals nothing any more. Raises KeyProblem and StoreUnavailable."""
        key = read_seal_key(self._key_file)
        while not self._append(key, self._store.newest(), NO_LINES, successor=successor):
            pass

    def record_drop(self, dropped: Dropped) -> SealRow:
        """Make a seal over no rows: one that says that seals of before are taken away with authority. Raises KeyProblem
        and StoreUnavailable."""
        key = read_seal_key(self._key_file)
        while True:
            newest = self._store.newest()
            if newest is None or newest.number < dropped.number:
                raise StoreUnavailable("the seals that are to be dropped are not in the store any more")
            made = self._append(key, newest, NO_LINES, dropped=dropped)
            if made is not None:
                return made

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    def _seal(self, key: Ed25519PrivateKey) -> bool:
        newest = self._store.newest()
        self._refuse_if_succeeded(newest, public_name(key))
        lost = self._missing(newest, public_name(key))
        after = 0 if newest is None else newest.until
        rows = self._store.sealable(after, self._now_ms(), self._most_rows)
        if not rows.ids:
            self._copy_again(newest)
            return False
        if lost is not None:
            lost = _explained(lost, rows)
            _say_lost(lost)
        if not self._append(key, newest, rows, lost):
            return True
        if newest is None and lost is None:
            self._begun()
        return len(rows.ids) == self._most_rows

    def _append(
        self,
        key: Ed25519PrivateKey,
        newest: SealRow | None,
        rows: Lines,
        lost: Lost | None = None,
        successor: str | None = None,
        dropped: Dropped | None = None,
    ) -> SealRow | None:
        """The seal; None: something came between, and nothing was written."""
        before = _read(newest)
        after = 0 if newest is None else newest.until
        stretch = stretch_of(rows)
        name = public_name(key)
        if before is not None and name not in (before.key, before.successor):
            self._say(
                "the key of the seals is another one, and the one before has not named it: `sekisho audit verify` asks "
                "for both public keys",
                name,
            )
        seal = Seal(
            number=max(0 if newest is None else newest.number, 0 if lost is None else lost.number) + 1,
            after=after,
            until=rows.ids[-1] if rows.ids else after,
            rows=len(rows.ids),
            total=len(rows.ids) + (0 if before is None else before.total),
            digest=stretch.digest,
            marks=hash_of(stretch.marks),
            previous="" if newest is None else hash_of(newest.body),
            key=name,
            sealed_at=self._now_ms(),
            successor=successor,
            lost=lost,
            dropped=dropped,
        )
        row = seal.signed(key, stretch.marks)
        if not self._store.append(row, 0 if newest is None else newest.number, after, len(rows.ids)):
            return None
        self.made += 1
        self._known, self._compared = CopiedSeal(row.number, row.body, row.signature), True
        self._write_copy(row)
        return row

    def _refuse_if_succeeded(self, newest: SealRow | None, name: str) -> None:
        """A copy of the key that this process was started with must not seal behind the new one. Raises KeyProblem."""
        before = _read(newest)
        if before is None or self._known is None or name in (before.key, before.successor):
            return
        if read_seal(self._known.body).key == name:
            raise KeyProblem(
                f"{self._key_file} is the key of before: it was changed meanwhile. Restart the server, so that systemd "
                "hands it the new one"
            )

    # What is known of the seals from outside the store

    def _missing(self, newest: SealRow | None, key: str) -> Lost | None:
        """The newest seal that was there once and is not any more; None: all that are known are there. ``key``: the
        public name of the one that seals."""
        known = self._known if self._compared else self._read_copy()
        if known is None:
            return None
        if newest is not None and newest.number == known.number:
            there: SealRow | None = newest
        else:
            there = self._store.seal(known.number)
        if there is not None and there.body == known.body:
            return None
        if there is None and self._is_dropped(known, key):
            return None
        return Lost(known.number, hash_of(known.body), "", 0)

    def _is_dropped(self, known: CopiedSeal, key: str) -> bool:
        """Whether a seal in the store says that this one was taken away. It has to be made with a key that is known
        here: whoever can write into the store alone could put a seal of their own there, and the chain would go on
        behind it."""
        row = self._store.newest_drop()
        seal, before = None if row is None else _read(row), read_seal(known.body)
        if row is None or seal is None or seal.dropped is None or not is_signed(row, seal.key):
            return False
        if seal.key not in (key, before.key, before.successor):
            return False
        dropped = seal.dropped
        return known.number < dropped.number or (known.number == dropped.number and hash_of(known.body) == dropped.body)

    def _read_copy(self) -> CopiedSeal | None:
        if self._copy is None:
            return None
        try:
            known = self._copy.newest()
        except OSError as error:
            self._say("the copy of the seals cannot be read", f"{self._copy.path}: {error.strerror}")
            return None
        if known is None or not is_signed(
            SealRow(known.number, 0, known.body, known.signature, b""), read_seal(known.body).key
        ):
            return None
        return known

    def _copy_again(self, newest: SealRow | None) -> None:
        if self._uncopied and newest is not None:
            self._write_copy(newest)

    def _write_copy(self, seal: SealRow) -> None:
        if self._copy is None:
            return
        trouble = "the newest seal cannot be copied: a tail that is cut off would not be missed"
        try:
            self._copy.add(seal)
        except OSError as error:
            self._uncopied = True
            self.failed += 1
            self._say(trouble, f"audit.seal_copy {self._copy.path}: {error.strerror}")
        else:
            self._uncopied = False
            self._went_well(trouble)

    # The log

    def _say(self, what: str, cause: str) -> None:
        now = time.monotonic()
        if now >= self._said.get(what, 0.0):
            self._said[what] = now + _SAY_AGAIN
            if structlog.is_configured():
                _log.error(what, cause=cause)
            else:  # a command
                sys.stderr.write(f"sekisho: {what}: {cause}\n")

    def _went_well(self, what: str) -> None:
        if self._said.pop(what, None) is not None:
            _log.info("that is over", what=what)


def _read(row: SealRow | None) -> Seal | None:
    """None for a text that somebody spoilt, too: the next seal goes on behind it, and the chain tells."""
    try:
        return None if row is None else read_seal(row.body)
    except ValueError:
        return None


def _explained(lost: Lost, rows: Lines) -> Lost:
    """With the row among these that says why seals are gone."""
    for id_, line in zip(reversed(rows.ids), reversed(rows.lines), strict=True):
        event = line.partition(b"\x1f")[0]
        if event in EXPLAINS:
            return lost._replace(event=event.decode(), row=id_)
    return lost


def _say_lost(lost: Lost) -> None:
    if lost.row:
        _log.warning("the store is an older one: the next seal says which are gone", newest=lost.number, row=lost.row)
    else:
        _log.critical(
            "seals of the audit trail are gone from the store or were changed, and nothing in the trail says why: run "
            "`sekisho audit verify`",
            newest=lost.number,
        )
