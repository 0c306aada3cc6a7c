"""The pages of files to be imported: the upload, what the check has found, the decision, and how far it is. A page
looks at the store each time, so that it says the same after a reload, in another browser and after a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp import web

from admin_web.console.asking import kept_why, why
from admin_web.console.filters import before
from admin_web.console.import_words import problem_rows
from admin_web.console.messages import MESSAGE_OF_REFUSAL
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Form, Notice, Outcome, Page, Upload
from admin_web.console.settings import ConsoleSettings
from admin_web.languages import translator
from admin_web.rendering import request_language
from otp_core.accounts import Act, Refused
from otp_core.accounts.file_imports import UPLOADED, FileChoices, ask_for_import
from otp_core.accounts.retirements import ask_for_retirement, span_of
from otp_core.accounts.written import says_something
from otp_core.doors import Services
from otp_core.imports.task import ImportTask
from otp_core.model import Encoding, SeedForm
from otp_core.store.approvals import approval_of
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.file_imports import RETIREMENT, WORKED_ON, FileImport, file_import_of, file_imports
from otp_core.store.retry import retry_while_busy
from otp_core.unseen import with_numbers
from otp_core.verifier import LOCAL_VERIFIER

PATH = "/imports/{file:[0-9]{1,19}}"
PAGE_ROWS = 50
REFRESH_SECONDS = 2

_ENCODINGS = (Encoding.UTF_8, Encoding.CP932, Encoding.EUC_JP, Encoding.CP1252)


class ImportPages:
    """The handlers, and the task that checks and writes. ``settings`` is asked for every page."""

    def __init__(
        self,
        services: Services,
        queries: AsyncQueries,
        renderer: ConsoleRenderer,
        settings: Callable[[], ConsoleSettings],
    ) -> None:
        self._services, self._desk, self._queries = services, services.desk, queries
        self._renderer, self._settings = renderer, settings
        self._task: ImportTask | None = None
        self._running: asyncio.Task[None] | None = None

    def routes(self) -> list[Page | Form | Upload]:
        """The pages and forms."""
        found: list[Page | Form | Upload] = [Page("/imports", Act.USE_CONSOLE, self.list_)]
        for kind, act in UPLOADED.items():
            path = f"/imports/{kind}"
            found.append(Page(path, act, partial(self.ask, kind)))
            found.append(Upload(path, act, partial(self.take, kind), self._most))
        return [
            *found,
            Page(PATH, Act.USE_CONSOLE, self.show),
            # The desk asks again, by the kind of the file.
            Form(f"{PATH}/begin", Act.IMPORT_TOKENS, self.begin),
            Form(f"{PATH}/withdraw", Act.IMPORT_TOKENS, self.withdraw),
        ]

    async def begin_task(self, _: web.Application) -> None:
        """Check and write what there is, from now on."""
        self._task = ImportTask(self._services.store, self._desk, self._services.import_rules)
        self._running = asyncio.create_task(self._task.run())

    async def end_task(self, _: web.Application) -> None:
        """Finish the rows that are being written; the next process goes on from there."""
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    def _most(self) -> int:
        return self._settings().import_megabytes * 1_000_000

    async def list_(self, call: Call) -> web.Response:
        """Files, the newest first; the page is in the URL."""
        rows = await self._queries.run(file_imports, before=before(call.request), limit=PAGE_ROWS + 1)
        last = rows[PAGE_ROWS - 1].key if len(rows) > PAGE_ROWS else None
        return self._renderer.render(call.request, "imports.html", call.session, rows=rows[:PAGE_ROWS], last=last)

    async def ask(self, kind: str, call: Call) -> web.Response:
        """The form of the file."""
        return self._renderer.render(
            call.request,
            "import_new.html",
            call.session,
            kind=kind,
            most=self._settings().import_megabytes,
            encodings=_ENCODINGS,
            seeds=tuple(SeedForm),
            verifiers=self._services.import_rules.verifiers,
        )

    async def take(self, kind: str, call: Call) -> Outcome:
        """Keep the file, sealed, and have it checked."""
        page, kept = f"/imports/{kind}", kept_why(call.form)
        if call.file is None:
            return Outcome(page, Notice("file-too-large", {"most": str(self._settings().import_megabytes)}), kept)
        if not call.file.name:
            return Outcome(page, Notice("file-missing"), kept)
        if not says_something(kept["reason"]):
            return Outcome(page, Notice("reason-missing"), kept)
        principal, name = call.principal(why(kept)), with_numbers(call.file.name)
        keep = partial(self._desk.file_imports.keep, kind, name, self._choices(call), call.file.content, principal)
        try:
            key = await asyncio.to_thread(keep)
        except Refused as refused:
            return Outcome(page, Notice(MESSAGE_OF_REFUSAL[refused.refusal]), kept)
        self.wake()
        return Outcome(f"/imports/{key}", Notice("import-kept"))

    def _choices(self, call: Call) -> FileChoices:
        """How the file is read; a choice that the form does not offer is the first one of those that it does."""

        def chosen(name: str, offered: tuple[str, ...]) -> str:
            return call.form[name] if call.form.get(name) in offered else offered[0]

        return FileChoices(
            chosen("encoding", ("", *_ENCODINGS)),
            chosen("seeds", tuple(SeedForm)),
            chosen("verifier", (LOCAL_VERIFIER, *self._services.import_rules.verifiers)),
            "skip_existing" in call.form,
            "as_typed" in call.form,
        )

    async def show(self, call: Call) -> web.Response:
        """One file: what was found, the decision, how far it is. Raises HTTPNotFound."""
        found = await self._found(call)
        request = None if found.approval_key is None else await self._queries.run(approval_of, found.approval_key)
        retires = found.what == RETIREMENT
        response = self._renderer.render(
            call.request,
            "retirement.html" if retires else "import.html",
            call.session,
            span=span_of(found) if retires else None,
            one=found,
            facts=found.facts,
            problems=problem_rows(found.facts["problems"], translator(request_language(call.request))),
            asked=request,
            share=_share(found),
            own=found.asked_by == call.session.staff.name,
            alone=_decided_as(found) not in self._settings().approvals,
        )
        if found.state in WORKED_ON:
            response.headers["Refresh"] = f"{REFRESH_SECONDS};url={call.request.path}"
        return response

    async def begin(self, call: Call) -> Outcome:
        """Import the file, or retire the tokens of the list, or ask somebody else to approve it, as the settings have
        it."""
        key, page = call.number("file"), call.request.path.rpartition("/")[0]
        found = await self._found(call)
        principal = call.principal(found.reason)
        ask = ask_for_retirement if found.what == RETIREMENT else ask_for_import
        try:
            if _decided_as(found) in self._settings().approvals:
                await retry_while_busy(lambda: ask(self._desk, key, principal))
                return Outcome(page, Notice("import-asked"))
            await retry_while_busy(lambda: self._desk.file_imports.begin(key, principal))
        except Refused as refused:
            return Outcome(page, Notice(MESSAGE_OF_REFUSAL[refused.refusal]))
        self.wake()
        return Outcome(page, Notice("retirement-begun" if found.what == RETIREMENT else "import-begun"))

    async def withdraw(self, call: Call) -> Outcome:
        """Delete the file."""
        key, page = call.number("file"), call.request.path.rpartition("/")[0]
        principal = call.principal()
        try:
            await retry_while_busy(lambda: self._desk.file_imports.withdraw(key, principal))
        except Refused as refused:
            return Outcome(page, Notice(MESSAGE_OF_REFUSAL[refused.refusal]))
        found = await self._found(call)
        return Outcome(page, Notice("retirement-withdrawn" if found.what == RETIREMENT else "import-withdrawn"))

    def wake(self) -> None:
        """There is a file to work on."""
        if self._task is not None:
            self._task.wake()

    async def _found(self, call: Call) -> FileImport:
        """Raises HTTPNotFound."""
        found = await self._queries.run(file_import_of, call.number("file"))
        if found is None:
            raise web.HTTPNotFound
        return found


def _decided_as(found: FileImport) -> str:
    """Which of ``console.approvals`` it is."""
    return "bulk" if found.what == RETIREMENT else "import"


def _share(found: FileImport) -> int:
    """How far the check or the writing is, in percent."""
    facts: Any = found.facts
    whole = facts["rows"] if found.state == "writing" else found.size
    return min(100, 100 * found.done // max(whole, 1))
