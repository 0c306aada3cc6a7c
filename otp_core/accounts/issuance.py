"""Self-service issuance: tokens for apps that ask, before anybody knows whose they will be. A quota bounds how many an
hour, for each network and for everybody; a token that is not enrolled in time is retired.
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
from otp_core.login.spent_ahead import GRACE_MS
from otp_core.model import TokenSpec

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


@dataclass(frozen=True, slots=True)
class Quota:
    """How many tokens may be issued an hour: to one origin (an IPv4 address, an IPv6 /64), and to all together. A wider
    network has a multiple of the first: see ``networks_of``."""

    one_origin: int
    everybody: int


@dataclass(frozen=True, slots=True)
class Network:
    """A network that a source address lies in. ``prefix``: the origin of its tokens, or how those of a wider network
    begin; ``shares``: how many origins' quotas it has;
    ``is_new_by``: a token that was issued in it shows that it is not new."""

    name: str
    prefix: str
    shares: int
    is_new_by: bool = False


class IssuanceService:
    """The acts on unclaimed tokens."""

    def __init__(self, transactions: Transactions, tokens: TokenService) -> None:
        self._transactions, self._tokens = transactions, tokens

    @rerun_on_conflict
    def issue_unclaimed(self, principal: Principal, quota: Quota) -> IssuedToken:
        """Make a new token for an app that asks from ``principal.source``, an IP address. Its seed is shown this once.

        The last quarter of the hour's tokens is for networks from which none was issued in it: so some thousand
        addresses in few networks do not use up everybody's.

        Raises Refused (TOO_MANY), which leaves nothing: a flood must not fill the audit trail either."""
        now = self._transactions.now()
        with self._transactions.act(Act.ISSUE_UNCLAIMED, principal, record_refusal=False) as work:
            networks = networks_of(principal.source)
            origin, *wider = (network.prefix for network in networks)
            total, *counts = work.count_unclaimed(now - _HOUR_MS, origin, wider, until=now + GRACE_MS)
            for network, count in zip(networks, counts, strict=True):
                if count >= quota.one_origin * network.shares:
                    raise Refused(Refusal.TOO_MANY, f"from {network.name}")
                if network.is_new_by and count and total >= quota.everybody - quota.everybody // 4:
                    raise Refused(Refusal.TOO_MANY, f"from {network.name}, while the last are for others")
            if total >= quota.everybody:
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


def networks_of(source: str) -> tuple[Network, ...]:
    """The networks whose tokens are counted for an IP address, the narrowest first, which is the token's origin. IPv6:
    the /64 of a host, the /56 of a household, the /48 of a site, with one, two and four shares. IPv4: the address,
    behind which a carrier may have many customers, and its /24, with one and four. Raises ValueError."""
    address = ip_address(source.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if isinstance(address, IPv6Address):
        digits = address.exploded  # 2001:0db8:0001:0203:…: four digits a group, so a prefix of 56 bits is one of text
        return (
            Network(f"{IPv6Network((address, 64), strict=False)}", digits[:19], 1),
            Network(f"{IPv6Network((address, 56), strict=False)}", digits[:17], 2),
            Network(f"{IPv6Network((address, 48), strict=False)}", digits[:15], 4, is_new_by=True),
        )
    three = str(address).rpartition(".")[0]
    return (
        Network(str(address), str(address), 1, is_new_by=True),
        Network(f"{three}.0/24", f"{three}.", 4),
    )
