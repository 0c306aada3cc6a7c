"""A pytest plugin for `make mutants`: the fastest tests first, few examples, and no search for the smallest of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "mutants",
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=tuple(HealthCheck),  # a slow machine must not kill a mutant
)

DURATIONS = Path("mutmut-stats.json")
"""What mutmut measured before the first mutant. Not there yet while it measures."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if DURATIONS.exists():
        seconds: dict[str, float] = json.loads(DURATIONS.read_text())["duration_by_test"]
        items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))
