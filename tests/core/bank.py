"""A small bank for the core's tests: a real store in a folder, a clock moved by hand, customers with tokens in their
hands. Each test has its own."""

from __future__ import annotations

import asyncio
import atexit
import functools
import itertools
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from otp_core.accounts import Desk, Principal, PrincipalKind
from otp_core.audit import Ids
from otp_core.authentication.authenticator import Authenticator
from otp_core.clock import GuardedClock
from otp_core.login.evaluate import Evaluator
from otp_core.login.policy import Delays, Rules
from otp_core.model import Attempt, Kind, Language, LoginRecord, LoginToken, Mode, OtpUse, Policy, TokenSpec, Verdict
from otp_core.otp import code_at, step_at
from otp_core.store.queries import AuditFilter, AuditLine, TokenLine, audit_rows, token_line
from otp_core.store.schema import metadata
from otp_core.store.sqlite.login_batch import CHANGED
from otp_core.store.store import Store, initialise
from otp_core.store.unit_of_work import NewCustomer
from tests import postgresql
from tests.fakes import HandClock
from tests.store_away import away

NOON = 1_800_000_015.0
"""Seconds; the middle of a step."""
STAFF = Principal("staff", PrincipalKind.COMMAND, "192.0.2.1", "ticket 7")
NO_DELAYS = Delays(free=1000)
_TAGS = itertools.cycle(range(1024))
"""Several stores of one bank share a clock that stands still: their ids must not meet."""

CODE, CHALLENGE, APPEND, AUTO, PASSWORD = (
    Policy(mode) for mode in (Mode.CODE, Mode.CHALLENGE, Mode.APPEND, Mode.AUTO, Mode.PASSWORD)
)


def rules(**changes: Any) -> Rules:
    """The usual rules without delays, with some of them changed."""
    return Rules(**{"code_delays": NO_DELAYS, **changes})


@dataclass
class Holder:
    """A customer with a token in their hand."""

    contract_id: str
    token_id: str
    seed: bytes
    spec: TokenSpec
    clock: HandClock

    def code(self, away: int = 0) -> str:
        """What the token shows now, or ``away`` steps from now; for a counter, at the counter ``away``."""
        return code_at(self.seed, self.step(away), self.spec)

    def step(self, away: int = 0) -> int:
        now = step_at(int(self.clock.now * 1000), self.spec.period)
        return now + away if self.spec.kind == Kind.TOTP else away


