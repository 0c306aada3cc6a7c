"""The route table of the API, and the way of a request through it: gate, reading, handler, answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from admin_web.api.acts import Acts
from admin_web.api.check import CHECK, Checks
from admin_web.api.gate import RATE, Gate
from admin_web.api.lists import Lists
from admin_web.api.models import OpenApi
from admin_web.api.openapi import document
from admin_web.api.operations import HTML, Answer, Call, Operation, answer_of
from admin_web.api.page import PAGE_HEADERS, page_of
from admin_web.api.problems import ProblemError, ProblemType, problem_of_status
from admin_web.api.reading import MAX_BODY_BYTES, read_body, read_query
from admin_web.api.settings import ApiSettings
from admin_web.http.security import Names, SitePolicy, logged_path, security_middleware
from otp_core.clock import ClockWrong
from otp_core.doors import Services
from otp_core.model import BackendSilent
from otp_core.store.async_queries import AsyncQueries

_POLICY = "default-src 'none'; frame-ancestors 'none'"
_RETRY = {"Retry-After": "10"}
_log = structlog.get_logger("api")


class ApiSite:
    """All operations, as an HttpSite. ``settings`` is asked at every request."""

    def __init__(self, services: Services, settings: Callable[[], ApiSettings]) -> None:
        self._desk, self._settings = services.desk, settings
        queries = AsyncQueries(services.store)
        self._lists = Lists(queries, services.store.sealer.name_fingerprint, services.desk.looks)
        self._acts = Acts(services, queries, settings)
        self._checks = Checks(services)
        self._document = document(self.operations(), settings().public_origin)
        self._reader = services.store.key_reader()
        by_name = {one.name: one for one in self.operations()}
        self._gate = Gate(services.desk.api_keys, self._reader, by_name, settings)

    def operations(self) -> list[Operation]:
        """Every operation; what is not in here does not exist."""
        about = Operation(
            "getDocument",
            "GET",
            "/api/v1/openapi.json",
            "This document; no key is needed",
            (),
            self._about,
            {200: ("The document", OpenApi)},
        )
        page = Operation(
            "getPage",
            "GET",
            "/api/v1/docs",
            "This document as a page for people; no key is needed",
            (),
            self._show,
            {200: ("The page", None)},
        )
        return [about, page, *self._lists.operations(), *self._acts.operations(), *self._checks.operations()]

    def application(self) -> web.Application:
        """The routes, with the security middleware outermost."""
        policy = SitePolicy(
            self._settings().public_origin,
            lambda: self._settings().trusted_proxies,
            self._error,
            _POLICY,
            names=Names.ANY,  # each request brings its key: a page under another name gains nothing
            admit=self._admit,
            path_for_log=self._path_for_log,
            is_told_elsewhere=self._is_accepted_login,
        )
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[security_middleware(policy)])
        app.on_cleanup.append(self._close)
        for one in self.operations():
            app.router.add_route(one.method, one.route, self._handler(one), name=one.name)
        return app

    async def _close(self, _: web.Application) -> None:
        self._reader.close()

    def sweep(self) -> bool:
        """Delete some answers that are not given again any more; whether there were any. Raises StoreUnavailable,
        ClockWrong."""
        return self._desk.kept_answers.expire() > 0

    async def _about(self, call: Call) -> Answer:
        return Answer(200, self._document)

    async def _show(self, call: Call) -> Answer:
        return Answer(200, self._page, PAGE_HEADERS, HTML)

    @cached_property
    def _page(self) -> str:
        """Made for the first who asks."""
        return page_of(self._document)

    async def _admit(self, request: web.Request) -> web.Response | None:
        """The answer to a request that is not admitted, and whose body is not read; None: it is."""
        try:
            await self._gate.check(request)
        except ProblemError as problem:
            return respond(request, answer_of(problem))
        except BackendSilent as cause:
            return self._unavailable(request, cause)
        return None

    def _handler(self, operation: Operation) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                asked = read_query(request, operation.query)
                if operation.body is not None:
                    await self._gate.check_again(request)
                    asked = await read_body(request, operation.body)
                answer = await operation.handler(Call(request, operation, asked))
            except ProblemError as problem:
                return respond(request, answer_of(problem))
            except (BackendSilent, ClockWrong) as cause:
                return self._unavailable(request, cause)
            return respond(request, answer)

        return handle

    def _unavailable(self, request: web.Request, cause: Exception) -> web.Response:
        _log.error("a request cannot be served", path=self._path_for_log(request), cause=str(cause))
        return respond(request, answer_of(ProblemError(ProblemType.UNAVAILABLE, headers=_RETRY)))

    def _path_for_log(self, request: web.Request) -> str:
        """The path without what it names: somebody may have typed a password where a contract ID belongs."""
        operation = self._gate.operation(request)
        return logged_path(request) if operation is None else operation.path

    def _is_accepted_login(self, request: web.Request, response: web.StreamResponse) -> bool:
        """``log.verdicts`` says which logins the log has a line about, whatever the door."""
        operation = self._gate.operation(request)
        return operation is not None and operation.name == CHECK and response.status == 200

    @staticmethod
    async def _error(request: web.Request, status: int) -> web.Response:
        return respond(request, answer_of(problem_of_status(status)))


def respond(request: web.Request, answer: Answer) -> web.Response:
    """The answer, which no cache keeps, with where the key stands with its rate."""
    rate = request.get(RATE)
    shape = answer.shape
    text = shape if isinstance(shape, str) else json.dumps(shape, ensure_ascii=False)
    headers = {**(rate.headers if rate else {}), **answer.headers}
    return web.Response(status=answer.status, text=text, content_type=answer.content_type, headers=headers)
