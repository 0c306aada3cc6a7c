"""Describes the settings: as JSON Schema, as docs/settings.md's table, and the values in force, their secrets masked.

It reads no file, and never returns a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, SecretBytes

from otp_core.settings.sources import SourceMap
from otp_core.settings.toml_lines import Location

MASK = "********"

_SECRET_ATTRIBUTE = re.compile("password|secret|key", re.IGNORECASE)
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def describe_schema(schema: type[BaseModel]) -> dict[str, Any]:
    """The settings file's JSON Schema."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema.model_json_schema()


def markdown_table(schema: type[BaseModel]) -> str:
    """A Markdown table of every key, its type, default and meaning, for the README."""
    described = describe_schema(schema)
    rows = ["| Key | Takes | Default | Meaning |", "|---|---|---|---|"]
    rows += _rows("", described, described["$defs"])
    return "\n".join(rows) + "\n"


def _rows(table: str, schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[str]:
    for name, key in schema["properties"].items():
        key = _resolved(key, definitions)
        if "properties" in key:
            yield from _rows(f"{table}{name}.", key, definitions)
            continue
        default = "required" if name in schema.get("required", ()) else _default(key.get("default"))
        yield f"| `{table}{name}` | {_takes(key)} | {default} | {key['description']} |"
        inner = _resolved(key.get("items", {}), definitions)
        if "properties" in inner:
            yield from _rows(f"{table}{name}[].", inner, definitions)


def _resolved(key: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The key's schema with its reference followed, and without the null that stands for "left out"."""
    referred: dict[str, Any] = {}
    if "$ref" in key:
        referred = definitions[key["$ref"].rpartition("/")[2]]
    elif "anyOf" in key:
        referred = _resolved(key["anyOf"][0], definitions)
    return referred | key


def _default(value: object) -> str:
    text = _toml(value).replace("|", r"\|")  # which Markdown would take for the end of the cell
    return f"`{text}`" if value not in (None, []) else ""


def _takes(key: dict[str, Any]) -> str:
    if "enum" in key:
        return ", ".join(f"`{choice}`" for choice in key["enum"])
    if "minimum" in key:
        return f"{key['minimum']} to {key['maximum']}"
    words = {"boolean": "true or false", "array": "list", "object": "table", "string": "text"}
    return "file" if key.get("format") == "path" else words[key["type"]]


def show(settings: BaseModel, sources: SourceMap | None = None) -> str:
    """The settings in force as TOML text, every secret masked; with ``sources``, also where each value was given."""
    return "\n".join(_table((), (), settings, sources)).lstrip() + "\n"


def _table(names: tuple[str, ...], at: Location, table: BaseModel, sources: SourceMap | None) -> Iterator[str]:
    later: list[str] = []
    for name, value in table:
        here, path = (*at, name), (*names, name)
        if isinstance(value, BaseModel):
            later += _headed(f"[{'.'.join(path)}]", list(_table(path, here, value, sources)))
        elif isinstance(value, dict):
            lines = [_line(key, _masked(key, inner), (*here, key), sources) for key, inner in value.items()]
            later += _headed(f"[{'.'.join(path)}]", lines)
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for index, entry in enumerate(value):
                later += _headed(f"[[{'.'.join(path)}]]", list(_table(path, (*here, index), entry, sources)))
        elif value is not None and not (isinstance(value, SecretBytes) and getattr(table, f"{name}_file")):
            yield _line(name, value, here, sources)
    yield from later


def _headed(header: str, lines: list[str]) -> list[str]:
    return ["", header, *lines] if lines else []


def _line(name: str, value: object, here: Location, sources: SourceMap | None) -> str:
    line = f"{name if _BARE.fullmatch(name) else _toml(name)} = {_toml(value)}"
    return f"{line}  # {_origin(here, sources)}" if sources else line


def _origin(here: Location, sources: SourceMap) -> str:
    given = sources.exactly(here)
    if given is None and here[:2] == ("radius", "clients"):  # what a client leaves out, it takes from the section
        given = sources.exactly(("radius", *here[3:]))
    return given or "default"


def _masked(attribute: str, value: object) -> object:
    return MASK if _SECRET_ATTRIBUTE.search(attribute) else value


def _toml(value: object) -> str:
    if isinstance(value, SecretBytes):
        return _toml(MASK)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
