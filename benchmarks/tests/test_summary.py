"""Medians, ratios within a round, and targets, on values small enough to check in the head."""

from typing import Any

from benchmarks import summary


def run_of(name: str, number: int, rate: float) -> dict[str, Any]:
    return {
        "contender": name,
        "outstanding": 64,
        "round": number,
        "accepted_rate": rate,
        "server_cpu_us": 1e6 / rate,
        "p50_us": 1000,
        "p99_us": 2000,
        "sent": 10,
        "accepted": 10,
        "repeated": 0,
    }


def code_data(mine: list[float], shipped: list[float], stripped: list[float] | None = None) -> dict[str, Any]:
    rates = {"sekisho": mine, "freeradius-totp-debian": shipped, "freeradius-totp-stripped": stripped or shipped}
    runs = [run_of(name, number, rate) for name in rates for number, rate in enumerate(rates[name])]
    return {"levels": [64], "probes": {name: {} for name in rates}, "runs": runs}


def test_a_ratio_is_taken_within_each_round() -> None:
    """The machine was ten times as slow in the second round: the ratio does not notice."""
    found = summary.summarise({"code": code_data([100.0, 10.0, 100.0], [200.0, 20.0, 200.0])})
    ratio = found["experiments"]["code"]["ratios"]["freeradius-totp-debian"]["64"]["rate"]
    assert (ratio["median"], ratio["least"], ratio["most"], ratio["runs"]) == (0.5, 0.5, 0.5, 3)


def test_a_target_just_reached_is_met_and_one_just_missed_is_not() -> None:
    def met(mine: float) -> bool:
        found = summary.summarise({"code": code_data([mine], [200.0])})
        return bool(found["targets"][0]["met"])

    assert met(100.0)
    assert not met(99.0)


def test_shipped_and_stripped_are_evaluated_each_on_its_own() -> None:
    found = summary.summarise({"code": code_data([100.0], shipped=[200.0], stripped=[400.0])})
    judged = [
        (target["promise"], target["measured"], target["wanted"], target["met"]) for target in found["targets"][:2]
    ]
    assert judged == [
        (
            "code: logins a second against FreeRADIUS + rlm_totp as Debian ships its configuration, 64 under way",
            "0.50 times",
            ">= 0.5",
            True,
        ),
        (
            "code: logins a second against FreeRADIUS + rlm_totp stripped by hand to what this needs, 64 under way",
            "0.25 times",
            ">= 0.5",
            False,
        ),
    ]


def test_a_login_that_was_not_accepted_misses_a_target() -> None:
    data = code_data([100.0], [100.0])
    data["runs"][0]["accepted"] = 9
    found = summary.summarise({"code": data})
    assert [target["met"] for target in found["targets"] if "not accepted" in target["promise"]] == [False]
