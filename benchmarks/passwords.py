"""Experiment `password`: logins whose password is checked here, against the rate at which this machine can hash at all.

A login in `challenge` mode is two rounds: the password, then the code with the State of the first answer. All first
rounds are sent, then all second ones; a login's rate counts the time of both. Half of the runs have a stream of `code`
logins beside them, at a fixed rate, on the same server: argon2id must not hold it up.
"""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher

from benchmarks import packets, tokens
from benchmarks.load import Aim, Credential, Door, Load, LoadGenerator, build
from benchmarks.meter import Customers, Progress, check_replies
from benchmarks.processes import Unusable
from benchmarks.sekisho import Product, Serving

# OWASP's minimum, and what the product's passwords are hashed with unless its settings say otherwise.
HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_UNDER_WAY = 32
_RUNS_A_STEP = 3  # how often a run's worth of customers is imported, so that not every run waits for fresh codes
_AHEAD = 0.3  # seconds by which the hashing starts before the stream, and ends after it


@dataclass(frozen=True, slots=True)
class Plan:
    """`stream` is in logins a second; `seconds` is the length of one run."""

    rounds: int
    seconds: float
    stream: float
    code_customers: int = 6000

    def steps(self) -> int:
        return 2 + self.rounds * 4


@dataclass(frozen=True, slots=True)
class _Site:
    serving: Serving
    generator: LoadGenerator
    plan: Plan
    with_password: Customers
    code_alone: Customers
    most: int  # logins that one run can complete


def run(product: Product, plan: Plan, generator: LoadGenerator, folder: Path, progress: Progress) -> dict[str, Any]:
    """Every run, as plain data. The bare machine is measured before and after each of them."""
    bare = max(hashes_a_second(plan.seconds / 4) for _ in range(3))  # the best of three: only a size
    most = int(bare * plan.seconds * 1.2) + _UNDER_WAY
    count = most * _RUNS_A_STEP
    progress.done(f"this machine hashes {bare:.0f} passwords a second; filling a store with {count} of them")
    store = product.store(count + plan.code_customers, with_password=count)
    place = folder / "password"
    place.mkdir()
    runs: list[dict[str, Any]] = []
    with product.serve(store, place) as serving:
        code_alone = Customers(range(count, count + plan.code_customers))
        site = _Site(serving, generator, plan, Customers(range(count)), code_alone, most)
        progress.done(f"{store.customers} customers imported, {count} of them with a password")
        before = hashes_a_second(plan.seconds / 3)
        for number, mode, stream in _order(plan):
            record = _measure(site, mode, stream)
            after = hashes_a_second(plan.seconds / 3)
            bare, before = (before + after) / 2, after
            runs.append({"round": number, "bare_rate": bare, "share": record["rate"] / bare, **record})
            progress.done(_line(runs[-1]))
    return {"stream_rate": plan.stream, "outstanding": _UNDER_WAY, "runs": runs}


def _order(plan: Plan) -> Iterator[tuple[int, str, float]]:
    """(round, mode, stream): both modes take turns in being first."""
    for number in range(plan.rounds):
        for mode in ("challenge", "append") if number % 2 == 0 else ("append", "challenge"):
            for stream in (0.0, plan.stream):
                yield number, mode, stream


def hashes_a_second(seconds: float) -> float:
    """How often this machine verifies a password with a thread on every core and nothing else to do."""
    hashed = HASHER.hash(tokens.password(0))
    counts: list[int] = []
    begun = time.monotonic()

    def work() -> None:
        count = 0
        while time.monotonic() - begun < seconds:
            HASHER.verify(hashed, tokens.password(0))
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=work) for _ in range(os.cpu_count() or 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - begun)


def _measure(site: _Site, mode: str, stream: float) -> dict[str, Any]:
    taken, step, at = site.with_password.take(site.most, site.plan.seconds + 2)
    beside = site.code_alone.take(int(stream * site.plan.seconds), site.plan.seconds + 2)[0] if stream else []
    time.sleep(max(0.3, at - time.time()))
    aim = Aim(site.serving.doors["code"], rate=stream, seconds=site.plan.seconds - 2 * _AHEAD)
    calm = build(aim, [_code_alone(number, step) for number in beside])
    delayed = threading.Timer(_AHEAD, lambda: streams.append(site.generator.start(aim, calm, keep=200)))
    streams: list[Any] = []
    if stream:
        delayed.start()
    cpu = site.serving.process.cpu_seconds()
    login = _challenged if mode == "challenge" else _appended
    completed, elapsed, first = login(site, taken, step)
    cpu = site.serving.process.cpu_seconds() - cpu
    record = {
        "mode": mode,
        "stream": stream,
        "completed": completed,
        "not_accepted": first.sent - completed,
        "rate": completed / elapsed,
        "server_cpu_ms": cpu * 1e3 / max(1, completed),
        "first_round": first.summary(),
    }
    if stream:
        delayed.join()
        load, replies = streams[0].finish()
        check_replies(replies, calm, aim.door, {packets.ACCEPT, packets.REJECT})
        record["stream_load"] = load.summary()
    site.serving.process.check()
    return record


def _appended(site: _Site, taken: list[int], step: int) -> tuple[int, float, Load]:
    """(completed logins, seconds, the load)."""
    credentials = [
        Credential(tokens.contract_id(n), tokens.password(n).encode() + tokens.code(tokens.seed(n), step))
        for n in taken
    ]
    load, _ = _send(site, site.serving.doors["append"], credentials, packets.ACCEPT)
    return load.accepted, load.elapsed_s, load


def _challenged(site: _Site, taken: list[int], step: int) -> tuple[int, float, Load]:
    """The same; seconds of both rounds together."""
    door = site.serving.doors["challenge"]
    asked = [Credential(tokens.contract_id(n), tokens.password(n).encode()) for n in taken]
    first, states = _send(site, door, asked, packets.CHALLENGE)
    answers = [
        Credential(tokens.contract_id(taken[place]), tokens.code(tokens.seed(taken[place]), step), state)
        for place, state in states.items()
    ]
    if not answers:
        raise Unusable(f"no challenge came back: {first}")
    second, _ = _send(site, door, answers, packets.ACCEPT)
    return second.accepted, first.elapsed_s + second.elapsed_s, first


def _send(site: _Site, door: Door, credentials: list[Credential], hoped: int) -> tuple[Load, dict[int, bytes]]:
    """(load, the State of each challenge by its place)."""
    aim = Aim(door, outstanding=_UNDER_WAY, seconds=site.plan.seconds, timeout=4.0)
    datagrams = build(aim, credentials)
    load, replies = site.generator.start(aim, datagrams, keep=len(datagrams)).finish()
    checked = check_replies(replies, datagrams, door, {hoped, packets.REJECT})
    return load, {place: reply.state for place, reply in checked.items() if reply.state is not None}


def _code_alone(number: int, step: int) -> Credential:
    return Credential(tokens.contract_id(number), tokens.code(tokens.seed(number), step))


def _line(record: dict[str, Any]) -> str:
    text = f"{record['mode']}: {record['rate']:.0f} logins/s, {record['share']:.0%} of the bare hash rate"
    if record["stream"]:
        text += f"; beside it {record['stream']:.0f} codes/s with p99 {record['stream_load']['p99_us'] / 1000:.1f} ms"
    return text + (f", {record['not_accepted']} NOT ACCEPTED" if record["not_accepted"] else "")
