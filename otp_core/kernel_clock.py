"""What Linux knows of its clocks: the boot, the time since it, and whether a time service holds the wall clock right.

It reads and sets nothing. Elsewhere than on Linux each of these is simply not known.
"""

from __future__ import annotations

import ctypes
import time
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LONGEST_UPTIME = 20 * 365 * 86_400.0
"""Seconds. A clock that claims more is not the time since a boot: libfaketime may let CLOCK_BOOTTIME show the date."""
_UNSYNCHRONISED = 0x40
"""STA_UNSYNC of <sys/timex.h>. ``settimeofday`` sets it, and so does the kernel when no time service has spoken for
long (maxerror of 16 s)."""
_NANOSECONDS = 0x2000
"""STA_NANO: ``time.tv_usec`` counts nanoseconds."""
_ERROR = 5
"""TIME_ERROR: the clock is not synchronised."""
_SAME_SECONDS = 1.0
"""The kernel vouches for its own clock. A process whose clock shows something else (faketime) is not meant."""


class _Timex(ctypes.Structure):
    """``struct timex`` of adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("fraction", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("rest", ctypes.c_char * 160),
    )


class KernelClock:
    """The clocks of this machine (``otp_core.clock.Kernel``)."""

    def boot_id(self) -> str:
        """A name of this boot; empty: not known, or the time since it is not."""
        seconds = _uptime()
        return _boot_id() if seconds is not None and seconds < _LONGEST_UPTIME else ""

    def uptime(self) -> float:
        """Seconds since the boot, time asleep included (CLOCK_BOOTTIME). No change of the wall clock changes it.
        Without a boot ID: of a clock that goes on evenly at least."""
        seconds = _uptime()
        return time.monotonic() if seconds is None else seconds

    def synchronised(self) -> bool:
        """Whether the kernel says that a time service holds its clock right (adjtimex(2)). False where that cannot be
        asked."""
        read = kernel_time()
        if read is None:
            return False
        seconds, held = read
        return held and abs(seconds - time.time()) < _SAME_SECONDS


def kernel_time() -> tuple[float, bool] | None:
    """The kernel's own wall clock in seconds since the epoch, whatever stands between it and this process, and whether
    it is synchronised. None: it cannot be asked (not Linux, or the service manager forbids adjtimex)."""
    library = _library()
    if library is None:
        return None
    timex = _Timex()
    try:
        state: int = library.adjtimex(ctypes.byref(timex))
    except AttributeError:
        return None
    if state < 0:
        return None
    fraction = timex.fraction / (1e9 if timex.status & _NANOSECONDS else 1e6)
    return timex.seconds + fraction, state != _ERROR and not timex.status & _UNSYNCHRONISED


def _uptime() -> float | None:
    try:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):
        return None


@cache
def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(None, use_errno=True)
    except (OSError, TypeError):
        return None


@cache
def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
