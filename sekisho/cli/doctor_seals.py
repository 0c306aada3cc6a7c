"""What `sekisho doctor` says of the seals of the audit trail. It reads, and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from otp_core.checks import CheckResult, CheckState
from otp_core.json_shapes import local_time

if TYPE_CHECKING:
    from otp_core.settings import AuditSettings
    from otp_core.store.store import Store

_LATE_SECONDS = 30.0
"""How old a row without a seal may be while a server seals."""


def examine_seals(store: Store, audit: AuditSettings | None) -> Iterator[CheckResult]:
    """The key, the copy outside, and how old the newest seal is. Raises StoreUnavailable."""
    if audit is None:
        text = "the audit trail is not sealed: write [audit] with seal_key_file, run `sekisho init`, restart"
        yield CheckResult(CheckState.WARN, "seals", text)
        return
    yield from _files(audit)
    yield _newest(store)
    yield from _oldest(store)


def _files(audit: AuditSettings) -> Iterator[CheckResult]:
    from otp_core.sealing import KeyProblem
    from otp_core.seals.copies import SealCopy
    from otp_core.seals.keys import read_seal_key

    try:
        read_seal_key(audit.seal_key_file)
    except KeyProblem as problem:
        yield CheckResult(CheckState.FAIL, "seals", f"nothing is sealed: {problem}")
    if audit.seal_copy is None:
        return  # said by the settings' own checks
    try:
        SealCopy(audit.seal_copy).check()
    except OSError as error:
        text = f"no seal is copied: audit.seal_copy {audit.seal_copy}: {error.strerror}"
        yield CheckResult(CheckState.FAIL, "seals", text)


def _oldest(store: Store) -> Iterator[CheckResult]:
    """How far back the trail goes, and what was dropped."""
    from otp_core.audit import ms_of
    from otp_core.store.audit_drops import newest_drop, oldest_audit_id

    with store.read() as connection:
        oldest, drop = oldest_audit_id(connection), newest_drop(connection)
    if oldest is None:
        return
    text = f"the oldest row is of {local_time(ms_of(oldest))}"
    if drop is None:
        yield CheckResult(CheckState.OK, "audit trail", text)
    elif drop.ended_at:
        text += f"; rows of before were exported and dropped by {drop.actor} ({local_time(drop.begun_at)})"
        yield CheckResult(CheckState.OK, "audit trail", text)
    else:
        text += f"; the drop that {drop.actor} began has not ended: run `sekisho audit drop` once more"
        yield CheckResult(CheckState.WARN, "audit trail", text)


def _newest(store: Store) -> CheckResult:
    from otp_core.seals.seal import read_seal
    from otp_core.store.queries import newest_seal, unsealed_seconds

    now = time.time()
    with store.read() as connection:
        body, waiting = newest_seal(connection), unsealed_seconds(connection, now)
    if body is None:
        return CheckResult(CheckState.WARN, "seals", "nothing is sealed yet: the running server does it")
    try:
        seal = read_seal(body)
    except ValueError as error:
        return CheckResult(CheckState.FAIL, "seals", f"the newest seal {error}: run `sekisho audit verify`")
    age = max(0.0, now - seal.sealed_at / 1000)
    text = f"the newest is number {seal.number}, {age:,.0f} s old ({local_time(seal.sealed_at)})"
    if waiting > _LATE_SECONDS:
        text += f"; rows have waited for one for {waiting:,.0f} s: does the server run? Its log says why"
        return CheckResult(CheckState.WARN, "seals", text)
    return CheckResult(CheckState.OK, "seals", text)
