"""Japanese or English: which language a browser gets, and its translator. English sentences are the keys; Japanese is a
catalogue (locale/ja, compiled by `make texts`), and a test checks that it is complete and compiled.
"""

from __future__ import annotations

import gettext
from collections.abc import Callable
from functools import cache
from pathlib import Path

from otp_core.model import Language

COOKIE = "language"
"""The cookie that holds the customer's choice."""

Translator = Callable[[str], str]


def gettext_noop(text: str) -> str:
    """The text itself. It marks a sentence for the catalogue (`make texts`) that is translated where it is shown."""
    return text


def language_of(cookie: str | None, accept_language: str | None) -> Language:
    """The customer's choice (the cookie's value), else the first language in Accept-Language that there are texts for,
    else Japanese. Weights (RFC 9110 section 12.5.4) are ignored: browsers send them in descending order."""
    if cookie in tuple(Language):
        return Language(cookie)
    wanted = [part.partition(";")[0].strip().lower()[:2] for part in (accept_language or "").split(",")]
    return next((Language(one) for one in wanted if one in tuple(Language)), Language.JA)


@cache
def translator(language: Language) -> Translator:
    """The translator of a language. Raises OSError if the catalogue is missing."""
    if language is Language.EN:
        return gettext_noop
    return gettext.translation("portal", Path(__file__).parent / "locale", [language.value]).gettext
