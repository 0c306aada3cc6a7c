"""Cases waiting for the evaluator: whatever has arrived while the last commit ran is one batch, one transaction.

It knows when to sit and whom to tell; what is ruled is the evaluator's affair. Verdicts are told only after the commit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import structlog

from otp_core.audit import Ids
from otp_core.clock import ClockSetBack, GuardedClock
from otp_core.login.requests import Decision, Facts, LoginRequest
from otp_core.model import BackendSilent, Silence, Verdict

OnVerdict = Callable[[Verdict], None]

BATCH = 256
RETRY_SECONDS = 0.05
REMIND_SECONDS = 10.0
_log = structlog.get_logger("login queue")


class BatchEvaluator(Protocol):
    """Who rules: the evaluator."""

    def evaluate(self, requests: Sequence[LoginRequest], facts: Facts, now: int, ids: Ids) -> Decision: ...


class LoginBatch(Protocol):
    """Where it is written down."""

    def run(
        self, customers: Collection[str], states: Collection[bytes], evaluator: Callable[[Facts], Decision]
    ) -> Decision:
        """What was ruled, once it is durable; ``judge`` may be asked again before. Raises StoreUnavailable or
        LedgerConflict, and then nothing was written."""

    def close(self) -> None: ...


class LoginQueue:
    """The queue in front of one login batch. Belongs to one event loop, and commits on that loop's own thread: a second
    thread would fight it for the interpreter, and lowers the rate (docs/performance.md)."""

    def __init__(self, login_batch: LoginBatch, evaluator: BatchEvaluator, clock: GuardedClock, ids: Ids) -> None:
        self._login_batch, self._evaluator, self._clock, self._ids = login_batch, evaluator, clock, ids
        self._waiting: deque[tuple[LoginRequest, OnVerdict]] = deque()
        self._scheduled = False
        self._cause = ""
        self.failing: frozenset[str] = frozenset()
        """Whose logins could not be evaluated last; nobody's as soon as somebody's are again."""
        self._reminded, self._reminded_of = float("-inf"), ""

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, request: LoginRequest, on_verdict: OnVerdict) -> None:
        """Put a case on the list. ``on_verdict`` hears the verdict once, after it is durable."""
        self._waiting.append((request, on_verdict))
        self._schedule(0.0)

    def close(self) -> None:
        """After the last case."""
        self._login_batch.close()

    def _schedule(self, seconds: float) -> None:
        if self._scheduled:
            return
        self._scheduled = True
        loop = asyncio.get_running_loop()
        if seconds:
            loop.call_later(seconds, self._run_batch)
        else:
            loop.call_soon(self._run_batch)

    def _run_batch(self) -> None:
        self._scheduled = False
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        requests = [request for request, _ in batch]
        try:
            verdicts = self._evaluate(requests)
        except (BackendSilent, ClockSetBack) as cause:
            self._requeue(batch, str(cause))
            return
        except Exception:
            # One poisoned case must not take the others' verdicts with it: each is heard alone.
            _log.exception("a batch could not be judged", requests=len(requests))
            self._run_each(batch)
            return
        self._recover()
        if self._waiting:
            self._schedule(0.0)
        for (_, on_verdict), verdict in zip(batch, verdicts, strict=True):
            _deliver(on_verdict, verdict)

    def _evaluate(self, requests: list[LoginRequest]) -> list[Verdict]:
        now = self._clock.now()

        def evaluate(facts: Facts) -> Decision:
            return self._evaluator.evaluate(requests, facts, now, self._ids)

        customers = {request.attempt.customer for request in requests}
        states = {request.attempt.challenge for request in requests if request.attempt.challenge is not None}
        return self._login_batch.run(customers, states, evaluate).verdicts

    def _run_each(self, batch: list[tuple[LoginRequest, OnVerdict]]) -> None:
        for request, on_verdict in batch:
            verdict: Verdict
            try:
                (verdict,) = self._evaluate([request])
            except Exception as error:
                verdict = Silence(f"{type(error).__name__} while judging")
            _deliver(on_verdict, verdict)
        if self._waiting:
            self._schedule(0.0)

    def _requeue(self, batch: list[tuple[LoginRequest, OnVerdict]], cause: str) -> None:
        """The store or the clock cannot be used now: try again shortly; who waited too long hears silence."""
        loop_time = asyncio.get_running_loop().time()
        if cause != self._reminded_of or loop_time > self._reminded + REMIND_SECONDS:
            self._reminded, self._reminded_of = loop_time, cause
            _log.error("no login can be answered", cause=cause, waiting=len(batch) + len(self._waiting))
        self._cause = cause
        self.failing = frozenset(request.attempt.customer for request, _ in batch)
        for request, on_verdict in reversed(batch):
            if request.attempt.deadline <= loop_time:
                _deliver(on_verdict, Silence(cause))
            else:
                self._waiting.appendleft((request, on_verdict))
        if self._waiting:
            self._schedule(RETRY_SECONDS)

    def _recover(self) -> None:
        if self._cause:
            _log.warning("logins are answered again", after=self._cause)
            self._cause = ""
            self.failing = frozenset()


def _deliver(on_verdict: OnVerdict, verdict: Verdict) -> None:
    """A door that cannot take its verdict must not keep the others from theirs."""
    try:
        on_verdict(verdict)
    except Exception:
        _log.exception("a verdict could not be told", verdict=type(verdict).__name__)
