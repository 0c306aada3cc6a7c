"""What a reload (SIGHUP) takes over of a section: new values, except for the keys that only take effect at a restart.

It compares and logs. It reads no file, and applies nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

import structlog

from otp_core.settings.section import Section

S = TypeVar("S", bound=Section)
_log = structlog.get_logger("settings")


def take_over(name: str, started: S, new: S, restart_keys: Collection[str]) -> S:
    """The section to use after a reload: ``new``, with ``restart_keys`` as they were when the program started.

    ``name``: the section's name, for the log. Each restart key that has changed is a warning at every reload, until it
    is set back or the program is restarted.
    """
    at_start = {key: getattr(started, key) for key in restart_keys}
    for key, value in at_start.items():
        if getattr(new, key) != value:
            _log.warning("a changed setting waits for a restart", setting=f"{name}.{key}")
    return new.model_copy(update=at_start)


def take_over_optional(name: str, started: S | None, new: S | None, restart_keys: Collection[str]) -> S | None:
    """The same for a section that may be left out; None: nothing to take over, because it is or was left out.

    A section that has been added or taken out waits for a restart too, and is a warning.
    """
    if (started is None) != (new is None):
        _log.warning("a changed section waits for a restart", section=name)
    if started is None or new is None:
        return None
    return take_over(name, started, new, restart_keys)
