"""The sealed audit trail: whatever is done to it behind the seals is found and named; what is right raises no alarm."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update

from otp_core.audit import Event, Ids
from otp_core.login.requests import LoginRequest
from otp_core.model import Accept, StoreUnavailable
from otp_core.sealing import KeyProblem
from otp_core.seals.chain import Verification
from otp_core.seals.export import ExportProblem, export_lines, read_export
from otp_core.seals.keys import create_seal_key, public_name, public_pem, read_public_key, read_seal_key
from otp_core.seals.rows import mark_of, stretch_of
from otp_core.seals.seal import read_seal
from otp_core.store.backup import back_up
from otp_core.store.restore import Order, restore
from otp_core.store.schema import audit, seal
from otp_core.store.trail import RawRow, line_of, lines_of
from tests.core.bank import Bank
from tests.core.batches import code_request, login_batch_of, run_batch
from tests.core.sealed_trail import SealedTrail, close_all
from tests.examples import examples

FIRST, FIFTH, LAST = 0, 5, -1
"""Rows of a trail with 4 stretches of 3 rows, and one that says that seals were begun."""


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture
def trail(tmp_path: Path) -> SealedTrail:
    return SealedTrail(tmp_path, stretches=4)


def said(trail: SealedTrail, *, copied: bool = True) -> str:
    report = trail.verify(copied=copied)
    assert not report.holds, report
    return "\n".join(report.findings)


def cases(table: Iterable[str]) -> list[object]:
    """Its names; what only SQLite lets a column hold is tried there alone."""
    loose = {"octets", "number", "no text", "marks"}
    return [pytest.param(name, marks=pytest.mark.sqlite_files) if name in loose else name for name in table]


def holds(trail: SealedTrail) -> list[str]:
    """The notices of a trail that holds."""
    report = trail.verify()
    assert report.holds, report
    return report.notices


# A trail that nobody has changed


def test_every_row_is_under_a_seal(trail: SealedTrail) -> None:
    report = trail.verify()
    assert report.holds and not report.notices
    assert (report.seals, report.rows, report.waiting) == (4, 13, 0)


def test_rows_that_have_no_seal_yet_are_no_finding_and_are_said_when_they_wait_for_long(trail: SealedTrail) -> None:
    trail.add(2)
    assert trail.verify().waiting == 2 and not holds(trail)
    trail.bank.clock.now += 3600
    (notice,) = holds(trail)
    assert notice.startswith("2 rows since ") and "no seal yet" in notice


def test_the_rows_of_before_are_sealed_in_stretches_of_bounded_length(tmp_path: Path) -> None:
    trail = SealedTrail(tmp_path)
    trail.add(25)
    trail.sealer = trail.new_sealer(most_rows=10)
    trail.seal()
    report = trail.verify()
    assert report.holds and (report.seals, report.rows, report.waiting) == (3, 25, 1)


def test_a_row_of_a_moment_to_come_is_sealed_when_it_has_come(trail: SealedTrail) -> None:
    trail.bank.clock.now += 60
    trail.add(1)
    trail.bank.clock.now -= 60
    trail.seal()
    assert trail.verify().waiting == 1
    (notice,) = holds(trail)
    assert "is of a time to come" in notice
    trail.bank.clock.now += 60
    trail.seal()
    assert trail.verify().waiting == 0 and not holds(trail)


def test_a_time_without_seals_is_said_for_ever(trail: SealedTrail) -> None:
    for _ in range(2):
        trail.add(2)
        trail.bank.clock.now += 3600
        trail.add(25)
        trail.sealer = trail.new_sealer(most_rows=10)
        trail.seal()
        trail.stretch()
    first, second = holds(trail)
    assert "were sealed late, the last of them at " in first and "(seal 5)" in first
    assert first != second, "several seals one behind another are one time"


# What is done to it


@pytest.mark.sqlite_files
@pytest.mark.parametrize(
    "made",
    [
        "CREATE TRIGGER hide BEFORE INSERT ON audit WHEN new.customer = 'taro1' BEGIN SELECT raise(IGNORE); END",
        "CREATE VIEW hide AS SELECT * FROM audit",
    ],
)
def test_what_changes_rows_before_they_are_sealed_is_named(trail: SealedTrail, made: str) -> None:
    trail.tamper(made)
    assert f"the store holds the {made.split()[1].lower()} 'hide', which Sekisho does not make" in said(trail)


def test_a_store_without_its_table_of_seals_is_no_complete_store(trail: SealedTrail) -> None:
    trail.tamper("DROP TABLE seal")
    with pytest.raises(StoreUnavailable, match=r"no complete store|is not complete"):
        trail.verify()


ROWS: dict[str, tuple[int, str, str]] = {
    "changed": (
        FIFTH,
        "UPDATE audit SET reason = 'other' WHERE id = {row}",
        "row {row} of .* was changed after seal 2",
    ),
    "customer": (
        FIRST,
        "UPDATE audit SET customer = NULL WHERE id = {row}",
        "row {row} of .* was changed after seal 1",
    ),
    "removed": (FIFTH, "DELETE FROM audit WHERE id = {row}", "row {row} of .* was removed after seal 2"),
    "the first removed": (FIRST, "DELETE FROM audit WHERE id = {row}", "row {row} of .* was removed after seal 1"),
    "the last removed": (LAST, "DELETE FROM audit WHERE id = {row}", "row {row} of .* was removed after seal 4"),
    "moved": (FIFTH, "UPDATE audit SET id = id - 90000000 WHERE id = {row}", "row {row} of .* was moved: it is row"),
    "moved far": (FIFTH, "UPDATE audit SET id = 7 WHERE id = {row}", "row {row} of .* was moved: it is row 7 of"),
    "octets": (
        FIFTH,
        "UPDATE audit SET customer = CAST(customer AS BLOB) WHERE id = {row}",
        "row {row} of .* holds something else than text",
    ),
    "number": (FIFTH, "UPDATE audit SET source = x'00ff' WHERE id = {row}", "row {row} of .* was changed after seal 2"),
}


@pytest.mark.parametrize("case", cases(ROWS))
def test_a_row_that_is_not_as_it_was_sealed_is_named(trail: SealedTrail, case: str) -> None:
    which, statement, expected = ROWS[case]
    row = trail.ids()[which]
    assert trail.tamper(statement.format(row=row)) == 1
    assert re.search(expected.format(row=row), said(trail)), said(trail)


@pytest.mark.parametrize("at", [-(2**63), 5, 2**63 - 1])
def test_a_row_that_was_added_is_named_wherever_it_lies(trail: SealedTrail, at: int) -> None:
    trail.tamper(f"INSERT INTO audit VALUES ({at}, 'login.accepted', 'x', 'jiro', NULL, '', '', NULL)")  # noqa: S608
    trail.stretch()
    report = trail.verify()
    if at > trail.ids()[0]:  # it will never be sealed, and no row behind it would be
        assert report.holds and report.waiting == 1
    else:
        assert f"row {at} of " in "".join(report.findings) and "jiro" in "".join(report.findings)


def test_rows_that_exchange_places_are_both_named(trail: SealedTrail) -> None:
    one, other = trail.ids()[1], trail.ids()[9]
    trail.tamper(
        f"UPDATE audit SET id = 1 WHERE id = {one}",  # noqa: S608
        f"UPDATE audit SET id = {one} WHERE id = {other}",  # noqa: S608
        f"UPDATE audit SET id = {other} WHERE id = 1",  # noqa: S608
    )
    assert re.fullmatch(f"rows {one} of .* and {other} of .* have exchanged places", said(trail))


def test_a_row_that_was_changed_with_its_mark_is_found_by_the_digest(trail: SealedTrail) -> None:
    row = trail.ids()[FIFTH]
    pieces = list(trail.bank.store.trail().pieces(2))
    (before,) = [line_of(one) for piece in pieces for one in piece.rows if one[0] == row]
    marks = next(piece.seal.marks for piece in pieces if piece.seal and piece.seal.number == 2)
    forged = marks.replace(mark_of(before), mark_of(before[:-5] + b"other"))
    assert forged != marks and before.endswith(b"\x1f")
    trail.tamper(f"UPDATE audit SET reason = 'other' WHERE id = {row}")  # noqa: S608
    with trail.bank.store.database.write() as connection:
        connection.execute(update(seal).where(seal.c.number == 2).values(marks=forged))
    assert "the rows under seal 2" in said(trail) and "the marks that would tell which were changed too" in said(trail)


SEALS: dict[str, tuple[list[str], str]] = {
    "one removed": (["DELETE FROM seal WHERE number = 2"], "seal 2 is missing before seal 3: they were removed"),
    "the beginning cut": (
        [
            "DELETE FROM audit WHERE id <= (SELECT until_id FROM seal WHERE number = 2)",
            "DELETE FROM seal WHERE number < 3",
        ],
        "seal 1 to 2 are missing before seal 3: the beginning of the trail was cut off",
    ),
    "the tail cut": (
        [
            "DELETE FROM audit WHERE id > (SELECT until_id FROM seal WHERE number = 2)",
            "DELETE FROM seal WHERE number > 2",
        ],
        "the newest seal that was copied outside is number 4, with 13 rows .* the trail ends with seal 2: its end",
    ),
    "two exchanged": (
        [
            "UPDATE seal SET number = 9 WHERE number = 2",
            "UPDATE seal SET number = 2 WHERE number = 3",
            "UPDATE seal SET number = 3 WHERE number = 9",
        ],
        "the seal in the place of number 2 is number 3: it was moved or exchanged",
    ),
    "text changed": (
        ["UPDATE seal SET body = replace(body, '\"rows\":3', '\"rows\":2') WHERE number = 3"],
        "wrong signature",
    ),
    "text spoilt": (["UPDATE seal SET body = '{' WHERE number = 2"], "seal 2 is no JSON object: it was changed"),
    "no text": (
        ["UPDATE seal SET body = x'ff00', signature = 7, marks = 'x' WHERE number = 2"],
        "seal 2 .* was changed",
    ),
    "where it ends": (["UPDATE seal SET until_id = until_id - 1 WHERE number = 4"], "moved or exchanged"),
    "marks": (
        ["UPDATE seal SET marks = x'00' WHERE number = 2"],
        "the marks of seal 2 were changed; its rows are those",
    ),
    "all seals gone": (["DELETE FROM seal"], "the newest seal that was copied outside is number 4"),
}


@pytest.mark.parametrize("case", cases(SEALS))
def test_whatever_is_done_to_the_seals_is_found(trail: SealedTrail, case: str) -> None:
    statements, expected = SEALS[case]
    trail.tamper(*statements)
    assert re.search(expected, said(trail)), said(trail)


@pytest.mark.sqlite_files
def test_a_stretch_that_was_exchanged_for_another_trails_is_found(trail: SealedTrail, tmp_path: Path) -> None:
    """Its seal has a good signature of the same key."""
    other = SealedTrail.__new__(SealedTrail)
    (tmp_path / "other").mkdir()
    other.__init__(tmp_path / "other")  # type: ignore[misc]
    (tmp_path / "other" / "audit.key").write_bytes(trail.key_file.read_bytes())
    for _ in range(4):
        other.stretch(rows=2)
    trail.tamper(
        f"ATTACH '{other.bank.database}' AS o",
        "DELETE FROM audit WHERE id > (SELECT until_id FROM seal WHERE number = 2) AND "
        "id <= (SELECT until_id FROM seal WHERE number = 3)",
        "DELETE FROM seal WHERE number = 3",
        "INSERT INTO seal SELECT * FROM o.seal WHERE number = 3",
        "INSERT INTO audit SELECT a.* FROM o.audit AS a WHERE id > (SELECT until_id FROM o.seal WHERE number = 2) AND "
        "id <= (SELECT until_id FROM o.seal WHERE number = 3)",
    )
    found = said(trail, copied=False)
    assert "seal 3 was not made behind the one before it" in found
    assert "seal 4 was not made behind the one before it" in found
    assert "seal 3 is not the one that was copied outside" in said(trail)


# What the sealer does then: it goes on, and says so for ever


def test_a_tail_that_was_cut_while_nobody_served_is_said_by_the_next_seal(trail: SealedTrail) -> None:
    trail.tamper(*SEALS["the tail cut"][0])
    trail.sealer = trail.new_sealer()
    trail.stretch()
    trail.stretch()
    assert "seals 3 to 4 are gone since seal 5, and nothing in the trail says why" in said(trail, copied=False)


def test_a_seal_table_that_is_emptied_is_said_by_the_next_seal_even_without_a_copy(tmp_path: Path) -> None:
    trail = SealedTrail(tmp_path, stretches=3, copied=False)
    trail.tamper("DELETE FROM seal")
    trail.stretch()
    assert "seals 1 to 3 are gone since seal 4, and nothing in the trail says why" in said(trail)


def test_a_seal_table_that_is_emptied_while_nobody_served_is_told_by_the_trail_itself(tmp_path: Path) -> None:
    """Without a copy, from the row that says that seals were begun."""
    trail = SealedTrail(tmp_path, stretches=3, copied=False)
    trail.tamper("DELETE FROM seal")
    trail.sealer = trail.new_sealer()
    trail.stretch()
    assert "says that seals were begun then, and they were begun anew later" in said(trail)


def test_a_newest_seal_that_was_spoilt_stops_nothing_and_is_found(trail: SealedTrail) -> None:
    trail.tamper("UPDATE seal SET body = 'x' WHERE number = 4")
    trail.stretch()
    assert trail.sealer.failed == 0
    assert "seal 4 is no JSON object" in said(trail)


# Late ids, and a clock that was set back


def test_a_row_that_comes_late_gets_a_new_id_above_the_seal(trail: SealedTrail) -> None:
    sealed = trail.ids()[-1]
    slow = trail.bank.open_store()
    slow.ids.follow(lambda: trail.bank.clock.now - 30)
    with slow.work() as work:
        work.audit(Event.LOGIN_ACCEPTED, actor="late")
    assert trail.ids()[-1] > sealed
    trail.seal()
    assert not holds(trail)


@pytest.mark.parametrize("moment", ["before it reads", "before it writes"])
def test_a_login_batch_whose_ids_are_below_a_seal_is_decided_anew(tmp_path: Path, moment: str) -> None:
    trail = SealedTrail(tmp_path)
    taro, bank = trail.bank.customer(), trail.bank
    bank.store.ids.follow(lambda: bank.clock.now - 120)  # this process's ids are two minutes late

    def seal() -> None:
        with bank.open_store().work() as work:
            work.audit(Event.LOGIN_ACCEPTED, actor="another worker")
        trail.seal()

    if moment == "before it reads":
        seal()
    requests: list[LoginRequest] = [code_request(taro, taro.code())]
    with login_batch_of(bank) as batch:
        verdicts = run_batch(bank, batch, requests, [], (lambda: None) if moment == "before it reads" else seal)
    assert verdicts == [Accept()]
    newest = trail.ids()[-1]
    assert [row.actor for row in bank.audit()][-1] == "client" or bank.audit()[-1].event == Event.LOGIN_ACCEPTED
    assert newest > trail.sealer_newest()
    trail.seal()
    assert trail.verify().holds


def test_a_clock_that_was_set_back_brings_no_row_below_a_seal(trail: SealedTrail) -> None:
    sealed = trail.ids()[-1]
    trail.bank.clock.now -= 7200
    again = trail.bank.open_store()
    with again.work() as work:
        work.audit(Event.LOGIN_ACCEPTED, actor="in the past")
    assert trail.ids()[-1] > sealed
    trail.sealer = trail.new_sealer()
    trail.seal()
    assert trail.verify().waiting == 1 and trail.verify().holds  # until the clock is there again
    trail.bank.clock.now += 7200
    trail.seal()
    assert trail.verify().waiting == 0 and not holds(trail)


# Keys


def test_a_trail_that_another_key_has_sealed_is_refused(trail: SealedTrail, tmp_path: Path) -> None:
    create_seal_key(tmp_path / "other.key")
    report = trail.verify([public_name(read_seal_key(tmp_path / "other.key"))])
    assert report.findings == ["no seal was made with the key that is trusted: is it the public key of this trail?"]


def test_a_key_that_the_old_one_names_takes_over_and_either_public_key_verifies_all(
    trail: SealedTrail, tmp_path: Path
) -> None:
    old = public_name(read_seal_key(trail.key_file))
    create_seal_key(tmp_path / "new.key")
    new = public_name(read_seal_key(tmp_path / "new.key"))
    shutil.copy(trail.key_file, tmp_path / "copy.key")
    command, trail.sealer = trail.new_sealer(), trail.new_sealer(key_file=tmp_path / "copy.key")
    trail.stretch()
    command.hand_over(new)
    (tmp_path / "new.key").replace(trail.key_file)
    command.hand_over(None)
    assert trail.verify([old]).holds and trail.verify([new]).holds
    trail.stretch()  # by the process that has the old one still: it seals nothing
    assert trail.sealer.failed == 1 and trail.verify([old]).waiting == 3
    trail.sealer = trail.new_sealer()
    trail.stretch()
    assert trail.verify([old]).holds and trail.verify([new]).holds
    assert (trail.verify([old]).seals, trail.verify([old]).waiting) == (8, 0)


def test_a_key_that_nobody_named_is_found_unless_both_are_trusted(trail: SealedTrail) -> None:
    old = public_name(read_seal_key(trail.key_file))
    trail.key_file.unlink()
    create_seal_key(trail.key_file)
    trail.stretch()
    new = public_name(read_seal_key(trail.key_file))
    for keys in ([old], [new]):
        assert "seal 5 was made with another key, which the one before has not named" in trail.verify(keys).findings[0]
    assert trail.verify([old, new]).holds


def spoil_nothing(path: Path) -> None:
    path.unlink()


def spoil_mode(path: Path) -> None:
    path.chmod(0o640)


def spoil_text(path: Path) -> None:
    path.write_text("no key\n")


def spoil_kind(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path.write_bytes(X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def spoil_with_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (spoil_nothing, "there is no key .* restore it from your backup, or run `sekisho init`"),
    "read by others": (spoil_mode, "can be read by others: run `chmod 600 "),
    "text": (spoil_text, "is no Ed25519 key"),
    "of another kind": (spoil_kind, "is no Ed25519 key"),
    "a pipe": (spoil_with_pipe, "it is no regular file"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_key_that_cannot_be_used_is_said_and_sealing_goes_on_when_it_can(trail: SealedTrail, case: str) -> None:
    spoil, expected = SPOILT[case]
    kept = trail.key_file.read_bytes()
    spoil(trail.key_file)
    with pytest.raises(KeyProblem, match=expected):
        read_seal_key(trail.key_file)
    trail.add(3)
    trail.seal()
    assert trail.sealer.failed == 1
    trail.key_file.unlink(missing_ok=True)
    trail.key_file.write_bytes(kept)
    trail.key_file.chmod(0o600)
    trail.seal()
    assert trail.verify().waiting == 0 and not holds(trail)


def test_a_public_key_is_read_as_it_was_printed(trail: SealedTrail, tmp_path: Path) -> None:
    key = read_seal_key(trail.key_file)
    (tmp_path / "audit.pub").write_text(public_pem(key))
    assert read_public_key(tmp_path / "audit.pub") == public_name(key)
    with pytest.raises(KeyProblem, match="is no Ed25519 public key"):
        read_public_key(trail.key_file)


# The copy outside


def test_a_copy_that_tells_nothing_about_the_end_is_said(trail: SealedTrail) -> None:
    whole = trail.copy.path.read_text().splitlines(keepends=True)
    for lines, expected in (
        ([], "the copy outside holds no seal"),
        (["{}\n", "no seal\n"], "the copy outside holds no seal"),
        (whole[:2], "the copy outside ends with seal 2 of "),
    ):
        trail.copy.path.write_text("".join(lines))
        (notice,) = holds(trail)
        assert notice.startswith(expected)
    trail.copy.path.unlink()
    assert len(holds(trail)) == 1
    assert not trail.verify(copied=False).notices, "where no copy is asked for, nothing is missed"


def test_a_line_that_was_forged_into_the_copy_accuses_the_copy_and_not_the_trail(trail: SealedTrail) -> None:
    line = trail.copy.path.read_text().splitlines(keepends=True)[-1]
    forged = line.replace('"number":4', '"number":9').replace('\\"number\\":4', '\\"number\\":9')
    changed = line.replace('\\"rows\\":', '\\"rows\\":1')
    for number, added in ((9, forged), (4, changed)):
        trail.copy.path.write_text(line + added)
        assert said(trail) == f"seal {number} of the copy has a wrong signature: the copy was changed"


def test_a_copy_is_not_written_into_a_file_that_holds_something_else(trail: SealedTrail) -> None:
    """Such as the master key, which it would be the end of."""
    for held in (bytes(range(100, 132)), b"-----BEGIN PRIVATE KEY-----\n", b"[store]\n", b"{}\n", b"\n"):
        trail.copy.path.write_bytes(held)
        with pytest.raises(OSError, match="something else than seals"):
            trail.copy.check()
        trail.stretch()
        assert trail.copy.path.read_bytes() == held
    for begun in (b"", b"{", b'{"number":'):
        trail.copy.path.write_bytes(begun)
        trail.copy.check()


def test_a_copy_that_cannot_be_written_is_made_up_for(trail: SealedTrail) -> None:
    path = trail.copy.path
    path.unlink()
    path.mkdir()
    trail.stretch()
    assert trail.sealer.failed == 1
    path.rmdir()
    trail.seal()
    newest = trail.copy.newest()
    assert newest is not None and newest.number == 5
    assert not holds(trail)


def test_a_copy_is_bounded_and_lines_that_are_none_are_left_out(
    trail: SealedTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otp_core.seals.copies.MOST_OCTETS", 2000)
    with trail.copy.path.open("ab") as file:
        file.write(b'{"number": 99, "body": "{}", "signature": ""}\n[[[[\n\xff\n{"number": 5')
    for _ in range(6):
        trail.stretch()
    assert sum(one.stat().st_size for one in trail.copy.path.parent.iterdir()) < 6000
    assert not holds(trail)


# Backup and restore


def restored(trail: SealedTrail) -> None:
    """The trail's store, put back by ``sekisho restore`` to where it was four seals ago."""
    bank = trail.bank
    backup = bank.folder / "backup.db"
    back_up(bank.database, backup, bank.store.sealer, keep=(), replace=False, advance=lambda _: None)
    for _ in range(4):
        trail.stretch()
    trail.sealer.close()
    bank.store.engine.dispose()
    order = Order(backup, bank.database, bank.key_file, trail.now_ms(), 1, "root", "cli", replace=True)
    restore(order, ids=Ids(bank.clock, 5), advance=lambda *_: None)
    bank.store = bank.open_store()


