"""What a forked process does first: it has a name in the list of processes, and it does not outlive its parent."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


def end_with(parent: int) -> None:
    """This process is killed (SIGKILL) as soon as ``parent``, which forked it, has ended. Call it first in the child.

    SIGKILL and not SIGTERM, because a process that stands still would keep the ports, and the next start would find
    them taken. Nothing that was answered is lost: it is on disk before it is told. See prctl(2), PR_SET_PDEATHSIG."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel does not tell of the parent's end (prctl, PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it ended between the fork and the line above
        os._exit(1)


def be_called(name: str) -> None:
    """Show ``name`` (at most 15 octets) where ps and top show the program's."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)
