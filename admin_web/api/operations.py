"""What an operation of the API is: a method and a path, the scope that it needs, what it takes and what it answers.

The route table, the gate and the OpenAPI document are made from the same values. Pure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from aiohttp import web
from pydantic import BaseModel

from admin_web.api.problems import ProblemError, ProblemType
from admin_web.http.security import SOURCE
from otp_core.accounts import Principal
from otp_core.accounts.api_keys import api_key_principal
from otp_core.model import Scope
from otp_core.store.api_keys import ApiKeyRecord

KEY: web.RequestKey[ApiKeyRecord] = web.RequestKey("key", ApiKeyRecord)
"""Whose request it is; set before any handler runs."""

COMMON = (
    ProblemType.KEY_NEEDED,
    ProblemType.NETWORK_REFUSED,
    ProblemType.SCOPE_MISSING,
    ProblemType.ILL_FORMED,
    ProblemType.RATE_LIMITED,
    ProblemType.UNAVAILABLE,
)
"""What any operation may answer."""

OF_BODY = (
    ProblemType.NOT_JSON,
    ProblemType.BAD_REQUEST,
    ProblemType.TOO_SLOW,
    ProblemType.TOO_LARGE,
    ProblemType.NOT_JSON_TYPE,
)
"""What one with a body may answer besides."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may be made. ``asked``: the query, or the body, as its model has read it."""

    request: web.Request
    operation: Operation
    asked: BaseModel | None = field(repr=False)

    @property
    def key(self) -> ApiKeyRecord:
        """Whose it is."""
        return self.request[KEY]

    def part(self, name: str) -> str:
        """A part of the path."""
        return self.request.match_info[name]

    def principal(self, scope: Scope, reason: str = "") -> Principal:
        """Who acts, for what one of the key's scopes allows."""
        return api_key_principal(self.key, scope, self.request[SOURCE], reason)


JSON = "application/json"
HTML = "text/html"
PROBLEM_JSON = "application/problem+json"


class Answer(NamedTuple):
    """A status, a JSON object or the text of a page, further headers, and which of them it is."""

    status: int
    shape: Mapping[str, object] | str
    headers: Mapping[str, str] = {}
    content_type: str = JSON


def answer_of(problem: ProblemError) -> Answer:
    """A problem as the answer."""
    return Answer(problem.status, problem.shape, problem.headers, PROBLEM_JSON)


@dataclass(frozen=True, slots=True)
class Operation:
    """``name``: unique, in camel case, for programs that are made from the document. ``scopes``: the key has to have
    one of them; empty: no key is needed. ``query``, ``body``: models of what is taken; ``answers``: by status, and a
    page has no model; ``problems``: besides those that all have."""

    name: str
    method: str
    path: str
    summary: str
    scopes: tuple[Scope, ...]
    handler: Callable[[Call], Awaitable[Answer]]
    answers: Mapping[int, tuple[str, type[BaseModel] | None]]
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    problems: tuple[ProblemType, ...] = ()
    patterns: Mapping[str, str] = field(default_factory=dict)
    """Regular expressions that parts of the path have to be of."""
    is_kept: bool = False
    """Whether its answers are kept for an Idempotency-Key."""

    @property
    def route(self) -> str:
        """The path as the router reads it."""
        found = self.path
        for name, pattern in self.patterns.items():
            found = found.replace(f"{{{name}}}", f"{{{name}:{pattern}}}")
        return found

    @property
    def every_problem(self) -> tuple[ProblemType, ...]:
        """All that it may answer."""
        kept = (ProblemType.IDEMPOTENCY_KEY_REUSED,) if self.is_kept else ()
        return (*COMMON, *(OF_BODY if self.body else ()), *self.problems, *kept)
