"""The pages of API keys: which programs there are; administrators make and revoke keys. A second person approves where
the settings say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network

from aiohttp import web

from admin_web.console.asking import ask_or_carry_out, typed
from admin_web.console.rendering import ConsoleRenderer
from admin_web.console.routes import Call, Form, Notice, Outcome, Page
from admin_web.console.settings import ConsoleSettings
from admin_web.console.words import SCOPES
from otp_core.accounts import Act
from otp_core.accounts.api_key_changes import ApiKeyChange
from otp_core.accounts.api_keys import MOST_NETWORKS, is_name
from otp_core.doors import Services
from otp_core.model import Scope
from otp_core.settings.addresses import read_network
from otp_core.store.api_keys import ApiKeyRecord, api_keys
from otp_core.store.async_queries import AsyncQueries

PATH = "/api-keys/{api_key:[0-9]{1,19}}"
NEW = "/new-api-key"

_KIND = "api-key"


class ApiKeyPages:
    """The handlers. ``settings`` is asked for every page."""

    def __init__(
        self,
        services: Services,
        queries: AsyncQueries,
        renderer: ConsoleRenderer,
        settings: Callable[[], ConsoleSettings],
    ) -> None:
        self._desk, self._queries, self._renderer, self._settings = services.desk, queries, renderer, settings

    def routes(self) -> list[Page | Form]:
        """The pages and forms."""
        manage = Act.MANAGE_API_KEYS
        return [
            Page("/api-keys", Act.USE_CONSOLE, self.list_),
            Page(NEW, manage, self.ask_new),
            Form(NEW, manage, self.create),
            Page(f"{PATH}/key", manage, self.key, once=("api-key",)),
            Page(f"{PATH}/revoke", manage, self.ask_revoke),
            Form(f"{PATH}/revoke", manage, self.revoke),
        ]

    async def list_(self, call: Call) -> web.Response:
        """All of them; never what a program sends."""
        rows = await self._queries.run(api_keys)
        return self._renderer.render(call.request, "api_keys.html", call.session, rows=rows)

    async def ask_new(self, call: Call) -> web.Response:
        """The form of a new key."""
        return self._renderer.render(
            call.request,
            "api_key_new.html",
            call.session,
            scopes=SCOPES,
            most_networks=MOST_NETWORKS,
            two_people=self._needs_approval,
        )

    async def create(self, call: Call) -> Outcome:
        """Make it; or back to the form with the reason why not."""
        form, name = call.form, call.form.get("name", "").strip()
        scopes = tuple(one for one in Scope if form.get(f"scope-{one}"))
        if wrong := await self._wrong(name, scopes):
            return Outcome(NEW, Notice(wrong), typed(form))
        try:
            networks = _networks(form)
        except ValueError as error:
            return Outcome(NEW, Notice("networks-wrong", {"detail": str(error)}), typed(form))
        return await self._done(call, ApiKeyChange(name, scopes, networks), NEW)

    async def _wrong(self, name: str, scopes: tuple[Scope, ...]) -> str | None:
        """The name of the message about what is wrong in the form; None if the desk can be asked."""
        if not is_name(name):
            return "api-key-name"
        if name in {one.name for one in await self._queries.run(api_keys)}:
            return "api-key-known"
        return None if scopes else "scopes-missing"

    async def ask_revoke(self, call: Call) -> web.Response:
        """What will happen, and why. Raises HTTPNotFound."""
        return self._renderer.render(
            call.request,
            "api_key_revoke.html",
            call.session,
            one=await self._record(call),
            two_people=self._needs_approval,
        )

    async def revoke(self, call: Call) -> Outcome:
        """Let nobody in by it; or back to the form with the reason why not. Raises HTTPNotFound."""
        record = await self._record(call)
        return await self._done(call, ApiKeyChange(record.name), call.request.path)

    async def _done(self, call: Call, change: ApiKeyChange, form: str) -> Outcome:
        approvals = self._settings().approvals
        return await ask_or_carry_out(self._desk, approvals, _KIND, change.name, change.payload, call, form)

    async def key(self, call: Call) -> web.Response:
        """A new key, once. Raises HTTPSeeOther to the list where there is none to be shown."""
        made = call.session.data.get("api-key")
        if not made or str(made["number"]) != call.request.match_info["api_key"]:
            raise web.HTTPSeeOther("/api-keys")
        return self._renderer.render(call.request, "api_key.html", call.session, made=made)

    @property
    def _needs_approval(self) -> bool:
        return _KIND in self._settings().approvals

    async def _record(self, call: Call) -> ApiKeyRecord:
        """Raises HTTPNotFound."""
        number = call.number("api_key")
        for one in await self._queries.run(api_keys):
            if one.key == number:
                return one
        raise web.HTTPNotFound


def _networks(form: Mapping[str, str]) -> tuple[IPv4Network | IPv6Network, ...]:
    """Those of a form, separated by blanks, commas or lines. Raises ValueError."""
    return tuple(read_network(one) for one in form.get("networks", "").replace(",", " ").split())
