"""The login queue: requests wait here, and what has arrived while the last batch ran is the next one.

Theory of operation
-------------------
*What can happen at once.* Everything here runs on one event loop. ``submit`` only appends and sees to it that a batch
is scheduled; a batch begins when the loop comes round, so requests that arrive together share one transaction and one
flush of the disk. An engine says how many batches may be under way (``LoginBatch.concurrency``): SQLite's runs to its
end without giving the loop away, PostgreSQL's awaits its connection, and other batches, of other requests, run beside
it.

*What is read and written.* Nothing is, here: the engine reads the facts, calls the evaluator with them, and writes the
decision on the condition that the facts still hold. A verdict is delivered only after ``LoginBatch.run`` has returned,
which is after the commit is durable.

*What happens on conflict.* ``Conflict``: the batch is run again, up to CONFLICT_RUNS times, then each request alone;
one that still conflicts is answered with silence. ``StoreUnavailable``, ``ClockWrong``: the batch goes back to the
head of the queue in its order and is tried again after RETRY_SECONDS; a request whose deadline has passed gets silence
instead, so that its gateway tries the next server; so does one that is more than LATE_SECONDS past it when its turn
comes. ``StoreStopped``: all get silence at once, because only the next start helps. Any other exception: each request
is run alone, so that a poisoned one does not take the others' verdicts with it, and is silence if it fails alone too.

*Codes that are verified elsewhere.* The evaluator may answer ``VerifierNeeded`` in the place of a verdict; nothing was
changed for that request. It is handed to ``on_verifier_needed``, which submits it again with the finding.

This file decides nothing, and knows no SQL.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from otp_core.audit import Ids
from otp_core.clock import ClockWrong, GuardedClock
from otp_core.inline_task import InlineTask
from otp_core.login.requests import Decision, Facts, LoginRequest, VerifierNeeded
from otp_core.model import Conflict, Silence, StoreStopped, StoreUnavailable, Verdict
from otp_core.store.engine import LoginBatch
from otp_core.tally import SECONDS, SIZES, Histogram

OnVerdict = Callable[[Verdict], None]
"""Called once with the verdict of an attempt, in the event loop's thread, when the verdict is durable."""

BATCH = 256
"""Requests in one batch at most."""
RETRY_SECONDS = 0.05
"""The pause before a batch that could not be written is tried again."""
LATE_SECONDS = 1.0
"""How long after its deadline a request may still be evaluated."""
REMIND_SECONDS = 10.0
"""How often the log says again that no login can be answered, for each cause."""
_MOST_CAUSES = 16
CONFLICT_RUNS = 10
"""How often a batch is run while others are faster."""
_log = structlog.get_logger("login queue")

_Waiting = tuple[LoginRequest, OnVerdict]
_Outcomes = list[Verdict | VerifierNeeded]


class BatchEvaluator(Protocol):
    """The evaluator, as the queue calls it."""

    def evaluate(self, requests: Sequence[LoginRequest], facts: Facts, now: int, ids: Ids) -> Decision:
        """The decision about these requests at the moment ``now`` (ms)."""