@pytest.mark.sqlite_files
def test_a_restored_store_goes_on_with_the_chain_and_verification_says_what_happened(trail: SealedTrail) -> None:
    restored(trail)
    (before,) = [one for one in trail.verify().notices if "copied outside is number 8" in one]
    assert "store.restored" in before or "store.lost-time-voided" in before
    trail.sealer = trail.new_sealer()
    trail.stretch()
    trail.stretch()
    (notice,) = holds(trail)
    assert notice.startswith("seals 5 to 8 are gone since seal 9, because the store is an older one since then (store.")
    assert notice.endswith("if nobody restored it, the trail was cut there")


# Export


def exported(trail: SealedTrail) -> list[str]:
    store = trail.bank.store.trail()
    return list(export_lines(store.pieces(store.newest()), trail.now_ms()))


def verify_lines(trail: SealedTrail, lines: list[str], *, copied: bool = False) -> list[str]:
    key = public_name(read_seal_key(trail.key_file))
    exported_at, _, pieces = read_export(BytesIO("".join(lines).encode()))
    copies = trail.copy.seals() if copied else None
    verification = Verification([key], copies, now_ms=trail.now_ms(), exported_at=exported_at)
    return verification.run(pieces).findings


def test_an_export_whose_end_was_cut_off_is_told_from_one_that_is_older_than_the_copy(trail: SealedTrail) -> None:
    older = exported(trail)
    for _ in range(2):
        trail.stretch()
    newer = exported(trail)
    assert verify_lines(trail, older, copied=True) == verify_lines(trail, newer, copied=True) == []
    cut = [newer[0], *older[1:]]
    assert "its end was cut off" in verify_lines(trail, cut, copied=True)[0]


