"""What customers call their tokens ("my phone"): normalised, bounded, and with nothing that could fool a screen.

A name is for the eye alone. No act finds a token by it, and no audit row holds it. Pure.
"""

from __future__ import annotations

import re
import unicodedata

from otp_core.accounts.results import Refusal, Refused

LONGEST_NAME = 40
"""Characters of a name."""
_LONGEST_TYPED = 4 * LONGEST_NAME
"""Characters that are looked at: a longer text is none, whatever it would become."""
_BLANKS = re.compile("[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Letters and marks by their category, and yet nothing that anybody can see."""
_REFUSED = ("C", "Zl", "Zp")
"""Unicode categories: controls, marks of direction, what is invisible, unassigned or no character; ends of lines."""


def token_name(text: str | None) -> str | None:
    """A name as it is kept: in form NFC, with single spaces. None for one that is empty. Raises Refused (BAD_NAME)."""
    if text is None:
        return None
    if len(text) > _LONGEST_TYPED:
        raise Refused(Refusal.BAD_NAME, f"at most {LONGEST_NAME} characters")
    name = _BLANKS.sub(" ", unicodedata.normalize("NFC", text)).strip(" ")
    if any(letter in _FILLERS or unicodedata.category(letter).startswith(_REFUSED) for letter in name):
        raise Refused(Refusal.BAD_NAME, "it has a control character, or one that nobody can see")
    if len(name) > LONGEST_NAME:
        raise Refused(Refusal.BAD_NAME, f"at most {LONGEST_NAME} characters")
    return name or None
