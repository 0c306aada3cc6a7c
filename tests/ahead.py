"""What a clock leaves behind that ran ahead, and is right again."""

from __future__ import annotations

import time

from otp_core.audit import Event, Ids
from otp_core.store.store import Store
from otp_core.store.time_records import ClockOfNode
from sekisho.settings import Settings
from sekisho.wiring import open_store


def ahead(settings: Settings, seconds: float) -> None:
    """Leave what a clock that ran ahead does: a row of the future in the audit trail; where several machines share a
    store, each of which has its own record of the time, the node's too."""
    at = time.time() + seconds
    store = Store(settings.store.address, settings.store.master_key_file, ids=Ids(lambda: at), busy_seconds=1)
    with store.work() as work:
        work.audit(Event.CLOCK_TRUSTED, actor="a clock that ran ahead")
    own = open_store(settings)
    if isinstance(own.time, ClockOfNode):
        with own.work() as work:
            own.time.enter(work.connection)
            own.time.show_life(work.connection, int(at * 1000))
