"""The OpenAPI 3.1 document, made from the operations and their models. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from admin_web.api.models import Problem
from admin_web.api.operations import Operation
from admin_web.api.problems import MEANINGS
from otp_core.model import Scope

_REF = "#/components/schemas/{model}"
_PROBLEM = {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}}
_PLAIN = {"text/plain": {"schema": {"type": "string"}}}
_OF_HTTP = {
    400: "no HTTP, or its first line or a header is too long (plain text)",
    417: "expects something else than `100-continue` (plain text)",
}
"""Answers to what no operation was asked: by status, the same for all."""

_NAMED = {"contract_id": "1234567", "token_id": "VSMT12345678", "number": "1"}
"""What the parts of a path look like."""

_RATE = {
    "RateLimit-Limit": "Requests a second that the key may make.",
    "RateLimit-Remaining": "That it may make at once.",
    "RateLimit-Reset": "Seconds until it may make all of them again.",
}
_RETRY = {"Retry-After": "Seconds to wait."}
_OF_STATUS = {
    202: {"Location": "Where to look the request up."},
    401: {"WWW-Authenticate": "`Bearer`."},
    429: _RETRY,
    503: _RETRY,
}
"""Further headers of each answer with a status."""

_BEFORE_THE_RATE = frozenset({400, 401, 403, 503})
"""Answers that may be given before the key's rate is known."""
_IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same request with the same text gets the same answer again for a day, and is done once.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
}
_ABOUT = (
    "For programs of the bank. A key is made by `sekisho api-key create` and sent as a bearer token; what it may do "
    "stands in its scopes. Whatever is not answered as asked is a problem (RFC 9457) with a stable `type`."
)


def document(operations: Iterable[Operation], origin: str) -> dict[str, Any]:
    """The document. ``origin``: where programs ask."""
    all_ = list(operations)
    models = {model for one in all_ for model in _models(one)} | {Problem}
    _, found = models_json_schema(
        sorted(((one, "validation") for one in models), key=lambda pair: pair[0].__name__), ref_template=_REF
    )
    paths: dict[str, dict[str, Any]] = {}
    for one in all_:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sekisho", "version": version("sekisho"), "description": _ABOUT},
        "servers": [{"url": origin}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": found["$defs"],
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": f"An API key. Scopes: {', '.join(Scope)}.",
                }
            },
        },
    }


def _models(one: Operation) -> list[type[BaseModel]]:
    return [model for model in (one.body, *(answer for _, answer in one.answers.values())) if model is not None]


def _operation(one: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {"operationId": one.name, "summary": one.summary, "responses": _responses(one)}
    if one.scopes:
        found["description"] = f"Scope: {' or '.join(f'`{scope}`' for scope in one.scopes)}."
    else:
        found["security"] = []
    if parameters := [*_of_path(one), *_of_query(one.query), *([_IDEMPOTENCY] if one.is_kept else [])]:
        found["parameters"] = parameters
    if one.body is not None:
        needed = any(field.is_required() for field in one.body.model_fields.values())
        found["requestBody"] = {"required": needed, "content": _content(one.body)}
    return found


def _of_path(one: Operation) -> list[dict[str, Any]]:
    found = []
    for name in re.findall(r"\{([a-z_]+)\}", one.path):
        pattern = one.patterns.get(name)
        text = {"type": "string", "pattern": f"^{pattern}$"} if pattern else {"type": "string", "minLength": 1}
        found.append({"name": name, "in": "path", "required": True, "example": _NAMED[name], "schema": text})
    return found


def _of_query(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    """A parameter for each field. Nothing of a query is null: left out is what it is then."""
    if model is None:
        return []
    schema = model.model_json_schema(ref_template=_REF)
    found = []
    for name, field in schema["properties"].items():
        described = {"description": field.pop("description")} if "description" in field else {}
        choices = [_resolved(one, schema) for one in field.pop("anyOf", []) if one != {"type": "null"}]
        plain = {**field, **(choices[0] if choices else {})}
        plain = _resolved({key: value for key, value in plain.items() if (key, value) != ("default", None)}, schema)
        found.append({"name": name, "in": "query", "required": False, **described, "schema": plain})
    return found


def _resolved(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Without a reference: the values of a query stand where it is described."""
    target = field.get("$ref")
    return field if target is None else dict(schema["$defs"][target.rpartition("/")[2]])


def _responses(one: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        str(status): {"description": text, "headers": _headers(one, status), "content": _content(model)}
        for status, (text, model) in one.answers.items()
    }
    statuses = {MEANINGS[type_].status for type_ in one.every_problem} if one.scopes else set()
    for status in sorted(statuses | set(_OF_HTTP)):
        types = [f"`{type_}`" for type_ in one.every_problem if status in statuses and MEANINGS[type_].status == status]
        described = [*types, _OF_HTTP[status]] if status in _OF_HTTP else types
        content = {**(_PROBLEM if types else {}), **(_PLAIN if status in _OF_HTTP else {})}
        found[str(status)] = {"description": ", ".join(described), "content": content}
        if headers := _headers(one, status):
            found[str(status)]["headers"] = headers
    return found


def _headers(one: Operation, status: int) -> dict[str, Any]:
    """Of an answer with this status. Those of the rate are required where only a key that is good from there gets so
    far."""
    found = {name: _header(text, "string") for name, text in _OF_STATUS.get(status, {}).items()}
    is_of_http = status not in one.answers and status not in {MEANINGS[type_].status for type_ in one.every_problem}
    if one.scopes and not is_of_http:
        required = status not in _BEFORE_THE_RATE
        found.update({name: _header(text, "integer", required=required) for name, text in _RATE.items()})
    return found


def _header(text: str, type_: str, *, required: bool = True) -> dict[str, Any]:
    return {"description": text, "required": required, "schema": {"type": type_}}


def _content(model: type[BaseModel] | None) -> dict[str, Any]:
    if model is None:
        return {"text/html": {"schema": {"type": "string"}}}
    return {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}
