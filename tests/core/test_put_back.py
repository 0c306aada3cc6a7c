"""A store that was put back without the command is noticed by what lies beside it, and treated before it is served."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from otp_core.login.table import Finding
from otp_core.model import Accept, Kind, StoreProblem, TokenSpec
from otp_core.store.mark import Mark, MarkFile, mark_path, read_mark, users_of
from otp_core.store.put_back import PutBackWatch, lost_acts, lost_time
from otp_core.store.sqlite import driver
from otp_core.store.store import initialise
from tests.core.at_the_desk import login, reason
from tests.core.bank import NOON, STAFF, Bank

pytestmark = pytest.mark.sqlite_files

PUT_BACK = "the store was put back without `sekisho restore`: every code that may have been used since is void"


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


@contextlib.contextmanager
def served(bank: Bank, *, trust_clock: bool = False) -> Iterator[PutBackWatch]:
    watch = PutBackWatch(
        bank.open_store(), window=1, now_ms=lambda: int(bank.clock.now * 1000), trust_clock=trust_clock
    )
    watch.begin()
    try:
        yield watch
    finally:
        watch.close()


def said(bank: Bank, *, trust_clock: bool = False) -> list[str]:
    """What the log says about a start and an end."""
    with structlog.testing.capture_logs() as lines, served(bank, trust_clock=trust_clock):
        pass
    return [one["event"] for one in lines if one["log_level"] != "debug"]


def copied(bank: Bank) -> Path:
    copy = bank.folder / "copy"
    copy.mkdir(exist_ok=True)
    with closing(driver.connect(str(bank.database))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(bank.database, copy / "bank.db")
    return copy / "bank.db"


def put_back(bank: Bank, copy: Path) -> None:
    for end in ("", "-wal", "-shm"):
        Path(f"{bank.database}{end}").unlink(missing_ok=True)
    shutil.copy(copy, bank.database)


def voided(bank: Bank) -> int:
    return len(bank.audit(event="store.lost-time-voided"))


def test_the_first_start_is_said_once_and_nothing_is_void(bank: Bank) -> None:
    taro = bank.customer(spec=TokenSpec(Kind.HOTP))
    assert said(bank) == ["first start of this store with a mark beside it"]
    assert said(bank) == said(bank) == []
    assert voided(bank) == 0
    assert login(bank, taro, taro.code(0)) == Accept()
    assert mark_path(bank.database).stat().st_mode & 0o777 == 0o600


def test_a_store_that_goes_on_is_not_behind(bank: Bank) -> None:
    taro = bank.customer()
    for _ in range(3):
        assert said(bank) in ([], ["first start of this store with a mark beside it"])
        bank.clock.now += 60
        assert login(bank, taro) == Accept()
    bank.desk.customers.lock("taro", STAFF)  # a command, while nobody serves
    assert said(bank) == [] and voided(bank) == 0


def test_an_old_copy_is_noticed_at_the_start(bank: Bank) -> None:
    taro = bank.customer()
    said(bank)
    copy = copied(bank)
    bank.clock.now += 60
    assert login(bank, taro) == Accept()
    said(bank)
    put_back(bank, copy)
    assert said(bank) == [PUT_BACK]
    assert reason(login(bank, taro)) == Finding.REUSED
    (row,) = bank.audit(event="store.lost-time-voided")
    assert row.actor == "sekisho serve" and "an entry of the audit trail of 2027" in row.reason
    assert said(bank) == [] and voided(bank) == 1, "once"
    bank.clock.now += 90
    assert login(bank, taro) == Accept()


def test_an_old_copy_is_noticed_though_a_command_has_written_to_it(bank: Bank) -> None:
    """Its newest entry is newer than the mark by then; what the mark names is missing all the same."""
    taro = bank.customer()
    said(bank)
    copy = copied(bank)
    bank.clock.now += 60
    assert login(bank, taro) == Accept()
    said(bank)
    put_back(bank, copy)
    bank.clock.now += 1
    bank.desk.customers.lock("taro", STAFF)
    assert said(bank)[0] == PUT_BACK


def test_no_lost_act_is_forgotten_though_new_ones_were_noted_after_it_was_put_back(bank: Bank) -> None:
    for name, number in (("taro", 1), ("jiro", 2)):
        bank.customer(name, f"VSMT0000000{number}")
    said(bank)
    copy = copied(bank)
    bank.clock.now += 60
    bank.desk.enrolment.report_lost("taro", STAFF)
    put_back(bank, copy)
    bank.clock.now += 60
    bank.desk.customers.lock("jiro", STAFF)
    assert said(bank) == [PUT_BACK, "this act was lost: enter it again"]
    with bank.store.read() as connection:
        lost = lost_time(connection)
        assert lost is not None
        assert [one.customer for one in lost_acts(connection, lost, bank.store.acts)] == ["taro"]
    assert said(bank) == []


def test_the_file_alone_without_its_log_is_noticed(bank: Bank) -> None:
    taro = bank.customer()
    with closing(driver.connect(str(bank.database), isolation_level=None)) as other:
        said(bank)
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.execute("PRAGMA wal_autocheckpoint=0")
        assert login(bank, taro) == Accept()
        with served(bank):
            pass
        alone = bank.folder / "alone.db"
        shutil.copy(bank.database, alone)
    put_back(bank, alone)
    assert said(bank) == [PUT_BACK]
    assert reason(login(bank, taro)) == Finding.REUSED


def test_an_act_of_a_command_after_the_end_is_missed_too(bank: Bank) -> None:
    """The server had ended, so its mark does not know the act; the journal does."""
    bank.customer()
    said(bank)
    copy = copied(bank)
    bank.clock.now += 60
    bank.desk.enrolment.report_lost("taro", STAFF)
    put_back(bank, copy)
    with structlog.testing.capture_logs() as lines, served(bank):
        pass
    assert [one["event"] for one in lines if one["log_level"] == "error"] == [
        PUT_BACK,
        "this act was lost: enter it again",
    ]
    (act,) = (one for one in lines if "command" in one)
    assert act["command"] == "sekisho report-lost taro" and act["act"] == "otp.reported-lost"
    with bank.store.read() as connection:
        lost = lost_time(connection)
        assert lost is not None
        assert [one.event for one in lost_acts(connection, lost, bank.store.acts)] == ["otp.reported-lost"]


def test_a_copy_served_elsewhere_is_noticed(bank: Bank, tmp_path: Path) -> None:
    """`cp s.db master.key b/`, and b/ is served: no mark lies there, though the store had one."""
    taro = bank.customer()
    said(bank)
    assert login(bank, taro) == Accept()
    other = tmp_path / "b"
    other.mkdir()
    shutil.copy(copied(bank), other)
    shutil.copy(bank.key_file, other)
    elsewhere = Bank(other)
    assert said(elsewhere) == [PUT_BACK]
    assert elsewhere.audit(event="store.lost-time-voided")[0].reason.startswith("the store was served before")
    assert said(elsewhere) == []
    assert said(bank) == [], "the first one is not concerned"


def test_another_store_in_its_place_is_noticed(bank: Bank, tmp_path: Path) -> None:
    bank.customer()
    said(bank)
    (tmp_path / "other").mkdir()
    other = Bank(tmp_path / "other")
    other.customer("jiro", "VSMT00000002")
    shutil.copy(other.key_file, bank.key_file)
    put_back(bank, copied(other))
    assert said(bank)[0] == PUT_BACK


def test_a_new_store_in_an_old_ones_place_is_a_first_start(bank: Bank) -> None:
    bank.customer()
    said(bank)
    for file in bank.folder.glob("bank.db"):
        file.unlink()
    for end in ("-wal", "-shm"):
        Path(f"{bank.database}{end}").unlink(missing_ok=True)
    initialise(bank.url, bank.key_file, ids=bank.store.ids, say=lambda _: None)
    assert said(bank) == ["first start of this store with a mark beside it"]


@pytest.mark.parametrize("octets", [b"", b"rubbish", b"\0" * 80, b"x" * 80])
def test_a_damaged_mark_is_taken_for_a_missing_one(bank: Bank, octets: bytes) -> None:
    bank.customer()
    said(bank)
    mark_path(bank.database).write_bytes(octets)
    assert said(bank) == [PUT_BACK] and said(bank) == []


def test_a_clock_before_the_mark_starts_nothing_unless_it_is_trusted(bank: Bank) -> None:
    taro = bank.customer()
    said(bank)
    copy = copied(bank)
    bank.clock.now += 3600
    assert login(bank, taro) == Accept()
    said(bank)
    put_back(bank, copy)
    bank.clock.now = NOON + 60
    with pytest.raises(StoreProblem, match=r"clock stands 3540 s before its mark.*serve --trust-clock"):
        said(bank)
    assert voided(bank) == 0
    assert said(bank, trust_clock=True) == [PUT_BACK]


def test_a_store_that_is_put_back_under_the_server_is_treated_within_a_second(bank: Bank) -> None:
    """SQLite's `.restore` writes into the same file, and needs no restart."""
    taro = bank.customer()

    async def scene() -> None:
        with served(bank) as watch, structlog.testing.capture_logs() as lines:
            running = asyncio.get_running_loop().create_task(watch.run())
            copy = copied(bank)
            bank.clock.now += 60
            assert await asyncio.to_thread(login, bank, taro) == Accept()
            newest = bank.audit()[-1].id
            await until(lambda: (read_mark(bank.database) or Mark("", 0)).newest_id == newest)
            with closing(driver.connect(str(copy))) as source, closing(driver.connect(str(bank.database))) as target:
                source.backup(target)
            await until(lambda: any(one["event"] == PUT_BACK for one in lines))
            running.cancel()

    asyncio.run(scene())
    assert reason(login(bank, taro)) == Finding.REUSED
    assert voided(bank) == 1 and said(bank) == []


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(400):
        if is_so():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("not in 20 s")


