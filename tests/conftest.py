"""Which tests run: on PostgreSQL, all but those that are about SQLite's files alone. In which order, where several
testers share them. Where they keep their files. And that no property is a matter of time."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as properties

from tests import temporary
from tests.postgresql import BY_ENVIRONMENT

# A job that a script starts with & ignores ^C, and so would every program that a test starts, and ends by it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine takes any time over an example.
properties.register_profile("sekisho", deadline=None, suppress_health_check=[HealthCheck.too_slow])
properties.load_profile("sekisho")

ROOT = Path(__file__).parents[1]
LONGEST = (
    "journeys/test_faults_clock",
    "web/test_softtoken_update",
    "web/test_portal_browser",
    "journeys/test_demo",
    "web/test_softtoken_issuing",
    "web/test_console_browser",
    "web/test_portal_tokens",
    "web/test_console_sign_on",
    "web/test_softtoken_page",
    "web/test_softtoken_clock",
    "web/test_portal_security",
    "journeys/test_explain",
    "journeys/test_install",
    "web/test_bank_portal",
    "web/test_bank_login",
    "web/test_console_retirements",
    "web/test_console_staff_browser",
    "journeys/test_faults_crash",
    "journeys/test_faults_flush",
    "journeys/test_doors_apart",
    "journeys/test_cli_shown",
    "pam/test_agent",
    "web/test_api_once",
    "web/test_console_imports_browser",
    "web/test_connections",
    "journeys/test_checkpoints",
    "journeys/test_failover",
    "verifiers/test_reconcile",
    "web/test_api_schemathesis",
    "web/test_portal_back",
)
"""Files of tests by the seconds that they take, the longest first."""


FILES = temporary.begin()


def pytest_unconfigure() -> None:
    if FILES is not None:
        shutil.rmtree(FILES, ignore_errors=True)


@pytest.hookimpl(trylast=True)  # behind what leaves out the tests of make soak
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if BY_ENVIRONMENT:
        left_out = [item for item in items if item.get_closest_marker("sqlite_files")]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if not item.get_closest_marker("sqlite_files")]
    if (testers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
        items[:] = in_shares(items, testers)


def in_shares(items: list[pytest.Item], testers: int) -> list[pytest.Item]:
    """Each tester begins with an equal part of the tests, in order, and one that has none left takes from the end of
    another's. So each part begins with some of the longest files and ends with short tests: or the last minute of a
    run is one tester's, at a long one. A file stays together: its tests share a server."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    longest = [files.pop(path) for name in LONGEST if (path := ROOT / f"tests/{name}.py") in files]
    short = [item for file in files.values() for item in file]
    ordered: list[pytest.Item] = []
    for number in range(testers):
        first = [item for file in longest[number::testers] for item in file]
        end = len(items) * (number + 1) // testers - len(ordered) - len(first)
        ordered += [*first, *short[: max(0, end)]]
        short = short[max(0, end) :]
    return ordered + short
