"""A pam-agent for the tests: a real process, a settings file, a socket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.pam.host import wait_for
from tests.sekisho import SECRET


class Agent:
    """``servers``: ports on loopback."""

    def __init__(self, folder: Path, servers: Sequence[int], more: str = "", secret: str = SECRET) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.path, self.log = folder, folder / "pam.sock", folder / "agent.log"
        (folder / "secret").write_text(secret)
        (folder / "secret").chmod(0o600)
        self.offline = folder / "offline"
        self.offline.mkdir(exist_ok=True, mode=0o700)
        self.settings = folder / "agent.toml"
        listed = ", ".join(f'"127.0.0.1:{port}"' for port in servers)
        self.settings.write_text(
            f'[agent]\nservers = [{listed}]\nsecret_file = "secret"\nsocket = "{self.path}"\n'
            f'nas_identifier = "web1"\noffline_folder = "{self.offline}"\n{more}'
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, stderr: int | None = None, environment: Mapping[str, str] | None = None) -> Agent:
        """``stderr``: a handle in place of the log. ``environment``: what it has beside ours."""
        command = [sys.executable, "-m", "sekisho", "pam-agent", "--settings", str(self.settings)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=stderr or log, env={**os.environ, **(environment or {})}
            )
        wait_for(self.path)
        return self

    def log_text(self) -> str:
        return self.log.read_text()

    def wait_for_log(self, text: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while text not in self.log_text():
            assert time.monotonic() < end, self.log_text()
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(60)
        self.process = None
        return code


@contextmanager
def agent(
    folder: Path, servers: Sequence[int], more: str = "timeout = 0.5\nretries = 1\n", **options: str
) -> Iterator[Agent]:
    one = Agent(folder, servers, more, **options).start()
    try:
        yield one
    finally:
        if one.process is not None:
            one.stop(signal.SIGKILL)
