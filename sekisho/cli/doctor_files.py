"""What `sekisho doctor` says about the files of the store: whether it goes on, who may open them, whose they are."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from glob import escape
from pathlib import Path

from otp_core.checks import CheckResult, CheckState

_SHOWN = 5
"""Files that are named."""


def examine_files(file: Path) -> Iterator[CheckResult]:
    """``file``: the store. Raises OSError."""
    yield _store(file)
    wrong = list(_beside(file, file.stat().st_uid))
    for text in wrong[:_SHOWN]:
        yield CheckResult(CheckState.WARN, "store", text)
    if len(wrong) > _SHOWN:
        yield CheckResult(CheckState.WARN, "store", f"and {len(wrong) - _SHOWN:,} more files beside it")


def _store(file: Path) -> CheckResult:
    from otp_core.store.sqlite.outside import why_stopped

    if stopped := why_stopped(file):
        text = f"nothing is acknowledged, because {stopped.text}: start the server anew, which puts the store right"
        return CheckResult(CheckState.FAIL, "store", text)
    if (warning := _open_to_others(file, file.stat())) is not None:
        return CheckResult(CheckState.WARN, "store", warning)
    if os.access(file, os.W_OK) and os.access(file.parent, os.W_OK):
        return CheckResult(CheckState.OK, "store", f"{file} opens")
    return CheckResult(CheckState.FAIL, "store", f"{file} or its folder cannot be written: check their owner and mode")


def _beside(file: Path, owner: int) -> Iterator[str]:
    """What is wrong with the files beside the store: who may open its locks and its state can stop every login."""
    for path in sorted(file.parent.glob(f"{escape(file.name)}?*")):
        found = path.lstat()
        if found.st_uid != owner:
            yield f"{path} belongs to another user than the store: chown --reference={file} {path}"
        elif stat.S_ISREG(found.st_mode) and (text := _open_to_others(path, found)) is not None:
            yield text


def _open_to_others(path: Path, found: os.stat_result) -> str | None:
    mode = stat.S_IMODE(found.st_mode)
    return f"{path} is open to others (mode {mode:04o}): chmod 600 {path}" if mode & 0o077 else None
