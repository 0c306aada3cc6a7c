"""A flush that fails: nothing is acknowledged any more, and the next start writes everything anew. Then the power goes.

The disk is failing_disk.c. What it has "on the disk" at the end is what the next start gets.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from otp_core.store.sqlite import driver
from tests.journeys.faults import SILENT, command
from tests.radius_peer import ACCEPT, REJECT, Peers, access_request, names
from tests.sekisho import SECRET, Sekisho, client_table, free_port
from tests.web.portal import Portal, PortalClient

pytestmark = pytest.mark.sqlite_files

SOURCE = Path(__file__).with_name("failing_disk.c")
CLIENTS = "request_seconds = 30.0\n" + client_table("gateway", "127.0.0.0/8", "code")
OURS = "-of-the-command"
"""A failure that the server, which writes by itself too, does not meet first."""
STOPPED = 5
"""The exit code of a server that has to be started anew."""


@dataclass
class Disk:
    """``folder``: what is "on the disk", and what makes it fail."""

    folder: Path
    library: Path

    def environment(self, store: Path) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "DISK_STORE": str(store), "DISK_FOLDER": str(self.folder)}

    def fail(self, ending: str, mine: str = "") -> None:
        """The next flush of the file with this ending. ``mine``: by a process with this DISK_MINE."""
        (self.folder / f"fail{mine}").write_text(ending)

    def lie(self, then: str, ending: str, mine: str = "") -> None:
        """The next flush of the file with this ending fails and says that it succeeded. ``then``: what becomes of the
        disk: gone, or its journal aborted."""
        (self.folder / f"to-be-{then}{mine}").write_text(ending)

    @property
    def has_failed(self) -> bool:
        return not list(self.folder.glob("fail*"))

    @property
    def has_lied(self) -> bool:
        return not list(self.folder.glob("to-be-*"))

    def begin(self, store: Path) -> None:
        """All that is there now is on the disk."""
        for file in store.parent.glob(f"{store.name}*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, self.folder / "disk")

    def cut_power(self, store: Path) -> None:
        """What was not on the disk is gone, and the machine is started anew."""
        for file in store.parent.glob(f"{store.name}*"):
            file.unlink()
        for file in (self.folder / "disk").iterdir():
            shutil.copy(file, store.parent)
        for file in (self.folder / "dirty").iterdir():
            file.unlink()
        for name in ("gone", "aborted", "read-only"):
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / "boot").write_text("00000000-0000-4000-8000-" + os.urandom(6).hex() + "\n")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("gcc makes the failing disk, and is not here")
    made = tmp_path_factory.mktemp("disk") / "failing_disk.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(made), str(SOURCE), "-ldl"], check=True)
    return made


@pytest.fixture
def disk(tmp_path: Path, library: Path) -> Disk:
    for name in ("disk", "dirty"):
        (tmp_path / "power" / name).mkdir(parents=True)
    return Disk(tmp_path / "power", library)


class Scene:
    """A server on that disk, with customers each of whom logs in once, and what they were told."""

    def __init__(self, folder: Path, disk: Disk, workers: int, more: str = "") -> None:
        store = folder / "store"
        store.mkdir()
        listen = (f"127.0.0.1:{free_port()}",)
        environment = disk.environment(store / "s.db")
        self.disk = disk
        self.sekisho = Sekisho(
            folder, CLIENTS, more, listen=listen, workers=workers, disk=store, environment=environment
        )
        self._customers = iter(self.sekisho.crowd(600))
        self.accepted: dict[str, str] = {}
        disk.begin(store / "s.db")

    def login(self, number: int, wait: float = 30.0) -> list[str]:
        """So many customers log in at once; what they hear."""
        crowd = [next(self._customers) for _ in range(number)]
        return self.ask({one.contract_id: one.code() for one in crowd}, wait)

    def ask(self, codes: dict[str, str], wait: float = 30.0) -> list[str]:
        packets = [access_request(one, code, secret=SECRET) for one, code in codes.items()]
        with Peers(self.sekisho.where, 16) as peers:
            heard = names(peers.ask_all(packets, wait=wait))
        self.accepted |= {one: codes[one] for one, name in zip(codes, heard, strict=True) if name == ACCEPT}
        return heard

    def login_until(self, it_happened: Callable[[], bool]) -> None:
        """Until somebody hears nothing, and not because the machine has other work. (If it was the checkpointer's
        flush, the logins beside it had theirs before.)"""
        while SILENT not in self.login(20, wait=1.5) or not it_happened():
            pass

    def ends(self) -> None:
        """By itself, with the exit code that asks for another start."""
        assert self.sekisho.process is not None
        assert self.sekisho.process.wait(30) == STOPPED
        self.sekisho.process = None

    def check_nothing_is_lost(self) -> None:
        """Who was told that they are in is in the audit trail, and their code lets nobody in again."""
        told = dict(self.accepted)
        assert told
        assert self.ask(told) == [REJECT] * len(told)
        assert told.keys() <= {row.customer for row in self.sekisho.audit(event="login.accepted")}


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def scene(tmp_path: Path, disk: Disk, request: pytest.FixtureRequest) -> Iterator[Scene]:
    made = Scene(tmp_path, disk, request.param)
    made.sekisho.start()
    try:
        yield made
        assert made.sekisho.traceback() == ""
    finally:
        made.sekisho.close()


def fail_in_mid_load(scene: Scene, ending: str = "s.db-wal") -> None:
    """Logins, until one flush has failed; that the disk works again at once helps nobody."""
    assert set(scene.login(60)) == {ACCEPT}
    scene.disk.fail(ending)
    scene.login_until(lambda: scene.disk.has_failed)
    assert set(scene.login(20, wait=0.5)) == {SILENT}, "nobody is told anything afterwards"
    scene.ends()
    said = scene.sekisho.log_text()
    assert "nothing is acknowledged any more" in said and "cannot be flushed: Input/output error" in said


def test_the_start_after_a_failed_flush_writes_everything_anew(scene: Scene) -> None:
    fail_in_mid_load(scene)
    said = command(scene.sekisho, "doctor").stdout
    assert "fail  store: nothing is acknowledged, because its log cannot be flushed: Input/output error" in said
    scene.sekisho.start()
    assert "the store was written anew" in scene.sekisho.log_text()
    assert "ok    store:" in command(scene.sekisho, "doctor").stdout
    scene.check_nothing_is_lost()
    assert set(scene.login(60)) == {ACCEPT}
    scene.sekisho.kill()
    scene.disk.cut_power(scene.sekisho.database)
    scene.sekisho.start()
    scene.check_nothing_is_lost()
    assert set(scene.login(20)) == {ACCEPT}
    assert len(list(scene.sekisho.database.parent.glob("s.db.failed-*[0-9]Z"))) == 1, "the old one is kept once"


def test_a_power_cut_after_a_failed_flush_lets_nobody_in_twice(scene: Scene) -> None:
    """Before the next start could copy anything: what was told had been flushed, and codes of that time are void."""
    fail_in_mid_load(scene)
    scene.disk.cut_power(scene.sekisho.database)
    scene.sekisho.start()
    assert "may have lost what came last: every code that may have been used since is void" in scene.sekisho.log_text()
    scene.check_nothing_is_lost()
    assert set(scene.login(10)) == {REJECT}, "these codes are of the lost time"
    assert len(scene.sekisho.audit(event="store.lost-time-voided")) == 1
    scene.sekisho.stop()
    scene.sekisho.start()
    assert len(scene.sekisho.audit(event="store.lost-time-voided")) == 1, "once"


@pytest.mark.parametrize("then", ["gone", "aborted"])
def test_a_flush_that_fails_and_says_that_it_succeeded_tells_nobody_anything(scene: Scene, then: str) -> None:
    assert set(scene.login(60)) == {ACCEPT}
    scene.disk.lie(then, "s.db-wal")
    scene.login_until(lambda: scene.disk.has_lied)
    assert set(scene.login(20, wait=0.5)) == {SILENT}
    scene.ends()
    assert "its log cannot be used behind a flush: " in scene.sekisho.log_text()
    scene.disk.cut_power(scene.sekisho.database)
    scene.sekisho.start()
    scene.check_nothing_is_lost()


@pytest.mark.parametrize("then", ["gone", "aborted"])
def test_such_a_flush_tells_a_command_nothing_either(scene: Scene, then: str) -> None:
    assert set(scene.login(20)) == {ACCEPT}
    scene.disk.lie(then, "s.db-wal", OURS)
    done = command(scene.sekisho, "customer", "lock", "taro1", DISK_MINE=OURS)
    assert scene.disk.has_lied
    assert done.returncode == 4 and "its log cannot be used behind a flush" in done.stderr, done.stdout
    scene.ends()
    scene.disk.cut_power(scene.sekisho.database)
    scene.sekisho.start()
    scene.check_nothing_is_lost()


def test_a_kill_in_the_midst_of_a_failure_changes_nothing(scene: Scene) -> None:
    """The mark is in a block that all share: who is killed before they could end leaves it behind."""
    assert set(scene.login(60)) == {ACCEPT}
    scene.disk.fail("s.db-wal")
    while not scene.disk.has_failed:
        scene.login(20, wait=0.3)
    scene.sekisho.kill()
    scene.sekisho.start()
    assert "the store was written anew" in scene.sekisho.log_text()
    scene.check_nothing_is_lost()


def test_a_command_whose_flush_fails_stops_the_server_too(scene: Scene) -> None:
    """SQLite flushes in its COMMIT, in another process, and into the same log."""
    assert set(scene.login(20)) == {ACCEPT}
    scene.disk.fail("s.db-wal", OURS)
    done = command(scene.sekisho, "customer", "lock", "taro1", DISK_MINE=OURS)
    assert done.returncode == 4, done.stdout
    assert (
        "one of its files cannot be flushed" in done.stderr
        and "the next start of the server puts it right" in done.stderr
    )
    assert scene.disk.has_failed
    scene.ends()
    refused = command(scene.sekisho, "customer", "lock", "taro1")
    assert refused.returncode == 4 and "the next start of the server puts it right" in refused.stderr
    scene.sekisho.start()
    scene.check_nothing_is_lost()
    assert command(scene.sekisho, "customer", "lock", "taro1").returncode == 0


def test_a_page_whose_flush_fails_confirms_nothing_and_stops_the_server_too(tmp_path: Path, disk: Disk) -> None:
    port = free_port()
    more = f'[web]\nlisten = "127.0.0.1:{port}"\npublic_origin = "http://localhost:{port}"\n'
    scene = Scene(tmp_path, disk, 1, more)
    sekisho = scene.sekisho
    try:
        one = sekisho.customer(enrolled=False)
        client = PortalClient(Portal(sekisho.start(), port))
        assert client.sign_in(one).path == "/enrol/token"
        disk.fail("s.db-wal")
        told = client.post("/enrol/token", token_id=one.token_id, code=one.code(), go="enrol")
        assert disk.has_failed
        assert (told.status, told.path) == (503, "/enrol/token"), told.title
        scene.ends()
        sekisho.start()
        assert "the store was written anew" in sekisho.log_text()
        assert PortalClient(Portal(sekisho, port)).sign_in(one).status == 200
        assert len(sekisho.audit(one.contract_id, "otp.enrolled")) <= 1
        assert sekisho.traceback() == ""
    finally:
        sekisho.close()


def test_a_checkpoint_whose_flush_fails_stops_the_server_too(scene: Scene) -> None:
    """The store's own file: what a checkpoint copied into it is counted as written."""
    if not driver.resets_safely():
        pytest.skip("this SQLite makes its checkpoints by itself")
    scene.disk.fail("s.db")
    while not scene.disk.has_failed:
        scene.login(5, wait=1.0)
        time.sleep(0.1)
    scene.ends()
    scene.sekisho.start()
    assert "the store was written anew" in scene.sekisho.log_text()
    scene.check_nothing_is_lost()
    scene.sekisho.kill()
    scene.disk.cut_power(scene.sekisho.database)
    scene.sekisho.start()
    scene.check_nothing_is_lost()
