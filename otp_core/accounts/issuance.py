"""Self-service issuance: tokens for apps that ask, before anybody knows whose they will be. A quota bounds how many an
hour; a token that is not enrolled in time is retired.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address

from otp_core.accounts.lifecycle import TokenMove
from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import IssuedToken, Refusal, Refused
from otp_core.accounts.tokens import TokenService
from otp_core.accounts.transactions import SWEPT_AT_ONCE, Transactions, rerun_on_conflict
from otp_core.audit import Event
from otp_core.model import TokenSpec

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


@dataclass(frozen=True, slots=True)
class Quota:
    """How many tokens may be issued an hour: to one origin, and to all together."""

    one_origin: int
    everybody: int


class IssuanceService:
    """The acts on unclaimed tokens."""

    def __init__(self, transactions: Transactions, tokens: TokenService) -> None:
        self._transactions, self._tokens = transactions, tokens

    @rerun_on_conflict
    def issue_unclaimed(self, principal: Principal, quota: Quota) -> IssuedToken:
        """Make a new token for an app that asks from ``principal.source``, an IP address. Its seed is shown this once.

        Raises Refused (TOO_MANY), which leaves nothing: a flood must not fill the audit trail either."""
        since = self._transactions.now() - _HOUR_MS
        with self._transactions.act(Act.ISSUE_UNCLAIMED, principal, record_refusal=False) as work:
            origin = origin_of(principal.source)
            if work.count_unclaimed(since, origin) >= quota.one_origin:
                raise Refused(Refusal.TOO_MANY, f"from {origin}")
            if work.count_unclaimed(since) >= quota.everybody:
                raise Refused(Refusal.TOO_MANY, "from everybody together")
            issued = self._tokens.issue_in(work, principal, TokenSpec(), principal.name)
            work.add_unclaimed(issued.token_id, origin)
        return issued

    @rerun_on_conflict
    def retire_unclaimed(self, days: int, principal: Principal) -> int:
        """Retire some of the tokens that were issued more than so many days ago and never enrolled; how many. None
        before the clock has settled: a retired token never comes back."""
        if not self._transactions.settled():
            return 0
        before = self._transactions.now() - days * _DAY_MS
        with self._transactions.act(Act.RETIRE_UNCLAIMED, principal) as work:
            unclaimed = work.take_overdue_unclaimed(before, SWEPT_AT_ONCE)
            for token in unclaimed:
                self._transactions.move_token(work, token, TokenMove.RETIRE)
                self._transactions.record(work, Event.TOKEN_RETIRED, principal, None, token.token_id)
        return len(unclaimed)


def origin_of(source: str) -> str:
    """The origin that a quota counts for an IP address: for IPv6 the /64, because a host there can use every address of
    it. Raises ValueError."""
    address = ip_address(source)
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Network((address, 64), strict=False))
    return str(address)
