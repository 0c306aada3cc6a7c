"""How wrong codes missed, by audit row: written aside, once, kept for a week."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from otp_core.audit import id_at
from otp_core.model import StoreUnavailable
from otp_core.store.login_remarks import KEPT_MS, note_remarks, remarks_of
from sekisho.remark_writer import RemarkWriter
from tests.core.bank import Bank
from tests.core.written_twice import write_twice

NOW = 1_800_000_000_000


def test_they_are_kept_once_and_for_a_week(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    first, second = id_at(NOW), id_at(NOW + KEPT_MS + 1)
    for at, remarks in ((NOW, [(first, "late")]), (NOW, [(first, "late again"), (first + 1, "early")])):
        with bank.store.work_aside() as work:
            note_remarks(work.connection, at, remarks)
    with bank.store.read() as connection:
        assert remarks_of(connection, [first, first + 1, second]) == {first: "late", first + 1: "early"}
        assert remarks_of(connection, []) == {}
    with bank.store.work_aside() as work:
        note_remarks(work.connection, NOW + KEPT_MS + 60_000, [(second, "late")])
    with bank.store.read() as connection:
        assert remarks_of(connection, [first, second]) == {second: "late"}


def test_what_cannot_be_written_now_is_written_the_next_time(tmp_path: Path) -> None:
    bank, remarks, now = Bank(tmp_path), deque([(id_at(NOW), "late")]), [NOW]

    def told() -> int:
        if not now:
            raise StoreUnavailable("busy")
        return now[0]

    writer = RemarkWriter(bank.store, remarks, told)
    now.clear()
    writer.write()
    assert len(remarks) == 1
    now.append(NOW)
    writer.write()
    writer.write()
    assert not remarks
    with bank.store.read() as connection:
        assert remarks_of(connection, [id_at(NOW)]) == {id_at(NOW): "late"}


def test_the_last_write_may_come_while_another_waits_for_the_store(tmp_path: Path) -> None:
    bank, remarks = Bank(tmp_path), deque([(id_at(NOW), "late")])
    write_twice(bank.store, lambda store: RemarkWriter(store, remarks, lambda: NOW).write)
    assert not remarks
