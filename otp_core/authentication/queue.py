"""Cases waiting for the judge: whatever has arrived while the last commit ran is one batch, one transaction.

It knows when to sit and whom to tell; what is ruled is the judge's affair. Verdicts are told only after the commit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import structlog

from otp_core.audit import Ids
from otp_core.clock import ClockSetBack, GuardedClock
from otp_core.judge import Case, Facts, Ruling
from otp_core.model import BackendSilent, Silence, Verdict

Tell = Callable[[Verdict], None]

BATCH = 256
RETRY_SECONDS = 0.05
REMIND_SECONDS = 10.0
_log = structlog.get_logger("docket")


class Bench(Protocol):
    """Who rules: the judge."""

    def judge(self, cases: Sequence[Case], facts: Facts, now: int, ids: Ids) -> Ruling: ...


class Ledger(Protocol):
    """Where it is written down."""

    def rule(self, customers: Collection[str], states: Collection[bytes], judge: Callable[[Facts], Ruling]) -> Ruling:
        """What was ruled, once it is durable; ``judge`` may be asked again before. Raises StoreUnavailable or
        LedgerConflict, and then nothing was written."""

    def close(self) -> None: ...


class Docket:
    """The queue in front of one ledger. Belongs to one event loop, and commits on that loop's own thread: a second
    thread would fight it for the interpreter, and lowers the rate (docs/performance.md)."""

    def __init__(self, ledger: Ledger, judge: Bench, clock: GuardedClock, ids: Ids) -> None:
        self._ledger, self._judge, self._clock, self._ids = ledger, judge, clock, ids
        self._waiting: deque[tuple[Case, Tell]] = deque()
        self._called = False
        self._trouble = ""
        self.failing: frozenset[str] = frozenset()
        """Whose logins could not be judged last; nobody's as soon as somebody's are again."""
        self._reminded, self._reminded_of = float("-inf"), ""

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, case: Case, tell: Tell) -> None:
        """Put a case on the list. ``tell`` hears the verdict once, after it is durable."""
        self._waiting.append((case, tell))
        self._call(0.0)

    def close(self) -> None:
        """After the last case."""
        self._ledger.close()

    def _call(self, seconds: float) -> None:
        if self._called:
            return
        self._called = True
        loop = asyncio.get_running_loop()
        if seconds:
            loop.call_later(seconds, self._sit)
        else:
            loop.call_soon(self._sit)

    def _sit(self) -> None:
        self._called = False
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        cases = [case for case, _ in batch]
        try:
            verdicts = self._rule(cases)
        except (BackendSilent, ClockSetBack) as trouble:
            self._adjourn(batch, str(trouble))
            return
        except Exception:
            # One poisoned case must not take the others' verdicts with it: each is heard alone.
            _log.exception("a batch could not be judged", cases=len(cases))
            self._hear_alone(batch)
            return
        self._recover()
        if self._waiting:
            self._call(0.0)
        for (_, tell), verdict in zip(batch, verdicts, strict=True):
            _say(tell, verdict)

    def _rule(self, cases: list[Case]) -> list[Verdict]:
        now = self._clock.now()

        def judge(facts: Facts) -> Ruling:
            return self._judge.judge(cases, facts, now, self._ids)

        customers = {case.attempt.customer for case in cases}
        states = {case.attempt.challenge for case in cases if case.attempt.challenge is not None}
        return self._ledger.rule(customers, states, judge).verdicts

    def _hear_alone(self, batch: list[tuple[Case, Tell]]) -> None:
        for case, tell in batch:
            verdict: Verdict
            try:
                (verdict,) = self._rule([case])
            except Exception as error:
                verdict = Silence(f"{type(error).__name__} while judging")
            _say(tell, verdict)
        if self._waiting:
            self._call(0.0)

    def _adjourn(self, batch: list[tuple[Case, Tell]], trouble: str) -> None:
        """The store or the clock cannot be used now: try again shortly; who waited too long hears silence."""
        loop_time = asyncio.get_running_loop().time()
        if trouble != self._reminded_of or loop_time > self._reminded + REMIND_SECONDS:
            self._reminded, self._reminded_of = loop_time, trouble
            _log.error("no login can be answered", trouble=trouble, waiting=len(batch) + len(self._waiting))
        self._trouble = trouble
        self.failing = frozenset(case.attempt.customer for case, _ in batch)
        for case, tell in reversed(batch):
            if case.attempt.deadline <= loop_time:
                _say(tell, Silence(trouble))
            else:
                self._waiting.appendleft((case, tell))
        if self._waiting:
            self._call(RETRY_SECONDS)

    def _recover(self) -> None:
        if self._trouble:
            _log.warning("logins are answered again", after=self._trouble)
            self._trouble = ""
            self.failing = frozenset()


def _say(tell: Tell, verdict: Verdict) -> None:
    """A door that cannot take its verdict must not keep the others from theirs."""
    try:
        tell(verdict)
    except Exception:
        _log.exception("a verdict could not be told", verdict=type(verdict).__name__)