def test_an_export_is_verified_with_the_public_key_alone(trail: SealedTrail) -> None:
    with trail.bank.store.work() as work:
        reason = 'quoted "\x1f" \\0 \\ \0 改行\n'
        work.audit(Event.LOGIN_REJECTED, actor="gateway", customer="山田", source="10.0.0.1", reason=reason)
    trail.seal()
    trail.add(2)
    lines = exported(trail)
    assert verify_lines(trail, lines) == []
    assert all(isinstance(json.loads(line), dict) for line in lines)


def test_an_export_that_was_changed_is_refused(trail: SealedTrail) -> None:
    lines = exported(trail)
    at = next(at for at, line in enumerate(lines) if '"taro1"' in line)
    row = json.loads(lines[at])["id"]
    changed = [line.replace("taro1", "taro2") if number == at else line for number, line in enumerate(lines)]
    assert f"row {row} of " in verify_lines(trail, changed)[0]
    seal = next(at for at, line in enumerate(lines) if line.startswith('{"seal"'))
    row_twice = lines[at].replace('"event":', '"event":"login.accepted","event":')
    seal_twice = lines[seal].replace('"number":', '"number":9,"number":', 1)
    for wrong, expected in (
        ([*lines[:at], row_twice, *lines[at + 1 :]], f"line {at + 1}: has the key 'event' twice"),
        ([*lines[:seal], seal_twice, *lines[seal + 1 :]], "has the key 'number' twice"),
        ([*lines[:seal], lines[seal].replace("{", '{"note":"x",', 1), *lines[seal + 1 :]], "is no seal as"),
        ([*lines[:seal], lines[seal].replace('"until"', '"note":"x","until"', 1), *lines[seal + 1 :]], "is no seal as"),
        ([*lines[:-1], lines[-1].replace("{", '{"note":"x",', 1)], "it differs"),
        (lines[:-1], "it was cut off"),
        (lines[:at] + lines[at + 1 :], "come before it"),
        (
            [*lines[:at], lines[at].replace('"time":"20', '"time":"19'), *lines[at + 1 :]],
            "another time than its id says",
        ),
        ([*lines[:at], "[" * 100_000 + "\n", *lines[at + 1 :]], f"line {at + 1}: is no JSON object"),
        (["{}\n", *lines], "line 1: this is no file"),
        ([*lines, "{}\n"], "something behind the end"),
        ([*lines[:1], '{"seal": {"number": 1}}\n', *lines[1:]], "line 2: is no seal"),
    ):
        with pytest.raises(ExportProblem, match=expected):
            verify_lines(trail, wrong)


