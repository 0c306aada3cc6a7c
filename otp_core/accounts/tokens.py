"""Tokens of the inventory: imported, issued, retired. A seed is in clear here once, when it comes in or is handed
out."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import pyotp

from otp_core.accounts.lifecycle import TokenMove
from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import IssuedToken, Receipt, Refusal, Refused, UnclaimedToken
from otp_core.accounts.transactions import Transactions, rerun_on_conflict
from otp_core.audit import Event, ms_of
from otp_core.model import NEVER, Kind, TokenSpec, TokenState
from otp_core.otp import normalise_token_id
from otp_core.store.unit_of_work import NewToken, TokenRecord, Work

TOKEN_ID_PREFIX = "SKSO"

_SEED_OCTETS = {"sha1": 20, "sha256": 32, "sha512": 64}
"""As long as the hash (RFC 4226 section 4, R6; RFC 6238 section 5.1)."""


class TokenService:
    """The acts on tokens that concern no customer. ``draw``: a random number below n, for token IDs."""

    def __init__(self, transactions: Transactions, draw: Callable[[int], int] = secrets.randbelow) -> None:
        self._transactions, self._draw = transactions, draw

    @rerun_on_conflict
    def import_rows(
        self,
        new: Sequence[tuple[str, bytes, TokenSpec]],
        principal: Principal,
        *,
        last_steps: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Add the tokens of checked rows of a file (token ID, seed, spec), all or none. ``last_steps``: by token ID,
        the last step or counter whose code is not to be accepted any more. Raises StoreUnavailable when one was added
        by somebody else since the file was checked."""
        seal = self._transactions.store.sealer.seal
        sealed = [
            NewToken(token_id, seal(seed, token_id), spec, last_step=last_steps.get(token_id, NEVER))
            for token_id, seed, spec in new
        ]
        with self._transactions.act(Act.IMPORT_TOKENS, principal) as work:
            work.add_tokens(sealed)
            fields = principal.audit_fields
            work.audit_all([work.audit_row(Event.TOKEN_IMPORTED, **fields, token=token_id) for token_id, _, _ in new])

    @rerun_on_conflict
    def import_elsewhere(self, token_ids: Sequence[str], verifier: str, principal: Principal) -> None:
        """Add tokens whose codes this verifier knows (normalised IDs), all or none. Raises StoreUnavailable when one
        was added by somebody else since it was looked for."""
        new = [NewToken(token_id, None, TokenSpec(), verifier) for token_id in token_ids]
        with self._transactions.act(Act.IMPORT_TOKENS, principal) as work:
            work.add_tokens(new)
            fields = principal.audit_fields
            work.audit_all([work.audit_row(Event.TOKEN_IMPORTED, **fields, token=token_id) for token_id in token_ids])

    @rerun_on_conflict
    def issue(self, principal: Principal, *, spec: TokenSpec | None = None, issuer: str = "Sekisho") -> IssuedToken:
        """Make a new token for an authenticator app. Its seed is shown this once. ``issuer``: the name that the app
        shows."""
        with self._transactions.act(Act.ISSUE_TOKEN, principal) as work:
            return self.issue_in(work, principal, spec or TokenSpec(), issuer)

    @rerun_on_conflict
    def retire(self, token_id: str, principal: Principal) -> Receipt:
        """Never accept this token again. One that a customer holds is reported lost or changed instead: Refused."""
        token_id = normalise_token_id(token_id)
        with self._transactions.act(Act.RETIRE_TOKEN, principal, token=token_id) as work:
            token = work.token(token_id)
            if token is None:
                raise Refused(Refusal.UNKNOWN_TOKEN, token_id)
            if token.state == TokenState.BOUND:
                raise Refused(
                    Refusal.NOT_NOW,
                    f"it is bound to {work.holder(token.key)}: change the device or report it lost instead",
                )
            return self._retire(work, token, principal)

    @rerun_on_conflict
    def retire_available(self, token_ids: Sequence[str], principal: Principal) -> int:
        """The same with those of a list that are available now; how many. One that was bound, lost or retired meanwhile
        is left as it is."""
        retired = 0
        with self._transactions.act(Act.RETIRE_TOKENS, principal) as work:
            for token_id in token_ids:
                token = work.token(token_id)
                if token is not None and token.state == TokenState.AVAILABLE:
                    self._retire(work, token, principal)
                    retired += 1
        return retired

    def _retire(self, work: Work, token: TokenRecord, principal: Principal) -> Receipt:
        self._transactions.move_token(work, token, TokenMove.RETIRE)
        return self._transactions.record(work, Event.TOKEN_RETIRED, principal, None, token.token_id)

    def issue_in(self, work: Work, principal: Principal, spec: TokenSpec, issuer: str) -> IssuedToken:
        """Issue a token in a transaction that another service has opened."""
        issued = self.issue_seed(work, principal, spec)
        return _provision(issued.token_id, issued.seed, spec, issuer)

    def issue_seed(self, work: Work, principal: Principal, spec: TokenSpec) -> UnclaimedToken:
        """The same, for an app that takes the seed itself."""
        seed = secrets.token_bytes(_SEED_OCTETS[spec.algorithm])
        token_id = self._unused_token_id(work)
        sealed = self._transactions.store.sealer.seal(seed, token_id)
        work.add_tokens([NewToken(token_id, sealed, spec)])
        receipt = self._transactions.record(work, Event.TOKEN_ISSUED, principal, None, token_id)
        return UnclaimedToken(token_id, seed, ms_of(receipt.reference))

    def _unused_token_id(self, work: Work) -> str:
        while True:
            token_id = f"{TOKEN_ID_PREFIX}{self._draw(10**8):08d}"
            if work.token(token_id) is None:
                return token_id


def _provision(token_id: str, seed: bytes, spec: TokenSpec, issuer: str) -> IssuedToken:
    """The token as an authenticator app reads it (otpauth:// URI)."""
    secret = base64.b32encode(seed).decode().rstrip("=")
    digest = getattr(hashlib, spec.algorithm)
    otp: pyotp.TOTP | pyotp.HOTP
    if spec.kind == Kind.TOTP:
        otp = pyotp.TOTP(secret, digits=spec.digits, digest=digest, interval=spec.period)
    else:
        otp = pyotp.HOTP(secret, digits=spec.digits, digest=digest)
    return IssuedToken(token_id, secret, otp.provisioning_uri(name=token_id, issuer_name=issuer))
