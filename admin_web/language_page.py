"""The link that changes the language of a site's pages: the choice goes into a cookie, and back to the page."""

from __future__ import annotations

import re

from aiohttp import web

from admin_web.languages import COOKIE
from otp_core.model import Language

_YEAR_SECONDS = 365 * 24 * 3600
_OUR_PATH = re.compile(r"/(?:[a-z0-9][a-z0-9-]*(?:/[a-z0-9][a-z0-9-]*)*/?)?")
"""A path of this site, and nothing that a browser could take for another host."""


async def choose_language(request: web.Request) -> web.Response:
    """GET /language/LANGUAGE?to=PATH: store the choice in a cookie, and go back to the page that it was made on. Raises
    HTTPNotFound for another language."""
    wanted, back = request.match_info["language"], request.query.get("to", "/")
    if wanted not in tuple(Language):
        raise web.HTTPNotFound
    response = web.HTTPSeeOther(back if _OUR_PATH.fullmatch(back) else "/")
    keep_language(request, response, Language(wanted))
    return response


def keep_language(request: web.Request, response: web.StreamResponse, language: Language) -> None:
    """Store a choice of language in a cookie, for a year."""
    response.set_cookie(COOKIE, language, max_age=_YEAR_SECONDS, httponly=True, samesite="Lax", secure=request.secure)
