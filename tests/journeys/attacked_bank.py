"""A bank that strangers attack: two workers, pages, soft token and PAM in one server, and what it takes to run."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import IO

from tests.sekisho import Sekisho, client_table, free_port

CODE, ASKING = "127.0.1.1", "127.0.2.0/24"
NICE = os.environ.get("SEKISHO_STRANGERS_NICE", "")
"""The niceness of the server's session (sched(7), autogroup), on a machine that is busy with other things; for root."""


class Bank(Sekisho):
    """Two workers, pages, soft token over TLS, PAM; hashes as expensive as the default; its log goes through a pipe."""

    def __init__(self, folder: Path) -> None:
        self.portal, self.soft_token = free_port(), free_port()
        self.socket = folder / "pam.sock"
        self.reading = threading.Event()
        self.reading.set()
        self.reader: threading.Thread | None = None
        certify(folder)
        more = (
            f'[web]\nlisten = "127.0.0.1:{self.portal}"\npublic_origin = "http://localhost:{self.portal}"\n'
            f'[soft_token]\nlisten = "127.0.0.1:{self.soft_token}"\n'
            f'public_origin = "https://localhost:{self.soft_token}"\n'
            f'tls_certificate = "a.pem"\ntls_key = "a.key"\n[pam]\nsocket = "{self.socket}"\n'
        )
        clients = client_table("gateway", CODE, "code") + client_table("other", ASKING, "challenge")
        super().__init__(folder, clients, more, (f"127.0.0.1:{free_port()}",), 2)

    def write_config(self) -> None:
        super().write_config()
        text = self.config.read_text().replace("memory_kib = 256\ntime_cost = 1\n", "")
        self.config.write_text(text)

    def spawn(self, *arguments: str, stderr: int | None = None) -> subprocess.Popen[bytes]:
        assert stderr is None
        out, into = os.pipe()
        process = super().spawn(*arguments, stderr=into)
        if NICE:
            Path(f"/proc/{process.pid}/autogroup").write_text(NICE)
        os.close(into)
        self.reader = threading.Thread(target=self.read, args=(os.fdopen(out, "rb", buffering=0),))
        self.reader.start()
        return process

    def read(self, lines: IO[bytes]) -> None:
        with lines, self.log.open("ab") as log:
            while octets := lines.read(65536):
                log.write(octets)
                log.flush()
                self.reading.wait()

    def close(self) -> None:
        self.reading.set()
        super().close()
        if self.reader:
            self.reader.join(30)

    def every_pid(self) -> list[int]:
        assert self.process is not None
        return [self.process.pid, *self.children, *self.checkpointers]

    def memory_kib(self) -> int:
        """Resident memory of all processes, what they share counted in each."""
        return sum(_resident_kib(pid) for pid in self.every_pid())

    def open_files(self) -> Counter[str]:
        """How many of each process and kind; of what is gone meanwhile, none."""
        found: Counter[str] = Counter()
        for pid in self.every_pid():
            with contextlib.suppress(OSError):
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                for number in os.listdir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        target = os.readlink(f"/proc/{pid}/fd/{number}")
                        found[f"{name}: {target.partition(':[')[0].rpartition('/')[2]}"] += 1
        return found

    def log_octets(self) -> int:
        """Size of the store's log."""
        with contextlib.suppress(FileNotFoundError):
            return self.database.with_name("s.db-wal").stat().st_size
        return 0


def _resident_kib(pid: int) -> int:
    with contextlib.suppress(OSError):
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) if found else 0
    return 0


def certify(folder: Path) -> None:
    line = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout {folder}/a.key -out {folder}/a.pem"
    subprocess.run(line.split(), check=True, capture_output=True)
