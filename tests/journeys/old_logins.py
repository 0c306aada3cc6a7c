"""Logins of years ago, in a trail that was sealed then."""

from __future__ import annotations

import time

from otp_core.audit import Event
from otp_core.seals.sealer import Sealer
from tests.sekisho import Sekisho


def sealed_logins(sekisho: Sekisho, then: float, number: int) -> None:
    """Rows of a moment (seconds since the epoch), under a seal of their own that was made a second later. Before the
    server has sealed anything that is newer."""
    ids, store = sekisho.store.ids, sekisho.store
    ids.follow(lambda: then)
    with store.work() as work:
        rows = [work.audit_row(Event.LOGIN_ACCEPTED, actor="gateway", customer=f"c{one}") for one in range(number)]
        work.audit_all(rows)
    ids.follow(time.time)
    sealer = Sealer(
        store.seals(), sekisho.folder / "audit.key", sekisho.folder / "seals", lambda: int(then * 1000) + 1000
    )
    sealer.seal()
    sealer.close()