@dataclass
class Bank:
    folder: Path
    rules: Rules = field(default_factory=rules)
    busy_seconds: float = 5.0
    clock: HandClock = field(default_factory=lambda: HandClock(NOON))
    database_url: str | None = None
    """Where the store is, with its key in ``folder``; None: as SEKISHO_ENGINE says."""
    permit: str = ""
    """The last one that ``in_state`` was given."""

    def __post_init__(self) -> None:
        if self.database_url is None and not postgresql.BY_ENVIRONMENT:
            for name in ("bank.db", "master.key"):
                if not (self.folder / name).exists():
                    shutil.copy(_empty() / name, self.folder / name)
        self.store = self.open_store()
        self.guarded = GuardedClock(self.clock)
        self.evaluator, self.desk = self.open_desk(self.store)

    @property
    def database(self) -> Path:
        return self.folder / "bank.db"

    @property
    def url(self) -> str:
        if self.database_url is not None:
            return self.database_url
        if postgresql.BY_ENVIRONMENT:
            return postgresql.store_in(self.folder)
        return f"sqlite:///{self.database}"

    @property
    def key_file(self) -> Path:
        return self.folder / "master.key"

    def open_store(self, busy_seconds: float | None = None) -> Store:
        """The store once more, as another process would open it."""
        wait = self.busy_seconds if busy_seconds is None else busy_seconds
        return Store(self.url, self.key_file, ids=Ids(self.clock, next(_TAGS)), busy_seconds=wait)

    def open_desk(self, store: Store) -> tuple[Evaluator, Desk]:
        evaluator = Evaluator(
            self.rules, store.sealer.unseal, lambda: secrets.token_bytes(16), store.sealer.name_fingerprint
        )
        return evaluator, Desk(store, evaluator, self.guarded.now)

    @contextmanager
    def store_away(self) -> Iterator[None]:
        """Meanwhile nobody can read or write the store."""
        with away(self.store):
            yield

    # Who and what there is

    def token(self, token_id: str = "VSMT00000001", spec: TokenSpec | None = None) -> Holder:
        """A token in the inventory, in nobody's name yet."""
        spec = spec or TokenSpec()
        seed = token_id.encode() * 2
        self.desk.tokens.import_rows([(token_id, seed, spec)], STAFF)
        return Holder("", token_id, seed, spec, self.clock)

    def customer(
        self,
        contract_id: str = "taro",
        token_id: str | None = "VSMT00000001",
        *,
        spec: TokenSpec | None = None,
        password_hash: str | None = None,
        language: Language | None = None,
        attributes: str | None = None,
    ) -> Holder:
        """Somebody with an active token that no code was ever accepted for, or (None) without one. A token ID that is
        there already is shared."""
        if token_id is None:
            holder, key = Holder(contract_id, "", b"", TokenSpec(), self.clock), None
        else:
            with self.store.work() as work:
                record = work.token(token_id)
            if record is None:
                holder = self.token(token_id, spec)
                with self.store.work() as work:
                    record = work.token(token_id)
            else:
                holder = Holder("", token_id, token_id.encode() * 2, record.spec, self.clock)
            assert record is not None
            holder.contract_id, key = contract_id, record.key
        new = NewCustomer(contract_id, password_hash, None, None, language, attributes, token_key=key)
        self.desk.customers.import_rows([new], [token_id], STAFF)
        return holder

    def another_token(self, token_id: str, contract_id: str = "taro", spec: TokenSpec | None = None) -> Holder:
        """One more token of somebody's, however many they may have."""
        holder = self.token(token_id, spec)
        holder.contract_id = contract_id
        with self.store.work() as work:
            record, new = work.login_record(contract_id), work.token(token_id)
            assert record is not None and new is not None
            work.bind_tokens([new.key], shared=False)
            work.bind(record.customer_key, new.key, int(self.clock.now * 1000))
        return holder

    def in_state(self, use: OtpUse, contract_id: str = "taro", token_id: str = "VSMT00000001") -> Holder:
        """Somebody whose use of one-time passwords is ``use``, come there by acts of the desk."""
        if use is OtpUse.NONE:
            self.customer(contract_id, None)
            holder = self.token(token_id)
            holder.contract_id = contract_id
            return holder
        holder = self.customer(contract_id, token_id)
        if use is OtpUse.SUSPENDED:
            self.desk.enrolment.suspend(contract_id, None, STAFF)
        if use in (OtpUse.LOST, OtpUse.REISSUE_PERMITTED):
            self.desk.enrolment.report_lost(contract_id, STAFF)
        if use is OtpUse.REISSUE_PERMITTED:
            self.permit = self.desk.enrolment.permit_reissue(contract_id, STAFF).text
        assert self.login_record(contract_id).otp_use == use
        return holder

    # What became of it

    def login_record(self, contract_id: str = "taro") -> LoginRecord:
        with self.store.work() as work:
            record = work.login_record(contract_id)
        assert record is not None
        return record

    def own_token(self, contract_id: str = "taro") -> LoginToken:
        """The only token of somebody's, as a login sees it."""
        (token,) = self.login_record(contract_id).tokens
        return token

    def token_line(self, token_id: str = "VSMT00000001") -> TokenLine:
        with self.store.read() as connection:
            line = token_line(connection, token_id)
        assert line is not None
        return line

    def audit(self, **wanted: Any) -> list[AuditLine]:
        with self.store.read() as connection:
            return audit_rows(connection, AuditFilter(**wanted))

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything there is, except the audit trail and the mark of whatever was written last."""
        with self.store.read() as connection:
            return {
                table.name: sorted(tuple(row) for row in connection.execute(select(table)) if row[0] != CHANGED)
                for table in metadata.sorted_tables
                if table.name != "audit"
            }


@functools.cache
def _empty() -> Path:
    """A folder with an empty store and its key, made once a process: migrations take longer than most tests."""
    folder = Path(tempfile.mkdtemp(prefix="sekisho-bank-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    initialise(f"sqlite:///{folder}/bank.db", folder / "master.key", ids=Ids(), say=lambda _: None)
    return folder


async def verdict_on(attempt: Attempt, authenticator: Authenticator) -> Verdict:
    verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
    authenticator.admit(attempt, verdict.set_result)
    return await verdict
