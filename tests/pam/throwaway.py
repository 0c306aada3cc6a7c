"""A machine to throw away: this one, with an /etc, /run and /var of its own (a mount namespace). For root.

Nothing that is done in it changes this machine: users, service files, sshd's settings are copies, and gone at the end.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

PATIENCE = 60.0
FIRST_UID = 54_321
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_COPIED = ("/etc", "/var/lib/pam", "/usr/share/pam-configs")
_EMPTY = ("/run", "/var/log", "/var/lib/sudo", "/var/mail")


def _allowed() -> bool:
    if os.geteuid() != 0:
        return False
    done = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return done.returncode == 0


needs_root = pytest.mark.skipif(not _allowed(), reason="needs root with a mount namespace of its own")


class Terminal:
    """A program at a terminal of its own, and the person in front of it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._master, slave = pty.openpty()
        environment = {"PATH": _PATH, "LANG": "C.UTF-8", "TERM": "dumb"}
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command], stdin=slave, stdout=slave, stderr=slave, env=environment, cwd="/"
        )
        os.close(slave)
        self.shown = ""
        self._read_to = 0

    def wait_for(self, *texts: str) -> str:
        """The first of them that is shown, after what was waited for before."""
        end = time.monotonic() + PATIENCE
        while True:
            new = self.shown[self._read_to :]
            found = [text for text in texts if text in new]
            if found:
                self._read_to += new.index(found[0]) + len(found[0])
                return found[0]
            assert self._more(end), f"{texts} was not shown, but: {self.shown!r}"

    def type(self, text: str) -> None:
        os.write(self._master, f"{text}\n".encode())

    def interrupt(self) -> None:
        os.write(self._master, b"\x03")

    def interrupted(self) -> int:
        """Its exit status after ^C, given again and again: what comes before a prompt stands, some throw away."""
        end = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError):
                self.interrupt()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
        return self.ends()

    def ends(self) -> int:
        """Its exit status, when all that it shows has been read."""
        end = time.monotonic() + PATIENCE
        while self._more(end):
            pass
        return self._process.wait(PATIENCE)

    def _more(self, end: float) -> bool:
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
            raise AssertionError(f"nothing more was shown, and it did not end: {self.shown!r}")
        try:
            octets = os.read(self._master, 4096)
        except OSError:  # the other side has closed
            return False
        self.shown += octets.decode(errors="replace")
        return bool(octets)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        os.close(self._master)


class Throwaway:
    """``folder`` must be on a disk whose setuid programs count."""

    def __init__(self, folder: Path) -> None:
        self.etc = folder / "copies" / "etc"
        for original in _COPIED:
            copy = folder / "copies" / original[1:]
            copy.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", original, str(copy)], check=True)
        binds = [f"mount --bind {folder}/copies{original} {original}" for original in _COPIED]
        empties = [f"mount -t tmpfs -o mode=755 none {place}" for place in _EMPTY]
        steps = [*binds, *empties, "mkdir -p /run/sshd", "echo up", "exec sleep infinity"]
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec", "; ".join(steps)], stdout=subprocess.PIPE
        )
        assert self._keeper.stdout is not None
        assert self._keeper.stdout.readline() == b"up\n"
        self._uids = iter(range(FIRST_UID, 60_000))
        self._running: list[subprocess.Popen[bytes]] = []
        self._terminals: list[Terminal] = []

    def add_user(self, name: str, password_hash: str = "*") -> int:
        """Its uid."""
        uid = next(self._uids)
        self._append("passwd", f"{name}:x:{uid}:{uid}::/:/bin/sh")
        self._append("group", f"{name}:x:{uid}:")
        self._append("shadow", f"{name}:{password_hash}:19000:0:99999:7:::")
        return uid

    def _append(self, file: str, line: str) -> None:
        with (self.etc / file).open("a") as lines:
            lines.write(line + "\n")

    def service(self, name: str, stack: str) -> None:
        (self.etc / "pam.d" / name).write_text(stack)

    def inside(self, *command: str, uid: int | None = None) -> list[str]:
        enter = ["nsenter", f"--mount=/proc/{self._keeper.pid}/ns/mnt"]
        if uid is None:
            return [*enter, *command]
        return [*enter, "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *command]

    def run(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.inside(*command), capture_output=True, timeout=PATIENCE, check=False, env={"PATH": _PATH}
        )

    def spawn(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as out:
            process = subprocess.Popen(self.inside(*command), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._running.append(process)
        return process

    def at_a_terminal(self, *command: str, uid: int | None = None) -> Terminal:
        """The terminal becomes the program's own: setsid outside, the user inside."""
        terminal = Terminal(self.inside(*command, uid=uid))
        self._terminals.append(terminal)
        return terminal

    def close(self) -> None:
        for terminal in self._terminals:
            terminal.close()
        for process in (*self._running, self._keeper):
            process.kill()
            process.wait(PATIENCE)
        if self._keeper.stdout:
            self._keeper.stdout.close()


@contextlib.contextmanager
def throwaway(folder: Path) -> Iterator[Throwaway]:
    one = Throwaway(folder)
    try:
        yield one
    finally:
        one.close()
        shutil.rmtree(folder / "copies")
