"""The store's side of offline codes: issue a cache, and reconcile a journal. Each leaves audit rows.

No seed leaves the store: a cache holds slow hashes of the codes of some hours.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import NamedTuple

from otp_core.accounts import Principal, Refusal, Refused, rerun_on_conflict
from otp_core.audit import Event, id_at
from otp_core.first_factor.hashes import Cost
from otp_core.login.code_fit import token_spec
from otp_core.login.policy import Rules
from otp_core.login.spent_ahead import TokenSteps, is_ahead, with_step
from otp_core.model import Kind, LoginRecord, LoginToken, OtpUse, TokenState
from otp_core.otp import code_at, is_spent_ahead, normalise_contract_id, step_at
from otp_core.store.queries import AuditFilter, audit_rows
from otp_core.store.store import Store
from otp_core.store.unit_of_work import TokenRecord, Work
from otp_core.verifier import LOCAL_VERIFIER
from pam_module.offline.cache import VERIFIER_OCTETS, Cache, UserCodes, seal, verifier
from pam_module.offline.journal import BadJournal, Entry, host_in, read_journal


class Outcome(StrEnum):
    """What became of a journal entry. The values are printed, and stand in audit rows."""

    SPENT = "spent"
    PASSED = "a later code was accepted meanwhile"
    CONFLICT = "probably used twice: a server accepted a code of the same moment"
    WRONG = "wrong code"
    GONE = "the token is not bound any more"


class Reconciled(NamedTuple):
    """A journal entry that was new to the store."""

    entry: Entry
    outcome: Outcome


def issue(
    store: Store,
    rules: Rules,
    cost: Cost,
    *,
    host: str,
    users: Iterable[str],
    logins: int,
    hours: float,
    now: int,
    principal: Principal,
) -> bytes:
    """A sealed cache for ``host``, as the octets of a file.

    ``users``: contract IDs. ``logins``: how many each of them has. ``hours``: how long the codes are good from ``now``
    (milliseconds since the epoch). Raises Refused for a user without an active TOTP token, and StoreUnavailable."""
    serial, until = secrets.token_hex(8), now + int(hours * 3_600_000)
    with store.work() as work:
        records = [_login_record(work, name) for name in dict.fromkeys(map(normalise_contract_id, users))]
    codes = {
        one.contract_id: tuple(_codes(store, rules, cost, serial, token, now, until) for token in _issuable(one))
        for one in records
    }
    cache = Cache(host, serial, until, logins, rules.window, rules.lock_after, cost, codes)
    with store.work() as work:
        for contract_id, tokens in codes.items():
            for token in tokens:
                work.audit(
                    Event.OFFLINE_ISSUED,
                    actor=principal.name,
                    source=host,
                    reason=f"cache {serial}: {logins} logins within {hours:g} h",
                    customer=contract_id,
                    token=token.token_id,
                )
    return seal(cache, store.sealer.host_key(host))


def _login_record(work: Work, name: str) -> LoginRecord:
    record = work.login_record(name)
    if record is None:
        raise Refused(Refusal.UNKNOWN_CUSTOMER, name)
    if record.otp_use != OtpUse.ACTIVE or record.locked_at is not None or not record.tokens:
        raise Refused(Refusal.NOT_NOW, f"{name} has no active token, or is locked")
    if not _issuable(record):
        if all(token.kind != Kind.TOTP for token in record.tokens):
            raise Refused(Refusal.NOT_NOW, f"{name} has a counter token: only codes by the clock can be issued")
        elsewhere = next(token.verifier for token in record.tokens if token.verifier != LOCAL_VERIFIER)
        raise Refused(Refusal.NOT_NOW, f"{name} has a token without a seed here: {elsewhere} verifies its codes")
    return record


def _issuable(record: LoginRecord) -> list[LoginToken]:
    """The tokens whose codes can be known in advance."""
    return [token for token in record.tokens if token.kind == Kind.TOTP and token.verifier == LOCAL_VERIFIER]


def _codes(store: Store, rules: Rules, cost: Cost, serial: str, one: LoginToken, now: int, until: int) -> UserCodes:
    assert one.seed is not None
    token_id, seed = one.token_id, store.sealer.unseal(one.seed, one.token_id)
    first = max(one.last_step + 1, step_at(now, one.period) + one.drift - rules.window)
    last = step_at(until, one.period) + one.drift + rules.window

    def made(step: int) -> bytes:
        if is_spent_ahead(one.spent_ahead, step):
            return secrets.token_bytes(VERIFIER_OCTETS)  # which is no code's
        return verifier(serial, token_id, step, code_at(seed, step, token_spec(one)), cost)

    with ThreadPoolExecutor() as pool:
        return UserCodes(
            token_id, one.digits, one.period, one.drift, first, tuple(pool.map(made, range(first, last + 1)))
        )


@rerun_on_conflict
def reconcile(
    store: Store, octets: bytes, rules: Rules, principal: Principal, now: int | None = None
) -> list[Reconciled]:
    """Spend the codes of a journal in the store. ``octets``: the journal's file. ``now``: ms since the epoch; a code of
    a time that is still to come (the host's clock was ahead) is spent for that time, and refuses nobody until then.

    Returns the entries that are new. Those that were reconciled before are skipped, so the same journal may be given
    again, also when it has grown. Raises BadJournal, also for a journal that has lost or changed lines that were
    reconciled before; then nothing is written."""
    journal = read_journal(octets, store.sealer.host_key(host_in(octets)))
    name = f"offline journal {journal.host} {journal.name}"
    reconciled = []
    with store.work() as work:
        number, _, digest = (work.meta(name) or b"0").partition(b" ")
        done = int(number)
        if done > len(journal.entries):
            raise BadJournal(f"{done} lines of it were reconciled before, and it has only {len(journal.entries)} now")
        if digest and digest != journal.digests[done].hex().encode():
            raise BadJournal("its lines are not those that were reconciled before: was an older file put back there?")
        for entry in journal.entries[done:]:
            outcome = _reconcile(store, work, entry, rules, now)
            reconciled.append(Reconciled(entry, outcome))
            work.audit(
                _EVENTS[outcome],
                actor=principal.name,
                source=entry.source or journal.host,
                reason=f"{journal.host}, cache {entry.serial}: {outcome}",
                customer=entry.user,
                token=entry.token_id or None,
            )
        work.put_meta(name, f"{len(journal.entries)} {journal.digests[-1].hex()}".encode())
    return reconciled


_EVENTS = {
    Outcome.SPENT: Event.OFFLINE_SPENT,
    Outcome.PASSED: Event.OFFLINE_SPENT,
    Outcome.CONFLICT: Event.OFFLINE_CONFLICT,
    Outcome.WRONG: Event.OFFLINE_WRONG,
    Outcome.GONE: Event.OFFLINE_CONFLICT,
}


def _reconcile(store: Store, work: Work, entry: Entry, rules: Rules, now: int | None) -> Outcome:
    if not entry.spent:
        return Outcome.WRONG
    token = work.token(entry.token_id)
    if token is None or token.state != TokenState.BOUND:
        return Outcome.GONE
    steps = TokenSteps(token.period, entry.step, token.drift, token.spent_ahead)
    if now is not None and is_ahead(steps, now, rules):
        if is_spent_ahead(token.spent_ahead, entry.step):
            return Outcome.CONFLICT
        work.put_spent_ahead(token.key, with_step(steps, token.last_step))
        return Outcome.SPENT
    if work.spend_step(token.key, entry.step, token.drift, entry.at):
        return Outcome.SPENT
    twice = token.last_step == entry.step or _accepted_near(store, token, entry, rules)
    return Outcome.CONFLICT if twice else Outcome.PASSED


def _accepted_near(store: Store, token: TokenRecord, entry: Entry, rules: Rules) -> bool:
    """Whether a login of this token was accepted here while this code was good. More is not known: the audit trail does
    not hold codes."""
    step_ms, away = token.period * 1000, rules.window + abs(token.drift)
    since, until = (entry.step - away) * step_ms, (entry.step + away + 1) * step_ms
    with store.read() as connection:
        wanted = AuditFilter(
            event=Event.LOGIN_ACCEPTED.value, token=token.token_id, after=id_at(since), before=id_at(until)
        )
        return bool(audit_rows(connection, wanted))
