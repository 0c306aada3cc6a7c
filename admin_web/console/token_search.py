"""The page "whose token shows these two codes". The search runs in a thread, one at a time, and outlives the click:
the page shows what it has come to. No code is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from aiohttp import web

from admin_web.console.messages import MESSAGE_OF_REFUSAL
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Form, Notice, Outcome, Page
from otp_core.accounts import Act, Refusal, Refused, TokenSearch
from otp_core.accounts.written import says_something, written
from otp_core.doors import Services
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.find import keys_of_tokens

PATH = "/tokens/find"
SEARCH_SECONDS = 10.0
"""How long one search looks: some hundred thousand tokens."""
PAUSE_SECONDS = 5.0
"""Between two searches of one person."""
KEPT_SECONDS = 600.0
"""How long an answer can be looked at by the session that asked for it."""

_WAIT_SECONDS = 1.5
"""How long a page waits for the answer before it says that the search goes on."""
_LONGEST_REASON = 200
_log = structlog.get_logger("console")


@dataclass(frozen=True, slots=True)
class _Search:
    """One person's search. ``task`` gives what was found, or the name of a message. ``begun``: monotonic seconds."""

    session: int
    task: asyncio.Task[TokenSearch | str]
    begun: float


class TokenSearchPages:
    """The handlers. ``monotonic`` gives seconds."""

    def __init__(
        self,
        services: Services,
        queries: AsyncQueries,
        renderer: ConsoleRenderer,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk, self._queries, self._renderer, self._monotonic = services.desk, queries, renderer, monotonic
        self._closing = False
        self._searches: dict[str, _Search] = {}
        """The last one of each member of staff."""

    def routes(self) -> list[Page | Form]:
        """The page and its form."""
        return [Page(PATH, Act.FIND_TOKEN, self.show), Form(PATH, Act.FIND_TOKEN, self.begin)]

    async def close(self, _: web.Application) -> None:
        """End the search that is running: the server is to stop now."""
        self._closing = True

    async def show(self, call: Call) -> web.Response:
        """The form, and what the last search of this session has come to."""
        search = self._own(call)
        if search is not None:
            await asyncio.wait({search.task}, timeout=_WAIT_SECONDS)
        found = search.task.result() if search is not None and search.task.done() else None
        token_ids = found.token_ids if isinstance(found, TokenSearch) else ()
        response = self._renderer.render(
            call.request,
            "find_token.html",
            call.session,
            running=search is not None and found is None,
            found=found if isinstance(found, TokenSearch) else None,
            keys=await self._queries.run(keys_of_tokens, token_ids),
            message=found if isinstance(found, str) else None,
        )
        if search is not None and found is None:
            response.headers["Refresh"] = f"1;url={PATH}"
        return response

    async def begin(self, call: Call) -> Outcome:
        """Begin to look, unless somebody else's search is running."""
        kept = {name: call.form.get(name, "")[:most] for name, most in (("reason", _LONGEST_REASON), ("beginning", 64))}
        now = self._monotonic()
        if not says_something(kept["reason"]):
            return Outcome(PATH, Notice("reason-missing"), kept)
        self._searches = {name: one for name, one in self._searches.items() if now - one.begun < KEPT_SECONDS}
        if any(not one.task.done() for one in self._searches.values()):
            return Outcome(PATH, Notice("search-busy"), kept)
        last = self._searches.get(call.session.staff.name)
        if last is not None and now - last.begun < PAUSE_SECONDS:
            return Outcome(PATH, Notice("search-too-soon"), kept)
        task = asyncio.create_task(self._look(call, kept))
        self._searches[call.session.staff.name] = _Search(call.session.key, task, now)
        return Outcome(PATH, kept={"beginning": kept["beginning"]})

    async def _look(self, call: Call, kept: dict[str, str]) -> TokenSearch | str:
        """What was found, or the name of the message why nothing was looked for."""
        codes = call.form.get("first", ""), call.form.get("second", "")
        principal = call.principal(written(kept["reason"]))
        find, until = self._desk.token_search.find, self._monotonic() + SEARCH_SECONDS

        def go_on() -> bool:
            return not self._closing and self._monotonic() < until

        try:
            return await asyncio.to_thread(find, codes, kept["beginning"], go_on, principal)
        except Refused as refused:
            return "search-codes" if refused.refusal is Refusal.NOT_A_CODE else MESSAGE_OF_REFUSAL[refused.refusal]
        except Exception:
            _log.exception("a token could not be looked for")
            return "search-failed"

    def _own(self, call: Call) -> _Search | None:
        """The last search of this session, if it is not long ago."""
        search = self._searches.get(call.session.staff.name)
        if search is None or search.session != call.session.key:
            return None
        return search if self._monotonic() - search.begun < KEPT_SECONDS else None
