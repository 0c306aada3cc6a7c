"""What customers call their tokens ("my phone"): normalised, bounded, and with nothing that could fool a screen.

A name is for the eye alone. No act finds a token by it, and no audit row holds it. Pure.
"""

from __future__ import annotations

import re
import unicodedata

from otp_core.accounts.results import Refusal, Refused
from otp_core.unseen import unseen

LONGEST_NAME = 40
"""Characters of a name."""
_LONGEST_TYPED = 4 * LONGEST_NAME
"""Characters that are looked at: a longer text is none, whatever it would become."""
_BLANKS = re.compile("[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_REFUSED = ("C", "Zl", "Zp")
"""Unicode categories, beside what is unseen anyway: of private use, unassigned, joiners: no keyboard types them."""


def token_name(text: str | None) -> str | None:
    """A name as it is kept: in form NFC, with single spaces. None for one that is empty. Raises Refused (BAD_NAME)."""
    if text is None:
        return None
    if len(text) > _LONGEST_TYPED:
        raise Refused(Refusal.BAD_NAME, f"at most {LONGEST_NAME} characters")
    name = _BLANKS.sub(" ", unicodedata.normalize("NFC", text)).strip(" ")
    if unseen(name) or any(unicodedata.category(letter).startswith(_REFUSED) for letter in name):
        raise Refused(Refusal.BAD_NAME, "it has a control character, or one that nobody can see")
    if len(name) > LONGEST_NAME:
        raise Refused(Refusal.BAD_NAME, f"at most {LONGEST_NAME} characters")
    return name or None
