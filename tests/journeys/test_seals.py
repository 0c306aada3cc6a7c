"""The process that seals the audit trail: under load, killed, without its key, and whatever the operator reads then."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from otp_core.seals.chain import Report, Verification
from otp_core.seals.copies import SealCopy
from otp_core.seals.keys import create_seal_key, public_name, read_seal_key
from otp_core.store.sqlite import driver
from tests.journeys import login_stream
from tests.journeys.command_line import CommandLine
from tests.journeys.faults import CLIENTS, CODE, ask
from tests.radius_peer import ACCEPT, Peers, names
from tests.sekisho import SECRET, STAFF, Sekisho

pytestmark = pytest.mark.skipif(not driver.resets_safely(), reason="one process alone serves with this SQLite")

RATE, SECONDS = 400.0, 3.0


@pytest.fixture
def sekisho(tmp_path: Path) -> Iterator[Sekisho]:
    section = f'[audit]\nseal_key_file = "audit.key"\nseal_copy = "{tmp_path}/seals"\n'
    made = Sekisho(tmp_path, CLIENTS, section, workers=2)
    create_seal_key(tmp_path / "audit.key")
    try:
        yield made
        assert made.traceback() == ""
    finally:
        made.close()


def verify(sekisho: Sekisho) -> Report:
    trail = sekisho.store.trail()
    newest = trail.newest()
    copies = [one for one in SealCopy(sekisho.folder / "seals").seals() if one.number <= newest]
    key = public_name(read_seal_key(sekisho.folder / "audit.key"))
    report = Verification([key], copies, now_ms=int(time.time() * 1000)).run(trail.pieces(newest))
    assert report.holds, report
    return report


def wait_until_sealed(sekisho: Sekisho, seconds: float) -> Report:
    end = time.monotonic() + seconds
    while (report := verify(sekisho)).waiting:
        assert time.monotonic() < end, (report, sekisho.log_text())
        time.sleep(0.1)
    return report


def test_two_workers_under_load_raise_no_alarm_and_every_row_is_sealed_within_three_seconds(sekisho: Sekisho) -> None:
    crowd = sekisho.crowd(int(RATE * SECONDS))
    sekisho.start()
    plan = login_stream.Plan(
        server=sekisho.where,
        source=CODE,
        secret=SECRET,
        rate=RATE,
        seconds=SECONDS,
        people=[(one.contract_id, login_stream.base32(one.seed)) for one in crowd],
    )
    command = [sys.executable, login_stream.__file__]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as stream:
        assert stream.stdin is not None and stream.stdout is not None
        stream.stdin.write(json.dumps(plan))
        stream.stdin.close()
        looks = 0
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            verify(sekisho)
            looks += 1
            sekisho.desk.customers.lock(crowd[looks].contract_id, STAFF)  # another writer, by the unit of work
            time.sleep(0.02)
        said = stream.stdout.read().splitlines()
    verdicts = [json.loads(line)["verdict"] for line in said]
    assert verdicts.count("Access-Accept") > len(crowd) / 2
    report = wait_until_sealed(sekisho, 3.0)
    assert looks >= 3 and report.seals >= 3
    assert report.rows == len(sekisho.audit())


def test_a_sealer_that_is_killed_is_replaced_and_the_chain_goes_on(sekisho: Sekisho) -> None:
    sekisho.crowd(2)
    sekisho.start()
    before = wait_until_sealed(sekisho, 10)
    (first,) = sekisho.sealers
    time.sleep(0.3)  # killed in its flush, it would stop the whole server: nobody knows how that ended
    os.kill(first, signal.SIGKILL)
    sekisho.crowd(2)
    sekisho.wait_for_log("a worker ended: another takes its place")
    after = wait_until_sealed(sekisho, 10)
    assert after.seals > before.seals and sekisho.sealers != [first]


def test_without_its_key_the_server_answers_and_says_so_and_seals_when_the_key_is_there(sekisho: Sekisho) -> None:
    at, key = CommandLine(sekisho), sekisho.folder / "audit.key"
    sekisho.crowd(1)
    for spoil, expected in ((key.unlink, "there is no key of the seals"), (key.touch, "can be read by others")):
        spoil()
        assert expected in at.run("config", "check").err
        assert expected in at.run("audit", "verify", code=4).err
    assert "fail  seals: nothing is sealed: the key of the seals" in at.run("doctor", code=1).out
    sekisho.start()
    said = sekisho.wait_for_log("the audit trail is not sealed, and logins go on")
    assert "audit.seal_key_file: cannot be used, so nothing is sealed" in said
    (one,) = sekisho.crowd(1)
    with Peers(sekisho.where, 1, CODE) as peers:
        assert names([peers.ask(ask(one, one.code()))]) == [ACCEPT]
    key.unlink()
    made = at.run("init")
    assert f"created the key of the seals {key}" in made.out and "another key" not in made.err
    wait_until_sealed(sekisho, 10)
    sekisho.wait_for_log("that is over")
    key.unlink()
    assert "the seals of before were made with another key" in at.run("init").err
    assert "ok    seals: the newest is number" in at.run("doctor").out


def test_a_copy_that_cannot_be_written_is_said_by_every_command_and_the_log(sekisho: Sekisho) -> None:
    at = CommandLine(sekisho)
    (sekisho.folder / "seals").mkdir()
    assert "cannot be written, so no seal is copied: Is a directory; name a file in it" in at.run("config", "check").err
    sekisho.crowd(1)
    sekisho.start()
    sekisho.wait_for_log("the newest seal cannot be copied")
    assert "fail  seals: no seal is copied: audit.seal_copy" in at.run("doctor", code=1).out


def test_a_file_that_cannot_be_read_or_written_is_named_with_what_is_wrong(sekisho: Sekisho, tmp_path: Path) -> None:
    at = CommandLine(sekisho)
    (tmp_path / "kept").write_text("kept")
    for words, said in (
        (("verify", "--export", str(tmp_path)), f"sekisho: {tmp_path}: Is a directory\n"),
        (("verify", "--export", "/dev/null"), "sekisho: /dev/null: it is no regular file\n"),
        (("verify", "--export", "nowhere"), "sekisho: nowhere: No such file or directory\n"),
        (("export", f"{tmp_path}/kept"), f"sekisho: {tmp_path}/kept: File exists\n"),
    ):
        assert at.run("audit", *words, code=4).err == said


def test_a_row_that_was_changed_is_named_by_the_command_and_its_exit_code_says_so(sekisho: Sekisho) -> None:
    at = CommandLine(sekisho)
    assert "nothing is sealed yet" in at.run("audit", "verify", code=1).err
    sekisho.crowd(3)
    sekisho.start()
    wait_until_sealed(sekisho, 10)
    sekisho.stop()
    row = sekisho.audit()[1].id
    with sekisho.store.database.write() as connection:
        connection.execute(text("UPDATE audit SET actor = 'nobody' WHERE id = :id"), {"id": row})
    said = at.run("audit", "verify", code=1)
    assert f"FOUND: row {row} of " in said.out and "was changed after seal 1 was made" in said.out
    assert "is not what was sealed" in said.err
    exported, public = str(sekisho.folder / "trail.jsonl"), at.file("audit.pub", at.run("audit", "public-key").out)
    at.run("audit", "export", exported)
    assert "exists" in at.run("audit", "export", exported, code=4).err
    offline = subprocess.run(
        [sys.executable, "-m", "sekisho", "audit", "verify", "--export", exported, "--public-key", public],
        cwd=sekisho.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert offline.returncode == 1 and f"FOUND: row {row} of " in offline.stdout


@pytest.mark.sqlite_files
def test_a_restored_store_is_sealed_on_and_verification_says_what_happened(sekisho: Sekisho) -> None:
    at = CommandLine(sekisho)
    sekisho.crowd(2)
    sekisho.start()
    wait_until_sealed(sekisho, 10)
    at.run("backup", str(sekisho.folder / "backup.db"))
    for _ in range(2):
        sekisho.crowd(1)
        wait_until_sealed(sekisho, 10)
    sekisho.stop()
    sekisho.store.engine.dispose()
    at.run("restore", str(sekisho.folder / "backup.db"), "--replace")
    assert "says that the store is an older one since then" in at.run("audit", "verify").out
    sekisho.start()
    wait_until_sealed(sekisho, 10)
    said = at.run("audit", "verify").out
    assert "note: seal" in said and "because the store is an older one since then" in said and "FOUND" not in said


@pytest.mark.sqlite_files
def test_the_backup_writes_over_no_key(sekisho: Sekisho) -> None:
    key = sekisho.folder / "audit.key"
    kept = key.read_bytes()
    said = CommandLine(sekisho).run("backup", str(key), "--replace", code=4)
    assert "which Sekisho needs" in said.err and key.read_bytes() == kept


def test_a_key_is_changed_while_the_server_goes_on(sekisho: Sekisho) -> None:
    at, old = CommandLine(sekisho), sekisho.folder / "old.key"
    shutil.copy(sekisho.folder / "audit.key", old)
    sekisho.crowd(1)
    sekisho.start()
    wait_until_sealed(sekisho, 10)
    at.run("audit", "new-key", "--reason", "yearly")
    report = wait_until_sealed(sekisho, 10)
    assert report.newest is not None and report.newest.key != public_name(read_seal_key(old))
    assert [row.reason.partition(";")[0] for row in sekisho.audit(event="seals.key-changed")] == ["yearly"]
