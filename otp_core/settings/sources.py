"""Reads the three sources, file, secrets folder and environment: their values and where each was given. Checks none.

A variable, or a file in the folder, is named by its keys, joined by ``__``. For a key that takes text, the content is
that text; for any other key it is read as TOML: ``SEKISHO_RADIUS__LISTEN='["0.0.0.0:1812"]'``.
"""

from __future__ import annotations

import difflib
import re
import stat
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel

from otp_core.regular_file import read_regular
from otp_core.settings.problems import Problem, key_path
from otp_core.settings.renamed import current, renamed, warning
from otp_core.settings.schema import is_model, kind_at, sections
from otp_core.settings.toml_lines import Location, key_lines

PREFIX, DELIMITER = "SEKISHO_", "__"
NOT_SETTINGS = frozenset({"SEKISHO_CONFIG", "SEKISHO_SECRETS_DIR"})
"""Variables with the prefix that say where settings are, not what they are."""

_PRIVATE_OCTETS = 64 * 1024
_FILE_OCTETS = 16 * 1024 * 1024
"""Of a settings file: some ten thousand clients."""


class UnusableFile(Exception):
    """A file that cannot be used; the text says why and what to do."""


@dataclass(frozen=True)
class Reading:
    """What one source gives: nested values, where each was given, and problems with the source itself."""

    values: dict[str, Any] = field(default_factory=dict, repr=False)
    sources: Mapping[Location, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


class SourceMap:
    """Where each value was given: location -> file and line, secrets file or variable."""

    def __init__(self, otherwise: str | None) -> None:
        """``otherwise``: the source named for values that were not given; None: the variable that would give each."""
        self._otherwise = otherwise
        self._sources: dict[Location, str] = {}

    def overlay(self, sources: Mapping[Location, str]) -> None:
        """Add sources that outrank the ones before: they hide those at and below the same locations."""
        kept = {
            location: source
            for location, source in self._sources.items()
            if not any(location[:end] in sources for end in range(1, len(location) + 1))
        }
        self._sources = kept | dict(sources)

    def exactly(self, location: Location) -> str | None:
        """Where this value was given; None if it was not."""
        return self._sources.get(location)

    def nearest(self, location: Location) -> str:
        """Where the value was given, or a part of it, or the table that it belongs in."""
        inside = sorted((known for known in self._sources if known[: len(location)] == location), key=len)
        around = [location[:end] for end in range(len(location) - 1, 0, -1) if location[:end] in self._sources]
        if found := inside or around:
            return self._sources[found[0]]
        return self._otherwise or f"environment {variable(location)}"


def merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """Both sources' values; where both have one, the higher's. Tables are merged, lists are taken whole."""
    merged = dict(low)
    for name, value in high.items():
        below = low.get(name)
        merged[name] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def variable(location: Location) -> str:
    """The variable for a location: ``SEKISHO_STORE__URL`` for ``("store", "url")``."""
    return PREFIX + DELIMITER.join(map(str, location)).upper()


def read_file(path: Path, schema: type[BaseModel]) -> Reading:
    """The TOML file, its keys by today's names. A file that cannot be read, or is not TOML, is a problem and has no
    values."""
    try:
        text = read_regular(path, _FILE_OCTETS).decode()
        values = tomllib.loads(text)
    except OSError as error:
        return _nothing(str(path), f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return _nothing(f"{path}:{line}", "is not UTF-8")
    except tomllib.TOMLDecodeError as error:
        return _nothing(*_syntax_error(path, text, str(error)))
    return _by_todays_names(values, {location: f"{path}:{line}" for location, line in key_lines(text).items()}, schema)


def _by_todays_names(values: dict[str, Any], sources: Mapping[Location, str], schema: type[BaseModel]) -> Reading:
    """A reading whose values and sources have today's keys, with a warning for each former one."""
    found = renamed(values, schema)
    as_spelled = SourceMap(None)
    as_spelled.overlay(sources)
    warnings = tuple(warning(as_spelled.nearest(location), location, today) for location, today in found.former.items())
    return Reading(found.values, {found.today(at): source for at, source in sources.items()}, (), warnings)


def _syntax_error(path: Path, text: str, message: str) -> tuple[str, str]:
    what = re.sub(r" \(at .*\)$", "", message)
    if match := re.search(r"\(at line ([0-9]+), column ([0-9]+)\)$", message):
        return f"{path}:{match[1]}", f"not TOML, column {match[2]}: {what}"
    line = text.rstrip().count("\n") + 1
    return f"{path}:{line}", f"not TOML, at the end of the file: {what}"


def read_folder(folder: Path, schema: type[BaseModel]) -> Reading:
    """A folder with one secret in each file. Only files with ``__`` in their names are settings; settings such as
    secret_file name the others."""
    try:
        files = sorted(file for file in folder.iterdir() if DELIMITER in file.name and file.name[0] != ".")
    except OSError as error:
        return _nothing(str(folder), f"the secrets folder cannot be read: {error.strerror}")
    given = _Given(schema)
    for file in files:
        try:
            given.add(file.name.lower(), read_private(file).decode(), str(file))
        except UnusableFile as error:
            given.problems.append(Problem(str(file), "", str(error)))
        except UnicodeDecodeError:
            given.problems.append(Problem(str(file), "", "is not UTF-8"))
    return given.reading()


def read_environment(environment: Mapping[str, str], schema: type[BaseModel]) -> Reading:
    """Every variable that begins with SEKISHO_. One that names no section is left alone, with a warning: a container
    platform makes such variables from the names of services."""
    given = _Given(schema)
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in NOT_SETTINGS:
            continue
        keys = name.removeprefix(PREFIX).lower()
        if not _is_unicode(environment[name]):
            given.problems.append(Problem(f"environment {name}", "", "is not UTF-8"))
        elif DELIMITER in keys or keys in schema.model_fields:
            given.add(keys, environment[name], f"environment {name}")
        else:
            given.warnings.append(Problem(f"environment {name}", "", _no_section(name, schema)))
    return given.reading()


def _is_unicode(text: str) -> bool:
    """Octets of a variable that are not UTF-8 arrive as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_section(name: str, schema: type[BaseModel]) -> str:
    names = [variable((section, key)) for section, keys in sections(schema) for key in keys]
    likely = difflib.get_close_matches(name, names, 1, 0.85)
    return "is no setting, and is not used" + (f"; did you mean {likely[0]}?" if likely else "")


class _Given:
    """Collects single values that are named by their keys joined with ``__``."""

    def __init__(self, schema: type[BaseModel]) -> None:
        self._schema = schema
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._values: dict[str, Any] = {}
        self._sources: dict[Location, str] = {}

    def add(self, keys: str, text: str, source: str) -> None:
        *tables, last = location = tuple(keys.split(DELIMITER))
        if whole := [location[:end] for end in range(1, len(location)) if self._is_whole(location[:end])]:
            self._misplaced(source, location, f"{key_path(whole[0])} is given whole, by {variable(whole[0])}")
            return
        table = self._values
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                self._misplaced(source, location, "another one has given the whole table, and not as a table")
                return
        table[last] = value = _as_wanted(text, self._kind_at(location))
        self._sources |= dict.fromkeys(_leaves(location, value), source)

    def _is_whole(self, location: Location) -> bool:
        """Whether the location is a known key whose value is no table with named keys."""
        kind = self._kind_at(location)
        return kind is not None and not is_model(kind)

    def _kind_at(self, location: Location) -> Any:
        return kind_at(current(location, self._schema), self._schema)

    def _misplaced(self, source: str, location: Location, message: str) -> None:
        self.problems.append(Problem(source, key_path(location), message))

    def reading(self) -> Reading:
        """What was collected, by today's keys."""
        found = _by_todays_names(self._values, self._sources, self._schema)
        return replace(found, problems=tuple(self.problems), warnings=(*self.warnings, *found.warnings))


def _leaves(location: Location, value: object) -> Iterator[Location]:
    """The locations of a value and its parts, except those of tables: another source may add keys to a table."""
    inner: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, dict):
        inner = value.items()
    else:
        yield location
    if isinstance(value, list):
        inner = enumerate(value)
    for name, part in inner:
        yield from _leaves((*location, name), part)


def _as_wanted(text: str, kind: Any) -> object:
    if kind is None or not (is_model(kind) or (get_origin(kind) or kind) in (bool, int, float, tuple, dict)):
        return text
    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return read["value"] if len(read) == 1 else text


def read_private(path: Path) -> bytes:
    """The octets of a secret's file without one line end at the end. Raises UnusableFile for one that is missing, not
    regular, readable by every user, or larger than 64 KiB."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnusableFile(f"{path} is not a file")
        if status.st_mode & stat.S_IROTH:
            raise UnusableFile(f"{path} can be read by everybody: chmod o-rwx {path}")
        if status.st_size > _PRIVATE_OCTETS:
            raise UnusableFile(f"{path} is too large for a secret")
        octets = read_regular(path, _PRIVATE_OCTETS)
    except OSError as error:
        raise UnusableFile(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:  # a NUL in the name
        raise UnusableFile("is not the name of a file") from None
    return octets.removesuffix(b"\n").removesuffix(b"\r")


def _nothing(where: str, message: str) -> Reading:
    return Reading(problems=(Problem(where, "", message),))
