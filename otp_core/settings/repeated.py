"""Finds entries of a list that are given twice, in values that are not checked yet. It never raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from otp_core.settings.sources import SourceMap
from otp_core.settings.toml_lines import Location

Remark = tuple[Location, str]
"""A location, and the message about it."""


def entries(found: object, location: Location) -> list[tuple[Location, Any]]:
    """The elements of a list with their locations; empty if ``found`` is no list."""
    return [((*location, index), entry) for index, entry in enumerate(found)] if isinstance(found, list) else []


def tables(found: object, location: Location) -> list[tuple[Location, dict[str, Any]]]:
    """The same, only elements that are tables."""
    return [(at, entry) for at, entry in entries(found, location) if isinstance(entry, dict)]


def repeated(
    found: Iterable[tuple[Location, Any]], read: Callable[[Any], object], sources: SourceMap
) -> Iterator[Remark]:
    """A remark for each text that means the same as an earlier one: ``read`` gives the meaning. Texts for which it
    raises ValueError are left out, because they are reported elsewhere."""
    first: dict[object, Location] = {}
    for location, text in found:
        if not isinstance(text, str):
            continue
        try:
            value = read(text)
        except ValueError:
            continue
        if value in first:
            yield location, f"{value} is given twice; the first is at {sources.nearest(first[value])}"
        else:
            first[value] = location
