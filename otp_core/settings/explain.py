"""Words pydantic's errors for operators: what is wrong, and the right form. It never sees the values."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from otp_core.settings.problems import key_path
from otp_core.settings.schema import kind_at, sections
from otp_core.settings.toml_lines import Location

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_WORDS = {
    "missing": "is missing",
    "bool_type": "needs true or false, without quotes",
    "int_type": "needs a whole number, without quotes",
    "float_type": "needs a number, without quotes",
    "finite_number": "needs a finite number",
    "string_type": "needs text in quotes",
    "bytes_type": "needs text in quotes",
    "path_type": "needs the name of a file, in quotes",
    "tuple_type": 'needs a list: ["…", "…"]',
    "dict_type": "needs a table",
    "model_type": "needs a table",
    "greater_than_equal": "is too small: {ge} is the least",
    "less_than_equal": "is too large: {le} is the most",
    "string_too_short": "is too short: {min_length} is the least",
    "string_too_long": "is too long: {max_length} characters are the most",
    "too_short": "has too few entries: {min_length} is the least",
    "too_long": "has too many entries: {max_length} are the most",
    "literal_error": "is not known; write {expected}",
    "enum": "is not known; write {expected}",
    "value_error": "{error}",
}


def explain(error: ValidationError, read_in: frozenset[Location], schema: type[BaseModel]) -> dict[Location, str]:
    """One message for each location. ``read_in``: the locations of secrets that are read from a file; a problem with
    one is reported at the key that names the file, and one that is missing not at all, because its file could not
    be read and that is reported already. ``schema``: the class that was being validated.
    """
    messages: dict[Location, str] = {}
    errors = error.errors(include_url=False, include_input=False)
    for found in errors:
        location, kind = _location(found["loc"]), found["type"]
        if kind == "too_short" and any(one["loc"][:-1] == found["loc"] for one in errors):
            continue  # of a list whose entries are reported
        if kind == "default_factory_not_called":
            continue  # a default that depends on other keys, one of which is reported
        if location in read_in:
            if kind == "missing":
                continue
            location = (*location[:-1], f"{location[-1]}_file")
        messages.setdefault(location, _message(found, location, schema))
    return messages


def _location(loc: Location) -> Location:
    return loc[:-1] if loc[-1] == "[key]" else loc


def _message(found: ErrorDetails, location: Location, schema: type[BaseModel]) -> str:
    if found["type"] == "extra_forbidden":
        return _unknown_key(location, schema)
    if found["type"] == "missing" and location[-1] == "secret":
        return "is missing: give secret or secret_file"
    words = _WORDS.get(found["type"])
    return words.format_map(found.get("ctx", {})) if words else found["msg"]


def _unknown_key(location: Location, schema: type[BaseModel]) -> str:
    *tables, key = location
    table = kind_at(tuple(tables), schema)
    known = list(table.model_fields)
    if likely := difflib.get_close_matches(str(key), known, 1):
        return f"unknown key; did you mean {likely[0]}?"
    if homes := [section for section, keys in sections(schema) if key in keys]:
        return f"unknown key here; it belongs in [{homes[0]}]"
    return f"unknown key; {key_path(tuple(tables)) or 'the file'} has {', '.join(known)}"
