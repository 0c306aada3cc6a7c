"""Reads file, secrets folder and environment into one checked schema object, or raises one report of all problems.

The environment outranks the secrets folder, which outranks the file. The environment and the schema class are
arguments: it looks up no variable and knows no section. It never prints or logs, and puts no secret into a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from otp_core.settings.explain import explain
from otp_core.settings.named_files import Followed, follow
from otp_core.settings.problems import ConfigProblems, Problem, key_path
from otp_core.settings.repeated import Remark
from otp_core.settings.sources import Reading, SourceMap, merge, read_environment, read_file, read_folder
from otp_core.settings.toml_lines import Location

Schema = TypeVar("Schema", bound=BaseSettings)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Schema]):
    """The checked settings, the warnings about them, the file (None for none), and where each value was given."""

    settings: Schema
    warnings: tuple[Problem, ...]
    path: Path | None
    sources: SourceMap = field(repr=False)


@dataclass(frozen=True, slots=True)
class Checks(Generic[Schema]):
    """The checks across sections. ``given_twice(values, sources)``: repeated entries, in values that are not checked
    yet; ``problems(settings)``: errors; ``risks(settings)``: warnings; ``shows_secrets(path, settings, sources)``:
    whether the file holds secrets and every user can read it."""

    given_twice: Callable[[dict[str, Any], SourceMap], Iterator[Remark]]
    problems: Callable[[Schema], Iterator[Remark]]
    risks: Callable[[Schema], Iterator[Remark]]
    shows_secrets: Callable[[Path, Schema, SourceMap], bool]


def read_settings(
    schema: type[Schema],
    checks: Checks[Schema],
    path: Path | None,
    *,
    environment: Mapping[str, str],
    secrets_dir: Path | None = None,
) -> Loaded[Schema]:
    """Read, merge and check the settings. ``path``: the TOML file, None for none. ``secrets_dir``: the secrets folder;
    without it SEKISHO_SECRETS_DIR or systemd's CREDENTIALS_DIRECTORY in ``environment`` names it. Raises ConfigProblems
    with every problem at once."""
    file = read_file(path, schema) if path else Reading()
    if file.problems:  # no value can be taken from a file that is not TOML
        raise ConfigProblems(file.problems)
    folder = secrets_dir or _folder_named_in(environment)
    readings = (file, read_folder(folder, schema) if folder else Reading(), read_environment(environment, schema))
    sources = SourceMap(str(path) if path else None)
    values: dict[str, Any] = {name: {} for name, one in schema.model_fields.items() if one.is_required()}
    for reading in readings:
        sources.overlay(reading.sources)
        values = merge(values, reading.values)

    beside = path.absolute().parent if path else Path.cwd()
    followed = follow(values, schema, beside, folder.absolute() if folder else beside)
    found = _checked(schema, followed)
    problems = _problems(schema, checks, followed, found, sources)
    report = [problem for reading in readings for problem in reading.problems] + placed(problems.items(), sources)
    if isinstance(found, ValidationError) or report:
        raise ConfigProblems(report)
    warnings = [warning for reading in readings for warning in reading.warnings]
    warnings += placed(checks.risks(found), sources)
    if path and checks.shows_secrets(path, found, sources):
        advice = f"holds secrets, and everybody can read it: chmod o-rwx {path}, or use secret_file"
        warnings.append(Problem(str(path), "", advice))
    return Loaded(found, tuple(warnings), path, sources)


def placed(remarks: Iterable[Remark], sources: SourceMap) -> list[Problem]:
    """The remarks, each with the line of the file or the variable that it is about."""
    return [Problem(sources.nearest(location), key_path(location), message) for location, message in remarks]


def _folder_named_in(environment: Mapping[str, str]) -> Path | None:
    name = environment.get("SEKISHO_SECRETS_DIR") or environment.get("CREDENTIALS_DIRECTORY")
    return Path(name) if name else None


def _checked(schema: type[Schema], followed: Followed) -> Schema | ValidationError:
    try:
        return schema(_build_sources=((Given(schema, followed.values),), {}))
    except ValidationError as error:  # returned: a report raised from here would carry its traceback, with the values
        return error


def _problems(
    schema: type[Schema],
    checks: Checks[Schema],
    followed: Followed,
    found: Schema | ValidationError,
    sources: SourceMap,
) -> dict[Location, str]:
    """One message for each location. A problem with a file outranks the problems that follow from it."""
    if isinstance(found, ValidationError):
        problems = explain(found, followed.read_in, schema)
    else:
        problems = dict(checks.problems(found))
    return dict(checks.given_twice(followed.values, sources)) | problems | followed.problems


class Given(PydanticBaseSettingsSource):
    """The source of values for pydantic-settings: what was read and merged here, so that it reads nothing itself."""

    def __init__(self, schema: type[BaseSettings], values: dict[str, Any]) -> None:
        super().__init__(schema)
        self._values = _Unprinted(values)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One section. Required by the base class; pydantic-settings calls the source for all at once."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._values


class _Unprinted(dict[str, Any]):
    """With PYDANTIC_SETTINGS_DEBUG set, pydantic-settings logs what a source returns; secrets are in it."""

    def __repr__(self) -> str:
        return "{…}"
