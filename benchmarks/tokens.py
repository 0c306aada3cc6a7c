"""The tokens of a benchmark and their codes, and which of them may log in at this moment.

Token number i has the same seed in every server. Each server has a tally of its own (`Fresh`), because a code that one
server has spent is news to the next.
"""

import hmac
import struct
import time
from base64 import b32encode
from collections import deque
from collections.abc import Callable, Sequence
from hashlib import sha1

STEP_SECONDS = 30
DIGITS = 6


def seed(number: int) -> bytes:
    """Twenty octets, known to everybody who reads this: never use them for anything but a benchmark."""
    return sha1(b"benchmark token %d" % number, usedforsecurity=False).digest()


def token_id(number: int) -> str:
    return f"BNCH{number:08d}"


def contract_id(number: int) -> str:
    return f"c{number:07d}"


def of_customer(number: int, each: int) -> range:
    """The numbers of a customer's tokens, where everybody has so many."""
    return range(number * each, (number + 1) * each)


def password(number: int) -> str:
    return f"correct horse {number:07d}"


def base32_seed(number: int) -> str:
    return b32encode(seed(number)).decode()


def code(key: bytes, step: int) -> bytes:
    """RFC 6238 with HMAC-SHA-1 and six digits, as ASCII."""
    digest = hmac.digest(key, struct.pack("!Q", step), "sha1")
    number = struct.unpack_from("!I", digest, digest[-1] & 15)[0] & 0x7FFFFFFF
    return b"%06d" % (number % 10**DIGITS)


def step_with_room(seconds: float, *, clock: Callable[[], float] = time.time) -> tuple[int, float]:
    """(step, the time from which to send) such that a run of this length stays within one step.

    FreeRADIUS 3.2.1 accepts no code but the current step's, so a run must not cross a border. The margins are for
    clocks that are read a little later, and for the last replies.
    """
    now = clock()
    step, elapsed = divmod(now, STEP_SECONDS)
    if elapsed + seconds + 0.5 <= STEP_SECONDS:
        return int(step), now
    return int(step) + 1, (step + 1) * STEP_SECONDS + 0.1


class Fresh:
    """Which tokens of one server have no spent code in the current step: taken in turn, given back a step later."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._free = deque(numbers)
        self._resting: deque[tuple[int, Sequence[int]]] = deque()

    def take(self, wanted: int, step: int) -> list[int]:
        """At most `wanted` tokens whose codes of this step nobody has sent yet."""
        while self._resting and self._resting[0][0] < step:
            self._free.extend(self._resting.popleft()[1])
        taken = [self._free.popleft() for _ in range(min(wanted, len(self._free)))]
        self._resting.append((step, taken))
        return taken
