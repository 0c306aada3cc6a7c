"""The doors of this program, by name: the settings section of each, and how it is made from that section.

Only this table names them. There is no plug-in mechanism: a door is part of the program, and its
section part of the schema (settings.py). The rooms of the HTTP doors are imported when one is made: aiohttp and Jinja
take a third as long as everything else of a start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from otp_core.doors import AttributeDoor, Door
from otp_core.model import AttributeCheck
from otp_core.settings import Problem
from pam_module.door import PamDoor
from radius_server.door import RadiusDoor
from sekisho.settings import Settings


def _api(section: Any) -> Door[Any]:
    from admin_web.api.door import ApiDoor

    return ApiDoor(section)


def _console(section: Any) -> Door[Any]:
    from admin_web.console.door import ConsoleDoor

    return ConsoleDoor(section)


def _soft_token(section: Any) -> Door[Any]:
    from admin_web.softtoken.door import SoftTokenDoor

    return SoftTokenDoor(section)


def _web(section: Any) -> Door[Any]:
    from admin_web.portal.door import WebDoor

    return WebDoor(section)


class Entry(NamedTuple):
    """``section``: an attribute of Settings; ``make`` takes its value, which is None for a section that is left out.
    ``beside``: the sections whose doors this one's pages name, by a link, by the bank's looks or in a list.
    ``asked_for_as``: its name for ``serve --doors``; the doors of one name share a process."""

    section: str
    make: Callable[[Any], Door[Any]]
    asked_for_as: str
    beside: tuple[str, ...] = ()

    def section_of(self, settings: Settings) -> Any:
        """The section, with what it has to know of those beside it."""
        section = getattr(settings, self.section)
        if section is None or not self.beside:
            return section
        return section.beside(*(getattr(settings, name) for name in self.beside))


DOORS: dict[str, Entry] = {
    "api": Entry("api", _api, "api", beside=("console",)),
    "console": Entry("console", _console, "console", beside=("web", "radius", "certificates")),
    "pam": Entry("pam", PamDoor, "pam"),
    "radius": Entry("radius", RadiusDoor, "radius"),
    "soft_token": Entry("soft_token", _soft_token, "web", beside=("web",)),
    "web": Entry("web", _web, "web", beside=("soft_token",)),
}

NAMES = tuple(dict.fromkeys(entry.asked_for_as for entry in DOORS.values()))
"""What ``serve --doors`` takes."""


class Process(NamedTuple):
    """One process of the server. ``name``: in the log and the list of processes; ``doors``: names in DOORS.
    ``essential``: the server is not worth running without it."""

    name: str
    doors: tuple[str, ...]
    essential: bool = True


def processes(settings: Settings, asked_for: Collection[str] = NAMES, *, apart: bool = True) -> list[Process]:
    """Which doors share a process. What a browser or a program sends may not delay a gateway, so the HTTP doors have a
    process of their own; the modules of this machine are served by the RADIUS workers. ``asked_for``: of NAMES.
    ``apart``: several processes may write. Empty if there is nothing to serve."""
    of = {
        name: tuple(
            door
            for door, entry in DOORS.items()
            if name == entry.asked_for_as and name in asked_for and getattr(settings, entry.section) is not None
        )
        for name in NAMES
    }
    pages = of["web"] + of["console"] + of["api"]
    if not apart:
        together = of["radius"] + of["pam"] + pages
        return [Process("radius" if of["radius"] else "doors", together)] if together else []
    workers = (settings.radius.workers or os.cpu_count() or 1) if of["radius"] else 1
    found = [Process("radius" if of["radius"] else "pam", of["radius"] + of["pam"])] * workers
    found = [one for one in found if one.doors]
    return [*found, Process("web", pages, essential=not found)] if pages else found


def make_doors(settings: Settings, names: Collection[str] = tuple(DOORS)) -> dict[str, Door[Any]]:
    """These doors, made from these settings and not opened yet."""
    return {name: entry.make(entry.section_of(settings)) for name, entry in DOORS.items() if name in names}


def reload_doors(doors: dict[str, Door[Any]], settings: Settings) -> None:
    """Hand each door its section of new settings."""
    for name, door in doors.items():
        door.reload(DOORS[name].section_of(settings))


def _open(settings: Settings) -> list[str]:
    """The doors that have a section."""
    return [name for name, entry in DOORS.items() if getattr(settings, entry.section) is not None]


def door_problems(settings: Settings) -> list[Problem]:
    """Problems that only a door can find in its section (a certificate, a dictionary)."""
    return [problem for door in make_doors(settings, _open(settings)).values() for problem in door.problems()]


def attribute_check(settings: Settings) -> AttributeCheck:
    """One check of reply attributes that asks every door which sends them."""
    doors = make_doors(settings, _open(settings)).values()
    checks = [door.attribute_check() for door in doors if isinstance(door, AttributeDoor)]
    return lambda attributes: [problem for check in checks for problem in check(attributes)]
