"""A part of the trail that was exported and dropped: it verifies before, meanwhile and afterwards, and whatever was
taken away without authority is found. On both engines."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import insert, update

from otp_core.model import StoreUnavailable
from otp_core.seals.chain import Report, Verification
from otp_core.seals.drop import DropRefused, compare, sealed_pieces, unfinished
from otp_core.seals.export import ExportProblem, export_lines, read_export
from otp_core.seals.export_file import digest_of, opened, write_compressed
from otp_core.seals.keys import create_seal_key, public_name, read_seal_key
from otp_core.seals.rows import stretch_of
from otp_core.seals.seal import Dropped, Seal, hash_of, read_seal
from otp_core.store import audit_drops
from otp_core.store.audit_drops import DropRecord, Edge, edge_before, first_edge, newest_drop, note_drop, take_away
from otp_core.store.audit_lookup import Stretch as LookupStretch
from otp_core.store.audit_lookup import look, take_in
from otp_core.store.login_remarks import note_remarks, remarks_of
from otp_core.store.mark import Mark
from otp_core.store.put_back import put_back
from otp_core.store.queries import AuditFilter
from otp_core.store.schema import seal
from otp_core.store.trail import SealRow, lines_of
from tests.core.sealed_trail import SealedTrail, close_all

LAST = 3
"""The seal up to which most tests drop, of seven with three rows each and one that says that seals were begun."""


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture
def trail(tmp_path: Path) -> SealedTrail:
    return SealedTrail(tmp_path, stretches=7)


class File(NamedTuple):
    path: Path
    digest: str


def keys(trail: SealedTrail) -> list[str]:
    return [public_name(read_seal_key(trail.key_file))]


def edge(trail: SealedTrail, number: int) -> Edge:
    with trail.bank.store.read() as connection:
        row = connection.exec_driver_sql(f"SELECT number, until_id, body FROM seal WHERE number = {number}").one()  # noqa: S608
    return Edge(*row)


def export(trail: SealedTrail, last: int, name: str = "old.jsonl.gz", behind: SealRow | None = None) -> File:
    path = trail.bank.folder / name
    lines = export_lines(sealed_pieces(trail.bank.store.trail(), last), trail.now_ms(), behind)
    return File(path, write_compressed(path, lines, replace=True))


def verify_file(trail: SealedTrail, *files: File) -> Report:
    with files[0].path.open("rb") as raw, opened(raw) as lines:
        found = read_export(lines)
        verification = Verification(keys(trail), now_ms=trail.now_ms(), exported_at=found.exported_at)
        if found.behind is not None:
            verification.take_behind(found.behind)
        return verification.run(found.pieces)


def compared(trail: SealedTrail, file: File, last: int) -> Dropped:
    with file.path.open("rb") as raw, opened(raw) as lines:
        found = compare(
            read_export(lines), trail.bank.store.trail(), edge(trail, last), keys(trail), now_ms=trail.now_ms()
        )
    return found.dropped(file.digest, "hanako")


def sealed(trail: SealedTrail, dropped: Dropped) -> DropRecord:
    """The seal of a drop, and the store's note of it."""
    seal = trail.new_sealer().record_drop(dropped)
    record = DropRecord(
        seal.number, dropped.number, dropped.until, dropped.rows, dropped.export, dropped.by, trail.now_ms()
    )
    with trail.bank.store.work() as work:
        note_drop(work.connection, record)
    return record


def drop(trail: SealedTrail, last: int = LAST, file: File | None = None) -> Dropped:
    dropped = compared(trail, file or export(trail, last), last)
    sealed(trail, dropped)
    take_away(trail.bank.store, dropped.until, dropped.number)
    return dropped


def change(trail: SealedTrail, *statements: str) -> None:
    """As who has the store can."""
    with trail.bank.store.read() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def found(trail: SealedTrail, *, copied: bool = True) -> str:
    report = trail.verify(copied=copied)
    assert not report.holds, report
    return "\n".join(report.findings)


# A drop that is allowed


