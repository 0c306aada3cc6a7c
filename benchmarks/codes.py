"""Experiment `code`: logins a second and CPU for each, at several numbers of requests under way, all in turn."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import probes
from benchmarks.contender import Contender, Running
from benchmarks.load import Aim, LoadGenerator
from benchmarks.meter import Customers, Progress, Sample, measure
from benchmarks.processes import Unusable

_WARM_UP = 3000  # logins


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. `most` bounds a run where the server is quicker than the supply of fresh codes."""

    levels: tuple[int, ...]
    rounds: int
    seconds: float
    customers: int
    most: int

    def steps(self, contenders: int) -> int:
        return contenders * (1 + len(self.levels) * self.rounds)


@dataclass
class _Lane:
    contender: Contender
    running: Running
    customers: Customers
    expected: dict[int, float]  # logins a second, by level: how many packets to build


def run(
    contenders: Sequence[Contender], plan: Plan, generator: LoadGenerator, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Every run and every probe, as plain data."""
    with _all_started(contenders, plan, folder) as (lanes, absent):
        for name, problem in absent.items():
            progress.say(f"left out: {name}: {problem}")
        answers = {}
        for lane in lanes:
            answers[lane.contender.name] = probes.demand(lane.contender, lane.running.door, plan.customers)
            for level in plan.levels:
                sample = _measure(lane, level, plan, generator, _WARM_UP)
                lane.expected[level] = sample.rate
            progress.done(f"{lane.contender.title}: answers every probe as it must; warm")
        runs = []
        for number in range(plan.rounds):
            for level in plan.levels:
                for lane in _rotated(lanes, number):
                    most = min(plan.most, int(lane.expected[level] * plan.seconds * 1.3))
                    sample = _measure(lane, level, plan, generator, most)
                    lane.expected[level] = max(sample.rate, lane.expected[level])
                    runs.append(_record(lane.contender.name, level, number, sample))
                    progress.done(_line(lane.contender.title, level, sample))
        return {
            "customers": plan.customers,
            "levels": list(plan.levels),
            "probes": answers,
            "runs": runs,
            "absent": absent,
        }


def _measure(lane: _Lane, level: int, plan: Plan, generator: LoadGenerator, most: int) -> Sample:
    aim = Aim(lane.running.door, outstanding=level, seconds=plan.seconds)
    credential = lane.contender.credential
    return measure(generator, lane.running.process, lane.customers, credential, aim, most)


@contextmanager
def _all_started(
    contenders: Sequence[Contender], plan: Plan, folder: Path
) -> Iterator[tuple[list[_Lane], dict[str, str]]]:
    """All servers up at once (the idle ones cost nothing, no run pays for another's start), and why some are not."""
    with ExitStack() as stack:
        lanes, absent = [], {}
        for contender in contenders:
            place = folder / contender.name
            place.mkdir()
            try:
                running = stack.enter_context(contender.start(place, plan.customers))
            except Unusable as problem:
                absent[contender.name] = str(problem)
                continue
            logins = Customers(range(plan.customers - probes.CUSTOMERS))
            lanes.append(_Lane(contender, running, logins, {}))
        if not lanes:
            raise Unusable("; ".join(f"{name}: {problem}" for name, problem in absent.items()))
        yield lanes, absent


def _rotated(lanes: Sequence[_Lane], number: int) -> list[_Lane]:
    """Nobody is always first."""
    first = number % len(lanes)
    return [*lanes[first:], *lanes[:first]]


def _record(name: str, level: int, number: int, sample: Sample) -> dict[str, Any]:
    return {"contender": name, "outstanding": level, "round": number, **sample.summary()}


def _line(title: str, level: int, sample: Sample) -> str:
    wrong = f", {sample.wrong} NOT ACCEPTED" if sample.wrong else ""
    return (
        f"{level:3d} under way  {title}: {sample.rate:,.0f}/s, {sample.cpu_us:.0f} us CPU, "
        f"p50 {sample.load.p50_us / 1000:.2f} ms, p99 {sample.load.p99_us / 1000:.2f} ms{wrong}"
    )
