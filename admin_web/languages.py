"""Japanese or English: which one a browser gets, and the words. English sentences are the keys; Japanese is a catalogue
(locale/ja, compiled by `make texts`), and a test proves that it is complete and compiled.
"""

from __future__ import annotations

import gettext
from collections.abc import Callable
from functools import cache
from pathlib import Path

from otp_core.model import Language

COOKIE = "language"
Translator = Callable[[str], str]


def gettext_noop(text: str) -> str:
    """The text itself: it is translated where it is shown, and found here for the catalogue."""
    return text


def language_of(cookie: str | None, accepts: str | None) -> Language:
    """By the customer's choice, else by the browser's first wish that we know, else Japanese."""
    if cookie in tuple(Language):
        return Language(cookie)
    wishes = [part.partition(";")[0].strip().lower()[:2] for part in (accepts or "").split(",")]
    return next((Language(wish) for wish in wishes if wish in tuple(Language)), Language.JA)


@cache
def translator(language: Language) -> Translator:
    """The translator of a language."""
    if language is Language.EN:
        return gettext_noop
    return gettext.translation("portal", Path(__file__).parent / "locale", [language.value]).gettext
