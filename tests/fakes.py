"""Small honest stand-ins for what comes from outside: clocks moved by hand, somebody who knows passwords."""

from __future__ import annotations

import asyncio
import gc
import hashlib
from collections.abc import Sized
from dataclasses import dataclass, field

from otp_core.first_factor import FirstFinding, Question
from otp_core.model import BackendSilent


@dataclass
class HandClock:
    """Seconds that stand still until they are moved."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class HandKernel:
    """A machine whose clocks are moved by hand. ``clock``: its wall clock; ``up``: seconds since the boot; ``held``: a
    time service holds the wall clock right."""

    clock: HandClock
    up: float = 1000.0
    boot: str = "boot-1"
    held: bool = False

    def boot_id(self) -> str:
        return self.boot

    def uptime(self) -> float:
        return self.up

    def synchronised(self) -> bool:
        return self.held

    def pass_time(self, seconds: float) -> None:
        """Both clocks go on, as they do while nobody sets one."""
        self.clock.now += seconds
        self.up += seconds

    def step(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.clock.now += seconds


def fingerprint(*parts: bytes) -> int:
    """Like Sealer.fingerprint, without a secret."""
    hash_ = hashlib.blake2b(digest_size=8)
    for part in parts:
        hash_.update(len(part).to_bytes(8, "big") + part)
    return int.from_bytes(hash_.digest(), "big", signed=True) or 1


class SwiftLoop(asyncio.SelectorEventLoop):
    """An event loop whose time may be moved ``ahead`` by hand; it never stands still."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class HandLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still while anything can be done, and then leaps to the next timer: what takes
    seconds takes none, and exactly so many."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        timers = self._scheduled  # type: ignore[attr-defined]
        due = [timer.when() for timer in timers if not timer.cancelled()]
        if due and not self._ready:  # type: ignore[attr-defined]
            self._now = max(self._now, min(due))
        super()._run_once()  # type: ignore[misc]


@dataclass
class KnownPasswords:
    """A first factor that knows passwords by heart. ``asked`` is what it was asked, in order; ``silent``: it does not
    answer; ``slow``: seconds that it takes. It does not know customers who are not in ``passwords``."""

    passwords: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    silent: bool = False
    slow: float = 0.0
    has_rounds = False
    one_reading = False
    reachable = True
    relays = False

    async def check(self, question: Question) -> FirstFinding:
        customer = question.attempt.customer
        for number, password in enumerate(question.candidates):
            self.asked.append((customer, password))
            if self.slow:
                await asyncio.sleep(self.slow)
            if self.silent:
                raise BackendSilent("the directory does not answer")
            if customer not in self.passwords:
                return FirstFinding(right=True, held=False)
            if password == self.passwords[customer]:
                return FirstFinding(right=True, candidate=number)
        return FirstFinding(right=False)


def collections_of(holder: object) -> list[int]:
    """How many entries each collection has that an object holds, whether it keeps its attributes in a dict or not."""
    held = vars(holder).values() if hasattr(holder, "__dict__") else gc.get_referents(holder)
    return [len(one) for one in held if isinstance(one, Sized) and not isinstance(one, str | bytes)]
