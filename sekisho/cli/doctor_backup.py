"""What `sekisho doctor` says about backups, and about a store that was put back. It reads, and changes nothing."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from otp_core.audit import ms_of
from otp_core.checks import CheckResult, CheckState
from otp_core.json_shapes import local_time

if TYPE_CHECKING:
    from otp_core.store.store import Store

_OLD_HOURS = 26
"""A nightly backup with two hours to spare."""

_SHOWN = 50
"""Lost acts that are listed."""


def examine_backups(store: Store) -> Iterator[CheckResult]:
    """The age of the newest backup; whether the store was put back or recovered; what is left to do after that. Raises
    StoreUnavailable and OSError."""
    if store.database.file is not None:
        yield _age(store)
        yield from _mark(store)
    else:  # of its backups the database server knows
        yield from _recovery(store)
    yield from _journal(store)
    yield from _lost_acts(store)
    yield from _counters(store)


def _age(store: Store) -> CheckResult:
    from otp_core.store.backup import last_backup

    with store.read() as connection:
        found = last_backup(connection)
    if found is None:
        return CheckResult(CheckState.WARN, "backup", "none was ever made: `sekisho backup FILE`, nightly by the timer")
    hours = max(0.0, time.time() - found.at_ms / 1000) / 3600
    text = f"the newest was made {hours:,.1f} hours ago: {found.file}"
    try:
        octets = Path(found.file).stat().st_size
    except OSError as error:
        gone = f"{text}, and cannot be looked at ({error.strerror}): if it was not moved away, there is none"
        return CheckResult(CheckState.WARN, "backup", gone)
    if not octets:
        return CheckResult(CheckState.FAIL, "backup", f"{text}, and is empty: make another")
    if hours > _OLD_HOURS:
        return CheckResult(CheckState.WARN, "backup", f"{text}; `systemctl list-timers sekisho-backup.timer`")
    return CheckResult(CheckState.OK, "backup", text)


def _mark(store: Store) -> Iterator[CheckResult]:
    from otp_core.store.mark import read_mark
    from otp_core.store.put_back import put_back

    known = read_mark(store.file)  # before the store: it may go on meanwhile
    with store.read() as connection:
        found = put_back(connection, known, store.acts)
    if found is not None:
        text = f"{found.cause}: it was put back; the next start voids every code that may have been used since"
        yield CheckResult(CheckState.FAIL, "put back", f"{text}. `sekisho restore FILE` is the way to do that")
    elif known is not None:
        yield CheckResult(CheckState.OK, "put back", "the store is the one that was served last")


def _recovery(store: Store) -> Iterator[CheckResult]:
    from otp_core.store.mark import read_mark
    from otp_core.store.recovered import check_mark

    if (lacking := check_mark(store)) is not None:
        yield CheckResult(CheckState.FAIL, "put back", lacking)
    elif read_mark(store.beside) is not None:
        yield CheckResult(CheckState.OK, "put back", "the store is the one that this node served last")
    elif not os.access(store.beside.parent, os.W_OK):
        text = f"{store.beside.parent} cannot be written: a recovery to an earlier moment is not noticed here"
        yield CheckResult(CheckState.WARN, "put back", f"{text}, and acts of the lost time are not known")


def _journal(store: Store) -> Iterator[CheckResult]:
    """Whether acts can be noted: where that fails, they are done all the same."""
    path = store.acts.path if store.acts else None
    if path is not None and path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
        text = f"{path} cannot be written: what staff does is not known after a restore; check its owner and mode"
        yield CheckResult(CheckState.FAIL, "journal of acts", text)


def _lost_acts(store: Store) -> Iterator[CheckResult]:
    from otp_core.store.acts import enter_again
    from otp_core.store.put_back import lost_time, open_acts

    with store.read() as connection:
        lost = lost_time(connection)
        acts = open_acts(connection, lost, store.acts) if lost else []
    for act in acts[:_SHOWN]:
        whom = " ".join(filter(None, (act.customer, act.token)))
        text = f"{act.event} {whom} by {act.actor} at {local_time(ms_of(act.id))}: {enter_again(act)}"
        yield CheckResult(CheckState.WARN, "lost act", text)
    if len(acts) > _SHOWN:
        yield CheckResult(CheckState.WARN, "lost act", f"and {len(acts) - _SHOWN:,} more")


def _counters(store: Store) -> Iterator[CheckResult]:
    from otp_core.store.queries import unsynchronised

    with store.read() as connection:
        waiting = unsynchronised(connection)
    if waiting:
        text = f"{waiting.number:,} counter tokens are refused until they are resynchronised, since a restore"
        token = shlex.quote(waiting.token_id)
        customer = waiting.contract_id and shlex.quote(waiting.contract_id)
        command = f"sekisho resync {customer} --token {token}" if customer else f"sekisho token resync {token}"
        yield CheckResult(CheckState.WARN, "counter tokens", f"{text}: `{command}`")
