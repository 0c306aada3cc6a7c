"""What an examination (`sekisho doctor`) reports: one result for each check. Values only."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class CheckState(StrEnum):
    """How a check went. OK: it was tried, and is well. WARN: it works, but is weaker or of less use than it looks.
    FAIL: it has to be changed. SKIP: nothing was tried, and nothing is wrong with that."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


class CheckResult(NamedTuple):
    """One finding. ``check``: its subject. ``text``: what was found and, unless it is OK, what to do."""

    state: CheckState
    check: str
    text: str
