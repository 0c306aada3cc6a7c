"""Questions about a schema class: which type stands at a location, which sections and keys there are. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, TypeGuard, TypeVar, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from otp_core.settings.toml_lines import Location

Mark = TypeVar("Mark")


def is_model(kind: object) -> TypeGuard[type[BaseModel]]:
    """Whether a type is a table with named keys."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def kind_at(location: Location, schema: type[BaseModel]) -> Any:
    """The type of the value at a location, without the None that stands for "left out"; None for an unknown key."""
    kind: Any = schema
    for name in location:
        if isinstance(name, int):
            kind = element_of(kind)
        elif is_model(kind) and name in kind.model_fields:
            kind = _given(kind.model_fields[name].annotation)
        else:
            return None
    return kind


def element_of(kind: Any) -> Any:
    """The type of a list's elements."""
    return _given(get_args(kind)[0])


def sections(schema: type[BaseModel]) -> list[tuple[str, list[str]]]:
    """Every section with its keys."""
    return [(name, list(kind_at((name,), schema).model_fields)) for name in schema.model_fields]


def markers(field: FieldInfo, wanted: type[Mark]) -> Iterator[Mark]:
    """The markers of a kind in a field's ``Annotated``, also inside a union and in the elements of a tuple."""
    for found in (*field.metadata, *_nested(field.annotation)):
        if isinstance(found, wanted):
            yield found


def _nested(kind: Any) -> Iterator[Any]:
    if get_origin(kind) is Annotated:
        yield from kind.__metadata__
    for part in get_args(kind):
        yield from _nested(part)


def _given(kind: Any) -> Any:
    kinds = [one for one in get_args(kind) if one is not NoneType]
    return kinds[0] if isinstance(kind, UnionType) and len(kinds) == 1 else kind
