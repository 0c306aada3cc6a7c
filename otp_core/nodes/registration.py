"""A node enters its name in the store when it starts, and takes it out when it stops."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from otp_core.model import Conflict
from otp_core.nodes.holder import has_ended, this_process
from otp_core.nodes.naming import name_for
from otp_core.store import nodes
from otp_core.store.retry import wait_while_busy
from otp_core.store.schema import NEEDED, REVISION
from otp_core.store.store import Store
from otp_core.store.time_records import ClockOfNode

OLDEST, NEWEST = NEEDED, REVISION
"""The schemas that this version's code works with."""

_TRIES = 5


class Registration(NamedTuple):
    """What a node is entered as; see ``store.nodes.NodeLine``. ``name``: the one that it got at the start; ``tags``:
    for the audit ids of its processes (audit.Ids), each to one of them."""

    name: str
    configured: str
    holder: str
    run: int
    version: str
    started_at: int
    tags: tuple[int, ...] = ()


def join(store: Store, configured: str, version: str, processes: int = 0) -> Registration:
    """Enter a node that starts, with so many processes that write audit rows. Call it in the process whose end is the
    node's. Raises StoreUnavailable."""
    wanted = Registration(configured, configured, this_process().text, secrets.randbits(62), version, 0)
    return _entered(store, wanted, processes)


def rejoin(store: Store, lost: Registration) -> Registration:
    """Enter a node anew whose name another one has taken meanwhile. Raises StoreUnavailable."""
    return _entered(store, lost)


def leave(store: Store, registration: Registration) -> None:
    """The node is stopped. Raises StoreUnavailable."""

    def left() -> None:
        with store.database.aside() as connection:
            nodes.leave(connection, registration.run, store.database.time_ms(connection))

    wait_while_busy(left)


def _entered(store: Store, wanted: Registration, new: int | None = None) -> Registration:
    """``new``: how many processes a node has that starts; None: it goes on."""
    tried = 0
    while True:
        try:
            return wait_while_busy(lambda: _enter(store, wanted, new))
        except Conflict:  # another node showed life, or entered itself
            tried += 1
            if tried == _TRIES:
                raise


def _enter(store: Store, wanted: Registration, new: int | None) -> Registration:
    """One transaction, in a turn of its own: two that start at once get two names."""
    with store.derive() as connection:
        now = store.database.time_ms(connection)
        nodes.tidy(connection, now)
        known = nodes.nodes(connection)
        name = name_for(wanted.configured, known, now, *((has_ended,) if new is not None else ()))
        entered = wanted._replace(name=name, started_at=wanted.started_at or now)
        if isinstance(store.time, ClockOfNode):
            store.time.enter(connection)
        nodes.put(connection, _line(entered, now, store.database.beat_seconds))
        if new:
            entered = entered._replace(tags=tuple(nodes.lend_tags(connection, entered.run, new, now)))
    return entered


def _line(entered: Registration, now: int, beat: int) -> nodes.NodeLine:
    return nodes.NodeLine(
        entered.name,
        entered.configured,
        entered.holder,
        entered.run,
        entered.version,
        OLDEST,
        NEWEST,
        entered.started_at,
        now,
        None,
        beat,
        0,
        None,
        None,
    )
