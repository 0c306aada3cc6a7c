"""Which name a node takes: that of its settings, with a suffix while another one that runs has it. Pure, but for what
it is told.

    the row of the name          to start                to go on after the name was lost
    there is none                take it                 take it
    stopped, or not seen lately  take it                 take it
    its process has ended        take it                 try the next suffix
    anything else                try the next suffix     try the next suffix

That a process has ended is known for certain on the same machine alone. A copy of a machine has the first one's ID: so
the newcomer takes the name there, and the other one, which finds it lost, goes on under the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from otp_core.store.nodes import NodeLine


def name_for(
    configured: str, known: Iterable[NodeLine], now: int, has_ended: Callable[[str], bool] = lambda holder: False
) -> str:
    """The name to take. ``known``: all nodes; ``now``: ms by the store's clock; ``has_ended``: whether the process of a
    holder has ended for certain; without it, as one who goes on."""
    rows = {one.name: one for one in known}
    number, name = 1, configured
    while (row := rows.get(name)) is not None and row.seen_lately(now) and not has_ended(row.holder):
        number += 1
        name = f"{configured}-{number}"
    return name
