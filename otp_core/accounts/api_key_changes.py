"""A change of API keys as a value: what the console asks a second person for and carries out. The acts: api_keys.py."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

from otp_core.accounts.api_keys import check_new, known
from otp_core.model import Scope
from otp_core.store.unit_of_work import Work

if TYPE_CHECKING:
    from otp_core.accounts.approval_kinds import About
    from otp_core.accounts.desk import Desk
    from otp_core.accounts.principal import Principal


@dataclass(frozen=True, slots=True)
class ApiKeyChange:
    """A key of this name is made for these scopes, or (none) revoked. ``networks``: where it may come from; empty:
    anywhere."""

    name: str
    scopes: tuple[Scope, ...] = ()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @property
    def payload(self) -> dict[str, Any]:
        """As a request keeps it; the name is its subject."""
        return {"scopes": [str(one) for one in self.scopes], "networks": [str(one) for one in self.networks]}

    @classmethod
    def of(cls, about: About) -> ApiKeyChange:
        """What a request is about."""
        scopes, networks = about.payload["scopes"], about.payload["networks"]
        return cls(about.subject, tuple(map(Scope, scopes)), tuple(map(ip_network, networks)))


def seen(work: Work, about: About) -> str:
    """The key as it is. Raises Refused for what is not possible now."""
    change = ApiKeyChange.of(about)
    if not change.scopes:
        return json.dumps(known(work, change.name).key)
    check_new(work, change.name, change.scopes, change.networks)
    return json.dumps(None)


def carry_out(desk: Desk, about: About, by: Principal) -> object:
    """A NewApiKey, or the Receipt. Raises Refused."""
    change = ApiKeyChange.of(about)
    if not change.scopes:
        return desk.api_keys.revoke(change.name, by)
    return desk.api_keys.create(change.name, change.scopes, by, networks=change.networks)


def words(about: About) -> str:
    """For the audit trail."""
    change = ApiKeyChange.of(about)
    if not change.scopes:
        return f"api-key: revoke {change.name}"
    where = f" from {' '.join(map(str, change.networks))}" if change.networks else ""
    return f"api-key: create {change.name} for {' '.join(change.scopes)}{where}"