# Nodes


@pytest.mark.parametrize("node", ["'web2'", "NULL"])
def test_which_node_wrote_a_row_is_sealed(trail: SealedTrail, node: str) -> None:
    trail.bank.store.node.value = "web1"
    trail.stretch()
    assert [row.node for row in trail.bank.audit()[-3:]] == ["web1"] * 3
    assert holds(trail) == []
    row = trail.ids()[-2]
    trail.tamper(f"UPDATE audit SET node = {node} WHERE id = {row}")  # noqa: S608
    assert re.fullmatch(rf"row {row} of .* was changed after seal 5 was made", said(trail))


def test_rows_of_nodes_that_an_earlier_version_has_sealed_hold_and_it_is_said(trail: SealedTrail) -> None:
    trail.tamper("UPDATE audit SET node = 'web1' WHERE id > (SELECT until_id FROM seal WHERE number = 3)")
    (notice,) = holds(trail)
    assert notice.startswith("3 rows were sealed by a version that did not know of nodes")
    row = trail.ids()[-1]
    trail.tamper(f"UPDATE audit SET reason = 'other' WHERE id = {row}")  # noqa: S608
    assert re.fullmatch(rf"row {row} of .* was changed after seal 4 was made", said(trail))


# Octets

VALUES = st.one_of(st.none(), st.binary(max_size=4), st.text("a\\\0\x1fs0", max_size=4).map(str.encode))


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(VALUES, min_size=7, max_size=7), st.lists(VALUES, min_size=7, max_size=7))
def test_two_rows_have_one_line_only_if_they_are_the_same(one: list[bytes | None], other: list[bytes | None]) -> None:
    rows: list[RawRow] = [(1, *one), (1, *other)]
    assert (line_of(rows[0]) == line_of(rows[1])) == (one == other)


