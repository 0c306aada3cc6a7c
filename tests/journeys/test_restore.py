"""Backup and restore of a whole server, by the commands and by the ways around them; logins by radclient."""

from __future__ import annotations

import base64
import json
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest

from otp_core.model import Kind, OtpUse, TokenSpec
from otp_core.store.mark import read_mark
from otp_core.store.put_back import SECONDS
from tests.journeys.command_line import CommandLine
from tests.sekisho import STAFF, Customer, Sekisho, client_table, free_port

pytestmark = pytest.mark.sqlite_files

ACCEPT, REJECT = "Access-Accept", "Access-Reject"
PUT_BACK = "the store was put back without `sekisho restore`"
HOTP = TokenSpec(Kind.HOTP)


@pytest.fixture
def at(tmp_path: Path) -> Iterator[CommandLine]:
    folder = tmp_path / "one"
    folder.mkdir()
    # Windows of nothing: the code behind the present one is good at once.
    sekisho = Sekisho(folder, clients=client_table("gateway", "127.0.0.0/8", "code"), more="[login]\ncode_window = 0\n")
    try:
        yield CommandLine(sekisho)
    finally:
        sekisho.close()


def fresh(sekisho: Sekisho) -> Customer:
    """A customer whose codes were never used."""
    (one,) = sekisho.crowd(1)
    return one


def counter(sekisho: Sekisho) -> Customer:
    one = sekisho.customer("", enrolled=False, spec=HOTP)
    sekisho.desk.enrolment.enrol(one.contract_id, one.token_id, at_counter(one, 0), STAFF)
    return one


def at_counter(one: Customer, number: int) -> str:
    return pyotp.HOTP(base64.b32encode(one.seed).decode()).at(number)


def steady_code(one: Customer) -> str:
    """The code of the present step, with some seconds of it left."""
    left = 30 - time.time() % 30
    if left < 8:
        time.sleep(left + 0.01)
    return one.code()


def next_step() -> None:
    time.sleep(30 - time.time() % 30 + 0.01)


def backup(at: CommandLine, name: str = "one.db") -> str:
    path = at.folder.parent / name
    at.run("backup", str(path))
    return str(path)


def test_a_used_code_a_stolen_token_and_300_counters_after_a_restore(at: CommandLine) -> None:
    """All of findings.md 1.3 in one night: the backup is from before, the restore from after."""
    sekisho = at.sekisho
    taro, stolen, many = fresh(sekisho), fresh(sekisho), counter(sekisho)
    sekisho.prefix = ("env",)  # started anew, with the command line that the refusal shows
    sekisho.start()
    path = backup(at)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    code = steady_code(taro)
    assert sekisho.login(taro.contract_id, code) == ACCEPT
    for number in range(1, 301):
        sekisho.desk.enrolment.suspend(many.contract_id, at_counter(many, number), STAFF)
        sekisho.desk.enrolment.resume(many.contract_id, STAFF)
    at.run("report-lost", stolen.contract_id, "--reason", "left in a taxi")
    at.run("customer", "lock", taro.contract_id, "--reason", "asked for")

    said = at.run("restore", path, "--replace", code=4).err
    assert re.search(r"in use by process \d+ \(.*serve\).*: stop the server first", said)
    assert sekisho.login(stolen.contract_id, stolen.code()) == REJECT, "nothing was changed"
    assert sekisho.stop() == 0
    shown = steady_code(stolen)  # the next one, behind the lost time, is good again
    said = at.run("restore", path, "--replace", "--reason", "drill").out
    assert f"sekisho report-lost {stolen.contract_id}" in said
    assert f"sekisho customer lock {taro.contract_id}" in said
    assert "kept the store that was there as" in said

    sekisho.start()
    assert sekisho.login(taro.contract_id, code) == REJECT
    assert sekisho.login(stolen.contract_id, shown) == REJECT
    for number in (0, 1, 150, 300, 301, 302):
        assert sekisho.login(many.contract_id, at_counter(many, number)) == REJECT
    at.run("report-lost", stolen.contract_id)
    next_step()
    assert sekisho.login(taro.contract_id, taro.code()) == ACCEPT
    assert sekisho.login(stolen.contract_id, stolen.code()) == REJECT
    at.run(
        "resync",
        many.contract_id,
        "--stdin",
        user_password=f"{at_counter(many, 299)}\n{at_counter(many, 300)}\n",
        code=1,
    )
    at.run("resync", many.contract_id, "--stdin", user_password=f"{at_counter(many, 301)}\n{at_counter(many, 302)}\n")
    assert sekisho.login(many.contract_id, at_counter(many, 302)) == REJECT
    assert sekisho.login(many.contract_id, at_counter(many, 303)) == ACCEPT
    assert PUT_BACK not in sekisho.log_text()
    (row,) = sekisho.audit(event="store.restored")
    assert row.reason.startswith("drill; ")


