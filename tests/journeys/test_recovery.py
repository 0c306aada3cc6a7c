"""PostgreSQL is recovered to an earlier moment, from a base backup and its archive: what was accepted in the lost time
is not accepted again, and everybody is told what to do.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyotp
import pytest

from otp_core.model import Kind, TokenSpec
from otp_core.otp import code_at, step_at
from otp_core.store.mark import read_mark
from tests.journeys.command_line import CommandLine
from tests.journeys.test_operations_page import PAGE, commands_under
from tests.journeys.test_store_copy import apart
from tests.postgresql import USER, Server, programs
from tests.sekisho import STAFF, Customer, Sekisho, client_table

ACCEPT, REJECT = "Access-Accept", "Access-Reject"
LONG, SHORT, COUNTER = TokenSpec(period=300), TokenSpec(period=10), TokenSpec(Kind.HOTP)
"""A code of the first is good for five minutes and more, of the second for ten to twenty seconds."""


@dataclass
class Cluster:
    """A server with an archive, in a folder of its own; after a recovery the recovered one, at the same address."""

    folder: Path
    server: Server

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    def run(self, line: str) -> None:
        """A command of docs/operations.md, here."""
        here = {"/run/postgresql": self.folder, "/var/backups/sekisho": self.folder, "-U postgres": f"-U {USER}"}
        for there, instead in here.items():
            line = line.replace(there, str(instead))
        program, *words = shlex.split(line)
        self.server.run(programs() / program if program.startswith("pg_") else program, *words)

    def moment(self) -> str:
        with self.server.connect("postgres") as connection:
            row = connection.execute("SELECT clock_timestamp()::text").fetchone()
        assert row is not None
        return str(row[0])

    def stop(self) -> None:
        """When all that it wrote is in the archive."""
        with self.server.connect("postgres") as connection:
            row = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
            assert row is not None
            until(lambda: (self.archive / str(row[0])).exists())
        self.server.stop()

    def recover(self, moment: str) -> None:
        """Begin with the base backup, up to the moment."""
        more = (f"recovery_target_time={moment}", "recovery_target_action=promote")
        restore = f"restore_command=cp {self.archive}/%f %p"
        self.server = Server(self.folder, *settings(self.archive), restore, *more, data=self.folder / "base").start()
        with self.server.connect("postgres") as connection:
            until(lambda: connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,))


class Page:
    """The commands of docs/operations.md, in their order."""

    def __init__(self) -> None:
        self.lines = commands_under("Backup and point-in-time recovery on PostgreSQL")

    def next(self, begins: str) -> str:
        line = self.lines.pop(0)
        assert line.startswith(begins)
        return line


def settings(archive: Path) -> tuple[str, ...]:
    copy = f"archive_command=test ! -f {archive}/%f && cp %p {archive}/%f"
    return ("fsync=off", "wal_level=replica", "archive_mode=on", copy, "shared_buffers=32MB")


def test_the_settings_that_the_page_names_are_those_that_are_tried() -> None:
    tried = {re.split(" ?= ?", one)[0] for one in settings(Path("/archive"))} - {"fsync", "shared_buffers"}
    assert all(f"`{name} = " in PAGE for name in tried)
    assert "`archive_command = 'test ! -f /archive/%f && cp %p /archive/%f'`" in PAGE
    assert "archive_command=test ! -f /archive/%f && cp %p /archive/%f" in settings(Path("/archive"))


def until(holds: object, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="sekisho-pitr-"))
    made = Cluster(folder, Server(folder, *settings(folder / "archive")).create())
    made.server.run("mkdir", made.archive)
    made.server.start().create_database("bank")
    try:
        yield made
    finally:
        made.server.stop(3)
        shutil.rmtree(folder)


def code_of(one: Customer, spec: TokenSpec, away: int = 0) -> str:
    return code_at(one.seed, step_at(int(time.time() * 1000), spec.period) + away, spec)


def counted(one: Customer, number: int) -> str:
    return pyotp.HOTP(base64.b32encode(one.seed).decode()).at(number)


def enrolled(sekisho: Sekisho, spec: TokenSpec) -> Customer:
    """No code of theirs was ever used."""
    one = sekisho.customer("", enrolled=False, spec=spec)
    if spec.kind == Kind.HOTP:
        sekisho.desk.enrolment.enrol(one.contract_id, one.token_id, counted(one, 0), STAFF)
        return one
    sekisho.desk.enrolment.enrol(one.contract_id, one.token_id, code_of(one, spec, -1), STAFF)
    return one


def test_what_was_accepted_in_the_lost_time_is_not_accepted_again(cluster: Cluster, tmp_path: Path) -> None:
    page, clients = Page(), client_table("gateway", "127.0.0.0/8", "code")
    sekisho = Sekisho(tmp_path, clients, database_url=cluster.server.url("bank"))
    at = CommandLine(sekisho)
    try:
        taro, hana, jiro = (enrolled(sekisho, spec) for spec in (LONG, SHORT, COUNTER))
        lost = sekisho.customer("", enrolled=False)
        cluster.run(page.next("pg_basebackup"))
        sekisho.start()
        assert sekisho.login(jiro.contract_id, counted(jiro, 1)) == ACCEPT
        moment = cluster.moment()

        used = code_of(taro, LONG)
        assert sekisho.login(taro.contract_id, used) == ACCEPT
        assert [sekisho.login(jiro.contract_id, counted(jiro, number)) for number in (2, 3)] == [ACCEPT] * 2
        at.run("customer", "lock", lost.contract_id, "--reason", "asked for")
        newest = sekisho.audit()[-1].id
        until(lambda: (mark := read_mark(sekisho.store.beside)) is not None and mark.newest_id >= newest)
        assert "stop all that use it first" in apart(at, "store", "recovered", code=4).err
        page.next("systemctl stop sekisho")
        assert sekisho.stop() == 0
        sekisho.store.engine.dispose()
        page.next("systemctl stop postgresql")
        cluster.stop()
        cluster.run(page.next("touch"))
        page.next("systemctl start postgresql")
        cluster.recover(moment)

        # What is refused here says what does it, and whether that works.
        for command in ("backup", "restore"):
            said = apart(at, command, str(tmp_path / "no.db"), code=4).err
            assert "the store is in PostgreSQL" in said and "point-in-time recovery on PostgreSQL" in said
            assert ("the log is archived" in said) is (command == "backup")
            assert ("`sekisho store recovered`" in said) is (command == "restore")
        assert not (tmp_path / "no.db").exists()

        # It is noticed before anything is served.
        assert sekisho.spawn().wait(60) == 4
        sekisho.process = None
        assert "run `sekisho store recovered`" in sekisho.log_text()
        assert "was recovered to an earlier moment" in apart(at, "doctor", code=1).out
        assert sekisho.audit(taro.contract_id, "login.accepted") == [], "it is an older store"
        sekisho.store.engine.dispose()

        recovered = shlex.split(page.next("sekisho store recovered"))[1:]
        done = json.loads(apart(at, *recovered, "--json").out)
        assert (done["voided"]["timed"], done["voided"]["counters"], done["before"]) == (3, 1, False)
        assert [act["command"] for act in done["lost_acts"]] == [f"sekisho customer lock {lost.contract_id}"]
        good_from = (time.time() // 10 + 2) * 10
        again = apart(at, "store", "recovered").out
        assert "nothing was left to do" in again and f"sekisho customer lock {lost.contract_id}" in again
        (row,) = sekisho.audit(event="store.recovered")
        assert row.reason.startswith("recovered to 9:14; bank on ")
        sekisho.store.engine.dispose()

        page.next("systemctl start sekisho")
        sekisho.start()
        assert code_of(taro, LONG) == used or sekisho.login(taro.contract_id, code_of(taro, LONG)) == REJECT
        assert sekisho.login(taro.contract_id, used) == REJECT, "its five minutes are not over"
        assert [sekisho.login(jiro.contract_id, counted(jiro, number)) for number in (2, 3, 4, 22)] == [REJECT] * 4
        time.sleep(max(0.0, good_from - time.time() + 0.1))
        assert sekisho.login(hana.contract_id, code_of(hana, SHORT)) == ACCEPT
        words = ("resync", jiro.contract_id, "--stdin")
        at.run(*words, user_password=f"{counted(jiro, 3)}\n{counted(jiro, 4)}\n", code=1)
        at.run(*words, user_password=f"{counted(jiro, 22)}\n{counted(jiro, 23)}\n")
        assert sekisho.login(jiro.contract_id, counted(jiro, 24)) == ACCEPT
        said = at.run(*page.next("sekisho doctor").split()[1:], code=1).out
        assert f"sekisho customer lock {lost.contract_id}" in said and "the one that this node served last" in said
        assert page.lines == []
    finally:
        sekisho.close()
