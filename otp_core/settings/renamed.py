"""Keys that had another name in an earlier version: still read, with a warning that gives the new form. Pure.

A field is marked with ``Annotated[int, FormerName("old_name")]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel

from otp_core.settings.problems import Problem, key_path
from otp_core.settings.schema import element_of, is_model, kind_at, markers
from otp_core.settings.toml_lines import Location


@dataclass(frozen=True, slots=True)
class FormerName:
    """Marks a field whose key had this name before."""

    name: str


class Renamed(NamedTuple):
    """``values`` under today's keys. ``former``: each former name that was replaced, by its location as the source
    spells it -> today's key."""

    values: dict[str, Any]
    former: Mapping[Location, str]

    def today(self, location: Location) -> Location:
        """The location by today's keys, from the source's spelling."""
        return tuple(self.former.get(location[:end], name) for end, name in enumerate(location, 1))


@cache
def former_names(table: type[BaseModel]) -> Mapping[str, str]:
    """Former name -> today's name, for the keys of one table."""
    return {marker.name: name for name, field in table.model_fields.items() for marker in markers(field, FormerName)}


def renamed(values: dict[str, Any], schema: type[BaseModel]) -> Renamed:
    """Replace former names, at any depth. The values are not checked yet: what has the wrong type is left as it is.
    Where one table has both names of a key, the former one stays, to be reported as an unknown key."""
    former: dict[Location, str] = {}
    return Renamed(dict(_items(values, schema, (), former)), former)


def current(location: Location, schema: type[BaseModel]) -> Location:
    """The location with every former name replaced, whatever values there are."""
    found: Location = ()
    for name in location:
        table = kind_at(found, schema)
        known = former_names(table) if is_model(table) else {}
        found = (*found, known.get(str(name), name))
    return found


def _items(
    values: dict[str, Any], table: type[BaseModel], at: Location, former: dict[Location, str]
) -> Iterator[tuple[str, Any]]:
    known = former_names(table)
    for name, value in values.items():
        today = known.get(name, name)
        if today != name and today in values:
            today = name
        here = (*at, name)
        if today != name:
            former[here] = today
        yield today, _value(value, kind_at((today,), table), here, former)


def _value(value: Any, kind: Any, at: Location, former: dict[Location, str]) -> Any:
    if isinstance(value, dict) and is_model(kind):
        return dict(_items(value, kind, at, former))
    if isinstance(value, list) and is_model(element := element_of(kind)):
        return [_value(one, element, (*at, index), former) for index, one in enumerate(value)]
    return value


def warning(where: str, location: Location, today: str) -> Problem:
    """The warning about a former name at ``location``, for a key that is called ``today`` now."""
    return Problem(where, key_path(location), f"is called {today} now: write {today} in its place")
