"""The API's OpenAPI document as schemathesis reads it, and what an answer is held to: its status, its media type, its
body, and every header.
"""

from __future__ import annotations

import http.client
import socket
import time
from typing import Any

import requests
import schemathesis
from schemathesis import Case, CheckContext, Response
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi import checks

from admin_web.http.security import SECURITY_HEADERS
from tests.web.api import Api

OF_EVERY_ANSWER = {
    *(name.lower() for name in SECURITY_HEADERS),
    "cache-control",
    "connection",
    "content-length",
    "content-security-policy",
    "content-type",
    "date",
}
"""Headers that say nothing about the operation, and stand in no document."""


def headers_are_documented(_: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """No header that the document does not have for this status."""
    documented = case.operation.definition.raw["responses"][str(response.status_code)].get("headers", {})
    unknown = set(response.headers) - OF_EVERY_ANSWER - {name.lower() for name in documented}
    assert not unknown, f"{case.operation.label} {response.status_code}: {unknown}"
    return None


CONFORMS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    headers_are_documented,
]
"""Of any answer: nothing undocumented."""

HOLDS = [not_a_server_error, checks.negative_data_rejection, *CONFORMS]
"""Of an answer to what schemathesis has made, besides: no fault, and what the document does not allow is refused."""


def document_of(bank: Api) -> BaseSchema:
    """As it is served; asked at the address of the test."""
    config = SchemathesisConfig()
    config.projects.default.update(base_url=f"http://127.0.0.1:{bank.port}")
    return schemathesis.openapi.from_dict(bank.get("/api/v1/openapi.json").json, config=config)


def by_name(document: BaseSchema) -> dict[str, Any]:
    """The operations by operationId."""
    found = {}
    for one in document.get_all_operations():
        assert isinstance(one, Ok), one.err()
        operation = one.ok()
        found[operation.definition.raw["operationId"]] = operation
    return found


def exchange(
    port: int, method: str, path: str, headers: dict[str, str], body: bytes | None = None, *, slow: bool = False
) -> Response:
    """One request as it is, by a socket. ``slow``: the body's last octet is never sent."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: localhost:{port}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "", ""]).encode()
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(head + (body or b"")[: -1 if slow else None])
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        content = answer.read()
    sent: dict[str, list[str]] = {}
    for name, value in answer.getheaders():
        sent.setdefault(name, []).append(value)
    asked = requests.Request(method, f"http://127.0.0.1:{port}{path}", headers=headers).prepare()
    return Response(answer.status, sent, content, asked, time.monotonic() - begun, verify=True)
