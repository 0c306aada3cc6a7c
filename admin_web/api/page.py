"""The OpenAPI document as a page for people: one file, without a script, that asks nobody for anything. Pure.

It says what the document says, and knows no operation of its own.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from admin_web.rendering import templates

_STYLE = files("admin_web").joinpath("templates/api/page.css").read_text(encoding="utf-8")
_DIGEST = b64encode(sha256(_STYLE.encode()).digest()).decode()
PAGE_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    )
}
"""Its own style sheet, and nothing else."""


class Field(NamedTuple):
    """A parameter, or a field of a body or an answer. ``type``: in words, as markup where it names another model;
    ``place``: of a parameter, where it stands."""

    name: str
    type: Markup
    required: bool
    description: str
    place: str = ""


class Status(NamedTuple):
    """One answer. ``contents``: media types and what they hold."""

    status: str
    description: str
    contents: Markup
    headers: str


class Shown(NamedTuple):
    """One operation."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: list[Field]
    body: list[Field]
    curl: str
    answers: list[Status]


def page_of(document: Mapping[str, Any]) -> str:
    """The page. ``document``: from ``openapi.document``."""
    schemas = document["components"]["schemas"]
    return (
        templates()
        .get_template("api/document.html")
        .render(
            info=document["info"],
            style=Markup(_STYLE),  # noqa: S704  a file of ours
            origin=document["servers"][0]["url"],
            key=document["components"]["securitySchemes"]["key"],
            operations=[
                _shown(document, path, method, one)
                for path, methods in document["paths"].items()
                for method, one in methods.items()
            ],
            models={name: _fields(schema) for name, schema in schemas.items() if "properties" in schema},
            values={name: schema["enum"] for name, schema in schemas.items() if "enum" in schema},
            words=_words,
        )
    )


def _shown(document: Mapping[str, Any], path: str, method: str, one: Mapping[str, Any]) -> Shown:
    schemas = document["components"]["schemas"]
    body = _schema_of(one["requestBody"], schemas) if "requestBody" in one else {}
    parameters = one.get("parameters", [])
    return Shown(
        one["operationId"],
        method.upper(),
        path,
        one["summary"],
        one.get("description", ""),
        [_parameter(each) for each in parameters],
        _fields(body),
        _curl(document["servers"][0]["url"], method, path, one, body),
        [_status(status, answer) for status, answer in sorted(one["responses"].items())],
    )


def _parameter(one: Mapping[str, Any]) -> Field:
    return Field(one["name"], _type(one["schema"]), one["required"], one.get("description", ""), one["in"])


def _schema_of(content: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    (media,) = content["content"].values()
    found: Mapping[str, Any] = schemas[_model(media["schema"])]
    return found


def _fields(schema: Mapping[str, Any]) -> list[Field]:
    required = schema.get("required", [])
    fields = schema.get("properties", {}).items()
    return [Field(name, _type(one), name in required, one.get("description", "")) for name, one in fields]


def _status(status: str, answer: Mapping[str, Any]) -> Status:
    parts = [
        Markup("<code>{}</code> {}").format(media, _type(what["schema"])) for media, what in answer["content"].items()
    ]
    return Status(status, answer["description"], Markup("<br>").join(parts), ", ".join(answer.get("headers", {})))


def _type(schema: Mapping[str, Any]) -> Markup:
    """In words: ``text, 1 to 64 characters``, ``list of Customer``, ``text or null``."""
    if "$ref" in schema:
        name = _model(schema)
        return Markup('<a href="#model-{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return Markup("one of ") + Markup(", ").join(Markup("<code>{}</code>").format(one) for one in schema["enum"])
    if "const" in schema:
        return Markup("<code>{}</code>").format(schema["const"])
    if schema.get("type") == "array":
        return Markup("list of ") + _type(schema["items"])
    words = {"string": "text", "integer": "whole number", "boolean": "true or false", "date-time": "moment (RFC 3339)"}
    kind = schema.get("format", schema.get("type", "anything"))
    return escape(", ".join([words.get(kind, kind), *_limits(schema)]))


def _limits(schema: Mapping[str, Any]) -> list[str]:
    found = []
    for least, most, what in (("minLength", "maxLength", " characters"), ("minimum", "maximum", "")):
        low, high = schema.get(least), schema.get(most)
        if high is not None:
            found.append(f"{low} to {high}{what}" if low is not None else f"at most {high}{what}")
    if "pattern" in schema:
        found.append(f"of the form {schema['pattern']}")
    if schema.get("default") not in (None, ""):
        found.append(f"{json.dumps(schema['default'])} where it is left out")
    return found


def _model(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _curl(origin: str, method: str, path: str, one: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """A line for a shell, with the key in ``$KEY``."""
    for each in one.get("parameters", []):
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", each["example"])
    parts = ["curl -s"]
    if one.get("security") != []:
        parts.append('-H "Authorization: Bearer $KEY"')
    if method == "post":
        parts.append(f"--json '{json.dumps(body['examples'][0])}'")
    return " ".join([*parts, f"{origin}{path}"])


def _words(text: str) -> Markup:
    """A description, with what stands between backticks as code."""
    parts = re.split(r"`([^`]*)`", text)
    shown = [Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts)]
    return Markup("").join(shown)
