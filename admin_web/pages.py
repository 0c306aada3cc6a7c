"""Pages out of templates: the words of the browser's language, the bank's name and contact. Decides nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from admin_web.languages import COOKIE, language_of, translator
from admin_web.settings import WebSettings
from otp_core.model import Language

_TYPES = {"css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    content_type: str


class Static:
    """The files that pages name, read once; a new version has a new name."""

    def __init__(self) -> None:
        found = {one.name: one.read_bytes() for one in files("admin_web").joinpath("static").iterdir()}
        self.version = hashlib.sha256(b"".join(found[name] for name in sorted(found))).hexdigest()[:12]
        self._files = {name: _File(content, _TYPES[name.rpartition(".")[2]]) for name, content in found.items()}

    async def answer(self, request: web.Request) -> web.Response:
        """``/static/VERSION/NAME``. An old version's name gets the new file: a page from before an update still looks
        right."""
        file = self._files.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        headers = {"Content-Type": file.content_type, "Cache-Control": _FOR_EVER}
        return web.Response(body=file.content, headers=headers)

    async def favicon(self, _: web.Request) -> web.Response:
        icon = self._files["favicon.svg"]
        headers = {"Content-Type": icon.content_type, "Cache-Control": "public, max-age=86400"}
        return web.Response(body=icon.content, headers=headers)


class Pages:
    """Renders. ``settings`` is asked at every page, so that a reload shows at once."""

    def __init__(self, settings: Callable[[], WebSettings], static: Static) -> None:
        self._settings, self._static = settings, static
        self._templates = Environment(
            loader=PackageLoader("admin_web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["grouped"] = grouped

    def page(self, request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response:
        language = language_in(request)
        settings = self._settings()
        japanese = language is Language.JA
        text = self._templates.get_template(template).render(
            _=translator(language),
            language=language.value,
            path=request.path,
            static=f"/static/{self._static.version}",
            bank=settings.bank_name if japanese else settings.bank_name_en,
            contact=settings.contact if japanese else settings.contact_en,
            login_url=settings.login_url,
            **{"notice": None, "signed_in": False, "ended": False, "minutes": 0, **values},
        )
        return web.Response(
            text=text, status=status, content_type="text/html", headers={"Vary": "Accept-Language, Cookie"}
        )

    async def error(self, request: web.Request, status: int) -> web.Response:
        """The page of an error, with no word about its cause inside."""
        return self.page(request, "error.html", status, code=status)


def language_in(request: web.Request) -> Language:
    return language_of(request.cookies.get(COOKIE), request.headers.get("Accept-Language"))


def grouped(text: str) -> str:
    """``VSMT 1234 5678``: in fours, to be read and typed."""
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))
