"""Files to be imported, below the pages: claimed by one task at a time, bounded, and given up when nobody decides."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from otp_core.accounts import Desk, Principal, Refusal, Refused, staff_principal
from otp_core.accounts.file_imports import FILE_HOURS, MOST_KEPT, PIECE, FileChoices, ask_for_import
from otp_core.audit import TAG_BITS
from otp_core.imports.importers import CustomerImporter, ImportRules
from otp_core.imports.task import MOST_ATTEMPTS, MOST_PROBLEMS, ImportTask, Overtaken, Run
from otp_core.model import Role, StoreUnavailable
from otp_core.store import file_imports as statements
from otp_core.store.approvals import KEPT_MS, approval_lines
from otp_core.store.file_imports import FileImport, file_import_of
from otp_core.store.schema import approval, audit, customer, file_import, file_piece
from otp_core.store.unit_of_work import Work
from tests.core.bank import STAFF, Bank


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path)


@pytest.fixture
def supervisor(bank: Bank) -> Principal:
    bank.desk.staff.add("hanako", Role.SUPERVISOR, STAFF)
    record = bank.desk.staff.named("hanako")
    assert record is not None
    return staff_principal(record, "192.0.2.7", "order 12")


def kept(bank: Bank, by: Principal, content: bytes = b"contract_id\nneu-1\nneu-2\n", **choices: bool) -> int:
    file = io.BytesIO(content)
    return bank.desk.file_imports.keep("customers", "new.csv", FileChoices(**choices), file, by)  # type: ignore[arg-type]


def found(bank: Bank, key: int) -> FileImport:
    with bank.store.read() as connection:
        one = file_import_of(connection, key)
    assert one is not None
    return one


def step(bank: Bank) -> bool:
    return ImportTask(bank.store, bank.desk, ImportRules()).step()


def pieces(bank: Bank) -> int:
    with bank.store.read() as connection:
        return connection.execute(select(func.count()).select_from(file_piece)).scalar_one()


def customers(bank: Bank) -> int:
    with bank.store.read() as connection:
        return connection.execute(select(func.count()).select_from(customer)).scalar_one()


def test_a_file_of_several_pieces_is_the_same_again(bank: Bank, supervisor: Principal) -> None:
    content = b"contract_id\n" + b"".join(b"c-%07d\n" % number for number in range(70_000))
    key = kept(bank, supervisor, content)
    assert pieces(bank) == -(-len(content) // PIECE) == 3
    assert bank.desk.file_imports.opened(found(bank, key)).getvalue() == content  # type: ignore[attr-defined]


def test_a_file_is_claimed_by_one_task(bank: Bank, supervisor: Principal) -> None:
    key = kept(bank, supervisor)
    with bank.store.work_aside() as work:
        assert statements.claim(work.connection, key, 1, now=0, until=2**62)
        assert not statements.claim(work.connection, key, 2, now=1, until=2**62)
    assert not step(bank)
    assert found(bank, key).state == "checking"


def test_rows_are_taken_back_when_somebody_else_has_taken_the_file(bank: Bank, supervisor: Principal) -> None:
    """The note of the progress is a part of the transaction that writes the rows."""
    key = kept(bank, supervisor)
    assert step(bank)
    bank.desk.file_imports.begin(key, supervisor)
    late = Run(bank.store, bank.desk, ImportRules(), found(bank, key), 77, threading.Event())
    importer = CustomerImporter(bank.store, bank.desk, ImportRules(), supervisor, skip_existing=False)
    rows = list(importer.read(["contract_id\n", "neu-1\n"], "utf-8"))
    with pytest.raises(Overtaken):
        late.write_chunk(importer, rows)
    assert customers(bank) == 0 and found(bank, key).done == 0
    assert step(bank)
    assert customers(bank) == 2 and found(bank, key).state == "done" and pieces(bank) == 0


def test_the_check_of_what_is_no_list_ends_early_and_the_next_file_has_its_turn(
    bank: Bank, supervisor: Principal
) -> None:
    lines = 3 * MOST_PROBLEMS
    key = kept(bank, supervisor, b"contract_id,name\n" + b"a,b,c\n" * lines)
    after = kept(bank, supervisor)
    assert step(bank)
    facts = found(bank, key).facts
    assert found(bank, key).state == "wrong" and MOST_PROBLEMS <= facts["problem_count"] < lines
    assert step(bank)
    assert found(bank, after).state == "checked"


def test_a_file_that_ends_every_process_is_given_up(bank: Bank, supervisor: Principal) -> None:
    key = kept(bank, supervisor)
    with bank.store.work_aside() as work:
        for _ in range(MOST_ATTEMPTS):
            assert statements.claim(work.connection, key, 1, now=1, until=0)
    assert step(bank)
    assert (found(bank, key).state, found(bank, key).why) == ("stopped", "failed")
    assert pieces(bank) == 0


def test_whoever_lost_their_role_imports_nothing(bank: Bank, supervisor: Principal) -> None:
    key = kept(bank, supervisor)
    assert step(bank)
    bank.desk.file_imports.begin(key, supervisor)
    bank.desk.staff.disable("hanako", STAFF)
    assert step(bank)
    assert (found(bank, key).state, found(bank, key).why) == ("stopped", "not-permitted")
    assert customers(bank) == 0 and pieces(bank) == 0


def test_what_has_changed_since_the_check_is_found_before_anything_is_written(
    bank: Bank, supervisor: Principal
) -> None:
    key = kept(bank, supervisor)
    assert step(bank) and found(bank, key).state == "checked"
    bank.desk.customers.add("neu-2", STAFF)
    bank.desk.file_imports.begin(key, supervisor)
    assert step(bank)
    assert found(bank, key).state == "wrong" and found(bank, key).facts["problems"][0]["line"] == 3
    assert customers(bank) == 1


@pytest.mark.parametrize("done", [0, 1000])
def test_a_process_that_ends_does_not_wait_for_the_check_before_the_writing(
    bank: Bank, supervisor: Principal, done: int
) -> None:
    key = kept(bank, supervisor, b"contract_id\n" + b"".join(b"c-%07d\n" % number for number in range(3000)))
    assert step(bank)
    bank.desk.file_imports.begin(key, supervisor)
    with bank.store.work_aside() as work:
        assert statements.claim(work.connection, key, 7, now=1, until=2)
    ending = threading.Event()
    ending.set()
    with pytest.raises(Overtaken):
        Run(bank.store, bank.desk, ImportRules(), found(bank, key)._replace(done=done), 7, ending).work()
    assert customers(bank) == 0


def test_files_that_nobody_decides_about_are_given_up(bank: Bank, supervisor: Principal) -> None:
    key = kept(bank, supervisor)
    assert step(bank)
    assert not bank.desk.file_imports.sweep() and found(bank, key).state == "checked"
    with bank.store.work_aside() as work:
        old = found(bank, key).changed_at - FILE_HOURS * 3_600_000 - 1000
        work.connection.execute(update(file_import).values(changed_at=old))
    assert bank.desk.file_imports.sweep()
    assert (found(bank, key).state, found(bank, key).why, pieces(bank)) == ("withdrawn", "undecided", 0)


def test_what_nobody_has_decided_about_is_in_the_trail_and_after_a_quarter_there_alone(
    bank: Bank, supervisor: Principal
) -> None:
    old, young = kept(bank, supervisor), kept(bank, supervisor)
    assert step(bank) and step(bank)
    ask_for_import(bank.desk, old, supervisor)
    bank.desk.file_imports.withdraw(young, supervisor)
    with bank.store.work_aside() as work:
        work.connection.execute(update(file_import).where(file_import.c.key == old).values(changed_at=1))
    assert bank.desk.file_imports.sweep() and not bank.desk.approvals.sweep()
    with bank.store.read() as connection:
        rows = connection.execute(
            select(audit.c.actor, audit.c.reason).where(audit.c.event == "import.withdrawn")
        ).all()
    assert ("sekisho", "new.csv: customers, nobody has decided, for hanako") in [tuple(row) for row in rows]
    age = (KEPT_MS + 60_000) * 1000 << TAG_BITS
    with bank.store.work_aside() as work:
        work.connection.execute(update(file_import).where(file_import.c.key == old).values(key=old - age))
        work.connection.execute(update(approval).values(key=approval.c.key - age))
    assert bank.desk.file_imports.sweep() and bank.desk.approvals.sweep()
    assert not bank.desk.file_imports.sweep() and not bank.desk.approvals.sweep()
    with bank.store.read() as connection:
        assert [one.key for one in statements.file_imports(connection)] == [young]
        assert approval_lines(connection) == []


def test_a_file_that_is_worked_on_is_kept_however_old_it_is(bank: Bank, supervisor: Principal) -> None:
    key = kept(bank, supervisor)
    assert step(bank)
    bank.desk.file_imports.begin(key, supervisor)
    old = key - ((KEPT_MS + 60_000) * 1000 << TAG_BITS)
    with bank.store.work_aside() as work:
        work.connection.execute(delete(file_piece))
        work.connection.execute(update(file_import).values(key=old))
    assert not bank.desk.file_imports.sweep() and found(bank, old).state == "writing"


def test_a_file_that_is_decided_at_that_moment_does_not_end_the_sweep(
    bank: Bank, supervisor: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task that sweeps would end with an exception that it does not know."""
    late, early = kept(bank, supervisor), kept(bank, supervisor)
    assert step(bank) and step(bank)
    with bank.store.work_aside() as work:
        work.connection.execute(update(file_import).values(changed_at=1))
    open_ = bank.store.work_aside

    def overtaken() -> AbstractContextManager[Work]:
        monkeypatch.undo()
        bank.desk.file_imports.begin(early, supervisor)
        return open_()

    monkeypatch.setattr(bank.store, "work_aside", overtaken)
    assert bank.desk.file_imports.sweep()
    assert (found(bank, late).state, found(bank, early).state) == ("withdrawn", "writing")


