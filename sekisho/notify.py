"""Tells systemd what the server does: sd_notify(3), one datagram each. Says nothing where nobody asked for it."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping


class Notifier:
    """``environment``: NOTIFY_SOCKET and WATCHDOG_USEC as systemd sets them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # an abstract socket (unix(7))
            self._address = "\0" + self._address[1:]
        usec = environment.get("WATCHDOG_USEC", "")
        self._watchdog = int(usec) / 1e6 / 3 if usec.isascii() and usec.isdigit() and int(usec) else None
        self._watched_at = float("-inf")

    def ready(self) -> None:
        """It serves; or: it has read its settings again."""
        self._say("READY=1")

    def reloading(self) -> None:
        """It reads its settings again; ``ready`` follows."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """It ends."""
        self._say("STOPPING=1")

    def alive(self, now: float) -> None:
        """For WatchdogSec; three times as often as asked for. ``now``: seconds, monotonic."""
        if self._watchdog is not None and now >= self._watched_at + self._watchdog:
            self._watched_at = now
            self._say("WATCHDOG=1")

    def _say(self, text: str) -> None:
        if not self._address:
            return
        # A manager that does not read is its own problem: never wait for it.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto(text.encode(), self._address)
