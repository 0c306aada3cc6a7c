"""The process that makes the store's checkpoints, beside those that answer: its whole life."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Protocol

from otp_core.store.sqlite.checkpoints import INTERVAL, Checkpointer
from sekisho.settings import Settings
from sekisho.wiring import open_store

NAME = "checkpoints"
_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class SignOfLife(Protocol):
    """What the supervisor looks at (heartbeat.Heartbeat)."""

    def beat(self) -> None: ...
    def is_ready(self) -> None: ...
    def has_reloaded(self) -> None: ...


def run_checkpointer(
    settings: Settings, life: SignOfLife, count: Callable[[int, int], object] = lambda made, failed: None
) -> int:
    """Make checkpoints until SIGTERM or SIGINT; returns the exit code. The signals have to be blocked. ``count``: told
    after each how many were made so far, and how many failed. Raises StoreProblem, KeyProblem, OSError,
    StoreUnavailable if it cannot begin, and StoreStopped after a failed flush."""
    checkpointer = Checkpointer(open_store(settings).engine)
    try:
        checkpointer.checkpoint()
        life.is_ready()
        while True:
            received = signal.sigtimedwait(_HEARD, INTERVAL)
            number = received.si_signo if received else 0  # one that no signal has, after SIGSTOP and SIGCONT
            if number in (signal.SIGTERM, signal.SIGINT):
                return 0
            if number == signal.SIGHUP:
                life.has_reloaded()  # it has no settings but the store, which waits for a restart
            life.beat()
            checkpointer.checkpoint()
            count(checkpointer.made, checkpointer.failed)
    finally:
        checkpointer.close()
