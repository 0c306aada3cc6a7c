"""A primary and a standby of a test's own, which takes over when the test says so."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.postgresql import USER, Server

DATABASE = "sekisho"


@dataclass
class Pair:
    """A primary with one standby, and the URL that names both."""

    primary: Server
    standby: Server

    @property
    def url(self) -> str:
        folders = f"{self.primary.folder},{self.standby.folder}"
        return f"postgresql://{USER}@/{DATABASE}?host={folders}&port={self.primary.port}"

    def fail_over(self) -> None:
        """The primary's machine is lost, and the standby takes over."""
        self.primary.kill()
        self.standby.promote()


@contextmanager
def pair_of_servers(
    *settings: str, synchronous: bool, port: int = 5432, hosts: tuple[str, ...] = ("", "")
) -> Iterator[Pair]:
    """``settings`` of both. ``synchronous``: the standby is; it waits for nobody when it has become the primary.
    ``hosts``: the addresses they listen at; "": at their sockets alone."""
    folders = [Path(tempfile.mkdtemp(prefix="sekisho-pg-")) for _ in range(2)]
    listening = [f"listen_addresses={host}" for host in hosts]
    primary = Server(folders[0], listening[0], port=port).create()
    standby = Server(folders[1], *settings, listening[1], "synchronous_standby_names=", "hot_standby=on", port=port)
    try:
        primary.settings = (*settings, listening[0])
        primary.start().create_database(DATABASE)
        standby.follow(primary).start()
        if synchronous:
            with primary.connect("postgres") as connection:
                connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
                connection.execute("SELECT pg_reload_conf()")
                while connection.execute("SHOW synchronous_standby_names").fetchone() != ("*",):
                    time.sleep(0.01)
        yield Pair(primary, standby)
    finally:
        for server in (standby, primary):
            if server.process is not None:
                server.stop(3)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