def test_what_was_exported_is_dropped_and_the_trail_verifies_and_says_so(trail: SealedTrail) -> None:
    before = trail.ids()
    dropped = drop(trail)
    assert (dropped.first, dropped.number, dropped.rows) == (1, 3, 10)
    assert trail.ids() == before[10:]
    report = trail.verify()
    assert report.holds and report.seals == 5  # the last one is the drop's
    (notice,) = report.notices
    assert "(seals up to 3) were exported and dropped by hanako (seal 8)" in notice and dropped.export in notice
    trail.stretch()
    assert trail.verify().holds


def test_what_was_dropped_goes_on_being_verified_in_its_file(trail: SealedTrail) -> None:
    first = export(trail, LAST)
    drop(trail, file=first)
    behind = trail.new_sealer()._store.newest_drop()
    second = export(trail, 5, "more.jsonl.gz", behind)
    assert verify_file(trail, first).holds and verify_file(trail, first).seals == 3
    report = verify_file(trail, second)
    assert report.holds and report.seals == 2 and "were exported and dropped" in report.notices[0]
    report = verify_file(trail, export(trail, 5, "forged.jsonl.gz", None))
    assert "seal 1 to 3 are missing before seal 4: the beginning of the trail was cut off" in report.findings[0]


def test_a_second_drop_goes_on_behind_the_first_and_may_take_its_seal_away(trail: SealedTrail) -> None:
    drop(trail)
    for _ in range(3):
        trail.stretch()
    dropped = drop(trail, 9)
    assert (dropped.first, dropped.number) == (4, 9), "seal 8 was the first drop's"
    report = trail.verify()
    assert report.holds and "(seals up to 9)" in report.notices[0]


def test_a_server_that_has_made_the_last_seal_of_what_is_dropped_misses_nothing(trail: SealedTrail) -> None:
    """It compares with the seal that it made last, which is gone."""
    drop(trail, 7)
    trail.stretch()
    report = trail.verify()
    assert report.holds and trail.sealer.failed == 0 and report.seals == 2
    trail.sealer = trail.new_sealer()
    trail.stretch()
    assert trail.verify().holds


def test_what_hangs_on_the_rows_goes_with_them(trail: SealedTrail) -> None:
    ids, store = trail.ids(), trail.bank.store
    with store.derive() as connection:
        assert take_in(connection, LookupStretch(ids[0], ids[4])) and take_in(
            connection, LookupStretch(ids[5], ids[12])
        )
        note_remarks(connection, trail.now_ms(), [(ids[1], "late"), (ids[15], "late")])
    drop(trail)
    with store.read() as connection:
        tables = {
            table: connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()  # noqa: S608
            for table in ("audit_stretch", "audit_subject", "login_remark")
        }
        remarks = remarks_of(connection, ids)
        rows = look(connection, AuditFilter(customer="taro1"), limit=10, newest_first=True).rows
    assert tables == {"audit_stretch": 1, "audit_subject": 3, "login_remark": 1} and set(remarks) == {ids[15]}
    assert [row.id for row in rows] == [id_ for id_ in ids[10:] if id_ in {row.id for row in rows}][::-1] and len(
        rows
    ) == 4


def test_a_row_that_was_dropped_does_not_make_the_store_an_older_one(trail: SealedTrail) -> None:
    """What lies beside it names rows that were on disk; with nobody who logs in, those may be old."""
    ids = trail.ids()
    with trail.bank.store.work() as work:
        work.put_meta("identity", b"ours")
    drop(trail)
    with trail.bank.store.read() as connection:
        assert put_back(connection, Mark("ours", ids[9]), None, ids[3]) is None
        assert put_back(connection, Mark("ours", ids[10] + 1), None) is not None


# Interrupted


class Killed(Exception):
    pass


def interrupted(trail: SealedTrail, monkeypatch: pytest.MonkeyPatch, after: int, last: int = LAST) -> DropRecord:
    """A drop that ended after so many statements, each of which takes one row away."""
    record = sealed(trail, compared(trail, export(trail, last), last))
    plain, done = audit_drops._at_leisure, 0

    def one(writes: object, statement: str, values: dict[str, object]) -> int:
        nonlocal done
        if done == after:
            raise Killed
        done += 1
        return plain(writes, statement, {**values, "most": 1})  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(audit_drops, "_at_leisure", one)
        if after < 14:
            with pytest.raises(Killed):
                take_away(trail.bank.store, record.until_id, record.last_seal)
    return record


