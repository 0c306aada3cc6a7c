"""From runs to medians, ratios and a judgement of each target. Plain data in, plain data out; measures nothing."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from benchmarks.meter import spread

OURS = "sekisho"
JUDGED_AT = 64  # requests under way at which the rates of two servers are held against each other

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """One promise: what was measured, what was wanted, and whether that holds. `aim`: what would be better still."""

    promise: str
    measured: str
    wanted: str
    met: bool
    aim: str = ""


def summarise(experiments: Mapping[str, Data]) -> Data:
    """A summary for each experiment that took place, and the targets that it allows to be evaluated."""
    found: Data = {}
    targets: list[Target] = []
    for name, (condense, judged) in _EXPERIMENTS.items():
        if name in experiments:
            found[name] = condense(experiments[name])
            targets += judged(found[name])
    return {"experiments": found, "targets": [asdict(target) for target in targets]}


def _code(data: Data) -> Data:
    names = list(data["probes"])
    cells = {
        (name, level): _of(data["runs"], contender=name, outstanding=level)
        for name in names
        for level in data["levels"]
    }
    contenders = {name: {str(level): _code_cell(cells[name, level]) for level in data["levels"]} for name in names}
    ratios = {
        peer: {str(level): _ratio(cells[OURS, level], cells[peer, level]) for level in data["levels"]}
        for peer in names
        if OURS in names and peer != OURS
    }
    return {"levels": data["levels"], "contenders": contenders, "ratios": ratios}


def _code_cell(runs: list[Data]) -> Data:
    return {
        "rate": spread([run["accepted_rate"] for run in runs]),
        "cpu_us": spread([run["server_cpu_us"] for run in runs]),
        "p50_ms": spread([run["p50_us"] / 1000 for run in runs]),
        "p99_ms": spread([run["p99_us"] / 1000 for run in runs]),
        "not_accepted": sum(run["sent"] - run["accepted"] for run in runs),
        "repeated": sum(run["repeated"] for run in runs),
    }


def _ratio(ours: list[Data], theirs: list[Data]) -> Data:
    """Round by round: both numbers of a pair were measured within seconds of each other."""
    pairs = list(zip(ours, theirs, strict=True))
    return {
        "rate": spread([mine["accepted_rate"] / other["accepted_rate"] for mine, other in pairs]),
        "cpu": spread([mine["server_cpu_us"] / other["server_cpu_us"] for mine, other in pairs]),
    }


def _judge_code(summary: Data) -> Iterable[Target]:
    level = str(JUDGED_AT)
    for peer, (words, least, aim) in _PEERS.items():
        ratio = summary["ratios"].get(peer, {}).get(level)
        if ratio:
            middle = ratio["rate"]["median"]
            promise = f"code: logins a second against {words}, {level} under way"
            yield Target(promise, f"{middle:.2f} times", f">= {least:g}", middle >= least, f">= {aim:g}")
    mine = summary["contenders"].get(OURS)
    if not mine:
        return
    if "1" in mine:
        middle = mine["1"]["p50_ms"]["median"]
        yield Target("code: half of the logins, one under way, within", f"{middle:.2f} ms", "< 3 ms", middle < 3)
    refused = sum(cell["not_accepted"] for cell in mine.values())
    yield Target("code: right codes that were not accepted", str(refused), "0", refused == 0)


def _password(data: Data) -> Data:
    cells = {}
    for mode in ("challenge", "append"):
        for stream in (0.0, data["stream_rate"]):
            runs = _of(data["runs"], mode=mode, stream=stream)
            cell = {
                "rate": spread([run["rate"] for run in runs]),
                "share": spread([run["share"] for run in runs]),
                "p50_ms": spread([run["first_round"]["p50_us"] / 1000 for run in runs]),
                "not_accepted": sum(run["not_accepted"] for run in runs),
            }
            if stream:
                cell["stream_p50_ms"] = spread([run["stream_load"]["p50_us"] / 1000 for run in runs])
                cell["stream_p99_ms"] = spread([run["stream_load"]["p99_us"] / 1000 for run in runs])
                cell["stream_not_accepted"] = sum(
                    run["stream_load"]["sent"] - run["stream_load"]["accepted"] for run in runs
                )
            cells[f"{mode}, {'stream' if stream else 'alone'}"] = cell
    bare = spread([run["bare_rate"] for run in data["runs"]])
    return {"bare_rate": bare, "stream_rate": data["stream_rate"], "cells": cells}


def _judge_password(summary: Data) -> Iterable[Target]:
    stream = f"{summary['stream_rate']:.0f} code logins/s"
    for mode in ("challenge", "append"):
        cell, alone = summary["cells"][f"{mode}, stream"], summary["cells"][f"{mode}, alone"]
        share = cell["share"]["median"]
        measured = f"{share:.0%} ({alone['share']['median']:.0%} without the stream)"
        promise = f"{mode}: share of the bare hash rate, beside {stream}"
        yield Target(promise, measured, ">= 90%", share >= 0.9)
        slow = cell["stream_p99_ms"]["median"]
        yield Target(f"{mode}: p99 of {stream} meanwhile", f"{slow:.1f} ms", "< 20 ms", slow < 20)
        refused = cell["not_accepted"] + cell["stream_not_accepted"] + alone["not_accepted"]
        yield Target(f"{mode}: right logins that were not accepted", str(refused), "0", refused == 0)


def _scale(data: Data) -> Data:
    sizes = {}
    for size, facts in data["sizes"].items():
        runs = _of(data["runs"], size=int(size))
        sizes[size] = {
            **facts,
            "rate": spread([run["accepted_rate"] for run in runs]),
            "cpu_us": spread([run["server_cpu_us"] for run in runs]),
            "p99_ms": spread([run["p99_us"] / 1000 for run in runs]),
            "not_accepted": sum(run["sent"] - run["accepted"] for run in runs),
        }
    names = list(data["sizes"])
    growth = {}
    for small, large in pairwise(names):
        pairs = zip(_of(data["runs"], size=int(small)), _of(data["runs"], size=int(large)), strict=True)
        growth[f"{small} to {large}"] = spread([b["server_cpu_us"] / a["server_cpu_us"] - 1 for a, b in pairs])
    return {"sizes": sizes, "growth": growth}


def _judge_scale(summary: Data) -> Iterable[Target]:
    size = max(summary["sizes"], key=int)
    facts = summary["sizes"][size]
    at = f"scale: {int(size):,} tokens,"
    yield Target(f"{at} ready after", f"{facts['ready_s']:.2f} s", "< 1.5 s", facts["ready_s"] < 1.5)
    most = max(facts["rss_peak_mib"], facts["rss_loaded_mib"])
    yield Target(f"{at} memory at its peak", f"{most:.0f} MiB", "< 120 MiB", most < 120)
    if "100000 to 1000000" in summary["growth"]:
        more = summary["growth"]["100000 to 1000000"]["median"]
        yield Target("scale: CPU of a login, 100k to 1M tokens", f"{more:+.0%}", "< +30%", more < 0.3)


def _of(runs: Iterable[Data], **wanted: object) -> list[Data]:
    """The runs with these values, in the order of their rounds."""
    chosen = [run for run in runs if all(run[key] == value for key, value in wanted.items())]
    return sorted(chosen, key=lambda run: int(run["round"]))


# Peer -> (how the promise names it, at least so many times its rate, what would be better still).
_PEERS: Mapping[str, tuple[str, float, float]] = {
    "freeradius-totp-debian": ("FreeRADIUS + rlm_totp as Debian ships its configuration", 0.5, 1.0),
    "freeradius-totp-stripped": ("FreeRADIUS + rlm_totp stripped by hand to what this needs", 0.5, 1.0),
    "freeradius-sqlite": ("FreeRADIUS + rlm_totp stripped by hand, spent codes in SQLite", 5.0, 10.0),
}

_EXPERIMENTS: Mapping[str, tuple[Callable[[Data], Data], Callable[[Data], Iterable[Target]]]] = {
    "code": (_code, _judge_code),
    "password": (_password, _judge_password),
    "scale": (_scale, _judge_scale),
}
