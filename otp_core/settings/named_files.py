"""Handles the file names among the settings: completes relative ones, checks that files exist, reads shared secrets.

A relative name starts from the secrets folder if it names a secret and there is such a folder, otherwise from the
settings file's folder. It never looks in two folders. Fields that name files have a ``FileName`` marker.
"""

from __future__ import annotations

from copy import deepcopy
from os.path import isfile
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from otp_core.settings.schema import element_of, is_model, kind_at, markers
from otp_core.settings.section import FileName
from otp_core.settings.sources import UnusableFile, read_private
from otp_core.settings.toml_lines import Location


class Followed(NamedTuple):
    """``values`` with complete names; ``problems`` with files by location; ``read_in``: the keys that are read from
    files."""

    values: dict[str, Any]
    problems: dict[Location, str]
    read_in: frozenset[Location]


def follow(values: dict[str, Any], schema: type[BaseModel], beside: Path, private: Path) -> Followed:
    """Handle every file name. ``beside``: the folder that relative names start from; ``private``: the same for secrets.
    The values are not checked yet, so what has the wrong type is left as it is. Opens only files that are read into a
    key, never the master key."""
    follower = _Follower(beside, private)
    values = deepcopy(values)
    follower.table(values, schema, ())
    return Followed(values, follower.problems, frozenset(follower.read_in))


class _Follower:
    def __init__(self, beside: Path, private: Path) -> None:
        self._beside, self._private = beside, private
        self.problems: dict[Location, str] = {}
        self.read_in: set[Location] = set()

    def table(self, values: dict[str, Any], schema: type[BaseModel], at: Location) -> None:
        for name, field in schema.model_fields.items():
            if name not in values:
                continue
            found, here, kind = values[name], (*at, name), kind_at((name,), schema)
            element = element_of(kind)
            if marker := next(markers(field, FileName), None):
                if element is None:
                    self._one_name(values, name, marker, here)
                else:
                    self._list_of_names(found, marker, here)
            elif is_model(kind) and isinstance(found, dict):
                self.table(found, kind, here)
            elif is_model(element) and isinstance(found, list):
                for index, entry in enumerate(found):
                    if isinstance(entry, dict):
                        self.table(entry, element, (*here, index))

    def _list_of_names(self, found: object, marker: FileName, here: Location) -> None:
        if isinstance(found, list):
            for index, name in enumerate(found):
                if isinstance(name, str):
                    found[index] = str(self._completed(name, marker, (*here, index)))

    def _one_name(self, values: dict[str, Any], key: str, marker: FileName, here: Location) -> None:
        if marker.read_into is not None:
            self.read_in.add((*here[:-1], marker.read_into))
        if isinstance(name := values[key], str):
            path = self._completed(name, marker, here)
            values[key] = str(path)
            if marker.read_into is not None:
                self._read(values, path, marker.read_into, here)

    def _completed(self, name: str, marker: FileName, here: Location) -> Path:
        path = (self._private if marker.secret else self._beside) / name
        if marker.must_exist and not isfile(path):  # unlike Path.is_file it takes any name, however long
            self.problems[here] = f"{path} is not a file"
        return path

    def _read(self, values: dict[str, Any], path: Path, key: str, here: Location) -> None:
        if key in values:
            self.problems[here] = f"{key} is given as well: keep one of the two"
            return
        try:
            values[key] = read_private(path)
        except UnusableFile as error:
            self.problems[here] = str(error)