@pytest.mark.parametrize("after", [0, 1, 4, 10, 12, 14])
def test_a_drop_that_was_killed_verifies_and_is_finished_by_its_seal(
    trail: SealedTrail, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    ids = trail.ids()
    record = interrupted(trail, monkeypatch, after)
    report = trail.verify()
    assert report.holds, report
    assert any("has not ended: run it once more" in one for one in report.notices) == (0 < after < 14)
    dropped = unfinished(trail.new_sealer()._store, record, keys(trail))
    take_away(trail.bank.store, dropped.until, dropped.number)
    assert trail.ids() == ids[10:] and trail.verify().holds


def test_while_a_drop_is_under_way_other_rows_that_are_missing_are_found(
    trail: SealedTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = trail.ids()
    interrupted(trail, monkeypatch, 4)
    change(trail, f"UPDATE audit SET reason = 'other' WHERE id = {ids[8]}")  # noqa: S608
    change(trail, f"DELETE FROM audit WHERE id = {ids[11]}")  # noqa: S608
    text = found(trail)
    assert f"row {ids[8]} of " in text and "was changed after seal 3" in text
    assert f"row {ids[11]} of " in text and "was removed after seal 4" in text
    assert str(ids[0]) not in text and len(text.splitlines()) == 2


# Without authority


CUT = (
    "DELETE FROM audit WHERE id <= (SELECT until_id FROM seal WHERE number = {0})",
    "DELETE FROM seal WHERE number <= {0}",
)


def cut(trail: SealedTrail, number: int) -> None:
    change(trail, *(one.format(number) for one in CUT))


def test_more_than_was_dropped_is_missed(trail: SealedTrail) -> None:
    drop(trail)
    cut(trail, 5)
    assert "seal 1 to 5 are missing before seal 6" in found(trail)
    assert "further than the drop that is sealed, which ends with seal 3" in found(trail)


def test_a_beginning_that_was_cut_off_is_missed_though_the_store_says_that_it_was_dropped(trail: SealedTrail) -> None:
    """The store's notes prove nothing: another seal stands where they say that one of a drop is."""
    until = edge(trail, 3).until
    change(
        trail,
        f"INSERT INTO audit_drop VALUES (6, 3, {until}, 10, '{'0' * 64}', 'hanako', 1, 0)",  # noqa: S608
    )
    cut(trail, 3)
    assert "seal 1 to 3 are missing before seal 4: the beginning of the trail was cut off" in found(trail)
    with trail.bank.store.read() as connection:
        record = newest_drop(connection)
    assert record is not None
    with pytest.raises(DropRefused, match="seal 6 does not prove it"):
        unfinished(trail.new_sealer()._store, record, keys(trail))


def test_the_sealer_says_so_too_whatever_the_notes_say(trail: SealedTrail) -> None:
    cut(trail, 6)
    change(trail, "DELETE FROM seal WHERE number = 7")
    change(trail, f"INSERT INTO audit_drop VALUES (7, 7, 1, 1, '{'0' * 64}', 'hanako', 1, 1)")  # noqa: S608
    trail.stretch()
    assert "seals 1 to 7 are gone since seal 8, and nothing in the trail says why" in found(trail)


FORGED: dict[str, Callable[[str], str]] = {
    "covers more": lambda body: body.replace('"dropped":{"first":1,"number":3', '"dropped":{"first":1,"number":5'),
    "another export": lambda body: body.replace('"export":"', '"export":"0', 1).replace('0","by"', '","by"', 1),
    "another name": lambda body: body.replace('"by":"hanako"', '"by":"taro"'),
}


@pytest.mark.parametrize("case", FORGED)
def test_the_seal_of_a_drop_that_was_changed_excuses_nothing(trail: SealedTrail, case: str) -> None:
    drop(trail)
    body = edge(trail, 8).body
    changed = FORGED[case](body)
    assert changed != body
    with trail.bank.store.derive() as connection:
        connection.execute(update(seal).where(seal.c.number == 8).values(body=changed))
    if case == "covers more":
        cut(trail, 5)
    text = found(trail)
    assert "seal 8" in text and "the beginning of the trail was cut off" in text


def test_a_seal_of_a_drop_by_another_key_is_found(trail: SealedTrail, tmp_path: Path) -> None:
    create_seal_key(tmp_path / "forger.key")
    dropped = compared(trail, export(trail, LAST), LAST)
    trail.new_sealer(key_file=tmp_path / "forger.key").record_drop(dropped._replace(number=5, body=dropped.body))
    cut(trail, 5)
    assert "seal 8 was made with another key, which the one before has not named" in found(trail)
    behind = trail.new_sealer()._store.newest()
    assert behind is not None
    report = verify_file(trail, export(trail, 7, "cut.jsonl.gz", behind))
    assert "the beginning of the trail was cut off" in report.findings[0]


def forge_all(trail: SealedTrail) -> None:
    """Nothing is left but a seal of a forger's own key, which names ours as its successor and says that all was
    dropped."""
    create_seal_key(trail.bank.folder / "forger.key")
    key, nothing, until = (
        read_seal_key(trail.bank.folder / "forger.key"),
        stretch_of(lines_of([])),
        edge(trail, 7).until,
    )
    dropped = Dropped(1, 8, until, 22, "0" * 64, "0" * 64, "hanako")
    numbers, previous = (9, until, until, 0, 22), "0" * 64
    made = Seal(
        *numbers,
        nothing.digest,
        hash_of(nothing.marks),
        previous,
        public_name(key),
        trail.now_ms(),
        keys(trail)[0],
        dropped=dropped,
    ).signed(key, nothing.marks)
    change(trail, "DELETE FROM audit", "DELETE FROM seal")
    with trail.bank.store.derive() as connection:
        values = {"until_id" if name == "until" else name: value for name, value in made._asdict().items()}
        connection.execute(insert(seal).values(**values))
        note_drop(connection, DropRecord(9, 8, until, 22, "0" * 64, "hanako", 1, 1))


@pytest.mark.parametrize("restarted", [False, True])
def test_a_trail_that_was_emptied_is_missed_though_a_forged_seal_says_that_it_was_dropped(
    trail: SealedTrail, restarted: bool
) -> None:
    """The sealer does not go on behind it in silence: it knows the seal that it made last, or that of the copy."""
    forge_all(trail)
    if restarted:
        trail.sealer = trail.new_sealer()
    trail.stretch()
    assert "gone since seal 10, and nothing in the trail says why: they were removed" in found(trail)


def test_a_drop_that_the_key_of_before_has_sealed_is_believed(trail: SealedTrail) -> None:
    """A server that was off meanwhile, and is started with the new key."""
    drop(trail, 7)
    new = trail.bank.folder / "new.key"
    create_seal_key(new)
    sealer = trail.new_sealer()
    sealer.hand_over(public_name(read_seal_key(new)))
    trail.sealer._key_file = new
    trail.stretch()
    ours = public_name(read_seal_key(new))
    report = trail.verify([ours])
    assert report.holds and "if the key was not changed since, it is forged" in report.notices[-1]
    report = trail.verify([ours, *keys(trail)])
    assert report.holds and len(report.notices) == 1


def test_without_a_copy_a_server_that_was_restarted_cannot_know_and_the_other_key_is_told(tmp_path: Path) -> None:
    trail = SealedTrail(tmp_path, stretches=7, copied=False)
    forge_all(trail)
    trail.sealer = trail.new_sealer()
    trail.stretch()
    assert "if the key was not changed since, it is forged" in "".join(trail.verify(copied=False).notices)


def behind_a_later_drop(trail: SealedTrail, *gone: int, row: bool = False) -> Report:
    """An archived file out of which somebody took seals, or a row, and which says that it begins behind the drop of
    what it holds."""
    file = export(trail, 5)
    drop(trail, 5, file)
    behind = trail.new_sealer()._store.newest_drop()
    with file.path.open("rb") as raw, opened(raw) as lines:
        pieces = [one for one in read_export(lines).pieces if one.seal is not None and one.seal.number not in gone]
    if row:
        del pieces[-1].rows[1]
    return verify_file(
        trail, File(file.path, write_compressed(file.path, export_lines(pieces, trail.now_ms(), behind), replace=True))
    )


def test_nothing_is_taken_out_of_a_file_by_the_seal_of_a_later_drop(trail: SealedTrail) -> None:
    report = behind_a_later_drop(trail, row=True)
    assert len(report.findings) == 1 and "was removed after seal 5 was made" in report.findings[0]


def test_the_beginning_of_a_file_is_not_taken_away_by_the_seal_of_a_later_drop(trail: SealedTrail) -> None:
    (finding,) = behind_a_later_drop(trail, 1, 2).findings
    assert finding == "seal 1 to 2 are missing before seal 3: the beginning of the trail was cut off"


def test_the_seal_of_another_drop_does_not_go_into_an_export_of_a_trail_that_was_cut_further(
    trail: SealedTrail,
) -> None:
    drop(trail)
    behind = trail.new_sealer()._store.newest_drop()
    cut(trail, 5)
    report = verify_file(trail, export(trail, 7, behind=behind))
    assert "further than the drop that is sealed, which ends with seal 3" in report.findings[0]


def test_a_row_or_an_old_seal_that_is_put_back_below_a_drop_is_found(trail: SealedTrail) -> None:
    ids = trail.ids()
    drop(trail)
    change(
        trail,
        f"INSERT INTO audit (id, event, actor, source, reason) VALUES ({ids[2]}, 'login.accepted', 'x', '', '')",  # noqa: S608
    )
    assert f"row {ids[2]} of " in found(trail) and "where no seal covers it" in found(trail)


def test_all_that_came_before_the_seal_of_a_drop_cannot_be_taken_away_by_it(trail: SealedTrail) -> None:
    drop(trail)
    trail.stretch()
    cut(trail, 7)
    assert "seal 1 to 7 are missing before seal 8" in found(trail)


# What is refused


def altered(file: File, one: str, other: str) -> File:
    lines = gzip.decompress(file.path.read_bytes()).decode()
    assert one in lines
    file.path.write_bytes(gzip.compress(lines.replace(one, other, 1).encode()))
    with file.path.open("rb") as raw:
        return File(file.path, digest_of(raw))


def test_a_file_that_ends_before_is_refused(trail: SealedTrail) -> None:
    with pytest.raises(DropRefused, match="the file ends with seal 2, and the seals up to 3"):
        compared(trail, export(trail, 2), LAST)


def test_a_file_that_was_changed_is_refused(trail: SealedTrail) -> None:
    file = altered(export(trail, LAST), '"taro1"', '"taro9"')
    with pytest.raises(DropRefused, match="are not the same in the file and in the store"):
        compared(trail, file, LAST)


def test_a_store_that_was_changed_since_is_not_dropped(trail: SealedTrail) -> None:
    file, ids = export(trail, LAST), trail.ids()
    change(trail, f"UPDATE audit SET reason = 'x' WHERE id = {ids[4]}")  # noqa: S608
    with pytest.raises(DropRefused, match="are not the same in the file and in the store"):
        compared(trail, file, LAST)


def test_a_change_that_the_file_has_too_is_found_by_its_seal(trail: SealedTrail) -> None:
    change(trail, f"UPDATE audit SET reason = 'x' WHERE id = {trail.ids()[4]}")  # noqa: S608
    with pytest.raises(DropRefused, match=r"the file does not verify: row .* was changed after seal"):
        compared(trail, export(trail, LAST), LAST)


def test_a_file_of_another_part_of_the_trail_is_refused(trail: SealedTrail) -> None:
    file = export(trail, 5)
    drop(trail, 2)
    with pytest.raises(DropRefused, match="it holds another part of the trail"):
        compared(trail, file, 5)


def test_seals_that_are_gone_meanwhile_are_not_sealed_as_dropped(tmp_path: Path) -> None:
    trail = SealedTrail(tmp_path, stretches=2, copied=False)
    dropped = compared(trail, export(trail, 2), 2)
    change(trail, "DELETE FROM seal")
    with pytest.raises(StoreUnavailable, match="not in the store any more"):
        trail.new_sealer().record_drop(dropped)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda octets: octets[:-20], "cannot be decompressed"),
        (lambda octets: octets[:40] + b"\xff\xff\xff" + octets[43:], "cannot be decompressed|line|none|cut off"),
        (lambda octets: b"\x1f\x8b nothing", "cannot be decompressed"),
        (lambda octets: b"", "this is no file that"),
    ],
)
def test_a_compressed_file_that_is_damaged_is_a_clear_error(
    trail: SealedTrail, spoil: Callable[[bytes], bytes], expected: str
) -> None:
    file = export(trail, LAST)
    file.path.write_bytes(spoil(file.path.read_bytes()))
    with pytest.raises(ExportProblem, match=expected):
        verify_file(trail, file)


