"""A bank whose audit trail is sealed: rows, seals, a copy outside, somebody who changes the store behind its back, and
whoever verifies."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any

from otp_core.audit import Event
from otp_core.seals.chain import Report, Verification
from otp_core.seals.copies import SealCopy
from otp_core.seals.keys import create_seal_key, public_name, read_seal_key
from otp_core.seals.seal import MOST_ROWS
from otp_core.seals.sealer import Sealer
from otp_core.store.engine import SealStore
from otp_core.store.sqlite import driver
from tests import postgresql
from tests.core.bank import Bank

_OPEN: list[SealStore] = []


def close_all() -> None:
    """Close what the sealers of a test have opened: their connections belong to nobody else."""
    while _OPEN:
        _OPEN.pop().close()


class SealedTrail:
    """``stretches`` seals with three rows each, a minute apart. ``copied``: there is a copy outside."""

    def __init__(self, folder: Path, *, stretches: int = 0, copied: bool = True) -> None:
        self.bank = Bank(folder)
        self.key_file = folder / "audit.key"
        create_seal_key(self.key_file)
        self.copy = SealCopy(folder / "outside" / "seals")
        self.copy.path.parent.mkdir(exist_ok=True)
        self._copied = copied
        self.sealer = self.new_sealer()
        for _ in range(stretches):
            self.stretch()

    def new_sealer(self, *, most_rows: int = MOST_ROWS, key_file: Path | None = None) -> Sealer:
        """As another process, after a restart. ``key_file``: a copy of the key, as systemd hands one out."""
        copy = self.copy.path if self._copied else None
        store = self.bank.open_store()
        seals = store.seals()
        _OPEN.append(seals)
        return Sealer(seals, key_file or self.key_file, copy, self.now_ms, self._begun, most_rows=most_rows)

    def now_ms(self) -> int:
        return int(self.bank.clock.now * 1000)

    def _begun(self) -> None:
        with self.bank.store.work() as work:
            work.audit(Event.SEALS_BEGUN, actor="sekisho")

    def add(self, number: int = 1, **fields: Any) -> list[int]:
        """Rows; their ids."""
        with self.bank.store.work() as work:
            rows = [
                work.audit_row(Event.LOGIN_ACCEPTED, **{"actor": "gateway", "customer": f"taro{one}", **fields})
                for one in range(number)
            ]
            work.audit_all(rows)
        return [row.id for row in rows]

    def stretch(self, rows: int = 3) -> None:
        """Rows, and a seal over them a second later."""
        self.bank.clock.now += 60
        self.add(rows)
        self.seal()

    def seal(self) -> None:
        self.bank.clock.now += 1
        while self.sealer.seal():
            pass

    def ids(self) -> list[int]:
        return [row.id for row in self.bank.audit()]

    def tamper(self, *statements: str) -> int:
        """Change the store as who has its file can; how many rows it changed."""
        if self.bank.store.database.file is None:
            with postgresql.server().connect(self.bank.store.database.name) as server:
                return sum(max(0, server.execute(one.encode()).rowcount) for one in statements)
        connection = driver.connect(str(self.bank.database), isolation_level=None)
        try:
            before = connection.total_changes
            for statement in statements:
                connection.execute(statement)
            return connection.total_changes - before
        finally:
            connection.close()

    def verify(self, keys: Collection[str] = (), *, copied: bool = True) -> Report:
        trail = self.bank.store.trail()
        own = [public_name(read_seal_key(self.key_file))]
        copies = self.copy.seals() if copied else None
        verification = Verification(keys or own, copies, now_ms=self.now_ms())
        verification.take_strange(trail.strange())
        return verification.run(trail.pieces(trail.newest()))

    def sealer_newest(self) -> int:
        """The last id that is sealed; 0 for none."""
        with closing(self.bank.store.seals()) as seals:
            newest = seals.newest()
        return 0 if newest is None else newest.until
