"""Writes what is remarked of refused logins to the store, every few seconds, beside the logins. It decides nothing."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

from otp_core.clock import ClockWrong
from otp_core.model import StoreUnavailable
from otp_core.store.login_remarks import note_remarks
from otp_core.store.retry import aside
from otp_core.store.store import Store

WRITE_SECONDS = 5.0


class RemarkWriter:
    """``remarks``: the verdict log's. ``now``: ms; may raise ClockWrong. Belongs to the event loop."""

    def __init__(self, store: Store, remarks: deque[tuple[int, str]], now: Callable[[], int]) -> None:
        self._store, self._remarks, self._now = store, remarks, now
        self._writing = threading.Lock()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await aside(self.write)

    def write(self) -> None:
        """What cannot be written now is written the next time. Any thread may call it: the last one at the end of the
        process, while that of ``run`` may still wait for the store."""
        with self._writing:
            taken = list(self._remarks)
            if not taken:
                return
            try:
                with self._store.work_aside() as work:
                    note_remarks(work.connection, self._now(), taken)
            except (StoreUnavailable, ClockWrong):
                return
            for _ in taken:
                self._remarks.popleft()
