"""An event loop that waits for the database is told of, wherever a server does it: by the doors of the engine that
such a wait goes through. The servers of all tests on PostgreSQL are watched by it (tests/sekisho.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
import structlog

from otp_core.store.loop_guard import COMPLAINT, loops_guarded
from tests import postgresql
from tests.core.bank import Bank


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    folder = tmp_path_factory.mktemp("bank")
    bank = Bank(folder, database_url=postgresql.store_in(folder))
    yield bank
    bank.store.engine.dispose()


def read(bank: Bank) -> object:
    return bank.audit()


def act(bank: Bank) -> object:
    return bank.token()


def aside(bank: Bank) -> object:
    with bank.store.database.aside() as connection:
        return connection


def probe(bank: Bank) -> None:
    maintenance = bank.store.maintenance()
    maintenance.probe(1)
    maintenance.close()


def key(bank: Bank) -> None:
    reader = bank.store.key_reader()
    reader.api_key_of(b"nobody's")
    reader.close()


@pytest.mark.parametrize("wait", [read, act, aside, probe, key])
def test_a_wait_in_the_loop_is_told_with_its_place(bank: Bank, wait: Callable[[Bank], object]) -> None:
    async def serving() -> None:
        wait(bank)

    with structlog.testing.capture_logs() as lines, loops_guarded(True):
        asyncio.run(serving())
    found = [line for line in lines if line["event"] == COMPLAINT]
    assert found
    assert all(f"{wait.__name__} (test_loop_guard.py:" in line["place"] for line in found)


def test_the_same_place_is_told_once(bank: Bank) -> None:
    async def serving() -> None:
        for _ in range(3):
            read(bank)

    with structlog.testing.capture_logs() as lines, loops_guarded(True):
        asyncio.run(serving())
    assert len(lines) == 1


def test_threads_beside_the_loop_may_wait(bank: Bank) -> None:
    async def serving() -> None:
        await asyncio.to_thread(read, bank)

    with structlog.testing.capture_logs() as lines, loops_guarded(True):
        asyncio.run(serving())
        read(bank)
    assert lines == []


def test_a_start_may_wait_and_so_may_a_store_in_a_file(bank: Bank) -> None:
    async def serving() -> None:
        read(bank)

    with structlog.testing.capture_logs() as lines:
        asyncio.run(serving())
        with loops_guarded(False):
            asyncio.run(serving())
    assert lines == []
