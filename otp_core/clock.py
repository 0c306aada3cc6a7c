"""The time, guarded: a wall clock that moved otherwise than the time since the boot is not believed.

A clock that is set back makes codes of the past valid again. One that is set ahead retires, locks and ends what lasts,
and its stamps refuse customers when it is right again. It reads no store; what is known of earlier is an argument.

Theory of operation
-------------------
*What is compared.* ``wall - uptime`` changes only when somebody steps the wall clock: a time service that corrects
slowly moves both, and a machine that slept, a process that was stopped and a virtual machine that stood still move
neither against the other. So the guard remembers that difference from a moment at which the time was right (the
anchor), and a later one of the same boot tells how far the clock was stepped since. Over a reboot nothing can be
compared: there only a time before the latest known moment is refused, and one far behind it is told.

*What follows.* A step of up to SMALL_STEP seconds ahead is let pass; sweeps wait until the clock has stood steady for
STEADY_SECONDS, and then the new time is the anchor. They wait as long after the machine slept. A larger step raises
ClockSetAhead, one back by more than TOLERANCE raises ClockSetBack, each until the clock is right again, or until
``trust`` is called: by the operator's word, or by the kernel's, which knows whether a time service holds the clock
(timekeeper.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from otp_core.model import BackendSilent

TOLERANCE = 30.0
"""Seconds that a clock may step back: one time step of most tokens, and more than a time service corrects at once."""

SMALL_STEP = 90.0
"""Seconds that a clock may step ahead with logins going on: the codes that a window of one step accepts. What such a
step does wrong is over when they have passed."""

STEADY_SECONDS = 600.0
"""Seconds without a step after which sweeps go on, and a small step counts as right."""

UNNOTICED = 1.0
"""Seconds; a smaller step is none. Leap seconds and the time between two readings stay below."""

SHORT_AWAY = 86_400.0
"""Seconds; a store that has no anchor yet (a new one, or one of an older version) is not suspected for less."""

LONG_AWAY = 30 * 86_400.0
"""Seconds; a start further ahead of the last known moment is told."""


class ClockWrong(BackendSilent):
    """The time is not believed. The text says what to do. It stays the same until the clock is right again, because
    causes are logged and counted by their texts. ``short``: what is wrong, without the advice."""

    def __init__(self, text: str, short: str = "") -> None:
        super().__init__(text)
        self.short = short or text


class ClockSetBack(ClockWrong):
    """The clock shows a time before one that has already been."""


class ClockSetAhead(ClockWrong):
    """The clock was set ahead of the time since the boot."""


class ClockOff(ClockWrong):
    """The clock is another one than those of the database and of the other nodes (nodes/clocks.py)."""


class Anchor(NamedTuple):
    """A moment at which the time was right. ``boot_id``: in which boot; empty: not known, and nothing is compared.
    ``uptime_ms``: since the boot; ``at``: ms since the epoch."""

    boot_id: str
    uptime_ms: int
    at: int

    @property
    def text(self) -> str:
        """As the store keeps it."""
        return f"{self.boot_id or '-'} {self.uptime_ms} {self.at}"


def read_anchor(text: str) -> Anchor | None:
    """The anchor of a text that ``Anchor.text`` made; None for anything else."""
    words = text.split()
    if len(words) != 3 or not all(word.isascii() and word.isdigit() and len(word) < 17 for word in words[1:]):
        return None
    return Anchor("" if words[0] == "-" else words[0], int(words[1]), int(words[2]))


class Kernel(Protocol):
    """What the machine knows of its clocks: ``kernel_clock.KernelClock``."""

    def boot_id(self) -> str:
        """A name of this boot; empty: not known."""

    def uptime(self) -> float:
        """Seconds since the boot, time asleep included; without a boot ID, of any clock that goes on evenly."""

    def synchronised(self) -> bool:
        """Whether a time service holds the wall clock right."""


_REPAIR = (
    "Check the time service; if it was wrong before and is right now, restart with `sekisho serve --trust-clock`, or "
    "tell the running server so by `sekisho trust-clock`"
)
_BY_UPTIME = "where the time since the boot puts it"


class GuardedClock:
    """The time in ms since the epoch, unless it is not to be believed. ``clock``: seconds since the epoch.
    ``latest_ms``: the latest moment known, so that a restart does not forget it. ``kernel``: the time since the boot,
    None: nothing is compared. ``anchor``: from an earlier process, or from another one of this moment."""

    def __init__(
        self,
        clock: Callable[[], float],
        latest_ms: int = 0,
        *,
        kernel: Kernel | None = None,
        anchor: Anchor | None = None,
    ) -> None:
        self._clock, self._kernel = clock, kernel
        self._latest = latest_ms
        self._found_back = self._found_ahead = 0
        self._off = self._off_short = ""
        self._right = self._seen = 0  # wall - uptime in ms: when the time was right; when it was looked at last
        self._stepped_at = -int(STEADY_SECONDS * 1000)  # uptime in ms
        self.boot_id = kernel.boot_id() if kernel is not None else ""
        self._compares = kernel is not None
        self._looked_at = 0  # uptime in ms
        if self._compares:
            self._begin(anchor)

    def _begin(self, anchor: Anchor | None) -> None:
        here = self._read()
        self._right = self._seen = here.at - here.uptime_ms
        self._looked_at = here.uptime_ms
        same_boot = anchor is not None and anchor.boot_id == self.boot_id and anchor.uptime_ms <= here.uptime_ms
        if anchor is not None and same_boot and self.boot_id:
            self._right = anchor.at - anchor.uptime_ms
            if abs(self._seen - self._right) >= UNNOTICED * 1000:
                self._stepped_at = here.uptime_ms
        elif anchor is not None or (self._latest and here.at - self._latest > SHORT_AWAY * 1000):
            # Nothing tells how long the machine was away: sweeps wait until this time has stood for a while.
            self._stepped_at = here.uptime_ms

    def now(self) -> int:
        """The time in ms since the epoch. Raises ClockSetBack or ClockSetAhead while it is not to be believed; recovers
        when it is right again; ClockOff as ``others_say`` has it."""
        if self._off:
            raise ClockOff(self._off, self._off_short)
        now = self._compared() if self._compares else int(self._clock() * 1000)
        if now < self._latest - TOLERANCE * 1000:
            self._found_back = self._found_back or self._latest - now
            raise self._set_back("the latest time that is recorded")
        self._latest, self._found_back = max(self._latest, now), 0
        return now

    def others_say(self, text: str, short: str) -> None:
        """What the clocks of others say of this one: not to be believed, and why; empty: nothing. ``short``: what is
        wrong, without the advice. Nothing else takes that back."""
        self._off, self._off_short = text, short

    def best(self) -> float:
        """The best guess of the time in seconds since the epoch, for audit rows: while the clock is not believed, what
        the time since the boot says. Raises nothing."""
        if self._compares:
            here = self._read()
            if not -TOLERANCE * 1000 <= here.at - here.uptime_ms - self._right <= SMALL_STEP * 1000:
                return (here.uptime_ms + self._right) / 1000
        return self._clock()

    def trust(self) -> Anchor:
        """Believe the clock as it stands, whatever was known before. Returns the new anchor."""
        here = self._read()
        self._right = self._seen = here.at - here.uptime_ms
        self._latest, self._found_back, self._found_ahead = here.at, 0, 0
        return here

    def follow(self, anchor: Anchor, latest_ms: int) -> bool:
        """Believe what another process was told (``trust``), if that is about the clock as it stands now, and nothing
        later was recorded (``latest_ms``). False: it is not."""
        here = self._read()
        apart = abs((here.at - here.uptime_ms) - (anchor.at - anchor.uptime_ms))
        if (
            not self.boot_id
            or anchor.boot_id != self.boot_id
            or apart >= UNNOTICED * 1000
            or here.at < latest_ms - TOLERANCE * 1000
        ):
            return False
        self._latest = latest_ms
        self._right, self._found_back, self._found_ahead = anchor.at - anchor.uptime_ms, 0, 0
        return True

    @property
    def settled(self) -> bool:
        """Whether the clock has stood steady for so long that what lasts may be done by it. Raises what ``now``
        raises."""
        self.now()
        if not self._compares:
            return True
        here = self._read()
        if here.uptime_ms - self._stepped_at < STEADY_SECONDS * 1000:
            return False
        self._right = self._seen  # a small step that has stood for so long
        return True

    def anchor(self) -> Anchor:
        """This moment, to be kept. Call it after ``settled``."""
        return self._read()

    def _compared(self) -> int:
        here = self._read()
        offset = here.at - here.uptime_ms
        if abs(offset - self._seen) >= UNNOTICED * 1000:
            self._seen, self._stepped_at = offset, here.uptime_ms
        if here.uptime_ms - self._looked_at > SMALL_STEP * 1000:
            # Asleep or stopped: how long, the hardware clock has said, which may be wrong.
            self._stepped_at = here.uptime_ms
        self._looked_at = here.uptime_ms
        ahead = offset - self._right
        if ahead > SMALL_STEP * 1000:
            self._found_ahead = self._found_ahead or ahead
            short = f"the clock was set ahead: it stands {self._found_ahead / 1000:.0f} s after {_BY_UPTIME}"
            raise ClockSetAhead(f"{short}. No login is answered until it is right, or known to be. {_REPAIR}", short)
        self._found_ahead = 0
        if ahead < -TOLERANCE * 1000:
            self._found_back = self._found_back or -ahead
            raise self._set_back(_BY_UPTIME)
        return here.at

    def _set_back(self, what: str) -> ClockSetBack:
        short = f"the clock was set back: it stands {self._found_back / 1000:.0f} s before {what}"
        text = f"{short}, and codes of the past would fit again. No login is answered until it is right. {_REPAIR}"
        return ClockSetBack(text, short)

    def _read(self) -> Anchor:
        """Both clocks at one moment: read again where the process stood still between the two readings."""
        if self._kernel is None or not self._compares:
            return Anchor("", 0, int(self._clock() * 1000))
        before = self._kernel.uptime()
        for _ in range(5):
            at = self._clock()
            after = self._kernel.uptime()
            if after - before < UNNOTICED / 2:
                break
            before = after
        return Anchor(self.boot_id, int(before * 1000), int(at * 1000))
