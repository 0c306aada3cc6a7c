"""What `sekisho doctor` says of syslog and webhooks: how far behind each is and why, and what was given up. It sends
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from otp_core.checks import CheckResult, CheckState

if TYPE_CHECKING:
    from otp_core.store.store import Store
    from sekisho.outlets import Outlet
    from sekisho.settings import Settings

_LATE_SECONDS = 60.0
"""How old a row that waits may be."""
_TOLD_SECONDS = 7 * 86_400.0
"""For how long it is told that events were given up."""


def examine_outwards(store: Store, settings: Settings) -> Iterator[CheckResult]:
    """A line for each, and one more where events were given up lately. Raises StoreUnavailable."""
    from sekisho.outlets import outlets

    for outlet in outlets(settings, store):
        yield _lag(store, outlet)
        yield from _given_up(outlet)


def _lag(store: Store, outlet: Outlet) -> CheckResult:
    from otp_core.model import StoreProblem
    from otp_core.outwards.condition import MOST_COUNTED, lag_of

    try:
        with store.read() as connection:
            lag = lag_of(connection, outlet.position, time.time())
    except (StoreProblem, OSError) as error:
        return CheckResult(CheckState.FAIL, outlet.label, f"nothing is sent: {error}")
    if lag is None:
        return CheckResult(CheckState.WARN, outlet.label, "has not begun: the running server does it, after a restart")
    condition = outlet.condition.read()
    number = f"{lag.rows:,}" + (" or more" if lag.rows >= MOST_COUNTED else "")
    text = f"{number} audit rows wait for {outlet.receiver}, the oldest for {lag.seconds:,.0f} s"
    if condition.failing_since:
        return CheckResult(CheckState.WARN, outlet.label, f"{text}: {condition.cause}")
    if lag.seconds > _LATE_SECONDS:
        return CheckResult(CheckState.WARN, outlet.label, f"{text}: does the server run, and is the receiver slow?")
    return CheckResult(CheckState.OK, outlet.label, f"{outlet.receiver} has what is sealed; {number} rows wait")


def _given_up(outlet: Outlet) -> Iterator[CheckResult]:
    from otp_core.json_shapes import local_time

    condition = outlet.condition.read()
    if condition.given_up and time.time() - condition.given_up_at / 1000 < _TOLD_SECONDS:
        text = (
            f"{condition.given_up:,} events were given up, the last at {local_time(condition.given_up_at)} "
            f"({condition.cause}): `sekisho audit --since` has them"
        )
        yield CheckResult(CheckState.WARN, outlet.label, text)
