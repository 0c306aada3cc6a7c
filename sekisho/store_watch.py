"""Ends a process that answers logins when nobody may be told anything any more; puts the store right at the start."""

from __future__ import annotations

import asyncio

import structlog

from otp_core.model import StoreProblem
from otp_core.store.engines import store_file
from otp_core.store.sqlite.repair import lost_time_is_void, repair
from otp_core.store.store import Store
from sekisho.settings import Settings
from sekisho.supervisor import ALL_END
from sekisho.wiring import open_clock, open_put_back_watch, open_store

STORE_STOPPED = ALL_END
"""The exit code of `sekisho serve` when the store has to be put right, which the next start does."""

SECONDS = 0.1

_log = structlog.get_logger("store")


async def end_with_store(store: Store, stop: asyncio.Event) -> None:
    """Set ``stop`` when somebody's flush has failed or a part of the store is lost; what only this process can still
    read is copied before."""
    while True:
        if store.has_to_stop():
            await asyncio.to_thread(store.rescue)
            stop.set()
            return
        await asyncio.sleep(SECONDS)


def put_store_right(settings: Settings, *, trust_clock: bool) -> None:
    """Before anything is served. Raises StoreProblem with what to do, KeyProblem, and StoreUnavailable."""
    file = store_file(settings.store.address)
    if file is None:
        return  # the database server puts itself right
    repaired = repair(file, _log.warning)
    if repaired is None or repaired.lost is None:
        return
    store = open_store(settings)
    watch = open_put_back_watch(settings, store, open_clock(store), trust_clock=trust_clock)
    watch.void(repaired.lost)
    try:
        lost_time_is_void(file)
    except OSError as error:
        raise StoreProblem(
            f"store: the state beside {file} cannot be flushed: {error.strerror}; check the disk"
        ) from None
