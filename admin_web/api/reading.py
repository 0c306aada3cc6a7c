"""What a request asks, read from query or body into its model. Bounded before it is looked at; says what is wrong, and
repeats nothing of it.
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ValidationError

from admin_web.api.problems import FieldError, ProblemError, ProblemType

MAX_BODY_BYTES = 8 * 1024
"""The largest body: more than any act needs."""

MOST_ERRORS = 20
"""Errors that an answer lists."""


def read_query(request: web.Request, model: type[BaseModel] | None) -> BaseModel | None:
    """The query by its model. Raises ProblemError (ILL_FORMED), for a parameter that is given twice or unknown too."""
    query = request.query
    if twice := {name for name in query if len(query.getall(name)) > 1}:
        raise _ill_formed(
            [FieldError(name, "is given more than once") for name in sorted(twice) if _is_ours(name, model)]
        )
    if model is None:
        if query:
            raise _ill_formed([FieldError("query", "takes no parameters")])
        return None
    return _checked(model, dict(query))


async def read_body(request: web.Request, model: type[BaseModel]) -> BaseModel:
    """The body by its model; none at all is an empty object. Raises ProblemError."""
    body = await request.read()
    if not body:
        return _checked(model, {})
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ProblemError(ProblemType.NOT_JSON_TYPE, "takes no Content-Encoding")
    if request.content_type != "application/json" or (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise ProblemError(ProblemType.NOT_JSON_TYPE)
    try:
        value = json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_no_constant)
    except _TwiceError:
        raise _ill_formed([FieldError("body", "a name is given more than once")]) from None
    except (ValueError, RecursionError):
        raise ProblemError(ProblemType.NOT_JSON) from None
    if not isinstance(value, dict):
        raise _ill_formed([FieldError("body", "has to be an object")])
    return _checked(model, value)


class _TwiceError(Exception):
    """A name stands in an object more than once."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _TwiceError
    return found


def _no_constant(_: str) -> Any:
    raise ValueError("NaN and Infinity are no JSON")


def _checked(model: type[BaseModel], values: dict[str, Any]) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise _ill_formed(
            [
                FieldError(_place(one["loc"], model), str(one["msg"]).removeprefix("Value error, "))
                for one in found[:MOST_ERRORS]
            ]
        ) from None


def _place(parts: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Where an error is; "body" for one of several members at once. A name that the model has not got may be anything,
    a secret too: it is left out."""
    if not parts:
        return "body"
    names = [str(part) for part in parts if str(part) in model.model_fields]
    return ".".join(names) if names else "a name that is not known here"


def _is_ours(name: str, model: type[BaseModel] | None) -> bool:
    return model is not None and name in model.model_fields


def _ill_formed(errors: list[FieldError]) -> ProblemError:
    return ProblemError(ProblemType.ILL_FORMED, errors=errors)
