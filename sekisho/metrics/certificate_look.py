"""What the metrics say of certificates: how long each is good. It reads their files, and writes nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from otp_core.certificates import Lifetime, NamedCertificate, lifetime_of
from sekisho.metrics import families as f
from sekisho.metrics.board import Key

OLD_SECONDS = 60.0
"""How old what was read of the files may be."""


class CertificateLook:
    """``named``: the certificates of the settings."""

    def __init__(self, named: Sequence[NamedCertificate], clock: Callable[[], float] = time.monotonic) -> None:
        self._named, self._clock = named, clock
        self._found: list[Lifetime] = []
        self._found_at = -math.inf

    def figures(self) -> dict[Key, float]:
        """A gauge for each."""
        if self._clock() >= self._found_at + OLD_SECONDS:
            self._found, self._found_at = [lifetime_of(one) for one in self._named], self._clock()
        now = time.time()
        return {
            (f.CERTIFICATE, one.setting): -math.inf if one.ends is None else one.ends.timestamp() - now
            for one in self._found
        }
