"""One measured run: fresh codes, a load, the server's CPU before and after, and a look at the replies' signatures."""

import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import packets, tokens
from benchmarks.load import Aim, Credential, Door, Load, LoadGenerator, build
from benchmarks.processes import Process, Unusable

LOOKED_AT = 500  # replies of each run whose signatures are checked
_BUILD_SECONDS = 25e-6  # for one packet, with room to spare
_SETTLE_SECONDS = 0.2  # for what a server still does after the last reply of the run before


@dataclass(frozen=True, slots=True)
class Sample:
    """A run's outcome. `rate` counts acceptances alone; CPU is the server's, in microseconds for each of them."""

    load: Load
    rate: float
    cpu_us: float

    @property
    def wrong(self) -> int:
        """Requests that should have been accepted and were not."""
        return self.load.sent - self.load.accepted

    def summary(self) -> dict[str, float]:
        return {**self.load.summary(), "accepted_rate": self.rate, "server_cpu_us": self.cpu_us}


class Customers:
    """The customers of one server in an order without locality, each offered once in a step."""

    def __init__(self, numbers: Sequence[int]) -> None:
        shuffled = list(numbers)
        random.Random(20).shuffle(shuffled)  # the same order for every server
        self._fresh = tokens.Fresh(shuffled)
        self._count = len(shuffled)

    def take(self, wanted: int, seconds: float) -> tuple[list[int], int, float]:
        """(customers, their step, when to begin), waiting for a new step if too few are left in this one."""
        wanted = min(wanted, self._count)
        while True:
            step, at = tokens.step_with_room(seconds + wanted * _BUILD_SECONDS)
            taken = self._fresh.take(wanted, step)
            if len(taken) >= wanted * 0.9:
                return taken, step, at
            time.sleep(max(0.0, (step + 1) * tokens.STEP_SECONDS + 0.1 - time.time()))


def measure(
    generator: LoadGenerator,
    process: Process,
    customers: Customers,
    credential: Callable[[int, int], Credential],
    aim: Aim,
    most: int,
) -> Sample:
    """Sends at most `most` logins and expects every one to be accepted; the sample says if they were."""
    taken, step, at = customers.take(most, aim.seconds)
    datagrams = build(aim, [credential(number, step) for number in taken])
    time.sleep(max(_SETTLE_SECONDS, at - time.time()))
    before = process.cpu_seconds()
    load, replies = generator.start(aim, datagrams, keep=LOOKED_AT).finish()
    cpu = process.cpu_seconds() - before
    process.check()
    check_replies(replies, datagrams, aim.door, {packets.ACCEPT, packets.REJECT})
    if not load.accepted:
        raise Unusable(f"not one of {load.sent} logins was accepted; the server's log ends: {process.tail()}")
    return Sample(load, load.accepted / load.elapsed_s, cpu * 1e6 / load.accepted)


def check_replies(
    replies: Sequence[tuple[int, bytes]], datagrams: Sequence[bytes], door: Door, codes: set[int]
) -> dict[int, packets.Reply]:
    """Place in the load -> reply; Unusable if one is forged, unsigned or of another kind."""
    checked = {}
    for place, octets in replies:
        try:
            reply = packets.read_reply(octets, datagrams[place], door.secret)
        except packets.BadReply as problem:
            raise Unusable(f"a reply fails its check: {problem}") from problem
        if reply.code not in codes:
            raise Unusable(f"a reply has code {reply.code}")
        checked[place] = reply
    return checked


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, extremes, and how many values they come from."""
    return {
        "median": statistics.median(values),
        "least": min(values),
        "most": max(values),
        "runs": len(values),
    }


class Progress:
    """A line for each run, with the share done and the time that has gone by."""

    def __init__(self, steps: int) -> None:
        self._steps, self._done, self._begun = steps, 0, time.monotonic()

    def done(self, what: str) -> None:
        self._done += 1
        self.say(what)

    def say(self, what: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self._begun), 60)
        print(f"[{self._done:3d}/{self._steps}  {minutes:2d}:{seconds:02d}] {what}", file=sys.stderr, flush=True)
