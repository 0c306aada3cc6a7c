"""Keys that had another name in an earlier version: still read, with a warning that gives the new form. Pure.

A field says so with ``Annotated[int, FormerName("old_name")]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

from otp_core.settings.problems import Problem, key_path
from otp_core.settings.schema import element_of, is_model, kind_at, markers
from otp_core.settings.toml_lines import Location


@dataclass(frozen=True, slots=True)
class FormerName:
    """Marks a field: what its key was called before."""

    name: str


def current(location: Location, schema: type[BaseModel]) -> Location:
    """The location with every former name replaced by today's."""
    found: Location = ()
    for name in location:
        table = kind_at(found, schema)
        known = former_names(table) if is_model(table) and isinstance(name, str) else {}
        found = (*found, known.get(str(name), name))
    return found


def former_names(table: type[BaseModel]) -> dict[str, str]:
    """Former name -> today's name, for the keys of one table."""
    return {mark.name: name for name, field in table.model_fields.items() for mark in markers(field, FormerName)}


def renamed(values: dict[str, Any], schema: type[BaseModel], say: Callable[[Location, str], None]) -> dict[str, Any]:
    """The values under today's keys. ``say(location, new name)`` is called for each former name, with its location as
    the source spells it. Where both names are given, the former one stays, and is reported as an unknown key."""
    return dict(_items(values, schema, (), say))


def _items(
    values: dict[str, Any], table: Any, at: Location, say: Callable[[Location, str], None]
) -> Iterator[tuple[str, Any]]:
    known = former_names(table) if is_model(table) else {}
    for name, value in values.items():
        today = known.get(name, name)
        if today in values and today != name:
            today = name
        if today != name:
            say((*at, name), today)
        yield today, _value(value, kind_at((today,), table) if is_model(table) else None, (*at, name), say)


def _value(value: Any, kind: Any, at: Location, say: Callable[[Location, str], None]) -> Any:
    if isinstance(value, dict) and is_model(kind):
        return dict(_items(value, kind, at, say))
    if isinstance(value, list) and get_args(kind):
        return [_value(one, element_of(kind), (*at, index), say) for index, one in enumerate(value)]
    return value


def warning(where: str, location: Location, today: str) -> Problem:
    """What is said about a former name."""
    return Problem(where, key_path(location), f"is called {today} now: write {today} in its place")
