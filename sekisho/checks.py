"""What shows when several settings are seen together: a thing given twice, and what is allowed but risky.

It never changes a setting, and never says that one is wrong by itself: that is model.py's part.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from otp_core.settings.model import Client, Password, Settings
from otp_core.settings.sources import Places
from otp_core.settings.toml_lines import Location
from otp_core.settings.values import read_address, read_network

Remark = tuple[Location, str]

_WIDE = {4: 8, 6: 32}
_AS_STRONG_AS_OWASP_ASKS = ((47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5))
"""(KiB, passes) for argon2id, from OWASP's Password Storage Cheat Sheet."""


def given_twice(values: dict[str, Any], places: Places) -> Iterator[Remark]:
    """Networks, client names and addresses that an earlier one has already. Values that do not read are passed over:
    their own problem is told elsewhere."""
    yield from profiles_given_twice(values, places)
    radius = values.get("radius")
    if not isinstance(radius, dict):
        return
    clients = _entries(radius.get("clients"), ("radius", "clients"))
    tables = [(location, client) for location, client in clients if isinstance(client, dict)]
    names = [((*location, "name"), client.get("name")) for location, client in tables]
    networks = [((*location, "network"), client.get("network")) for location, client in tables]
    listen = _entries(radius.get("listen"), ("radius", "listen"))
    yield from _twice(names, str, places)
    yield from _twice(networks, read_network, places)
    yield from _twice([entry for entry in listen if not str(entry[1]).endswith(":0")], read_address, places)


def profiles_given_twice(values: dict[str, Any], places: Places, section: str = "pam") -> Iterator[Remark]:
    """Names of profiles, and services that two of them claim."""
    pam = values.get(section)
    profiles = _entries(pam.get("profiles") if isinstance(pam, dict) else None, (section, "profiles"))
    tables = [(location, profile) for location, profile in profiles if isinstance(profile, dict)]
    services = [
        entry for location, profile in tables for entry in _entries(profile.get("services"), (*location, "services"))
    ]
    yield from _twice([((*location, "name"), profile.get("name")) for location, profile in tables], str, places)
    yield from _twice(services, str, places)


def _entries(found: object, location: Location) -> list[tuple[Location, Any]]:
    return [((*location, index), entry) for index, entry in enumerate(found)] if isinstance(found, list) else []


def _twice(entries: list[tuple[Location, Any]], read: Callable[[Any], object], places: Places) -> Iterator[Remark]:
    first: dict[object, Location] = {}
    for location, text in entries:
        if not isinstance(text, str):
            continue
        try:
            value = read(text)
        except ValueError:
            continue
        if value in first:
            yield location, f"{value} is given twice; the first is at {places.nearest(first[value])}"
        else:
            first[value] = location


def risks(settings: Settings) -> Iterator[Remark]:
    """What works, but is weaker or of less use than it looks."""
    if not _hashes_well(settings.password):
        yield ("password",), "is weaker than OWASP's minimum for argon2id: memory_kib = 19456, time_cost = 2"
    token = settings.soft_token
    if token and token.public_origin.startswith("https:") and not (token.tls_certificate or token.trusted_proxies):
        yield (
            ("soft_token", "trusted_proxies"),
            "names nobody, so all that comes through the proxy in front counts as one address, and "
            "tokens_per_address is everybody's; write the proxy's address",
        )
    for index, client in enumerate(settings.radius.clients):
        for key, message in _client_risks(client):
            yield ("radius", "clients", index, key), message
    for index, profile in enumerate(settings.pam.profiles if settings.pam else ()):
        if profile.mode == "password":
            yield ("pam", "profiles", index, "mode"), f"{profile.name} never asks for a code"
        if profile.mode == "code" and profile.without_token == "password" and profile.enrol_until is None:
            yield (
                ("pam", "profiles", index, "without_token"),
                f"through {profile.name} whoever has no active token gets in with nothing checked here: is a module "
                'that checks the password required before it? Otherwise write "reject"',
            )


def _hashes_well(password: Password) -> bool:
    return any(
        password.memory_kib >= memory and password.time_cost >= passes for memory, passes in _AS_STRONG_AS_OWASP_ASKS
    )


def _client_risks(client: Client) -> Iterator[tuple[str, str]]:
    if not client.require_message_authenticator:
        yield (
            "require_message_authenticator",
            f"{client.name} is at risk: replies to it can be forged (CVE-2024-3596); "
            "turn Message-Authenticator on there and write true",
        )
    if not client.limit_proxy_state:
        yield (
            "limit_proxy_state",
            f"{client.name} is at risk: Proxy-State without Message-Authenticator is how replies are forged "
            "(CVE-2024-3596); write true",
        )
    if client.join_seconds:
        yield (
            "join_seconds",
            f"a code can be used more than once through {client.name} for {client.join_seconds} s; write 0 unless "
            "that gateway sends one login twice",
        )
    if client.network.prefixlen <= _WIDE[client.network.version]:
        yield "network", f"{client.network} is very wide: every address in it may guess at the secret of {client.name}"


def shows_secrets(path: Path, settings: Settings, places: Places) -> bool:
    """Whether the file holds a client's secret and everybody may read it."""
    held = any(
        (places.exactly(("radius", "clients", index, "secret")) or "").startswith(f"{path}:")
        for index in range(len(settings.radius.clients))
    )
    return held and bool(path.stat().st_mode & stat.S_IROTH)