def test_cp_of_the_store_alone_into_another_folder_is_noticed(at: CommandLine, tmp_path: Path) -> None:
    """`cp s.db master.key b/`, and b/ is served: the documented backup of 0.1.0."""
    sekisho = at.sekisho
    taro, lost = fresh(sekisho), fresh(sekisho)
    sekisho.start()
    code = steady_code(taro)
    other = tmp_path / "b"
    other.mkdir()
    shutil.copy(sekisho.database, other)
    shutil.copy(sekisho.folder / "master.key", other)
    assert sekisho.login(taro.contract_id, code) == ACCEPT
    sekisho.desk.enrolment.report_lost(lost.contract_id, STAFF)
    assert sekisho.stop() == 0
    copy = Sekisho(other, clients=sekisho.clients, more=sekisho.more)
    try:
        copy.start()
        assert PUT_BACK in copy.log_text()
        assert copy.login(taro.contract_id, code) == REJECT
    finally:
        copy.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_old_file_put_back_by_cp_is_noticed_said_and_treated(at: CommandLine, workers: int) -> None:
    sekisho = at.sekisho
    sekisho.workers = workers
    sekisho.listen = (f"127.0.0.1:{free_port()}",) if workers > 1 else sekisho.listen
    sekisho.write_config()
    taro, lost = fresh(sekisho), fresh(sekisho)
    sekisho.start()
    assert sekisho.stop() == 0
    old = sekisho.folder / "old.db"
    shutil.copy(sekisho.database, old)
    sekisho.start()
    code = steady_code(taro)
    assert sekisho.login(taro.contract_id, code) == ACCEPT
    at.run("report-lost", lost.contract_id)
    assert sekisho.stop() == 0
    for end in ("-wal", "-shm"):
        Path(f"{sekisho.database}{end}").unlink(missing_ok=True)
    shutil.copy(old, sekisho.database)
    doctor = at.run("doctor", code=1).out
    assert "it was put back; the next start voids every code" in doctor
    sekisho.start()
    assert sekisho.login(taro.contract_id, code) == REJECT
    log = sekisho.log_text()
    assert log.count(PUT_BACK) == 1 and f"sekisho report-lost {lost.contract_id}" in log
    assert len(sekisho.audit(event="store.lost-time-voided")) == 1
    next_step()
    assert sekisho.login(taro.contract_id, taro.code()) == ACCEPT
    assert f"sekisho report-lost {lost.contract_id}" in at.run("doctor").out
    at.run("report-lost", lost.contract_id)
    assert "lost act" not in at.run("doctor").out


def test_kill_9_and_a_start_are_no_restore(at: CommandLine) -> None:
    """The mark may be late and is never early: a store that was not put back is never taken for one that was."""
    sekisho = at.sekisho
    customers = sekisho.crowd(6)
    for one in customers:
        sekisho.start()
        assert sekisho.login(one.contract_id, steady_code(one)) == ACCEPT
        sekisho.kill()
    sekisho.start()
    time.sleep(3 * SECONDS)
    mark = read_mark(sekisho.database)
    assert mark is not None and mark.newest_id == sekisho.audit()[-1].id
    assert sekisho.stop() == 0
    assert PUT_BACK not in sekisho.log_text()


