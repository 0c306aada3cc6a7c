"""What this machine knows about its users. Nothing is cached: the system is asked each time. May block."""

from __future__ import annotations

import grp
import os
import pwd
import time
from datetime import date


def groups_of(user: str) -> frozenset[str]:
    """The names of a user's groups, the primary one included. Empty for a user whom this machine does not know."""
    try:
        gids = os.getgrouplist(user, pwd.getpwnam(user).pw_gid)
    except (KeyError, ValueError):
        return frozenset()
    return frozenset(name for gid in gids if (name := _group(gid)))


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""


def today() -> date:
    """The date in this machine's time zone."""
    return date(*time.localtime()[:3])
