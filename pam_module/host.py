"""What this machine knows of its users. Asked of the system each time, so that nobody has to be told of a change."""

from __future__ import annotations

import grp
import os
import pwd
import time
from datetime import date


def groups_of(user: str) -> frozenset[str]:
    """The names of a user's groups, the primary one included; none for somebody this machine does not know."""
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
    """In this machine's zone."""
    return date(*time.localtime()[:3])
