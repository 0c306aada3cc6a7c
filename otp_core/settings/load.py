"""File, secrets folder and environment into one Settings, or into one report of everything that is wrong.

Rank: environment over secrets folder over file. The environment is given, never looked up. Nothing here prints or logs,
and no secret gets into a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from otp_core.settings.checks import given_twice, risks, shows_secrets
from otp_core.settings.explain import explain
from otp_core.settings.model import Settings
from otp_core.settings.named_files import follow
from otp_core.settings.problems import ConfigProblems, Problem, key_path
from otp_core.settings.sources import Places, Reading, merge, read_environment, read_file, read_folder
from otp_core.settings.toml_lines import Location


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings that hold, and what may be said against them all the same."""

    settings: Settings
    warnings: tuple[Problem, ...]
    path: Path | None
    places: Places = field(repr=False)


def load(path: Path | None, *, environment: Mapping[str, str], secrets_dir: Path | None = None) -> Loaded:
    """Read, merge and check. Without ``secrets_dir``, SEKISHO_SECRETS_DIR or systemd's CREDENTIALS_DIRECTORY names the
    secrets folder. Raises ConfigProblems with every problem at once."""
    file = read_file(path) if path else Reading()
    if file.problems:  # whatever else were said would be about a file that is not understood
        raise ConfigProblems(file.problems)
    folder = secrets_dir or _folder_named_in(environment)
    readings = (file, read_folder(folder) if folder else Reading(), read_environment(environment))
    places = Places(str(path) if path else None)
    values: dict[str, Any] = {"store": {}}
    for reading in readings:
        places.overlay(reading.places)
        values = merge(values, reading.values)

    beside = path.absolute().parent if path else Path.cwd()
    values, problems = follow(values, beside, folder.absolute() if folder else beside)
    checked = _checked(values)
    if isinstance(checked, ValidationError):
        problems = explain(checked, _read_in(values)) | problems
    problems = dict(given_twice(values, places)) | problems
    report = [problem for reading in readings for problem in reading.problems]
    report += _placed(problems, places)
    if isinstance(checked, ValidationError) or report:
        raise ConfigProblems(report)
    return Loaded(checked, _warnings(checked, readings, places, path), path, places)


def _folder_named_in(environment: Mapping[str, str]) -> Path | None:
    name = environment.get("SEKISHO_SECRETS_DIR") or environment.get("CREDENTIALS_DIRECTORY")
    return Path(name) if name else None


def _checked(values: dict[str, Any]) -> Settings | ValidationError:
    try:
        return Settings(_build_sources=((Given(values),), {}))  # type: ignore[call-arg]
    except ValidationError as error:  # returned, so that no report drags its traceback along
        return error


def _read_in(values: dict[str, Any]) -> frozenset[Location]:
    """The secrets that come from a file."""
    radius = values.get("radius")
    clients = radius.get("clients") if isinstance(radius, dict) else None
    return frozenset(
        ("radius", "clients", index, "secret")
        for index, client in enumerate(clients if isinstance(clients, list) else [])
        if isinstance(client, dict) and "secret_file" in client
    )


def _placed(problems: Mapping[Location, str], places: Places) -> list[Problem]:
    return [Problem(places.nearest(location), key_path(location), message) for location, message in problems.items()]


def _warnings(
    settings: Settings, readings: tuple[Reading, ...], places: Places, path: Path | None
) -> tuple[Problem, ...]:
    found = [warning for reading in readings for warning in reading.warnings]
    found += _placed(dict(risks(settings)), places)
    if path and shows_secrets(path, settings, places):
        found.append(
            Problem(str(path), "", f"holds secrets, and everybody can read it: chmod o-rwx {path}, or use secret_file")
        )
    return tuple(found)


class Given(PydanticBaseSettingsSource):
    """Hands over what was read and merged, so that pydantic-settings looks for nothing itself."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(Settings)
        self._values = _Unprinted(values)

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One section; pydantic-settings asks for all at once."""
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._values


class _Unprinted(dict[str, Any]):
    """With PYDANTIC_SETTINGS_DEBUG set, pydantic-settings logs what a source returns; secrets are in it."""

    def __repr__(self) -> str:
        return "{…}"