def test_a_request_about_a_file_that_is_given_up_waits_no_longer(bank: Bank, supervisor: Principal) -> None:
    key = kept(bank, supervisor)
    assert step(bank)
    ask_for_import(bank.desk, key, supervisor)
    assert bank.desk.approvals.waiting() == 1
    bank.desk.file_imports.withdraw(key, supervisor)
    assert bank.desk.approvals.waiting() == 0


def test_a_file_that_was_received_half_is_given_up(bank: Bank, supervisor: Principal) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise StoreUnavailable("the process ends")
            return super().read(size)

    with pytest.raises(StoreUnavailable):
        bank.desk.file_imports.keep("customers", "x", FileChoices(), Broken(b"x" * PIECE), supervisor)
    assert pieces(bank) == 1 and not step(bank)
    with bank.store.work_aside() as work:
        work.connection.execute(update(file_import).values(changed_at=1))
    assert bank.desk.file_imports.sweep() and pieces(bank) == 0


def test_no_more_files_are_kept_than_somebody_can_decide_about(bank: Bank, supervisor: Principal) -> None:
    for _ in range(MOST_KEPT):
        kept(bank, supervisor)
    with pytest.raises(Refused) as refused:
        kept(bank, supervisor)
    assert refused.value.refusal is Refusal.TOO_MANY