class LoginQueue:
    """The queue in front of one engine's login batches. Belongs to one event loop. SQLite commits on that loop's own
    thread: a second thread would fight it for the interpreter, and lowers the rate (docs/performance.md)."""

    def __init__(self, login_batch: LoginBatch, evaluator: BatchEvaluator, clock: GuardedClock, ids: Ids) -> None:
        self._login_batch, self._evaluator, self._clock, self._ids = login_batch, evaluator, clock, ids
        self._waiting: deque[_Waiting] = deque()
        self._scheduled = False
        self._under_way = 0
        self._cause = ""
        self._reminded: dict[str, float] = {}
        """When the log said a cause last. A database that goes and comes has several, one behind the other."""
        self.failing: frozenset[str] = frozenset()
        """Customers of the batch that failed last; cleared by the next success."""
        self.batch_sizes, self.batch_seconds = Histogram(SIZES), Histogram(SECONDS)
        """Of the batches that were decided: requests, and how long reading, deciding, writing and flushing took."""
        self.on_verifier_needed: Callable[[LoginRequest, VerifierNeeded, OnVerdict], None] = _no_verifier
        self.on_remarks: Callable[[list[tuple[int, str]]], None] = _no_remarks
        """Told what is remarked of logins that are durable."""

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, request: LoginRequest, on_verdict: OnVerdict) -> None:
        """Append a request. ``on_verdict`` is called once, when the verdict is durable, or with Silence."""
        self._waiting.append((request, on_verdict))
        self._schedule()

    def close(self) -> None:
        """Let go of the engine, after the last request."""
        self._login_batch.close()

    def _schedule(self) -> None:
        if not self._scheduled and self._under_way < self._login_batch.concurrency:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._begin_batch)

    def _begin_batch(self) -> None:
        self._scheduled = False
        if self._under_way >= self._login_batch.concurrency:
            return  # the batch that ends next begins another
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        batch = self._in_time(batch)
        self._under_way += 1
        # No Task: an engine that does not wait is done before this call returns, and a Task would cost a turn of the
        # loop.
        InlineTask(self._run_batch(batch), self._batch_ended).begin()
        if self._waiting:
            self._schedule()

    def _in_time(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Those that are not long past their deadline; the others get silence. After a pause of the whole process their
        codes would be judged at an hour that was never theirs, and counted as wrong."""
        oldest = asyncio.get_running_loop().time() - LATE_SECONDS
        if all(request.attempt.deadline > oldest for request, _ in batch):
            return batch
        for request, on_verdict in batch:
            if request.attempt.deadline <= oldest:
                _deliver(on_verdict, Silence("the server stood still until after the deadline"))
        return [one for one in batch if one[0].attempt.deadline > oldest]

    def _batch_ended(self) -> None:
        self._under_way -= 1
        if self._waiting:
            self._schedule()

    async def _run_batch(self, batch: list[_Waiting]) -> None:
        requests = [request for request, _ in batch]
        outcomes: _Outcomes | None = None
        # Nothing is awaited in an ``except``: compiled code would leave that exception behind as the one being handled.
        try:
            outcomes = await self._decide(requests)
        except Conflict:
            pass
        except (StoreUnavailable, ClockWrong) as cause:
            self._requeue(batch, cause)
            return
        except Exception:
            _log.exception("a batch could not be evaluated", requests=len(requests))
        if outcomes is None:
            await self._run_each(batch)
        else:
            self._recover()
            self._deliver_all(batch, outcomes)

    async def _decide(self, requests: list[LoginRequest]) -> _Outcomes:
        """Run one batch; again, if somebody was faster. Raises Conflict if that goes on, StoreUnavailable,
        ClockWrong."""
        customers = {request.attempt.customer for request in requests}
        states = {request.attempt.challenge for request in requests if request.attempt.challenge is not None}
        runs, loop_time = 0, asyncio.get_running_loop().time
        begun = loop_time()
        while True:
            now = self._clock.now()

            def evaluate(facts: Facts, now: int = now) -> Decision:
                return self._evaluator.evaluate(requests, facts, now, self._ids)

            runs += 1
            try:
                decision = await self._login_batch.run(customers, states, evaluate)
            except Conflict:
                if runs == CONFLICT_RUNS:
                    raise
            else:
                self.batch_sizes.observe(len(requests))
                self.batch_seconds.observe(loop_time() - begun)
                if decision.remarks:
                    self.on_remarks(decision.remarks)
                return decision.verdicts

    async def _run_each(self, batch: list[_Waiting]) -> None:
        for number, (request, on_verdict) in enumerate(batch):
            outcomes: _Outcomes
            try:
                outcomes = await self._decide([request])
            except (StoreUnavailable, ClockWrong) as cause:
                if not isinstance(cause, Conflict):
                    self._requeue(batch[number:], cause)
                    return
                outcomes = [Silence("others were faster each time")]
            except Exception as error:
                outcomes = [Silence(f"{type(error).__name__} while the login was evaluated")]
            else:
                self._recover()
            self._deliver_all([(request, on_verdict)], outcomes)

    def _requeue(self, batch: list[_Waiting], trouble: Exception) -> None:
        """Back to the head of the queue, in order; requests whose deadline has passed get silence, and all of them
        where nobody can be told anything before the next start."""
        loop_time = asyncio.get_running_loop().time()
        cause, in_vain = str(trouble), isinstance(trouble, StoreStopped)
        if loop_time > self._reminded.get(cause, -math.inf) + REMIND_SECONDS:
            if len(self._reminded) == _MOST_CAUSES:
                self._reminded.clear()
            self._reminded[cause] = loop_time
            _log.error("no login can be answered", cause=cause, waiting=len(batch) + len(self._waiting))
        self._cause = cause
        self.failing = frozenset(request.attempt.customer for request, _ in batch)
        late = []
        for request, on_verdict in reversed(batch):
            if in_vain or request.attempt.deadline <= loop_time:
                late.append(on_verdict)
            else:
                self._waiting.appendleft((request, on_verdict))
        for on_verdict in reversed(late):
            _deliver(on_verdict, Silence(cause))
        if self._waiting:
            self._retry_later()

    def _retry_later(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._begin_batch)

    def _recover(self) -> None:
        if self._cause:
            _log.warning("logins are answered again", after=self._cause)
            self._cause = ""
            self.failing = frozenset()

    def _deliver_all(self, batch: list[_Waiting], outcomes: _Outcomes) -> None:
        for (request, on_verdict), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, VerifierNeeded):
                self.on_verifier_needed(request, outcome, on_verdict)
            else:
                _deliver(on_verdict, outcome)


def _deliver(on_verdict: OnVerdict, verdict: Verdict) -> None:
    """A door that fails on its verdict must not keep the others from theirs."""
    try:
        on_verdict(verdict)
    except Exception:
        _log.exception("a verdict could not be delivered", verdict=type(verdict).__name__)


def _no_remarks(remarks: list[tuple[int, str]]) -> None:
    """Nobody keeps them."""


def _no_verifier(request: LoginRequest, needed: VerifierNeeded, on_verdict: OnVerdict) -> None:
    _deliver(on_verdict, Silence(f"nobody can be asked to verify the codes of token {needed.token_id}"))
