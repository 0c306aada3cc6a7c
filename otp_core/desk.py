"""The life of customers and tokens: every act of the counter and of the customer's own pages, each one transaction
with its audit row. Wrong codes count here as at every door; a refused act leaves a row and changes nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import pyotp

from otp_core.audit import Event
from otp_core.judge import Judge, attributes_text
from otp_core.lifecycle import Move, NotAllowed, TokenMove, customer_after, token_after
from otp_core.model import Kind, Language, OtpUse, Standing, StoreUnavailable, TokenSpec, TokenState
from otp_core.otp import (
    Fit,
    fit,
    is_code,
    learn_drift,
    normalise_code,
    normalise_contract_id,
    normalise_token_id,
    resynchronise,
    step_at,
)
from otp_core.store.store import Store
from otp_core.store.work import NewCustomer, NewToken, TokenRecord, Work

TOKEN_ID_PREFIX = "SKSO"
_PERMIT_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"


class Refusal(StrEnum):
    """Why an act was refused. Staff may read it; a customer's page must not tell TOKEN_OR_CODE's cases apart."""

    UNKNOWN_CUSTOMER = "there is no such customer"
    UNKNOWN_TOKEN = "there is no such token"
    CUSTOMER_EXISTS = "this contract ID is taken"
    TOKEN_EXISTS = "this token ID is taken"
    NOT_NOW = "not possible in this state"
    LOCKED = "the customer is locked"
    TOO_SOON = "too soon after wrong codes"
    NOT_A_CODE = "not a code: the wrong number of digits"
    WRONG_CODE = "wrong code"
    REUSED_CODE = "this code was used before: wait for the next one"
    TOKEN_OR_CODE = "the token ID or its code is not right"
    WRONG_PERMIT = "the reissue permit is wrong, used or expired"


class Refused(Exception):
    """An act that was not carried out; its audit row is written. ``detail`` is for staff and the audit trail."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(f"{refusal}: {detail}" if detail else str(refusal))
        self.refusal = refusal
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, where from, and why (a reason or ticket number)."""

    name: str
    source: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was done, to be shown: ``reference`` is the audit row's number."""

    reference: int
    customer: str | None
    token: str | None


@dataclass(frozen=True, slots=True)
class Permit:
    """A reissue permit, in clear for the one time that it is handed out."""

    text: str = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token with its seed, in clear for the one time that it is shown. ``uri``: otpauth://, for a QR code."""

    token_id: str
    secret: str = field(repr=False)
    uri: str = field(repr=False)


