"""Where the tests of a run, and all that they start, keep what is not in pytest's own folders: in one folder, which
ends with the run. Who is ended without a word, or leaves by os._exit as children of multiprocessing do, removes nothing
itself."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_USUAL = "SEKISHO_TESTS_USUAL_TEMPORARY"


def begin() -> Path | None:
    """The folder, which the caller removes; None where one was found: by a tester, or a pytest that a test calls."""
    if _USUAL in os.environ:
        return None
    os.environ[_USUAL] = tempfile.gettempdir()
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix="sekisho-"))
    folder.chmod(0o1777)  # as the usual one: some servers run as users of their own
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    return folder


def usual() -> Path:
    """What all runs on this machine share."""
    return Path(os.environ.get(_USUAL) or tempfile.gettempdir())