TEXTS = st.text("a\\\0\x1f\x1es,0山", max_size=4)


@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.tuples(TEXTS, *[st.none() | TEXTS] * 3), min_size=1, max_size=5))
def test_what_is_sealed_is_what_is_verified_whatever_the_rows_hold(
    bank_for_lines: Bank, rows: list[tuple[str, str | None, str | None, str | None]]
) -> None:
    """The sealer has the database join the lines; who verifies reads the rows."""
    names = ("id", "event", "actor", "customer", "token", "source", "reason", "node")
    values = [(at, "e", reason, *two, "", reason, node) for at, (reason, *two, node) in enumerate(rows, 1)]
    with bank_for_lines.store.database.write() as connection:
        connection.execute(delete(audit))
        connection.execute(insert(audit), [dict(zip(names, one, strict=True)) for one in values])
    with closing(bank_for_lines.store.seals()) as seals:
        sealable = seals.sealable(0, 1_800_000_000_000, 10)
    (piece,) = bank_for_lines.store.trail().pieces(0)
    assert stretch_of(sealable) == stretch_of(lines_of(piece.rows))
    assert sealable.ids.tolist() == list(range(1, len(rows) + 1))


@pytest.fixture(scope="module")
def bank_for_lines(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return Bank(tmp_path_factory.mktemp("lines"))


@settings(max_examples=examples(100), deadline=None)
@given(st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_a_text_that_is_no_seal_is_refused_and_nothing_else(text: str) -> None:
    with pytest.raises(ValueError):
        read_seal(text)


def test_a_new_store_has_nothing_to_seal(tmp_path: Path) -> None:
    trail = SealedTrail(tmp_path)
    assert isinstance(trail.bank, Bank) and not trail.sealer.seal()
    assert trail.verify().seals == 0
