"""The tokens: imported, issued, retired. A seed is in clear here once, when it comes in or is handed out."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence

import pyotp

from otp_core.accounts.lifecycle import TokenMove
from otp_core.accounts.results import IssuedToken, Principal, Receipt, Refusal, Refused
from otp_core.accounts.transactions import Acts
from otp_core.audit import Event
from otp_core.model import Kind, TokenSpec, TokenState
from otp_core.otp import normalise_token_id
from otp_core.store.unit_of_work import NewToken, Work

TOKEN_ID_PREFIX = "SKSO"


class Inventory(Acts):
    """The acts on tokens that concern no customer."""

    def import_tokens(self, new: Sequence[tuple[str, bytes, TokenSpec]], principal: Principal) -> None:
        """Checked rows of a file (token ID, seed, spec): all or none."""
        seal = self._store.sealer.seal
        sealed = [NewToken(token_id, seal(seed, token_id), spec) for token_id, seed, spec in new]
        with self._store.work() as work:
            work.add_tokens(sealed)
            event, who = Event.TOKEN_IMPORTED, self._who(principal)
            work.audit_all([work.audit_row(event, **who, token=token_id) for token_id, _, _ in new])

    def issue_token(
        self, principal: Principal, *, spec: TokenSpec | None = None, issuer: str = "Sekisho"
    ) -> IssuedToken:
        """A new token in the inventory, for an authenticator app. Its seed is shown this once."""
        with self._act(principal) as work:
            return self._issue(work, principal, spec or TokenSpec(), issuer)

    def retire_token(self, token_id: str, principal: Principal) -> Receipt:
        """Staff: never accept this token again. One that a customer holds is reported lost or changed instead."""
        token_id = normalise_token_id(token_id)
        with self._act(principal, token=token_id) as work:
            token = work.token(token_id)
            if token is None:
                raise Refused(Refusal.UNKNOWN_TOKEN, token_id)
            if token.state == TokenState.BOUND:
                raise Refused(
                    Refusal.NOT_NOW,
                    f"it is bound to {work.holder(token.key)}: change the device or report it lost instead",
                )
            self._move_token(work, token, TokenMove.RETIRE)
            return self._audit(work, Event.TOKEN_RETIRED, principal, None, token_id)

    def _issue(self, work: Work, principal: Principal, spec: TokenSpec, issuer: str) -> IssuedToken:
        seed = secrets.token_bytes({"sha1": 20, "sha256": 32, "sha512": 64}[spec.algorithm])
        token_id = self._unused_token_id(work)
        work.add_tokens([NewToken(token_id, self._store.sealer.seal(seed, token_id), spec)])
        self._audit(work, Event.TOKEN_ISSUED, principal, None, token_id)
        return _provision(token_id, seed, spec, issuer)

    def _unused_token_id(self, work: Work) -> str:
        while True:
            token_id = f"{TOKEN_ID_PREFIX}{self._draw(10**8):08d}"
            if work.token(token_id) is None:
                return token_id


def _provision(token_id: str, seed: bytes, spec: TokenSpec, issuer: str) -> IssuedToken:
    secret = base64.b32encode(seed).decode().rstrip("=")
    digest = getattr(hashlib, spec.algorithm)
    otp: pyotp.TOTP | pyotp.HOTP
    if spec.kind == Kind.TOTP:
        otp = pyotp.TOTP(secret, digits=spec.digits, digest=digest, interval=spec.period)
    else:
        otp = pyotp.HOTP(secret, digits=spec.digits, digest=digest)
    return IssuedToken(token_id, secret, otp.provisioning_uri(name=token_id, issuer_name=issuer))
