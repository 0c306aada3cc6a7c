"""Characters that nobody can see, or that turn the direction of what stands beside them: a name or a reason that holds
one can look like another. Pure.

Characters of private use are letters here: Japanese registers write names with their own. So are joiners, which some
scripts need inside a word.
"""

from __future__ import annotations

import json
import unicodedata

_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Letters and marks by their category, and yet nothing that anybody can see."""
_JOINERS = frozenset("\u200c\u200d")
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories: controls, marks of direction and other formats, halves of characters, ends of lines."""


def unseen(text: str) -> str | None:
    """The first such character of a text, by its number ("U+202E"); None if there is none."""
    if text.isascii() and text.isprintable():
        return None
    return next((number(one) for one in text if _is_unseen(one)), None)


def with_numbers(text: str) -> str:
    """The text with the number of each such character in its place: "<U+202E>"."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"<{number(one)}>" if _is_unseen(one) else one for one in text)


def escaped(text: str, keep: str = "") -> str:
    """The text with an escape as in Python's own texts in the place of each such character that is not in ``keep``."""
    return "".join(
        one.encode("unicode_escape").decode() if one not in keep and _is_unseen(one) else one for one in text
    )


def escaped_in_json(text: str) -> str:
    """A JSON text that says the same, with an escape in the place of each such character."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(json.dumps(one)[1:-1].replace("\x7f", "\\u007f") if _is_unseen(one) else one for one in text)


def number(letter: str) -> str:
    """A character as the Unicode Standard writes it."""
    return f"U+{ord(letter):04X}"


def _is_unseen(letter: str) -> bool:
    return letter in _FILLERS or (unicodedata.category(letter) in _UNSEEN and letter not in _JOINERS)
