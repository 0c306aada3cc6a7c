"""Tokens for whoever asks, before anybody knows whose they will be: so many an hour, and not kept for ever.

A token that nobody enrolls is retired in time; whoever enrolled in time has an ordinary token.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address

from otp_core.audit import Event
from otp_core.desk.acts import SWEPT_AT_ONCE
from otp_core.desk.inventory import Inventory
from otp_core.desk.words import Actor, Issued, Refusal, Refused
from otp_core.lifecycle import TokenMove
from otp_core.model import TokenSpec

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


@dataclass(frozen=True, slots=True)
class Quota:
    """How many new tokens an hour may bring."""

    one_origin: int
    everybody: int


class Handout(Inventory):
    """The acts on tokens that were asked for by strangers."""

    def hand_out_token(self, actor: Actor, quota: Quota) -> Issued:
        """A new token for an app that asks from ``actor.source``, an IP address. Its seed is shown this once. Raises
        Refused (TOO_MANY), which writes nothing at all: a flood must not fill the audit trail either."""
        origin = origin_of(actor.source)
        since = self._now() - _HOUR_MS
        with self._store.work() as work:
            if work.handouts_since(since, origin) >= quota.one_origin:
                raise Refused(Refusal.TOO_MANY, f"from {origin}")
            if work.handouts_since(since) >= quota.everybody:
                raise Refused(Refusal.TOO_MANY, "from everybody together")
            issued = self._issue(work, actor, TokenSpec(), actor.name)
            work.note_handout(issued.token_id, origin)
        return issued

    def retire_unclaimed(self, days: int, actor: Actor) -> int:
        """Retire some of the tokens that were handed out more than so many days ago and never enrolled; how many."""
        before = self._now() - days * _DAY_MS
        with self._store.work() as work:
            unclaimed = work.settle_handouts(before, SWEPT_AT_ONCE)
            for token in unclaimed:
                self._move_token(work, token, TokenMove.RETIRE)
                self._record(work, Event.TOKEN_RETIRED, actor, None, token.token_id)
        return len(unclaimed)


def origin_of(source: str) -> str:
    """The address that counts: for IPv6 its /64, because whoever has one address there has them all."""
    address = ip_address(source)
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Network((address, 64), strict=False))
    return str(address)
