"""The doors of this program, by name: the settings section of each, and how it is made from that section.

Only this table names them. There is no plug-in mechanism: a door is part of the program, and its
section part of the schema (settings.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from admin_web.portal.door import WebDoor
from admin_web.softtoken.door import SoftTokenDoor
from otp_core.doors import AttributeCheck, AttributeDoor, Door
from otp_core.settings import Problem
from pam_module.door import PamDoor
from radius_server.door import RadiusDoor
from sekisho.settings import Settings


class Entry(NamedTuple):
    """``section``: an attribute of Settings; ``make`` takes its value, which is None for a section that is left out."""

    section: str
    make: Callable[[Any], Door[Any]]


DOORS: dict[str, Entry] = {
    "pam": Entry("pam", PamDoor),
    "radius": Entry("radius", RadiusDoor),
    "soft_token": Entry("soft_token", SoftTokenDoor),
    "web": Entry("web", WebDoor),
}


def make_doors(settings: Settings) -> dict[str, Door[Any]]:
    """Every door, made from these settings and not opened yet."""
    return {name: entry.make(getattr(settings, entry.section)) for name, entry in DOORS.items()}


def reload_doors(doors: dict[str, Door[Any]], settings: Settings) -> None:
    """Hand each door its section of new settings."""
    for name, door in doors.items():
        door.reload(getattr(settings, DOORS[name].section))


def door_problems(settings: Settings) -> list[Problem]:
    """Problems that only a door can find in its section (a certificate, a dictionary)."""
    return [problem for door in make_doors(settings).values() for problem in door.problems()]


def attribute_check(settings: Settings) -> AttributeCheck:
    """One check of reply attributes that asks every door which sends them."""
    doors = make_doors(settings).values()
    checks = [door.attribute_check() for door in doors if isinstance(door, AttributeDoor)]
    return lambda attributes: [problem for check in checks for problem in check(attributes)]
