"""Pages from templates, in the browser's language, with the bank's name and contact; and the static files that they
name. Decides nothing about customers or sessions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import segno
from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from admin_web.colours import portal_css
from admin_web.contact import contact_markup
from admin_web.languages import COOKIE, language_of, translator
from admin_web.logo import LOGO_POLICY, logo
from admin_web.settings import WebSettings
from otp_core.dates import moment_text
from otp_core.model import Language
from otp_core.settings.values import zone

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_CACHE_A_YEAR = "public, max-age=31536000, immutable"
_CACHE_A_DAY = "public, max-age=86400"
_NO_CACHE = "no-cache"


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    content_type: str


class StaticFiles:
    """The static files of a site's pages, read once. ``version``: a hash of them all, part of their URLs. ``folders``:
    below this package."""

    def __init__(self, *folders: str) -> None:
        where = (files("admin_web").joinpath(folder) for folder in folders)
        found = {one.name: one.read_bytes() for folder in where for one in folder.iterdir()}
        self.version = hashlib.sha256(b"".join(found[name] for name in sorted(found))).hexdigest()[:12]
        self._files = {name: _File(content, _TYPES[name.rpartition(".")[2]]) for name, content in found.items()}

    async def serve(self, request: web.Request) -> web.Response:
        """GET /static/VERSION/NAME. Any version gets the present file, so that a page from before an update still looks
        right; nobody keeps it under the name of another, which may be that of the next update. Raises HTTPNotFound."""
        file = self._files.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        return _response(file, _kept(request.match_info["version"], self.version))

    async def favicon(self, _: web.Request) -> web.Response:
        """GET /favicon.ico, which browsers ask for by themselves."""
        return _response(self._files["favicon.svg"], _CACHE_A_DAY)


class BrandFiles:
    """The bank's own files: its logo, and the style sheet of its colour. ``settings`` is asked at every request."""

    def __init__(self, settings: Callable[[], WebSettings]) -> None:
        self._settings = settings

    def addresses(self) -> dict[str, str | None]:
        """What a page names: the paths of the logo and of the colours, None for one that there is not."""
        settings = self._settings()
        picture, colour = logo(settings.logo), settings.colour
        return {
            "logo": None if picture is None else f"/bank/{picture.version}/logo",
            "colours": None if colour is None else f"/bank/{colour[1:]}/colours.css",
        }

    async def serve_logo(self, request: web.Request) -> web.Response:
        """GET /bank/VERSION/logo; any version gets the present one, as of the static files. Raises HTTPNotFound."""
        picture = logo(self._settings().logo)
        if picture is None:
            raise web.HTTPNotFound
        file = _File(picture.content, picture.content_type)
        response = _response(file, _kept(request.match_info["version"], picture.version))
        response.headers["Content-Security-Policy"] = LOGO_POLICY
        return response

    async def serve_colours(self, request: web.Request) -> web.Response:
        """GET /bank/COLOUR/colours.css; any colour gets the present one, as of the static files."""
        colour = self._settings().colour
        file = _File(portal_css(colour).encode(), _TYPES["css"])
        return _response(file, _kept(request.match_info["version"], (colour or "")[1:]))


class Renderer:
    """Renders templates. ``settings`` is asked for every page, so that a reload takes effect at once."""

    def __init__(self, settings: Callable[[], WebSettings], static: StaticFiles) -> None:
        self._settings, self._static, self._brand = settings, static, BrandFiles(settings)
        self._templates = templates()

    def render(self, request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response:
        """A page: the template's name below templates/, the HTTP status, and what the template shows besides the bank's
        name and contact. ``message``: a FormMessage to show above the content; ``signed_in``, ``ended``: whether the
        customer has signed in, and whether their journey has ended."""
        language = request_language(request)
        settings = self._settings()
        japanese = language is Language.JA
        text = self._templates.get_template(template).render(
            _=translator(language),
            language=language.value,
            path=request.path,
            brand=self._brand.addresses(),
            static=f"/static/{self._static.version}",
            bank=settings.bank_name if japanese else settings.bank_name_en,
            contact=contact_markup(settings.contact if japanese else settings.contact_en),
            digits=_wide if japanese else str,
            moment=lambda at: moment_text(at, zone(settings.time_zone), language),
            login_url=settings.login_url,
            soft_token=settings.soft_token,
            **{"message": None, "signed_in": False, "name": None, "ended": False, "minutes": 0, **values},
        )
        return web.Response(
            text=text, status=status, content_type="text/html", headers={"Vary": "Accept-Language, Cookie"}
        )

    async def error_page(self, request: web.Request, status: int) -> web.Response:
        """The page of an HTTP error. It says nothing about the cause inside."""
        return self.render(request, "error.html", status, code=status, origin=self._settings().public_origin)


def templates() -> Environment:
    """The templates of all pages. They escape by themselves, and a name that is missing is an error."""
    found = Environment(
        loader=PackageLoader("admin_web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["grouped"] = grouped
    return found


def language_handed_over(request: web.Request) -> Language | None:
    """The language that the link to a page names, ``?lang=ja`` or ``?lang=en``; None if it names neither."""
    wanted = request.query.get("lang", "").lower()
    return Language(wanted) if wanted in tuple(Language) else None


def request_language(request: web.Request) -> Language:
    """The language in which a request is answered: that of the link (``?lang=``), else the browser's."""
    handed_over = language_handed_over(request)
    if handed_over is not None:
        return handed_over
    return language_of(request.cookies.get(COOKIE), request.headers.get("Accept-Language"))


def _wide(number: int) -> str:
    """The number in full-width digits, as in the rest of a Japanese sentence: ``３``."""
    return "".join(chr(ord(digit) + ord("０") - ord("0")) for digit in str(number))


def grouped(text: str) -> str:
    """In groups of four, easier to read and to type: ``VSMT 1234 5678``."""
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def qr_code(text: str) -> str:
    """A QR code as a data URI. About 8 ms: call it in a thread."""
    return segno.make(text, error="m").svg_data_uri(scale=4, border=4, light="#fff")


def _kept(asked: str, present: str) -> str:
    """How long what was asked for by a version is kept."""
    return _CACHE_A_YEAR if asked == present else _NO_CACHE


def _response(file: _File, cache_control: str) -> web.Response:
    headers = {"Content-Type": file.content_type, "Cache-Control": cache_control}
    return web.Response(body=file.content, headers=headers)
