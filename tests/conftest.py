"""Which tests run: on PostgreSQL, all but those that are about SQLite's files alone."""

from __future__ import annotations

import pytest

from tests.postgresql import BY_ENVIRONMENT


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not BY_ENVIRONMENT:
        return
    left_out = [item for item in items if item.get_closest_marker("sqlite_files")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("sqlite_files")]