def test_nobody_else_begins_or_deletes_a_file(bank: Bank, supervisor: Principal) -> None:
    key = kept(bank, supervisor)
    assert step(bank)
    bank.desk.staff.add("jiro", Role.ADMINISTRATOR, STAFF)
    other = Principal("jiro", supervisor.kind, "192.0.2.8", role=Role.ADMINISTRATOR)
    for act in (bank.desk.file_imports.begin, bank.desk.file_imports.withdraw):
        with pytest.raises(Refused) as refused:
            act(key, other)
        assert refused.value.refusal is Refusal.NOT_PERMITTED
    assert found(bank, key).state == "checked"


class _LosesAnAnswer:
    """A desk whose first transaction is done, and whose answer nobody hears."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._lost = desk, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._desk, name)

    @contextmanager
    def together(self, *, aside: bool = False) -> Iterator[tuple[Desk, Work]]:
        with self._desk.together(aside=aside) as joined:
            yield joined
        if not self._lost:
            self._lost = True
            raise StoreUnavailable("whether this was done is not known")


def test_rows_whose_commit_was_done_though_nobody_heard_of_it_are_not_written_again(
    bank: Bank, supervisor: Principal
) -> None:
    key = kept(bank, supervisor)
    assert step(bank)
    bank.desk.file_imports.begin(key, supervisor)
    with bank.store.work_aside() as work:
        assert statements.claim(work.connection, key, 77, now=1, until=2**62)
    desk: Any = _LosesAnAnswer(bank.desk)
    run = Run(bank.store, desk, ImportRules(), found(bank, key), 77, threading.Event())
    run.work()
    assert (found(bank, key).state, found(bank, key).done, found(bank, key).written) == ("done", 2, 2)
    assert customers(bank) == 2
