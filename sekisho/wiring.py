"""Makes the working objects from the settings: the only place where the parts of the core are put together."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from otp_core.accounts import Desk
from otp_core.accounts.verifier_teller import VerifierTeller
from otp_core.audit import Ids, SharedIds
from otp_core.authentication.authenticator import Authenticator
from otp_core.authentication.chap import ChapLogins
from otp_core.authentication.explanation import Explainer, Throttles
from otp_core.authentication.queue import LoginQueue
from otp_core.clock import ClockSetAhead, ClockSetBack, GuardedClock
from otp_core.doors import Services
from otp_core.first_factor import LOCAL_PASSWORD, FirstFactor
from otp_core.first_factor.failures import FailureTable
from otp_core.first_factor.hash_pool import HashPool
from otp_core.first_factor.hashes import Cost
from otp_core.first_factor.ldap.directory import Directory
from otp_core.first_factor.local import LocalPassword
from otp_core.first_factor.pam.passwords import PamPasswords
from otp_core.first_factor.throttle import (
    STATION_FIRST_DELAY,
    STATION_LONGEST_DELAY,
    PasswordThrottle,
    StationThrottle,
)
from otp_core.first_factor.unasked import Unasked
from otp_core.health import Health
from otp_core.imports.importers import ImportRules
from otp_core.kernel_clock import KernelClock
from otp_core.login.evaluate import Evaluator
from otp_core.login.policy import Delays, Rules
from otp_core.model import AttributeCheck
from otp_core.nodes.holder import machine
from otp_core.notices.sender import Sender
from otp_core.store.engine import LoginBatch
from otp_core.store.engines import one_process_only, store_file, store_name
from otp_core.store.mark import beside
from otp_core.store.put_back import PutBackWatch
from otp_core.store.recovered import RecoveryWatch
from otp_core.store.retry import run_acts_aside
from otp_core.store.store import Store
from otp_core.tally import Tally
from otp_core.timekeeper import Timekeeper, log_repaired, trust_present_time
from otp_core.upstreams.upstream import Upstream
from otp_core.verdict_log import VerdictLog
from sekisho.directories import make_directory
from sekisho.first_factors import Supplies, make_first_factors
from sekisho.settings import Settings
from sekisho.shadow import make_shadow
from sekisho.verifiers import Patterns, leave_by, left_at, make_verifiers

if TYPE_CHECKING:
    from otp_core.verifier.vip.client import VipClient

BUSY_SECONDS = 0.1
"""Seconds for which the server waits for another process's write lock. Its loop stands still meanwhile; the login queue
and the pages try again."""

COMMAND_BUSY_SECONDS = 10.0
"""Seconds for which a command waits for the write lock."""


class _Entered:
    """What this process and those that are forked from it call their node; empty: it serves nobody."""

    name = ""


def call_node(name: str) -> None:
    """The name under which this server is entered in the store, for the audit rows of all its processes."""
    _Entered.name = name


@dataclass(frozen=True, slots=True)
class Application:
    """Everything that one server process is made of. The doors get its ``services``."""

    settings: Settings
    services: Services
    queue: LoginQueue
    login_batch: LoginBatch
    clock: GuardedClock
    hash_pool: HashPool
    sender: Sender | None
    timekeeper: Timekeeper
    watch: PutBackWatch | RecoveryWatch
    exits: AsyncExitStack
    upstreams: Mapping[str, Upstream]
    directories: Mapping[str, Directory]
    stacks: Mapping[str, PamPasswords]
    teller: VerifierTeller | None
    vip: Mapping[str, VipClient]

    async def close(self) -> None:
        """Close everything. Call it after the doors have closed."""
        await self.services.authenticator.close()
        await self.exits.aclose()
        self.hash_pool.close()
        self.queue.close()
        self.services.login_reader.close()
        self.services.health.close()
        self.services.failures.close()
        self.watch.close()
        self.services.store.release()


def open_store(
    settings: Settings, *, busy_seconds: float = COMMAND_BUSY_SECONDS, relieved: bool = False, tag: int | None = None
) -> Store:
    """The opened store. ``tag``: see ``audit.Ids``. Raises StoreProblem or KeyProblem, and StoreUnavailable if it
    cannot be read now."""
    store = Store(
        settings.store.address,
        settings.store.master_key_file,
        ids=SharedIds(tag=tag) if store_file(settings.store.address) is None else Ids(tag=tag),
        busy_seconds=busy_seconds,
        notices=settings.notices is not None,
        relieved=relieved,
        state_dir=settings.store.state_dir,
        place=(machine(), settings.node.called),
    )
    store.node.value = _Entered.name or settings.node.called
    _guarded(store)  # whoever writes audit rows does so by the best known time
    return store


def open_desk(settings: Settings, store: Store) -> Desk:
    """The desk alone, for a command. Raises StoreUnavailable."""
    clock = open_clock(store)
    outside = Patterns(settings.verifiers)
    return Desk(store, _evaluator(settings, store), clock.now, settled=lambda: clock.settled, outside=outside)


def open_failures(settings: Settings) -> FailureTable:
    """Where wrong passwords are counted: a file beside the store, or in ``store.state_dir`` where the store is no file;
    shared by all processes that serve it here. Open it before they are forked. Raises StoreProblem for a URL that is
    none."""
    return FailureTable(settings.throttle.password_max_tracked, _failures_file(settings))


def _failures_file(settings: Settings) -> Path:
    address = settings.store.address
    here = beside(store_file(address), store_name(address), settings.store.state_dir)
    return here.with_name(f"{here.name}-failures")


def open_application(
    settings: Settings, *, trust_clock: bool = False, failures: FailureTable | None = None, tag: int | None = None
) -> Application:
    """The whole application, for a server process. Call it in the running event loop's thread. ``trust_clock``:
    believe the clock as it stands. ``failures``: opened before the fork; None: open it here. ``tag``: see
    ``audit.Ids``. Raises StoreProblem, KeyProblem or StoreUnavailable."""
    relieved = one_process_only(settings.store.address) is None
    store = open_store(settings, busy_seconds=BUSY_SECONDS, relieved=relieved, tag=tag)
    run_acts_aside(store.database.waits)
    clock = _guarded(store)
    watch: PutBackWatch | RecoveryWatch
    if store.database.file is None:
        watch = RecoveryWatch(store)
    else:
        watch = open_put_back_watch(settings, store, clock, trust_clock=trust_clock)
    watch.begin()
    store.hold()
    timekeeper = Timekeeper(store, clock, KernelClock(), rules_of(settings))
    timekeeper.warn_of_a_long_absence()
    if trust_clock:
        rules = rules_of(settings)
        log_repaired(trust_present_time(store, clock, rules, actor="sekisho serve", reason="--trust-clock"))
    timekeeper.look()
    failures = failures or open_failures(settings)
    evaluator = _evaluator(settings, store)
    login_reader = store.login_reader()
    login_batch = store.login_batch()
    queue = LoginQueue(login_batch, evaluator, clock, store.ids)
    outside = Patterns(settings.verifiers)
    desk = Desk(store, evaluator, clock.now, settled=lambda: clock.settled, outside=outside)
    pool = HashPool(settings.password.hash_threads, settings.password.max_waiting)
    exits = AsyncExitStack()
    local = LocalPassword(login_reader, pool, cost_of(settings), desk.customers.renew_password_hash)
    supplies = Supplies(settings, local, store.sealer, exits)
    factors, verifiers = make_first_factors(supplies), make_verifiers(supplies, store, clock.now)
    authenticator = Authenticator(
        queue,
        login_reader,
        evaluator,
        factors.by_name,
        PasswordThrottle(_password_delays(settings), time.monotonic, failures, store.sealer.fingerprint),
        store.sealer.fingerprint,
        clock.now,
        verifiers.by_name,
        stations=StationThrottle(_station_delays(settings), time.monotonic, failures, store.sealer.fingerprint),
        kept_attributes=factors.kept_attributes,
        accounts=factors.directories,
        left_at=left_at(settings.verifiers),
        verifiers_ask=verifiers.ask,
    )
    sender = None
    if settings.notices is not None:
        days = leave_by(settings.verifiers)
        sender = Sender(store, settings.notices, clock.now, settled=lambda: clock.settled, leave_by=days)
    health = Health(store.maintenance(), clock, queue, waits=store.database.waits)
    verdict_log = VerdictLog(settings.log.verdicts, store.sealer.name_fingerprint, store.ids.next)
    queue.on_remarks = verdict_log.remarks.extend
    services = Services(
        store,
        authenticator,
        desk,
        login_reader,
        health,
        failures,
        verdict_log,
        Tally(),
        _attribute_check(settings),
        ChapLogins(authenticator, login_reader, evaluator, clock.now),
        verifiers.by_name,
        import_rules(settings),
        make_shadow(supplies, store, evaluator, authenticator, cost_of(settings)) if settings.upstreams else None,
        own_mark=supplies.own_mark if settings.upstreams else None,
    )
    return Application(
        settings,
        services,
        queue,
        login_batch,
        clock,
        pool,
        sender,
        timekeeper,
        watch,
        exits,
        supplies.upstreams,
        factors.directories,
        supplies.stacks,
        verifiers.teller,
        verifiers.vip,
    )


def import_rules(settings: Settings) -> ImportRules:
    """What of the settings an import has to know."""
    return ImportRules(
        shared_tokens=not settings.login.one_customer_per_token,
        tokens_per_customer=settings.login.tokens_per_customer,
        cost=cost_of(settings),
        hash_threads=settings.password.hash_threads,
        attribute_check=partial(_doors_attribute_check, settings),
        verifiers=tuple(one.name for one in settings.verifiers if one.type != "local"),
    )


def _attribute_check(settings: Settings) -> AttributeCheck:
    """Asks all doors, which are made for it only when somebody asks."""

    return lambda attributes: _doors_attribute_check(settings)(attributes)


def _doors_attribute_check(settings: Settings) -> AttributeCheck:
    from sekisho.doors import attribute_check  # makes all doors

    return attribute_check(settings)


@contextmanager
def explaining(settings: Settings, store: Store) -> Iterator[Explainer]:
    """What says how a login would be answered now, and writes nothing: for a command, in its event loop. Raises
    StoreUnavailable and ClockWrong."""
    at, fingerprint = open_clock(store).now(), store.sealer.fingerprint
    reader, pool = store.login_reader(), HashPool(1, settings.password.max_waiting)
    table = FailureTable(settings.throttle.password_max_tracked)
    table.copy(_failures_file(settings))
    throttles = Throttles(
        PasswordThrottle(_password_delays(settings), time.monotonic, table, fingerprint),
        StationThrottle(_station_delays(settings), time.monotonic, table, fingerprint),
    )
    local = LocalPassword(reader, pool, cost_of(settings), lambda *_: None)
    factors: dict[str, FirstFactor] = {LOCAL_PASSWORD: local}
    directories: dict[str, Directory] = {}
    for section in settings.first_factors:
        if section.type == "local":
            factors[section.name] = local
        elif section.type == "none":
            factors[section.name] = Unasked()
        elif section.type == "ldap":
            directories[section.name] = make_directory(section)
    try:
        yield Explainer(reader, _evaluator(settings, store), factors, throttles, fingerprint, at, directories)
    finally:
        for directory in directories.values():
            directory.close()
        table.close()
        pool.close()
        reader.close()


def open_put_back_watch(settings: Settings, store: Store, clock: GuardedClock, *, trust_clock: bool) -> PutBackWatch:
    """What notices that the store in a file is an older one, and voids the codes of the lost time. Raises
    StoreProblem."""
    return PutBackWatch(
        store,
        window=settings.login.code_window,
        now_ms=lambda: int((time.time() if trust_clock else clock.best()) * 1000),
        trust_clock=trust_clock,
    )


def cost_of(settings: Settings) -> Cost:
    """The cost of a password hash (argon2id), from the settings."""
    password = settings.password
    return Cost(password.memory_kib, password.time_cost, password.parallelism)


def rules_of(settings: Settings) -> Rules:
    """The rules of a login, from the settings."""
    login, throttle = settings.login, settings.throttle
    return Rules(
        lock_after=login.lock_after,
        window=login.code_window,
        max_drift=login.max_drift,
        look_ahead=login.hotp_look_ahead,
        resync_window=login.resync_window,
        resync_look_ahead=login.resync_look_ahead,
        challenge_seconds=login.challenge_seconds,
        challenge_tries=login.challenge_tries,
        permit_hours=login.reissue_permit_hours,
        tokens_per_customer=login.tokens_per_customer,
        one_customer_per_token=login.one_customer_per_token,
        code_delays=Delays(throttle.free_failures, throttle.first_delay, throttle.max_delay),
    )


def _password_delays(settings: Settings) -> Delays:
    throttle = settings.throttle
    return Delays(throttle.password_free_failures, throttle.password_first_delay, throttle.password_max_delay)


def _station_delays(settings: Settings) -> Delays:
    return Delays(settings.throttle.station_free_failures, STATION_FIRST_DELAY, STATION_LONGEST_DELAY)


def _evaluator(settings: Settings, store: Store) -> Evaluator:
    return Evaluator(
        rules_of(settings), store.sealer.unseal, lambda: secrets.token_bytes(16), store.sealer.name_fingerprint
    )


def open_clock(store: Store) -> GuardedClock:
    """The clock for a command, which believes the kernel for itself. Raises StoreUnavailable."""
    clock = _guarded(store)
    try:
        clock.now()
    except ClockSetAhead:
        if KernelClock().synchronised():
            clock.trust()
    except ClockSetBack:
        pass  # who asks for the time is told
    return clock


def best_time(store: Store) -> Callable[[], int]:
    """The best known time in ms since the epoch, as the ids of this store's audit rows follow it. Raises
    StoreUnavailable."""
    clock = _guarded(store)
    return lambda: int(clock.best() * 1000)


def _guarded(store: Store) -> GuardedClock:
    """The clock by what the store knows of the time; the store's ids follow it. Raises StoreUnavailable."""
    with store.read() as connection:
        known = store.time.known(connection)
    clock = GuardedClock(time.time, known.latest_ms, kernel=KernelClock(), anchor=known.anchor)
    store.ids.follow(clock.best)
    return clock
