"""Questions about a schema class: which type is at a location, which sections and keys there are. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, TypeGuard, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from otp_core.settings.toml_lines import Location

Marker = TypeVar("Marker")


def is_model(kind: object) -> TypeGuard[type[BaseModel]]:
    """Whether a type is a table with named keys."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def kind_at(location: Location, schema: type[BaseModel]) -> Any:
    """The type of the value at a location, without the None that stands for "left out". None where the schema has
    nothing: an unknown key, an element of what is no list."""
    kind: Any = schema
    for name in location:
        if isinstance(name, int):
            kind = element_of(kind)
        elif is_model(kind) and name in kind.model_fields:
            kind = _plain(kind.model_fields[name].annotation)
        else:
            return None
    return kind


def element_of(kind: Any) -> Any:
    """The type of a list's elements; None for a type that is no list."""
    return _plain(get_args(kind)[0]) if get_origin(kind) is tuple else None


def sections(schema: type[BaseModel]) -> list[tuple[str, list[str]]]:
    """Every section with its keys; not those that are lists of tables."""
    kinds = [(name, kind_at((name,), schema)) for name in schema.model_fields]
    return [(name, list(kind.model_fields)) for name, kind in kinds if is_model(kind)]


def markers(field: FieldInfo, wanted: type[Marker]) -> Iterator[Marker]:
    """The markers of a kind in a field's ``Annotated``, also inside a union and in the elements of a tuple."""
    for found in (*field.metadata, *_nested(field.annotation)):
        if isinstance(found, wanted):
            yield found


def _nested(kind: Any) -> Iterator[Any]:
    if get_origin(kind) is Annotated:
        yield from kind.__metadata__
    for part in get_args(kind):
        yield from _nested(part)


def _plain(kind: Any) -> Any:
    """A type without its ``Annotated``, and without the None of ``X | None``."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0])
    kinds = [one for one in get_args(kind) if one is not NoneType]
    return _plain(kinds[0]) if get_origin(kind) in (Union, UnionType) and len(kinds) == 1 else kind
