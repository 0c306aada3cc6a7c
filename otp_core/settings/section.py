"""What the sections of the settings have in common, and how their commonest fields are written."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def count(default: int, low: int, high: int, description: str) -> Any:
    return Field(default=default, strict=True, ge=low, le=high, description=description)


def seconds(default: float, low: float, high: float, description: str) -> Any:
    return Field(default=default, strict=True, ge=low, le=high, description=description)


def yes_or_no(default: bool, description: str) -> Any:
    return Field(default=default, strict=True, description=description)


class Section(BaseModel):
    """What every table has in common: nothing unknown, nothing changed later, no input in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)
