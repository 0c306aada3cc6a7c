"""Server processes for tests, forked from one that has imported the product already.

Importing takes a server longer than all else that it does before it serves. So each tester starts, with its first
server, a process that imports everything once (this module, run as a program). For each server it forks a keeper; the
keeper forks the server, waits for it and tells how it ended. The server runs ``python -m sekisho`` in a session of its
own, with the environment that it is given, as if it had been started anew. One whose environment is for Python or the
loader, or with a command around it, is started anew (tests/sekisho.py); so are those of `make demo` and of a release.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

PACKAGES = ("otp_core", "radius_server", "pam_module", "admin_web", "sekisho")
_NUMBER = struct.Struct("=i")
_MOST_OCTETS = 1 << 18


class Forked(subprocess.Popen[bytes]):
    """A server that a keeper waits for: what tests use of a Popen, without its pipes."""

    def __init__(self, arguments: Sequence[str], pid: int, told: int) -> None:
        self.args, self.pid = [*arguments], pid
        self.stdin = self.stdout = self.stderr = None
        self.returncode: Any = None
        self._told = told

    def __del__(self) -> None:
        os.close(self._told)

    def poll(self) -> int | None:
        """Its exit code, or the number of the signal that ended it as a negative one; None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """As ``poll``, as soon as it has ended. Raises subprocess.TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def send_signal(self, sig: int) -> None:
        """Nothing, once it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def _look(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], seconds)[0]:
            self.returncode = os.waitstatus_to_exitcode(_number(self._told))
        code: int | None = self.returncode
        return code


def start(arguments: Sequence[str], environment: Mapping[str, str], *, stdout: int, stderr: int) -> Forked:
    """``python -m sekisho ARGUMENTS``. ``stdout``, ``stderr``: the handles that it gets."""
    asked = {"arguments": [*arguments], "environment": {**environment}, "folder": os.getcwd()}
    told, tell = os.pipe()
    try:
        socket.send_fds(_preloaded()[0], [json.dumps(asked).encode()], [stdout, stderr, tell])
    finally:
        os.close(tell)
    return Forked(arguments, _number(told), told)


@functools.cache
def _preloaded() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The process that forks for this tester, and the wire to it. It ends when the tester has."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, "-P", __file__, str(theirs.fileno())]  # where tests/ is not looked for modules
        return ours, subprocess.Popen(command, pass_fds=[theirs.fileno()])


def _number(told: int) -> int:
    octets = os.read(told, _NUMBER.size)
    assert octets, "the keeper of this server has ended before it"
    number: int = _NUMBER.unpack(octets)[0]
    return number


def _fork_for(control: socket.socket) -> None:
    """Fork a server for each message until the tester has ended. Returns in the server, as what it is to be."""
    for package in PACKAGES:
        for info in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not info.name.endswith("__main__") and ".migrations." not in info.name:
                importlib.import_module(info.name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    while True:
        octets, handles, _, _ = socket.recv_fds(control, _MOST_OCTETS, 3)
        if not octets:
            sys.exit()
        if os.fork() == 0:
            control.close()
            return _keep(json.loads(octets), *handles)
        for handle in handles:
            os.close(handle)


def _keep(asked: dict[str, Any], stdout: int, stderr: int, tell: int) -> None:
    """Fork the server, in which this returns; tell its pid, wait, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid:
        os.close(stdout)
        os.close(stderr)
        os.write(tell, _NUMBER.pack(pid))
        _, status = os.waitpid(pid, 0)
        os.write(tell, _NUMBER.pack(status))
        os._exit(0)
    os.setsid()
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    for handle in (stdout, stderr, tell):
        os.close(handle)
    # Python asked of the former ones whether they can be rewound.
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    os.chdir(asked["folder"])
    sys.argv[1:] = asked["arguments"]


if __name__ == "__main__":
    _fork_for(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module("sekisho", run_name="__main__", alter_sys=True)
