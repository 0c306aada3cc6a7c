"""Two who write at once what waits in one process: a thread that waits for the store, and the last one at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from otp_core.store.store import Store
from otp_core.store.unit_of_work import Work


class SlowStore:
    """Its first transaction waits until ``goes_on``."""

    def __init__(self, store: Store) -> None:
        self._store, self.asked, self.goes_on = store, threading.Event(), threading.Event()

    @contextmanager
    def work_aside(self) -> Iterator[Work]:
        if not self.asked.is_set():
            self.asked.set()
            self.goes_on.wait()
        with self._store.work_aside() as work:
            yield work


def write_twice(store: Store, writer_on: Callable[[Store], Callable[[], None]]) -> None:
    """Have what the writer on this store writes written by two threads at once. Raises what either of them raises."""
    slow, errors = SlowStore(store), list[Exception]()
    write = writer_on(cast(Store, slow))

    def noted() -> None:
        try:
            write()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=noted) for _ in range(2)]
    threads[0].start()
    assert slow.asked.wait(20)
    threads[1].start()
    threads[1].join(0.1)  # without a lock it would be done now
    slow.goes_on.set()
    for thread in threads:
        thread.join(20)
    for error in errors:
        raise error