def test_a_backup_under_load_restores_every_login_before_it(at: CommandLine, tmp_path: Path) -> None:
    """Whatever was answered before the backup began is in it; the backup ends while logins go on."""
    sekisho = at.sekisho
    before, during = sekisho.crowd(20), sekisho.crowd(400)
    sekisho.start()
    for one in before[:10]:
        assert sekisho.login(one.contract_id, steady_code(one)) == ACCEPT
    lines = "\n\n".join(
        f'User-Name="{one.contract_id}",User-Password="{one.code()}",Message-Authenticator=0x00' for one in during
    )
    load = subprocess.Popen(
        ["radclient", "-p", "8", "-t", "2", "-r", "1", f"127.0.0.1:{sekisho.port}", "auth", "correct-horse-battery-1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert load.stdin is not None
    load.stdin.write(lines)
    load.stdin.close()
    path = tmp_path / "one.db"
    said = json.loads(at.run("backup", str(path), "--json").out)
    load.wait(60)
    assert said["customers"] == 420 and said["tokens"] == 420 and said["holds_master_key"] is False
    with_rows = len(sekisho.audit(event="login.accepted"))
    assert sekisho.stop() == 0
    at.run("restore", str(path), "--replace")
    rows = {row.customer for row in sekisho.audit(event="login.accepted")}
    assert {one.contract_id for one in before[:10]} <= rows and len(rows) <= with_rows


def test_the_commands_refuse_with_their_exit_codes_and_change_nothing(at: CommandLine, tmp_path: Path) -> None:
    fresh(at.sekisho)
    path = backup(at)
    assert "is there already: name another file, or add --replace" in at.run("backup", path, code=4).err
    assert "which Sekisho needs" in at.run("backup", str(at.sekisho.database), "--replace", code=4).err
    assert "which Sekisho needs" in at.run("backup", str(at.sekisho.config), "--replace", code=4).err
    assert "with --replace it is kept beside" in at.run("restore", path, code=4).err
    assert "there is no file" in at.run("restore", str(tmp_path / "no.db"), code=4).err
    assert at.run("restore", path, "--counter-reserve", "-1", code=2)
    before = at.sekisho.database.read_bytes()
    (tmp_path / "rubbish").write_bytes(b"rubbish" * 999)
    assert "no backup of a store" in at.run("restore", str(tmp_path / "rubbish"), "--replace", code=4).err
    assert at.sekisho.database.read_bytes() == before


def test_json_says_what_a_restore_did(at: CommandLine) -> None:
    taro = fresh(at.sekisho)
    path = backup(at)
    at.run("report-lost", taro.contract_id)
    said = json.loads(at.run("restore", path, "--replace", "--json").out)
    assert said["customers"] == 1 and said["old_store_read"] is True and Path(said["kept"]).is_file()
    (act,) = said["lost_acts"]
    assert (act["event"], act["customer"]) == ("otp.reported-lost", taro.contract_id)
    assert act["command"] == f"sekisho report-lost {taro.contract_id}"
    at.run("report-lost", taro.contract_id)
    with at.sekisho.store.work() as work:
        record = work.login_record(taro.contract_id)
    assert record is not None and record.otp_use == OtpUse.LOST


def test_a_backup_that_is_ended_leaves_nothing_behind(at: CommandLine, tmp_path: Path) -> None:
    """By Ctrl-C: the temporary file goes; by kill -9 the next one takes it away."""
    at.sekisho.crowd(2000)
    out = tmp_path / "out"
    out.mkdir()
    running = at.spawn("backup", str(out / "one.db"))
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert [one.name for one in out.iterdir()] in ([], ["one.db"])
    (out / ".one.db.partial").write_bytes(b"left behind")
    at.run("backup", str(out / "one.db"), "--replace")
    assert [one.name for one in out.iterdir()] == ["one.db"]