class Desk:
    """Every act, for portal, console and command line. ``now`` gives milliseconds and may refuse (GuardedClock)."""

    def __init__(self, store: Store, judge: Judge, now: Callable[[], int]) -> None:
        self._store, self._judge, self._rules, self._now = store, judge, judge.rules, now

    # Customers

    def add_customer(
        self,
        contract_id: str,
        actor: Actor,
        *,
        password_hash: str | None = None,
        name: str | None = None,
        email: str | None = None,
        language: Language | None = None,
        attributes: Mapping[str, object] | None = None,
    ) -> Receipt:
        """A new customer, who has not enrolled. ``password_hash`` None: no password is checked here."""
        contract_id = normalise_contract_id(contract_id)
        new = NewCustomer(contract_id, password_hash, name, email, language, attributes_text(attributes))
        with self._act(actor, customer=contract_id) as work:
            if work.standing(contract_id) is not None:
                raise Refused(Refusal.CUSTOMER_EXISTS, contract_id)
            work.add_customers([new])
            return self._record(work, Event.CUSTOMER_ADDED, actor, contract_id, None)

    def import_customers(self, new: Sequence[NewCustomer], token_ids: Sequence[str | None], actor: Actor) -> None:
        """Checked rows of a file, with the tokens they bring along: all or none. Raises StoreUnavailable when a row
        was added or a token bound by somebody else since the file was checked."""
        with self._store.work() as work:
            keys = [one.token_key for one in new if one.token_key is not None]
            if keys and work.bind_tokens(keys) != len(set(keys)):
                raise StoreUnavailable("a token of this file was bound by somebody else just now")
            work.add_customers(new)
            rows = []
            for one, token_id in zip(new, token_ids, strict=True):
                event = Event.CUSTOMER_ADDED if token_id is None else Event.ENROLLED
                rows.append(work.audit_row(event, **self._who(actor), customer=one.contract_id, token=token_id))
            work.record_all(rows)

    def lock(self, contract_id: str, actor: Actor) -> Receipt:
        """Staff: refuse this customer's logins until they are unlocked."""
        with self._act(actor, customer=contract_id) as work:
            standing = self._standing(work, contract_id)
            if standing.locked_at is not None:
                raise Refused(Refusal.NOT_NOW, "the customer is locked already")
            work.set_failures(standing.customer_key, standing.failures, self._now(), self._now())
            return self._record(work, Event.CUSTOMER_LOCKED, actor, contract_id, standing.token_id)

    def unlock(self, contract_id: str, actor: Actor) -> Receipt:
        """Staff: end a lock, and forgive the wrong codes that led to it."""
        with self._act(actor, customer=contract_id) as work:
            standing = self._standing(work, contract_id)
            if standing.locked_at is None:
                raise Refused(Refusal.NOT_NOW, "the customer is not locked")
            work.set_failures(standing.customer_key, 0, 0, None)
            return self._record(work, Event.CUSTOMER_UNLOCKED, actor, contract_id, standing.token_id)

    def renew_password_hash(self, standing: Standing, before: str, after: str) -> None:
        """The same password, hashed as we hash today. Does nothing if it was changed meanwhile."""
        with self._store.work() as work:
            if work.set_password_hash(standing.customer_key, before, after):
                work.record(Event.PASSWORD_REHASHED, actor="sekisho", customer=standing.contract_id)

    # The customer's use of one-time passwords

    def enrol(self, contract_id: str, token_id: str, code: str, actor: Actor) -> Receipt:
        """Journey 2: bind an available token by its code. A suspended customer may also come back with the token
        they had."""
        token_id = normalise_token_id(token_id)
        with self._act(actor, customer=contract_id, token=token_id) as work:
            standing = self._standing(work, contract_id)
            self._may(standing, Move.ENROL)
            token, step, now = self._new_token(work, standing, token_id, code)
            self._bind(work, standing, Move.ENROL, token, step, now)
            return self._record(work, Event.ENROLLED, actor, contract_id, token_id)

    def suspend(self, contract_id: str, code: str | None, actor: Actor) -> Receipt:
        """Journey 3: password only from now on. ``code`` None: staff does it, without the customer's token."""
        with self._act(actor, customer=contract_id) as work:
            standing = self._standing(work, contract_id)
            after = self._may(standing, Move.SUSPEND)
            if code is not None:
                self._spend_code(work, standing, code)
            self._set_use(work, standing, after, standing.token_key)
            return self._record(work, Event.SUSPENDED, actor, contract_id, standing.token_id)

    def resume(self, contract_id: str, actor: Actor) -> Receipt:
        """Staff: end a suspension; the token that the customer had works again."""
        with self._act(actor, customer=contract_id) as work:
            standing = self._standing(work, contract_id)
            self._set_use(work, standing, self._may(standing, Move.RESUME), standing.token_key)
            return self._record(work, Event.RESUMED, actor, contract_id, standing.token_id)

    def change_device(self, contract_id: str, old_code: str, token_id: str, code: str, actor: Actor) -> Receipt:
        """Journey 4: the old token's code lets the new token in. The old one dies in the moment in which the new one
        lives, and goes on working if anything is wrong."""
        token_id = normalise_token_id(token_id)
        with self._act(actor, customer=contract_id, token=token_id) as work:
            standing = self._standing(work, contract_id)
            self._may(standing, Move.CHANGE_DEVICE)
            self._check_code(work, standing, old_code)
            token, step, now = self._new_token(work, standing, token_id, code)
            self._retire_old(work, standing)
            self._bind(work, standing, Move.CHANGE_DEVICE, token, step, now)
            return self._record(work, Event.DEVICE_CHANGED, actor, contract_id, token_id, was=standing.token_id)

    def change_by_permit(self, contract_id: str, permit: str, token_id: str, code: str, actor: Actor) -> Receipt:
        """Journey 5: a reissue permit in place of the old token's code. It is used up only by success."""
        token_id = normalise_token_id(token_id)
        with self._act(actor, customer=contract_id, token=token_id) as work:
            standing = self._standing(work, contract_id)
            self._may(standing, Move.CHANGE_BY_PERMIT)
            self._not_locked(standing)
            token, step, now = self._new_token(work, standing, token_id, code)
            if not work.take_permit(standing.customer_key, self._permit_mark(standing, permit), now):
                self._count(work, standing)
                raise Refused(Refusal.WRONG_PERMIT)
            self._bind(work, standing, Move.CHANGE_BY_PERMIT, token, step, now)
            return self._record(work, Event.DEVICE_CHANGED, actor, contract_id, token_id, was=standing.token_id)

    def report_lost(self, contract_id: str, actor: Actor) -> Receipt:
        """Journey 5: refused everywhere from this moment. A permit that was handed out dies too."""
        with self._act(actor, customer=contract_id) as work:
            standing = self._standing(work, contract_id)
            after = self._may(standing, Move.REPORT_LOST)
            token = work.token(standing.token_id) if standing.token_id else None
            if token is not None and token.state != TokenState.LOST:
                self._move_token(work, token, TokenMove.LOSE)
            work.drop_permit(standing.customer_key)
            self._set_use(work, standing, after, standing.token_key)
            return self._record(work, Event.REPORTED_LOST, actor, contract_id, standing.token_id)

    def permit_reissue(self, contract_id: str, actor: Actor) -> Permit:
        """Journey 5: a one-time, expiring permit, to be handed over out of band. A second one replaces the first."""
        with self._act(actor, customer=contract_id) as work:
            standing = self._standing(work, contract_id)
            after = self._may(standing, Move.PERMIT_REISSUE)
            text = "-".join("".join(secrets.choice(_PERMIT_ALPHABET) for _ in range(4)) for _ in range(3))
            expires_at = self._now() + self._rules.permit_hours * 3_600_000
            work.put_permit(standing.customer_key, self._permit_mark(standing, text), expires_at)
            self._set_use(work, standing, after, standing.token_key)
            self._record(work, Event.REISSUE_PERMITTED, actor, contract_id, standing.token_id)
            return Permit(text, expires_at)

    def resynchronise(self, contract_id: str, first: str, second: str, actor: Actor) -> Receipt:
        """Two consecutive codes repair a token whose clock or counter has run away."""
        with self._act(actor, customer=contract_id) as work:
            standing = self._standing(work, contract_id)
            if standing.otp_use != OtpUse.ACTIVE or standing.token_id is None:
                raise Refused(Refusal.NOT_NOW, f"the customer's use of one-time passwords is {standing.otp_use}")
            self._not_locked(standing)
            token = work.token(standing.token_id)
            assert token is not None
            now = self._now()
            step = resynchronise(
                self._unseal(token),
                token.spec,
                normalise_code(first),
                normalise_code(second),
                at_ms=now,
                last_step=token.last_step,
                window=self._rules.resync_window,
                look_ahead=self._rules.resync_look_ahead,
            )
            if step is None:
                self._count(work, standing)
                raise Refused(Refusal.WRONG_CODE, "the two codes do not follow one another near the present")
            drift = step - step_at(now, token.period) if token.kind == Kind.TOTP else 0
            self._spend(work, standing, token.key, step, drift, now)
            return self._record(work, Event.TOKEN_RESYNCHRONISED, actor, contract_id, token.token_id)

    # The inventory

    def import_tokens(self, new: Sequence[tuple[str, bytes, TokenSpec]], actor: Actor) -> None:
        """Checked rows of a file (token ID, seed, spec): all or none."""
        seal = self._store.sealer.seal
        with self._store.work() as work:
            work.add_tokens([NewToken(token_id, seal(seed, token_id), spec) for token_id, seed, spec in new])
            event, who = Event.TOKEN_IMPORTED, self._who(actor)
            work.record_all([work.audit_row(event, **who, token=token_id) for token_id, _, _ in new])

    def issue_token(self, actor: Actor, *, spec: TokenSpec | None = None, issuer: str = "Sekisho") -> Issued:
        """A new token in the inventory, for an authenticator app. Its seed is shown this once."""
        spec = spec or TokenSpec()
        seed = secrets.token_bytes({"sha1": 20, "sha256": 32, "sha512": 64}[spec.algorithm])
        with self._act(actor) as work:
            token_id = self._unused_token_id(work)
            work.add_tokens([NewToken(token_id, self._store.sealer.seal(seed, token_id), spec)])
            self._record(work, Event.TOKEN_ISSUED, actor, None, token_id)
        return _provision(token_id, seed, spec, issuer)

    def retire_token(self, token_id: str, actor: Actor) -> Receipt:
        """Staff: never accept this token again. One that a customer holds is reported lost or changed instead."""
        token_id = normalise_token_id(token_id)
        with self._act(actor, token=token_id) as work:
            token = work.token(token_id)
            if token is None:
                raise Refused(Refusal.UNKNOWN_TOKEN, token_id)
            if token.state == TokenState.BOUND:
                raise Refused(
                    Refusal.NOT_NOW,
                    f"it is bound to {work.holder(token.key)}: change the device or report it lost instead",
                )
            self._move_token(work, token, TokenMove.RETIRE)
            return self._record(work, Event.TOKEN_RETIRED, actor, None, token_id)

    # What the acts share

    @contextmanager
    def _act(self, actor: Actor, *, customer: str | None = None, token: str | None = None) -> Iterator[Work]:
        """One transaction. A refusal keeps what was counted and leaves its own row; any other exception, nothing.

        So nothing but counting may be written before the last check of an act."""
        refused: Refused | None = None
        with self._store.work() as work:
            try:
                yield work
            except NotAllowed as error:
                refused = Refused(Refusal.NOT_NOW, str(error))
            except Refused as error:
                refused = error
            if refused is not None:
                who = {**self._who(actor), "reason": str(refused)}
                work.record(Event.REFUSED, **who, customer=customer, token=token)
        if refused is not None:
            raise refused

    @staticmethod
    def _who(actor: Actor) -> dict[str, str]:
        return {"actor": actor.name, "source": actor.source, "reason": actor.reason}

    def _record(
        self, work: Work, event: Event, actor: Actor, customer: str | None, token: str | None, was: str | None = None
    ) -> Receipt:
        who = self._who(actor)
        if was:
            who["reason"] = f"{actor.reason}; was {was}" if actor.reason else f"was {was}"
        row = work.audit_row(event, **who, customer=customer, token=token)
        work.record_all([row])
        return Receipt(row.id, customer, token)

    @staticmethod
    def _standing(work: Work, contract_id: str) -> Standing:
        standing = work.standing(normalise_contract_id(contract_id))
        if standing is None:
            raise Refused(Refusal.UNKNOWN_CUSTOMER, contract_id)
        return standing

    @staticmethod
    def _may(standing: Standing, move: Move) -> OtpUse:
        return customer_after(OtpUse(standing.otp_use), move)

    def _not_locked(self, standing: Standing) -> None:
        if standing.locked_at is not None:
            raise Refused(Refusal.LOCKED)
        if self._now() < standing.failed_at + self._rules.code_delays.after(standing.failures) * 1000:
            raise Refused(Refusal.TOO_SOON)

    def _check_code(self, work: Work, standing: Standing, typed: str) -> tuple[int, int]:
        """The step of a right code of the customer's own token, and the moment. Nothing is spent yet."""
        self._not_locked(standing)
        code, now = normalise_code(typed), self._now()
        if not is_code(code, standing.digits or 0):
            raise Refused(Refusal.NOT_A_CODE)
        found, step = self._judge.fit(standing, code, now)
        if found is Fit.REUSED:
            raise Refused(Refusal.REUSED_CODE)
        if found is Fit.WRONG:
            self._count(work, standing)
            raise Refused(Refusal.WRONG_CODE)
        return step, now

    def _spend_code(self, work: Work, standing: Standing, typed: str) -> None:
        step, now = self._check_code(work, standing, typed)
        assert standing.token_key is not None
        drift = self._drift(standing.kind, standing.period, standing.drift, step, now)
        self._spend(work, standing, standing.token_key, step, drift, now)

    def _new_token(self, work: Work, standing: Standing, token_id: str, typed: str) -> tuple[TokenRecord, int, int]:
        """The token that the customer brings, with the step of its code. Unknown, somebody else's and a wrong code
        are one refusal; which of them it was, the detail tells staff."""
        self._not_locked(standing)
        token, code, now = work.token(token_id), normalise_code(typed), self._now()
        if token is None:
            self._count(work, standing)
            raise Refused(Refusal.TOKEN_OR_CODE, f"token {token_id} is not in the inventory")
        if not self._is_free(work, standing, token):
            self._count(work, standing)
            raise Refused(Refusal.TOKEN_OR_CODE, f"token {token_id} is {token.state}")
        found, step = fit(
            self._unseal(token),
            token.spec,
            code,
            at_ms=now,
            last_step=token.last_step,
            drift=token.drift,
            window=self._rules.window,
            look_ahead=self._rules.look_ahead,
        )
        if found is not Fit.FITS:
            if is_code(code, token.digits) and found is Fit.WRONG:
                self._count(work, standing)
            raise Refused(Refusal.TOKEN_OR_CODE, f"{found} code of token {token_id}")
        return token, step, now

    def _is_free(self, work: Work, standing: Standing, token: TokenRecord) -> bool:
        if token.state == TokenState.AVAILABLE:
            return True
        if token.state != TokenState.BOUND:
            return False
        own = standing.token_key == token.key and standing.otp_use == OtpUse.SUSPENDED
        return own or not self._rules.one_customer_per_token

    def _bind(self, work: Work, standing: Standing, move: Move, token: TokenRecord, step: int, now: int) -> None:
        if move is Move.ENROL and standing.token_key not in (None, token.key):
            self._retire_old(work, standing)
        if token.state == TokenState.AVAILABLE:
            self._move_token(work, token, TokenMove.BIND)
        drift = self._drift(token.kind, token.period, token.drift, step, now)
        self._spend(work, standing, token.key, step, drift, now)
        self._set_use(work, standing, self._may(standing, move), token.key)

    def _retire_old(self, work: Work, standing: Standing) -> None:
        """The customer's token of until now is never accepted again, unless somebody else holds it too."""
        assert standing.token_id is not None
        old = work.token(standing.token_id)
        if old is not None and old.state == TokenState.BOUND and work.holders(old.key) == 1:
            self._move_token(work, old, TokenMove.RETIRE)

    @staticmethod
    def _move_token(work: Work, token: TokenRecord, move: TokenMove) -> None:
        before = TokenState(token.state)
        if not work.set_token_state(token.key, before, token_after(before, move)):
            raise StoreUnavailable(f"token {token.token_id} was changed by somebody else just now: try again")

    @staticmethod
    def _set_use(work: Work, standing: Standing, after: OtpUse, token_key: int | None) -> None:
        if not work.set_otp_use(standing.customer_key, OtpUse(standing.otp_use), after, token_key):
            raise StoreUnavailable(f"{standing.contract_id} was changed by somebody else just now: try again")

    def _spend(self, work: Work, standing: Standing, token_key: int, step: int, drift: int, now: int) -> None:
        if not work.spend_step(token_key, step, drift, now):
            raise Refused(Refusal.REUSED_CODE)
        if standing.failures:
            work.set_failures(standing.customer_key, 0, 0, None)

    def _count(self, work: Work, standing: Standing) -> None:
        failures, now = standing.failures + 1, self._now()
        locked_at = now if failures >= self._rules.lock_after else None
        work.set_failures(standing.customer_key, failures, now, locked_at)
        if locked_at is not None:
            reason = f"{failures} wrong codes in a row"
            work.record(Event.CUSTOMER_LOCKED, actor="sekisho", customer=standing.contract_id, reason=reason)

    def _drift(self, kind: str | None, period: int | None, drift: int, step: int, now: int) -> int:
        if kind != Kind.TOTP or not period:
            return 0
        return learn_drift(drift, step, step_at(now, period), self._rules.max_drift)

    def _unseal(self, token: TokenRecord) -> bytes:
        return self._store.sealer.unseal(token.seed, token.token_id)

    def _permit_mark(self, standing: Standing, permit: str) -> int:
        typed = normalise_token_id(permit)
        return self._store.sealer.mark(b"permit", str(standing.customer_key).encode(), typed.encode())

    @staticmethod
    def _unused_token_id(work: Work) -> str:
        while True:
            token_id = f"{TOKEN_ID_PREFIX}{secrets.randbelow(10**8):08d}"
            if work.token(token_id) is None:
                return token_id


def _provision(token_id: str, seed: bytes, spec: TokenSpec, issuer: str) -> Issued:
    secret = base64.b32encode(seed).decode().rstrip("=")
    digest = getattr(hashlib, spec.algorithm)
    otp: pyotp.TOTP | pyotp.HOTP
    if spec.kind == Kind.TOTP:
        otp = pyotp.TOTP(secret, digits=spec.digits, digest=digest, interval=spec.period)
    else:
        otp = pyotp.HOTP(secret, digits=spec.digits, digest=digest)
    return Issued(token_id, secret, otp.provisioning_uri(name=token_id, issuer_name=issuer))
