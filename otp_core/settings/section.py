"""What all sections of the settings share: the base class, numbers with limits, names of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


def count(default: int, low: int, high: int, description: str) -> Any:
    """A whole number from ``low`` to ``high``; text and booleans are refused."""
    return Field(default=default, strict=True, ge=low, le=high, description=description)


def seconds(default: float, low: float, high: float, description: str) -> Any:
    """A number from ``low`` to ``high``; text and booleans are refused."""
    return Field(default=default, strict=True, ge=low, le=high, description=description)


def yes_or_no(default: bool, description: str) -> Any:
    """A boolean; text and numbers are refused."""
    return Field(default=default, strict=True, description=description)


@dataclass(frozen=True, slots=True)
class FileName:
    """Marks a field that names a file (see named_files.py). ``secret``: a relative name starts from the secrets folder,
    if there is one. ``must_exist``: a missing file is a problem when the settings are read. ``read_into``: the key of
    the same table that takes the file's octets."""

    secret: bool = False
    must_exist: bool = False
    read_into: str | None = None


OwnPath = Annotated[Path, FileName()]
ExistingPath = Annotated[Path, FileName(must_exist=True)]
SecretPath = Annotated[Path, FileName(secret=True)]
ExistingSecretPath = Annotated[Path, FileName(secret=True, must_exist=True)]
ReadSecretPath = Annotated[Path, FileName(secret=True, read_into="secret")]
ReadNextSecretPath = Annotated[Path, FileName(secret=True, read_into="next_secret")]


class Section(BaseModel):
    """The base of every table: refuses unknown keys, is frozen, and repeats no input in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


KeysOfType = Mapping[str, tuple[frozenset[str], frozenset[str]]]
"""For each value of a key ``type``: the keys that a table of this type needs, and the others that it may have."""


def fit_type(section: Section, type_: str, keys: KeysOfType) -> None:
    """Check that a table has the keys of its type and no other's. Raises ValueError."""
    needed, allowed = keys[type_]
    given = section.model_fields_set - {"name", "type"}
    if missing := sorted(needed - given):
        raise ValueError(f"type {type_} needs {' and '.join(missing)}")
    if surplus := sorted(given - needed - allowed):
        raise ValueError(f"{surplus[0]} means nothing for type {type_}: take it out, or write another type")
