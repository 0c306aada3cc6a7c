"""A PostgreSQL of a test's own: in a folder, on a socket, made once for each worker; and stores in it, each a copy of
one that was made once.

`SEKISHO_ENGINE=postgresql` runs the tests of the core, the doors and the journeys on it; those that are about SQLite's
files alone are marked ``sqlite_files``.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from otp_core.audit import Ids
from otp_core.store.store import initialise

BY_ENVIRONMENT = os.environ.get("SEKISHO_ENGINE") == "postgresql"
USER = "sekisho"
QUICK = ("fsync=off", "full_page_writes=off", "autovacuum=off", "max_connections=200", "shared_buffers=64MB")


def programs() -> Path:
    """Where Debian keeps the server's programs, of the newest version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    assert found, "apt-get install postgresql"
    return found[-1].parent


class Server:
    """A server in ``folder``, which its user owns. ``settings``: lines of postgresql.conf."""

    def __init__(self, folder: Path, *settings: str, port: int = 5432, data: Path | None = None) -> None:
        self.folder, self.port, self.settings = folder, port, settings
        self.data = data or folder / "data"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def as_user(self) -> list[str]:
        """PostgreSQL refuses to be run by root."""
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []

    def create(self) -> Server:
        """Make the cluster: a copy of one that was made once."""
        own_folder(self.folder)
        self.run("cp", "-a", _new_cluster(), self.data)
        return self

    def run(self, *command: object) -> None:
        """Run a program as the server's user."""
        done = subprocess.run(
            [*self.as_user, *map(str, command)], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        assert done.returncode == 0, done.stdout.decode()

    def start(self) -> Server:
        """Start it, and wait until it answers."""
        options = [f"unix_socket_directories={self.folder}", f"port={self.port}", *self.settings]
        if not any(one.startswith("listen_addresses") for one in options):
            options.append("listen_addresses=")
        command = [*self.as_user, str(programs() / "postgres"), "-D", str(self.data)]
        for option in options:
            command += ["-c", option]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log)
        end = time.monotonic() + 30
        while True:
            try:
                self.connect("postgres").close()
            except psycopg.OperationalError:
                assert self.process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()
                time.sleep(0.02)
            else:
                return self

    def stop(self, number: int = 2) -> None:
        """``number``: of a signal; 2 ends it at once and in order, 9 as a crash does."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def reload(self) -> None:
        """Have it read its files again."""
        with self.connect("postgres") as connection:
            connection.execute("SELECT pg_reload_conf()")

    def follow(self, primary: Server) -> Server:
        """Make the cluster of a standby of ``primary``, which it finds by its socket."""
        own_folder(self.folder)
        command = [programs() / "pg_basebackup", "--no-sync", "-h", primary.folder, "-p", primary.port, "-U", USER]
        self.run(*command, "-D", self.data, "-R", "-X", "stream", "-c", "fast")
        return self

    def promote(self) -> None:
        """A standby becomes the primary."""
        self.run(programs() / "pg_ctl", "promote", "-D", self.data, "-w", "-t", "30")

    @property
    def pids(self) -> list[int]:
        """All of its processes."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Not one of its processes does anything meanwhile."""
        pids = self.pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """As a machine that loses its power: nothing of it answers any more."""
        assert self.process is not None
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        self.process.wait(30)
        self.process = None

    def connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        """Of a stranger, in autocommit."""
        return psycopg.connect(
            host=str(self.folder), port=self.port, user=USER, dbname=database, autocommit=True, connect_timeout=5
        )

    def url(self, database: str) -> str:
        """For ``store.url``."""
        return f"postgresql://{USER}@/{database}?host={self.folder}&port={self.port}"

    def create_database(self, name: str, template: str = "template1") -> None:
        """``template``: nobody may be connected to it."""
        with self.connect("postgres") as connection:
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))

    def has(self, database: str) -> bool:
        """Whether there is such a database."""
        with self.connect("postgres") as connection:
            return (
                connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone() is not None
            )


@contextlib.contextmanager
def shut(database: str) -> Iterator[None]:
    """Of this worker's server: nobody is connected to a database meanwhile, or can connect to it."""

    def let_in(yes: bool) -> None:
        connection.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(database), sql.Literal(yes))
        )

    with server().connect("postgres") as connection:
        let_in(False)
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (database,)
        )
        try:
            yield
        finally:
            let_in(True)


@contextlib.contextmanager
def read_only(database: str) -> Iterator[None]:
    """Of this worker's server: as ``shut``, but who connects may read."""

    def allow(writes: bool) -> None:
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}").format(
                sql.Identifier(database), sql.Literal(not writes)
            )
        )
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (database,)
        )

    with server().connect("postgres") as connection:
        allow(False)
        try:
            yield
        finally:
            allow(True)


def own_folder(folder: Path) -> None:
    """Give a folder to the server's user."""
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    folder.chmod(0o755)


@functools.cache
def _new_cluster() -> Path:
    """The files of a cluster that was never started."""
    folder = Path(tempfile.mkdtemp(prefix="sekisho-pg-new-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    own_folder(folder)
    maker = Server(folder)
    maker.run(programs() / "initdb", "-N", "-A", "trust", "-U", USER, "--locale=C.UTF-8", "-D", maker.data)
    return maker.data


@functools.cache
def server() -> Server:
    """This worker's."""
    folder = Path(tempfile.mkdtemp(prefix="sekisho-pg-"))
    made = Server(folder, *QUICK).create().start()

    def remove() -> None:
        made.stop(3)
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return made


def lacks_fsync_alone(said: str) -> bool:
    """Of `sekisho doctor`, as lines or as JSON: nothing fails but what QUICK has switched off."""
    failed = [line for line in said.splitlines() if line.startswith(("fail ", '{"state": "fail"'))]
    return BY_ENVIRONMENT and len(failed) == 1 and "fsync or full_page_writes is off" in failed[0]


_MADE: dict[Path, str] = {}
_GONE_AT_ONCE = 50
"""A database that is dropped costs a checkpoint."""


def _drop_those_gone() -> None:
    """The stores of folders that tests have left: one takes 9 MB, and a run makes thousands."""
    gone = [folder for folder in _MADE if not folder.exists()]
    if len(gone) < _GONE_AT_ONCE:
        return
    with server().connect("postgres") as connection:
        for folder in gone:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_MADE.pop(folder)))
            )


@functools.cache
def empty_store() -> Path:
    """The folder with the key of the empty store, which is the database ``empty``."""
    at = server()
    at.create_database("empty")
    initialise(at.url("empty"), at.folder / "master.key", ids=Ids(), say=lambda _: None)
    return at.folder


def store_in(folder: Path) -> str:
    """The URL of the store that belongs to a folder, made with its key at the first call."""
    at, name = server(), f"s{hashlib.sha256(str(folder).encode()).hexdigest()[:24]}"
    if not at.has(name):
        _drop_those_gone()
        _MADE[folder] = name
        shutil.copy(empty_store() / "master.key", folder / "master.key")
        at.create_database(name, "empty")
    return at.url(name)
