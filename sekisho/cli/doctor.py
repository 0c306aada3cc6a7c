"""``sekisho doctor``: checks the whole installation; one line for each check, with what to do. It changes nothing, and
does not disturb a running server.
"""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otp_core.checks import CheckResult, CheckState
from sekisho.cli.context import CliContext, ExitCode
from sekisho.cli.contract_ids import examine_contract_ids
from sekisho.cli.doctor_backup import examine_backups
from sekisho.cli.doctor_certificates import examine_certificates
from sekisho.cli.doctor_clients import examine_clients
from sekisho.cli.doctor_directories import examine_directories
from sekisho.cli.doctor_files import examine_files
from sekisho.cli.doctor_outwards import examine_outwards
from sekisho.cli.doctor_ports import examine_ports
from sekisho.cli.doctor_seals import examine_seals
from sekisho.cli.doctor_sign_on import examine_sign_on
from sekisho.cli.doctor_upstreams import examine_upstreams
from sekisho.cli.doctor_verifiers import examine_verifier_tasks, examine_verifiers
from sekisho.cli.options import AsJson
from sekisho.cli.output import say, say_json

if TYPE_CHECKING:
    from otp_core.store.store import Store
    from sekisho.settings import Settings

_LEAST_MB, _LITTLE_MB = 100, 1000
_NOTICE_SECONDS = 600.0
_MOST_NAMED = 20
"""Customers in one line."""

app = typer.Typer(invoke_without_command=True)


