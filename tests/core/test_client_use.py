"""What the RADIUS clients ask, in figures: added up, bounded, and read again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from otp_core.model import StoreUnavailable
from otp_core.store.client_use import (
    DAY_MS,
    KEPT_MS,
    PERIOD_MS,
    STRANGERS,
    Asked,
    Seen,
    clients_seen,
    note,
    strangers_seen,
)
from otp_core.store.login_record import COLUMNS
from radius_server.client_watch import ClientWatch
from radius_server.counters import NO_CLIENT, Counters
from tests.core.bank import Bank

NOW = 1_800_000_000_000


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


def written(bank: Bank, at: int, *asked: Asked, strangers: dict[tuple[str, str], int] | None = None) -> None:
    with bank.store.work_aside() as work:
        note(work.connection, at, asked, strangers or {})


def seen(bank: Bank, at: int) -> dict[str, Seen]:
    with bank.store.read() as connection:
        return clients_seen(connection, at)


def test_what_several_workers_write_is_added_up(bank: Bank) -> None:
    for _ in range(2):
        written(bank, NOW, Asked("vpn", requests=4, unprotected=1, accepted=2, rejected=1, silent=1))
    written(bank, NOW + 1_000, Asked("vpn", requests=1, accepted=1), Asked("bank", requests=1, challenged=1))
    found = seen(bank, NOW + 2_000)
    assert set(found) == {"vpn", "bank"}
    vpn = found["vpn"]
    assert (vpn.requests, vpn.unprotected, vpn.accepted, vpn.rejected, vpn.silent) == (9, 2, 5, 2, 2)
    assert (vpn.last_at, vpn.unprotected_at, vpn.since) == (NOW + 1_000, NOW, NOW)


def test_a_rate_is_that_of_the_last_full_period_and_figures_are_those_of_a_day(bank: Bank) -> None:
    begins_at = NOW - NOW % PERIOD_MS
    written(bank, begins_at, Asked("vpn", requests=50))
    assert seen(bank, begins_at + PERIOD_MS)["vpn"].per_minute == 10.0
    assert seen(bank, begins_at + 2 * PERIOD_MS)["vpn"].per_minute == 0.0
    assert seen(bank, begins_at + DAY_MS + PERIOD_MS)["vpn"].requests == 0


def test_which_secret_was_used_when(bank: Bank) -> None:
    written(bank, NOW, Asked("vpn", requests=1, with_present=1))
    written(bank, NOW + 5, Asked("vpn", requests=1, with_next=1))
    vpn = seen(bank, NOW)["vpn"]
    assert (vpn.present_at, vpn.next_at) == (NOW, NOW + 5)


def test_old_figures_and_the_strangers_beyond_the_bound_are_forgotten(bank: Bank) -> None:
    written(bank, NOW, Asked("vpn", requests=1))
    written(bank, NOW + KEPT_MS + PERIOD_MS, Asked("vpn", requests=1))
    crowd = {(f"10.0.{n >> 8}.{n & 255}", "unknown-client"): 1 for n in range(STRANGERS + 50)}
    written(bank, NOW, strangers={("192.0.2.1", "unknown-client"): 3})
    for at, some in ((NOW + 1, list(crowd)[:STRANGERS]), (NOW + 2, list(crowd)[STRANGERS:])):
        written(bank, at, strangers={key: crowd[key] for key in some})
    with bank.store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM client_period").scalar() == 1
        found = strangers_seen(connection, 1000)
    assert len(found) <= STRANGERS + STRANGERS  # of one moment, all are kept
    assert "192.0.2.1" not in {one.source for one in found}
    assert found[0].last_at == NOW + 2


@pytest.mark.sqlite_files
def test_a_batch_under_way_reads_nothing_anew_for_it(bank: Bank) -> None:
    def changed() -> object:
        with bank.store.read() as connection:
            return connection.exec_driver_sql("SELECT value FROM meta WHERE name = 'changed'").scalar()

    before = changed()
    written(bank, NOW, Asked("vpn", requests=1))
    assert changed() == before
    assert "client_use" not in COLUMNS


def test_what_could_not_be_written_is_written_the_next_time() -> None:
    counters, told = Counters(lambda: 0.0), list[tuple[list[Asked], dict[tuple[str, str], int]]]()
    broken = True

    def write(asked: Sequence[Asked], strangers: Mapping[tuple[str, str], int]) -> None:
        if broken:
            raise StoreUnavailable("busy")
        told.append(([*asked], dict(strangers)))

    verdicts = {("radius", "vpn", "accepted", "x"): 5, ("web", "pages", "accepted", "x"): 9}
    watch = ClientWatch(counters, verdicts, write)
    counters.verified("vpn", protected=True)
    counters.verified("vpn", protected=False)
    counters.dropped(NO_CLIENT, source="192.0.2.7")
    verdicts["radius", "vpn", "accepted", "x"] = 7
    asyncio.run(watch.look())
    broken = False
    asyncio.run(watch.look())
    asyncio.run(watch.look())
    assert told == [
        ([Asked("vpn", requests=2, unprotected=1, accepted=2)], {("192.0.2.7", "unknown-client"): 1}),
    ]


def test_what_comes_while_it_is_written_is_written_the_next_time() -> None:
    counters, told = Counters(lambda: 0.0), list[dict[tuple[str, str], int]]()

    def write(_: Sequence[Asked], strangers: Mapping[tuple[str, str], int]) -> None:
        told.append(dict(strangers))
        if len(told) == 1:
            counters.dropped(NO_CLIENT, source="192.0.2.7")
            counters.dropped(NO_CLIENT, source="192.0.2.8")

    watch = ClientWatch(counters, {}, write)
    counters.dropped(NO_CLIENT, source="192.0.2.7")
    for _ in range(3):
        asyncio.run(watch.look())
    first, second = ("192.0.2.7", "unknown-client"), ("192.0.2.8", "unknown-client")
    assert told == [{first: 1}, {first: 1, second: 1}]
