"""What `sekisho doctor` says about the RADIUS clients: who was never heard, which of two secrets is in use, and where
Message-Authenticator can be required. It reads, and changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from otp_core.checks import CheckResult, CheckState
from otp_core.json_shapes import local_time

if TYPE_CHECKING:
    from otp_core.store.client_use import Seen
    from otp_core.store.store import Store
    from radius_server.settings import ClientSettings
    from sekisho.settings import Settings

_DAY_MS = 86_400_000
_WEEK_MS = 7 * _DAY_MS
_SHOWN = 5
"""Strangers that are named."""


def examine_clients(store: Store, settings: Settings) -> Iterator[CheckResult]:
    """A line for each client with something to do; one for all, if there is nothing; one for strangers. Raises
    StoreUnavailable."""
    from otp_core.store.client_use import Seen, clients_seen, strangers_seen
    from radius_server.counters import STRANGE_CAUSES

    now = int(time.time() * 1000)
    with store.read() as connection:
        seen, strangers = clients_seen(connection, now), strangers_seen(connection, _SHOWN)
    clients = settings.radius.clients if settings.radius else ()
    said = False
    for client in clients:
        for result in _client(client, seen.get(client.name, Seen()), now):
            said = True
            yield result
    if clients and not said:
        yield CheckResult(CheckState.OK, "clients", "all were heard, with the secret that the settings have")
    recent = [one for one in strangers if one.last_at > now - _DAY_MS]
    if recent:
        texts = {code: text for text, code in STRANGE_CAUSES.items()}
        named = "; ".join(f"{one.source}: {texts.get(one.cause, one.cause)} ({one.number:,} times)" for one in recent)
        yield CheckResult(CheckState.WARN, "strangers", f"sent in the last 24 hours: {named}")


def _client(client: ClientSettings, seen: Seen, now: int) -> Iterator[CheckResult]:
    check = f"client {client.name}"
    if not seen.last_at:
        yield CheckResult(CheckState.WARN, check, "was never heard: does it send to this address and port?")
        return
    if client.next_secret is not None:
        yield _secrets(check, seen)
    begun = max(seen.unprotected_at, seen.since)
    if not client.require_message_authenticator and begun < now - _WEEK_MS:
        text = f"every request since {local_time(begun)} had a Message-Authenticator: it is safe to require it"
        yield CheckResult(CheckState.WARN, check, text)


def _secrets(check: str, seen: Seen) -> CheckResult:
    if not seen.next_at:
        text = "uses its present secret; next_secret was not used yet: give it to the gateway"
        return CheckResult(CheckState.OK, check, text)
    if seen.present_at > seen.next_at - _DAY_MS:
        text = (
            f"uses both secrets: the present one last at {local_time(seen.present_at)}, next_secret last at "
            f"{local_time(seen.next_at)}; wait until all of it uses the new one"
        )
        return CheckResult(CheckState.OK, check, text)
    text = (
        "uses next_secret, and has not used the present one for a day or more: make next_secret_file its secret_file "
        "and remove the key"
    )
    return CheckResult(CheckState.WARN, check, text)
