"""Self-service issuance: tokens for apps that ask, before anybody knows whose they will be. A quota bounds how many an
hour, for each network and for everybody; a token that is not enrolled in time is retired.

An app sends a random key with its request. The same key gets the same token again, so a reply that is lost on the way
uses up no second one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from otp_core.accounts.lifecycle import TokenMove
from otp_core.accounts.networks import networks_of
from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import Refusal, Refused, UnclaimedToken
from otp_core.accounts.tickets import make_ticket, owner_of
from otp_core.accounts.tokens import TokenService
from otp_core.accounts.transactions import SWEPT_AT_ONCE, Transactions, rerun_on_conflict
from otp_core.audit import Event, ms_of
from otp_core.login.spent_ahead import GRACE_MS
from otp_core.model import NEVER, Conflict, TokenSpec, TokenState
from otp_core.otp import Fit, fit, is_code
from otp_core.store.issuance_keys import IssuanceKeyRow
from otp_core.store.queries import unclaimed_seed
from otp_core.store.unit_of_work import CUSTOMER_ORIGIN, Work

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS

KEY_MS = _DAY_MS
"""How long the same key gets the same token."""

MOST_REPEATS = 50
"""How often a token is sent again."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How many tokens may be issued an hour: to one origin (an IPv4 address, an IPv6 /64), and to all together. A wider
    network has a multiple of the first: see ``networks_of``. Customers who come with a ticket are counted apart:
    ``one_customer``, and as many to all of them together."""

    one_origin: int
    everybody: int
    one_customer: int = 5


@dataclass(frozen=True, slots=True)
class IssuanceRequest:
    """What an app sends. ``key``: 128 random bits or more, the same when the same token is asked for again; None: an
    app that asks once. ``ticket``: what the portal gave its customer; one that is empty or not good counts as none."""

    key: bytes | None = field(default=None, repr=False)
    ticket: str = field(default="", repr=False)


class IssuanceService:
    """The acts on unclaimed tokens."""

    def __init__(self, transactions: Transactions, tokens: TokenService) -> None:
        self._transactions, self._tokens = transactions, tokens
        self._sealer = transactions.store.sealer

    def ticket(self, contract_id: str) -> str:
        """A ticket for a customer who has signed in. Writes nothing. Raises ClockWrong."""
        return make_ticket(self._sealer.issuance_digest, contract_id, self._transactions.now())

    @rerun_on_conflict
    def issue_unclaimed(
        self, principal: Principal, quota: Quota, request: IssuanceRequest = IssuanceRequest()
    ) -> UnclaimedToken:
        """Make a new token for an app that asks from ``principal.source``, an IP address; or the one that the same key
        got before, as long as nobody has enrolled it, for a day and MOST_REPEATS times.

        The last quarter of the hour's tokens is for networks from which none was issued in it: so some thousand
        addresses in few networks do not use up everybody's. A ticket gets one token, and none of the networks'.

        Raises Refused (TOO_MANY, REQUEST_USED_UP), which leaves nothing: a flood must not fill the audit trail
        either."""
        now = self._transactions.now()
        key, ticket = self._digests(request)
        with self._transactions.act(Act.ISSUE_UNCLAIMED, principal, record_refusal=False) as work:
            if key is not None and (known := work.issuance_key(key)):
                return self._again(work, principal, key, known, now)
            customer = self._customer(work, request.ticket, ticket, quota, now)
            origin = customer or self._network(work, principal.source, quota, now)
            issued = self._tokens.issue_seed(work, principal, TokenSpec())
            work.add_unclaimed(issued.token_id, origin)
            if key is not None:
                work.add_issuance_key(key, issued.token_id)
            if customer:
                work.add_issuance_key(ticket, issued.token_id)
        return issued

    def is_code_of_unclaimed(self, token_id: str, code: str) -> bool:
        """Whether a token that was issued and that nobody has enrolled yet shows this code now, for an app's look at
        itself. Nothing is spent. Raises StoreUnavailable, ClockWrong."""
        now, spec = self._transactions.now(), TokenSpec()
        if not is_code(code, spec.digits):
            return False
        with self._transactions.store.read() as connection:
            sealed = unclaimed_seed(connection, token_id)
        if sealed is None:
            return False
        found, _ = fit(
            self._sealer.unseal(sealed, token_id),
            spec,
            code,
            at_ms=now,
            last_step=NEVER,
            drift=0,
            window=1,
            look_ahead=0,
        )
        return found is Fit.FITS

    @rerun_on_conflict
    def retire_unclaimed(self, days: int, principal: Principal) -> int:
        """Retire some of the tokens that were issued more than so many days ago and never enrolled; how many. None
        before the clock has settled: a retired token never comes back."""
        if not self._transactions.settled():
            return 0
        now = self._transactions.now()
        with self._transactions.act(Act.RETIRE_UNCLAIMED, principal) as work:
            work.drop_issuance_keys(now - KEY_MS, SWEPT_AT_ONCE)
            unclaimed = work.take_overdue_unclaimed(now - days * _DAY_MS, SWEPT_AT_ONCE)
            for token in unclaimed:
                self._transactions.move_token(work, token, TokenMove.RETIRE)
                self._transactions.record(work, Event.TOKEN_RETIRED, principal, None, token.token_id)
        return len(unclaimed)

    def _digests(self, request: IssuanceRequest) -> tuple[bytes | None, bytes]:
        """Of the key and of the ticket, as the store has them."""
        digest = self._sealer.issuance_digest
        key = None if request.key is None else digest(b"key", request.key)
        return key, digest(b"used ticket", request.ticket.encode(errors="backslashreplace"))

    def _again(
        self, work: Work, principal: Principal, digest: bytes, known: IssuanceKeyRow, now: int
    ) -> UnclaimedToken:
        """The token that the same key got before. Raises Refused, Conflict."""
        token, issued_at = work.token(known.token_id), ms_of(known.token_key)
        too_late = now >= issued_at + KEY_MS or known.repeats >= MOST_REPEATS
        if token is None or token.seed is None or token.state != TokenState.AVAILABLE or too_late:
            raise Refused(Refusal.REQUEST_USED_UP, known.token_id)
        if not work.count_repeat(digest, known.repeats):
            raise Conflict("the same request is being answered just now: try again")
        self._transactions.record(work, Event.TOKEN_SENT_AGAIN, principal, None, known.token_id)
        return UnclaimedToken(known.token_id, self._sealer.unseal(token.seed, known.token_id), issued_at)

    def _customer(self, work: Work, ticket: str, digest: bytes, quota: Quota, now: int) -> str:
        """The origin of a token for a ticket's customer; empty if the ticket is not good, was used, or its customer has
        had their share of the hour."""
        owner = owner_of(self._sealer.issuance_digest, ticket, now)
        if owner is None or work.issuance_key(digest):
            return ""
        origin = CUSTOMER_ORIGIN + owner
        total, theirs = work.count_unclaimed(now - _HOUR_MS, origin, until=now + GRACE_MS, customers=True)
        return origin if theirs < quota.one_customer and total < quota.everybody else ""

    @staticmethod
    def _network(work: Work, source: str, quota: Quota, now: int) -> str:
        """The origin of a token for a source address. Raises Refused (TOO_MANY)."""
        networks = networks_of(source)
        origin, *wider = (network.prefix for network in networks)
        total, *counts = work.count_unclaimed(now - _HOUR_MS, origin, wider, until=now + GRACE_MS, customers=False)
        for network, count in zip(networks, counts, strict=True):
            if count >= quota.one_origin * network.shares:
                raise Refused(Refusal.TOO_MANY, f"from {network.name}")
            if network.is_new_by and count and total >= quota.everybody - quota.everybody // 4:
                raise Refused(Refusal.TOO_MANY, f"from {network.name}, while the last are for others")
        if total >= quota.everybody:
            raise Refused(Refusal.TOO_MANY, "from everybody together")
        return origin