def test_two_processes_treat_it_once(bank: Bank) -> None:
    bank.customer()
    said(bank)
    copy = copied(bank)
    bank.clock.now += 60
    bank.desk.customers.lock("taro", STAFF)
    said(bank)
    put_back(bank, copy)
    with served(bank), served(bank), served(bank):
        assert voided(bank) == 1
    assert said(bank) == []


def test_the_mark_is_never_early(bank: Bank) -> None:
    """What it names has to be on disk: it is a second behind, and moved on at the end."""
    taro = bank.customer()
    with served(bank) as watch:
        watch._compare(watch._last)
        before = read_mark(bank.database)
        assert login(bank, taro) == Accept()
        watch._compare(watch._last)
        assert read_mark(bank.database) == before
        watch._compare(watch._last)
        mark = read_mark(bank.database)
        assert mark is not None and mark.newest_id == bank.audit()[-1].id


# The mark file


def test_who_serves_keeps_a_restore_away_and_a_restore_who_serves(bank: Bank) -> None:
    restoring = MarkFile(bank.database)
    with served(bank):
        assert not restoring.hold_alone()
    assert restoring.hold_alone()
    with pytest.raises(StoreProblem, match="a restore of this store is under way"):
        said(bank)
    restoring.close()
    assert said(bank) != [PUT_BACK]


def test_a_mark_says_what_was_written_and_a_changed_one_nothing(tmp_path: Path) -> None:
    file = MarkFile(tmp_path / "s.db")
    assert file.fresh and file.read() is None
    mark = Mark("ab" * 16, 2**63 - 1)
    file.write(mark, flush=True)
    assert file.read() == mark == read_mark(tmp_path / "s.db")
    octets = file.path.read_bytes()
    for at in range(len(octets)):
        file.path.write_bytes(octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :])
        assert file.read() in (None, mark)
        if octets[at : at + 1].isalnum():
            assert file.read() is None
    file.close()
    assert users_of(tmp_path / "nothing") == []


def test_a_mark_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.db.mark").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreProblem, match=r"s\.db\.mark cannot be opened"):
        MarkFile(tmp_path / "s.db")
