"""Tokens for whoever asks, before anybody knows whose they will be: so many an hour, and not kept for ever.

A token that nobody enrolls is retired in time; whoever enrolled in time has an ordinary token.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address

from otp_core.accounts.lifecycle import TokenMove
from otp_core.accounts.results import IssuedToken, Principal, Refusal, Refused
from otp_core.accounts.tokens import Inventory
from otp_core.accounts.transactions import SWEPT_AT_ONCE
from otp_core.audit import Event
from otp_core.model import TokenSpec

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


@dataclass(frozen=True, slots=True)
class Quota:
    """How many new tokens an hour may bring."""

    one_origin: int
    everybody: int


class SelfServiceIssuance(Inventory):
    """The acts on tokens that were asked for by strangers."""

    def issue_unclaimed(self, principal: Principal, quota: Quota) -> IssuedToken:
        """A new token for an app that asks from ``actor.source``, an IP address. Its seed is shown this once. Raises
        Refused (TOO_MANY), which writes nothing at all: a flood must not fill the audit trail either."""
        origin = origin_of(principal.source)
        since = self._now() - _HOUR_MS
        with self._store.work() as work:
            if work.count_unclaimed(since, origin) >= quota.one_origin:
                raise Refused(Refusal.TOO_MANY, f"from {origin}")
            if work.count_unclaimed(since) >= quota.everybody:
                raise Refused(Refusal.TOO_MANY, "from everybody together")
            issued = self._issue(work, principal, TokenSpec(), principal.name)
            work.add_unclaimed(issued.token_id, origin)
        return issued

    def retire_unclaimed(self, days: int, principal: Principal) -> int:
        """Retire some of the tokens that were handed out more than so many days ago and never enrolled; how many."""
        before = self._now() - days * _DAY_MS
        with self._store.work() as work:
            unclaimed = work.take_overdue_unclaimed(before, SWEPT_AT_ONCE)
            for token in unclaimed:
                self._move_token(work, token, TokenMove.RETIRE)
                self._audit(work, Event.TOKEN_RETIRED, principal, None, token.token_id)
        return len(unclaimed)


def origin_of(source: str) -> str:
    """The address that counts: for IPv6 its /64, because whoever has one address there has them all."""
    address = ip_address(source)
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Network((address, 64), strict=False))
    return str(address)
