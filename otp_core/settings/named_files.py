"""Follows the file names among the settings: completes relative ones, and reads shared secrets.

One rule: a relative name starts from the secrets folder if it names a secret and there is such a folder, otherwise from
the settings file's folder. It never looks in two folders. Which fields name files, their ``FileName`` marker says.
"""

from __future__ import annotations

from copy import deepcopy
from os.path import isfile
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel

from otp_core.settings.schema import element_of, is_model, kind_at, markers
from otp_core.settings.section import FileName
from otp_core.settings.sources import UnusableFile, read_private
from otp_core.settings.toml_lines import Location


class Followed(NamedTuple):
    """``values`` with complete names, ``problems`` of the files by location, and where a file's octets were put."""

    values: dict[str, Any]
    problems: dict[Location, str]
    read_in: frozenset[Location]


def follow(values: dict[str, Any], schema: type[BaseModel], beside: Path, private: Path) -> Followed:
    """Follow every file name. ``beside`` and ``private``: the folders that relative names start from. The values are
    not checked yet: what has the wrong type is left as it is. Opens only the files that are read into a key."""
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
            here, kind = (*at, name), kind_at((name,), schema)
            mark = next(markers(field, FileName), None)
            if mark is not None:
                self._files(values, name, mark, here)
            elif is_model(kind) and isinstance(values[name], dict):
                self.table(values[name], kind, here)
            elif isinstance(values[name], list) and get_args(kind) and is_model(element := element_of(kind)):
                for index, entry in enumerate(values[name]):
                    if isinstance(entry, dict):
                        self.table(entry, element, (*here, index))

    def _files(self, values: dict[str, Any], name: str, mark: FileName, here: Location) -> None:
        found = values[name]
        if mark.read_into is not None:
            self.read_in.add((*here[:-1], mark.read_into))
        if isinstance(found, list):
            for index, one in enumerate(found):
                if isinstance(one, str):
                    found[index] = str(self._file(mark, one, (*here, index)))
        elif isinstance(found, str):
            path = self._file(mark, found, here)
            values[name] = str(path)
            if mark.read_into is not None:
                self._read(values, path, mark.read_into, here)

    def _file(self, mark: FileName, name: str, here: Location) -> Path:
        path = (self._private if mark.secret else self._beside) / name
        if mark.must_exist and not isfile(path):  # unlike Path.is_file it takes any name, however long
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