@app.callback()
def doctor(
    ctx: typer.Context,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also read the whole store for damage: minutes, if large.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check settings, store, key, disk, clock, doors and ports. Exit code 1 if anything fails. JSON: an object a line.

    \b
    Examples:
      sekisho doctor
      sekisho doctor --deep --json
    """
    if ctx.invoked_subcommand is None:
        tell(examine(ctx.obj, deep=deep), as_json=as_json)


def tell(results: Iterable[CheckResult], *, as_json: bool) -> None:
    """Print a line for each result. Raises typer.Exit if a check failed."""
    failed = False
    for result in results:
        failed |= result.state is CheckState.FAIL
        if as_json:
            say_json(result._asdict())
        else:
            say(f"{result.state:<4}  {result.check}: {result.text}")
    if failed:
        raise typer.Exit(ExitCode.REFUSED)


def examine(context: CliContext, *, deep: bool) -> Iterator[CheckResult]:
    """The results of all checks; checks that need something that failed are left out. ``deep``: read the whole
    store."""
    from otp_core.settings import ConfigProblems
    from otp_core.store.engines import store_file

    try:
        settings = context.settings
    except ConfigProblems as problems:
        yield from (CheckResult(CheckState.FAIL, "settings", str(problem)) for problem in problems.problems)
        return
    yield from (CheckResult(CheckState.WARN, "settings", str(warning)) for warning in context.loaded.warnings)
    yield CheckResult(CheckState.OK, "settings", f"{context.config or 'the environment'} holds")
    yield from _doors(settings)
    yield from examine_certificates(settings)
    file = store_file(settings.store.address)
    if file is not None:
        yield _sqlite()
    yield from _store(context, settings, file, deep)
    yield from examine_ports(settings, file, node_runs=file is None and _node_runs(context))
    yield from examine_directories(settings)
    yield from examine_upstreams(settings)
    yield from examine_verifiers(settings)
    yield from examine_sign_on(settings)


def _node_runs(context: CliContext) -> bool:
    """Whether the store says that a server of this machine serves it."""
    from otp_core.model import StoreProblem, StoreUnavailable
    from otp_core.nodes.holder import has_ended, machine
    from otp_core.sealing import KeyProblem
    from otp_core.store.nodes import nodes

    try:
        database = context.store.database
        with database.read() as connection:
            now, known = database.time_ms(connection), nodes(connection)
    except (KeyProblem, StoreProblem, StoreUnavailable, OSError):
        return False
    here = [one for one in known if one.holder.split(" ")[0] == machine()]
    return any(one.seen_lately(now) and not has_ended(one.holder) for one in here)


def _doors(settings: Settings) -> Iterator[CheckResult]:
    from sekisho.doors import DOORS, make_doors

    for name, door in make_doors(settings).items():
        if getattr(settings, DOORS[name].section) is None:
            yield CheckResult(CheckState.SKIP, f"door {name}", f"is shut: there is no [{DOORS[name].section}]")
            continue
        if name == "radius" and not settings.radius.clients:
            yield CheckResult(CheckState.SKIP, "door radius", "is shut: there are no [[radius.clients]]")
            continue
        problems = door.problems()
        yield from (CheckResult(CheckState.FAIL, f"door {name}", str(problem)) for problem in problems)
        if not problems:
            yield CheckResult(CheckState.OK, f"door {name}", "can use its settings")


def _sqlite() -> CheckResult:
    from otp_core.store.sqlite import driver

    if driver.resets_safely():
        return CheckResult(CheckState.OK, "sqlite", f"{driver.NAME} serves any number of workers")
    return CheckResult(CheckState.WARN, "sqlite", driver.FAULT)


def _store(context: CliContext, settings: Settings, file: Path | None, deep: bool) -> Iterator[CheckResult]:
    from otp_core.model import StoreProblem, StoreUnavailable
    from otp_core.sealing import KeyProblem

    try:
        store = context.store
        yield CheckResult(
            CheckState.OK, "key", f"{settings.store.master_key_file} opens this store, and only its owner reads it"
        )
        yield from store.database.facts()
        if file is not None:
            yield from examine_files(file)
            yield from _disk(file.absolute().parent)
            yield from _checkpoints(file)
        yield from _clock(store, settings)
        yield from _contents(store, deep)
        yield from examine_backups(store)
        yield from examine_seals(store, settings.audit)
        yield from examine_outwards(store, settings)
        yield from examine_contract_ids(context)
        yield from examine_clients(store, settings)
        yield from _reply_attributes(store, settings)
        yield from _notices(store, settings)
        yield from examine_verifier_tasks(store)
    except KeyProblem as problem:
        yield CheckResult(CheckState.FAIL, "key", str(problem))
    except (StoreProblem, StoreUnavailable) as problem:
        yield CheckResult(CheckState.FAIL, "store", str(problem).removeprefix("store: "))
    except OSError as error:
        yield CheckResult(CheckState.FAIL, "store", f"{error}: run this as the user that the server runs as")


def _checkpoints(file: Path) -> Iterator[CheckResult]:
    """Whether what is in the log comes into the store's file, while a server runs."""
    from otp_core.store.sqlite import driver
    from otp_core.store.sqlite.checkpoints import STALE, VERY_LONG, status_of
    from otp_core.store.sqlite.outside import is_served

    if not driver.resets_safely():
        yield CheckResult(CheckState.SKIP, "checkpoints", "are made in logins: this SQLite allows no process for them")
        return
    if not is_served(file):
        yield CheckResult(CheckState.SKIP, "checkpoints", "not looked at: no server runs")
        return
    status, made = status_of(str(file))
    age = time.time() - status.seen_at / 1000
    if not made or age > STALE:
        text = "are not made: the log grows; the server's log says why"
        yield CheckResult(CheckState.FAIL, "checkpoints", text)
    elif status.error:
        yield CheckResult(CheckState.FAIL, "checkpoints", f"fail, and the log grows: {status.error}")
    elif status.pages >= VERY_LONG:
        text = f"cannot begin the log anew ({status.pages:,} pages): is a backup or an export reading it?"
        yield CheckResult(CheckState.WARN, "checkpoints", text)
    else:
        yield CheckResult(CheckState.OK, "checkpoints", f"succeed; the log has {status.pages:,} pages")


def _disk(folder: Path) -> Iterator[CheckResult]:
    free = shutil.disk_usage(folder).free // 1_000_000
    state = CheckState.FAIL if free < _LEAST_MB else CheckState.WARN if free < _LITTLE_MB else CheckState.OK
    advice = "" if state is CheckState.OK else ": make room, because a full disk stops every login"
    yield CheckResult(state, "disk", f"{free:,} MB are free in {folder}{advice}")


def _clock(store: Store, settings: Settings) -> Iterator[CheckResult]:
    from otp_core.clock import ClockWrong
    from otp_core.kernel_clock import KernelClock
    from otp_core.store.future_stamps import refused_by_stamps
    from sekisho.wiring import open_clock, rules_of

    try:
        now = open_clock(store).now()
    except ClockWrong as error:
        yield CheckResult(CheckState.FAIL, "clock", str(error))
        return
    held = "says that it is synchronised" if KernelClock().synchronised() else "does not say that it is synchronised"
    yield CheckResult(CheckState.OK, "clock", f"is not behind what the store has seen; the kernel {held}")
    with store.read() as connection:
        refused = refused_by_stamps(connection, now, rules_of(settings))
    if refused:
        named = ", ".join(refused[:_MOST_NAMED]) + (", …" if len(refused) > _MOST_NAMED else "")
        yield CheckResult(
            CheckState.FAIL,
            "clock",
            f"{len(refused):,} customers are refused because their last code was accepted while the clock stood in the "
            f"future ({named}): `sekisho trust-clock` puts that right for all, `sekisho customer unlock` for one",
        )


def _contents(store: Store, deep: bool) -> Iterator[CheckResult]:
    from otp_core.store.queries import counts

    with store.read() as connection:
        counted = counts(connection)
        found = store.database.damage(connection) if deep else []
    yield CheckResult(
        CheckState.OK, "contents", ", ".join(f"{number:,} {table} rows" for table, number in counted.items())
    )
    yield from (CheckResult(CheckState.FAIL, "integrity", f"{one}: restore the newest backup") for one in found)
    if deep and not found:
        yield CheckResult(CheckState.OK, "integrity", "the whole store was read, and is sound")


def _reply_attributes(store: Store, settings: Settings) -> Iterator[CheckResult]:
    """Whether customers' reply attributes can be sent: a dictionary or a client may have changed since they were
    written."""
    from otp_core.store.queries import reply_attributes
    from sekisho.doors import attribute_check

    with store.read() as connection:
        found = reply_attributes(connection)
    if not found:
        return
    check, sound = attribute_check(settings), True
    for text, contract_id, number in found:
        try:
            problems = check(json.loads(text))
        except ValueError:
            problems = ["is no JSON object"]
        for problem in problems:
            sound = False
            whose = f"{contract_id} and {number - 1:,} more" if number > 1 else contract_id
            yield CheckResult(CheckState.FAIL, "reply attributes", f"{whose} cannot log in over RADIUS: {problem}")
    if sound:
        yield CheckResult(CheckState.OK, "reply attributes", "what customers have can be sent")


def _notices(store: Store, settings: Settings) -> Iterator[CheckResult]:
    from otp_core.audit import ms_of
    from otp_core.store.outbox import numbers

    with store.read() as connection:
        pending, failed, oldest = numbers(connection)
    if settings.notices is None:
        yield CheckResult(
            CheckState.WARN, "notices", "are off: customers hear of no change; write a [notices] section to send"
        )
    else:
        yield _mail_server(settings.notices.smtp)
    age = time.time() - ms_of(oldest) / 1000 if oldest else 0.0
    if pending and age > _NOTICE_SECONDS:
        yield CheckResult(
            CheckState.WARN,
            "notices",
            f"{pending:,} wait, the oldest for {age / 60:,.0f} minutes: `sekisho notice list` says why",
        )
    if failed:
        text = f"{failed:,} were given up: `sekisho notice list --failed` says why, `sekisho notice retry` tries again"
        yield CheckResult(CheckState.WARN, "notices", text)


def _mail_server(smtp: str) -> CheckResult:
    """Whether a connection to the mail server can be opened; nothing is sent."""
    host, _, port = smtp.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=3):
            return CheckResult(CheckState.OK, "notices", f"{smtp} answers")
    except OSError as error:
        return CheckResult(
            CheckState.FAIL, "notices", f"{smtp}: {error.strerror or error}; notices wait until it answers"
        )