# The file


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"

    def lines() -> Iterator[str]:
        yield "{}\n"
        assert not path.exists()
        raise Killed

    with pytest.raises(Killed):
        write_compressed(path, lines(), replace=False)
    assert list(tmp_path.iterdir()) == []
    digest = write_compressed(path, ["{}\n"], replace=False)
    assert path.stat().st_mode & 0o777 == 0o600 and gzip.decompress(path.read_bytes()) == b"{}\n"
    with path.open("rb") as raw:
        assert digest_of(raw) == digest
    with pytest.raises(FileExistsError, match="give --replace"):
        write_compressed(path, ["{}\n"], replace=False)
    assert write_compressed(path, ["{}\n"], replace=True) == digest, "the same lines make the same file"


@pytest.mark.parametrize("replace", [False, True])
def test_of_two_that_write_the_same_file_the_later_one_has_it(tmp_path: Path, replace: bool) -> None:
    """The earlier one must not put what the other has half written in its place, and say that it is whole."""
    path = tmp_path / "a.gz"

    def overtaken() -> Iterator[str]:
        yield "{}\n"
        later.append(write_compressed(path, within(), replace=replace))

    def within() -> Iterator[str]:
        yield "{}\n" * 2

    later: list[str] = []
    with pytest.raises(FileExistsError, match="another export to"):
        write_compressed(path, overtaken(), replace=replace)
    with path.open("rb") as raw:
        assert [digest_of(raw)] == later
    assert list(tmp_path.iterdir()) == [path]


