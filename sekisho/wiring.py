"""Settings in, working objects out: the only place where the rooms of the house are put together.

Doors are found by their entry point (``sekisho.doors``), so that the core imports none of them.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

from otp_core.audit import Event, Ids, ms_of
from otp_core.authenticator import Authenticator
from otp_core.clock import GuardedClock
from otp_core.desk import Desk
from otp_core.docket import Docket
from otp_core.first_factor.hashes import Cost
from otp_core.first_factor.local import LocalPassword
from otp_core.first_factor.pool import HashPool
from otp_core.first_factor.turnstile import Turnstile
from otp_core.health import Health
from otp_core.judge import Judge
from otp_core.notices.sender import Sender
from otp_core.policy import Delays, Rules
from otp_core.settings import Problem, Settings
from otp_core.store.engine import read_meta
from otp_core.store.ledger import Enquiries
from otp_core.store.lists import newest_audit_id
from otp_core.store.store import Store

BUSY_SECONDS = 0.1
"""How long the server's loop may stand still for another process's write lock; the docket tries again."""

PATIENT_SECONDS = 10.0
"""The same for a command that somebody waits for."""


class Door(Protocol):
    """Something that asks: RADIUS, PAM, web. Made from the settings, started with the house."""

    def __init__(self, settings: Settings) -> None: ...

    def problems(self) -> Sequence[Problem]:
        """What of its settings it cannot use: asked by `config check` and before the start."""

    def bind(self) -> None:
        """Before the workers part: take what they are to share, if anything. Raises OSError."""

    async def open(self, house: House, *, shared: bool) -> None:
        """Begin to listen. ``shared``: other workers listen at the same addresses. Raises OSError."""

    def reload(self, settings: Settings) -> None:
        """Take new clients and secrets over without losing a request."""

    async def close(self) -> None:
        """Let nobody new in, answer who is inside."""


Check = Callable[[Mapping[str, object]], Sequence[str]]
"""What stands in the way of sending a customer's reply attributes; nothing, if they can be sent."""


@runtime_checkable
class AttributeDoor(Protocol):
    """A door whose acceptances carry a customer's reply attributes."""

    def attribute_check(self) -> Check:
        """Asked before such attributes come into the store."""


@dataclass(frozen=True, slots=True)
class House:
    """What a door is given."""

    settings: Settings
    store: Store
    authenticator: Authenticator
    desk: Desk
    docket: Docket
    enquiries: Enquiries
    health: Health
    pool: HashPool
    sender: Sender | None

    async def close(self) -> None:
        """After the doors have closed."""
        await self.authenticator.close()
        self.pool.close()
        self.docket.close()
        self.enquiries.close()


def doors() -> dict[str, Callable[[Settings], Door]]:
    """The doors that are installed, by name."""
    return {found.name: found.load() for found in sorted(entry_points(group="sekisho.doors"))}


def attribute_check(settings: Settings) -> Check:
    """The checks of all doors in one."""
    made = [make(settings) for make in doors().values()]
    checks = [door.attribute_check() for door in made if isinstance(door, AttributeDoor)]
    return lambda attributes: [problem for check in checks for problem in check(attributes)]


def open_store(settings: Settings, *, busy_seconds: float = PATIENT_SECONDS) -> Store:
    """The store. Raises StoreProblem or KeyProblem, StoreUnavailable if it cannot be read now."""
    return Store(
        settings.store.url,
        settings.store.master_key_file,
        ids=Ids(),
        busy_seconds=busy_seconds,
        notices=settings.notices is not None,
    )


def open_desk(settings: Settings, store: Store) -> Desk:
    """The desk alone, for a command."""
    return Desk(store, _judge(settings, store), _clock(store).now)


def open_house(settings: Settings, *, trust_clock: bool = False) -> House:
    """The whole house, for the process that answers. Call it in the event loop's thread."""
    store = open_store(settings, busy_seconds=BUSY_SECONDS)
    if trust_clock:
        _trust_clock(store)
    clock = _clock(store)
    judge = _judge(settings, store)
    enquiries = store.enquiries()
    docket = Docket(store.ledger(), judge, clock, store.ids)
    desk = Desk(store, judge, clock.now)
    pool = HashPool(settings.password.hash_threads, settings.password.max_waiting)
    authenticator = Authenticator(
        docket,
        enquiries,
        judge,
        LocalPassword(pool, cost_of(settings), desk.renew_password_hash),
        Turnstile(_password_delays(settings), asyncio.get_running_loop().time, settings.throttle.max_tracked),
        store.sealer.mark,
        clock.now,
    )
    sender = Sender(store, settings.notices, clock.now) if settings.notices is not None else None
    return House(
        settings, store, authenticator, desk, docket, enquiries, Health(enquiries, clock, docket), pool, sender
    )


def cost_of(settings: Settings) -> Cost:
    """What a password hash costs here."""
    password = settings.password
    return Cost(password.memory_kib, password.time_cost, password.parallelism)


def rules_of(settings: Settings) -> Rules:
    """The house's rules as they are set."""
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
        one_customer_per_token=login.one_customer_per_token,
        code_delays=Delays(throttle.free_failures, throttle.first_delay, throttle.max_delay),
    )


def _password_delays(settings: Settings) -> Delays:
    throttle = settings.throttle
    return Delays(throttle.password_free_failures, throttle.password_first_delay, throttle.password_max_delay)


def _judge(settings: Settings, store: Store) -> Judge:
    return Judge(rules_of(settings), store.sealer.unseal, lambda: secrets.token_bytes(16))


_TRUSTED = "clock trusted"


def _trust_clock(store: Store) -> None:
    """From now on the rows that are newer than now mean nothing: for this process, the workers, the commands and the
    next start."""
    with store.work() as work:
        work.put_meta(_TRUSTED, f"{int(time.time() * 1000)} {work.newest_id()}".encode())
        work.record(Event.CLOCK_TRUSTED, actor="sekisho serve", reason="--trust-clock")


def _clock(store: Store) -> GuardedClock:
    with store.read() as connection:
        newest, trusted = newest_audit_id(connection), read_meta(connection, _TRUSTED)
    if trusted is not None:
        at_ms, then_newest = map(int, trusted.split())
        if newest <= then_newest:
            return GuardedClock(time.time, at_ms)
    return GuardedClock(time.time, ms_of(newest))
