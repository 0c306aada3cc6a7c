"""Keys of programs that use the API: made, revoked, recognised. A key is shown once and kept as a digest."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal, PrincipalKind
from otp_core.accounts.results import Receipt, Refusal, Refused
from otp_core.accounts.transactions import Transactions, rerun_on_conflict
from otp_core.audit import Event
from otp_core.model import Conflict, Scope
from otp_core.store import api_keys as statements
from otp_core.store.api_keys import API_KEY_ACTOR, ApiKeyRecord
from otp_core.store.approvals import withdraw_of_program
from otp_core.store.staff import staff_record
from otp_core.store.unit_of_work import Work

MOST_KEYS = 100
"""Keys of one store."""

MOST_NETWORKS = 16
"""Networks of one key."""

LONGEST_KEY = 128
"""Characters that are looked at: twice as many as a key has."""

_PREFIX = "sekisho_"
"""How a key begins, so that programs which look for forgotten secrets find it."""

_KEY_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A new key, in clear for the one time that it is shown. ``secret``: letters, digits, hyphens and underscores;
    ``reference``: the number of its audit row."""

    record: ApiKeyRecord
    secret: str = field(repr=False)
    reference: int


def actor_of(name: str) -> str:
    """The actor of the audit rows of a key."""
    return f"{API_KEY_ACTOR}{name}"


def api_key_principal(record: ApiKeyRecord, scope: Scope, source: str, reason: str = "") -> Principal:
    """A program as the one who acts, for what one of its key's scopes allows. ``source``: its address."""
    return Principal(actor_of(record.name), PrincipalKind.API_KEY, source, reason, role=scope)


class ApiKeyService:
    """The acts on API keys. Every act may raise Refused."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    @rerun_on_conflict
    def create(
        self,
        name: str,
        scopes: Collection[Scope],
        principal: Principal,
        *,
        networks: Sequence[IPv4Network | IPv6Network] = (),
    ) -> NewApiKey:
        """Make a key for what the scopes say. ``networks``: where it may come from; empty: anywhere."""
        with self._transactions.act(Act.MANAGE_API_KEYS, principal) as work:
            check_new(work, name, scopes, networks)
            secret = _PREFIX + secrets.token_urlsafe(_KEY_BYTES)
            here = tuple(dict.fromkeys(map(str, networks)))
            record = ApiKeyRecord(self._transactions.store.ids.next(), name, frozenset(map(str, scopes)), here)
            statements.add_api_key(work.connection, record, self._digest(secret), _maker(work, principal))
            for_what = " ".join(sorted(record.scopes)) + (f" from {' '.join(here)}" if here else "")
            receipt = self._transactions.record_named(work, Event.API_KEY_CREATED, principal, name, for_what)
            return NewApiKey(record, secret, receipt.reference)

    @rerun_on_conflict
    def revoke(self, name: str, principal: Principal) -> Receipt:
        """Let nobody in by this key from this moment, and withdraw what it has asked a second person for. The name is
        free again."""
        with self._transactions.act(Act.MANAGE_API_KEYS, principal) as work:
            record = known(work, name)
            if not statements.drop_api_key(work.connection, record.key):
                raise Conflict(f"the API key {name} was revoked by somebody else just now")
            gone = withdraw_of_program(work.connection, actor_of(name))
            detail = f"{gone} requests withdrawn" if gone else ""
            return self._transactions.record_named(work, Event.API_KEY_REVOKED, principal, name, detail)

    def of_secret(self, secret: str) -> ApiKeyRecord | None:
        """Whose key this is; None: nobody's, or revoked. Raises StoreUnavailable."""
        digest = self.digest_of(secret)
        if digest is None:
            return None
        with self._transactions.store.read() as connection:
            return statements.api_key_of(connection, digest)

    def digest_of(self, secret: str) -> bytes | None:
        """What the store has of a key; None for a text that is longer than any."""
        return None if len(secret) > LONGEST_KEY else self._digest(secret)

    def _digest(self, secret: str) -> bytes:
        typed = secret.encode(errors="backslashreplace")
        return self._transactions.store.sealer.session_digest(b"api key " + typed)


def is_name(name: str) -> bool:
    """Whether an API key can be called so."""
    return bool(_NAME.fullmatch(name))


def known(work: Work, name: str) -> ApiKeyRecord:
    """The key of this name. Raises Refused."""
    record = statements.api_key_named(work.connection, name)
    if record is None:
        raise Refused(Refusal.NOT_NOW, f"there is no API key {name}: `sekisho api-key list` lists them")
    return record


def check_new(work: Work, name: str, scopes: Collection[Scope], networks: Sequence[object]) -> None:
    """Raises Refused for a key that cannot be made."""
    if not is_name(name):
        raise Refused(
            Refusal.NOT_NOW,
            "the name of an API key is one word of up to 32 letters, digits, dots, hyphens and underscores, "
            "such as call-centre",
        )
    if not scopes:
        raise Refused(Refusal.NOT_NOW, f"a key without a scope is of no use: {', '.join(Scope)}")
    if len(networks) > MOST_NETWORKS:
        raise Refused(Refusal.TOO_MANY, f"{len(networks)} networks, of at most {MOST_NETWORKS}")
    if statements.api_key_named(work.connection, name) is not None:
        raise Refused(
            Refusal.NOT_NOW, f"there is an API key {name} already: revoke it first, or give this one another name"
        )
    if statements.count_api_keys(work.connection) >= MOST_KEYS:
        raise Refused(Refusal.TOO_MANY, f"{MOST_KEYS} API keys: revoke one that is not needed any more")


def _maker(work: Work, principal: Principal) -> int | None:
    """Who of staff sees a new key; None: a command does."""
    record = staff_record(work.connection, principal.name) if principal.kind is PrincipalKind.STAFF else None
    return None if record is None else record.key