def test_what_another_export_has_begun_to_write_is_left_alone(tmp_path: Path) -> None:
    new = tmp_path / ".a.gz.new"

    def overtaken() -> Iterator[str]:
        yield "{}\n"
        new.unlink()
        new.write_bytes(b"half")

    with pytest.raises(FileExistsError, match="another export to"):
        write_compressed(tmp_path / "a.gz", overtaken(), replace=True)
    assert list(tmp_path.iterdir()) == [new] and new.read_bytes() == b"half"


def test_a_file_that_grows_beyond_measure_when_it_is_decompressed_is_refused(
    trail: SealedTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otp_core.seals.export._MOST_OCTETS", 2000)
    file = export(trail, LAST)
    assert verify_file(trail, file).holds
    octets = gzip.decompress(file.path.read_bytes())
    file.path.write_bytes(gzip.compress(octets.replace(b'"reason":""', b'"reason":"%s"' % (b"x" * 700))))
    with pytest.raises(ExportProblem, match="longer than any seal covers"):
        verify_file(trail, file)


def test_an_edge_is_that_of_whole_seals(trail: SealedTrail) -> None:
    until = edge(trail, 4).until
    with trail.bank.store.read() as connection:
        one, other, none = (edge_before(connection, id_) for id_ in (until + 1, until, 5))
        first = first_edge(connection)
    assert one is not None and other is not None and first is not None
    assert (one.number, other.number, none, first.number) == (4, 3, None, 1)


def test_a_seal_says_what_was_dropped_only_where_something_was(trail: SealedTrail) -> None:
    drop(trail)
    plain, told = edge(trail, 7).body, edge(trail, 8).body
    assert "dropped" not in plain and read_seal(plain).dropped is None
    assert read_seal(told).body() == told
    for wrong in (told.replace('"by":"hanako"', '"by":7'), told.replace('"rows":10', '"rows":true')):
        assert wrong != told
        with pytest.raises(ValueError, match="has a value that no seal has"):
            read_seal(wrong)


def test_an_uncompressed_export_is_read_as_before(trail: SealedTrail) -> None:
    octets = "".join(export_lines(sealed_pieces(trail.bank.store.trail(), 7), trail.now_ms())).encode()
    with opened(BytesIO(octets)) as lines:
        assert Verification(keys(trail), now_ms=trail.now_ms()).run(read_export(lines).pieces).holds
