"""The bank's contact as a page shows it: telephone numbers that can be tapped, and no break inside a number or inside
the hours. Text in, markup out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import east_asian_width

from markupsafe import Markup, escape

_WIDE = {ord("０") + digit: ord("0") + digit for digit in range(10)}
_SIGNS = {ord(one): "-" for one in "‐‑‒–—―−－ー"} | {ord("＋"): "+", ord("（"): "(", ord("）"): ")", ord("　"): " "}
_ASCII: dict[int, int | str] = {**_WIDE, **_SIGNS}
"""One character for one, so that a place found in the translated text is the same in the original."""

_PHONE = re.compile(
    r"(?<![\d-])(?:"
    r"\+\d{1,3}(?: ?\(0\) ?|[- ])\d{1,5}(?:[- ]\d{1,5}){1,3}|\+\d{8,15}|"
    r"0\d{1,4}[- ]\d{1,4}[- ]\d{3,4}|0\d{1,4}\(\d{1,4}\)\d{3,4}|\(0\d{1,4}\) ?\d{1,4}-\d{3,4}|0\d{9,10}"
    r")(?![\d-])"
)
"""A number as it is dialled abroad (E.164, at most 15 digits) or in Japan (10 or 11 digits with the leading 0)."""

_CLOCK = r"(?:\d{1,2}:\d{2}|\d{1,2}時(?:\d{1,2}分)?)"
_HOURS = re.compile(rf"{_CLOCK}(?: ?(?:[-〜～~]|から) ?{_CLOCK}(?:まで)?)?")
_PIECE = re.compile(r"[^\s、，。；;]+[、，。；;]?|\s+|[、，。；;]")
_WIDEST_PIECE = 12
"""In Latin letters, of which a Japanese one is as wide as two: what fits a narrow phone with letters of twice the size.
A wider piece breaks where any text does."""


@lru_cache(maxsize=16)
def contact_markup(contact: str) -> Markup:
    """The contact; each telephone number is a ``tel:`` link. A line may end between its pieces only."""
    plain = contact.translate(_ASCII).replace("：", ":")
    marked: list[tuple[int, int, str | None]] = []
    for found in _PHONE.finditer(plain):
        number = _dialled(found[0])
        if number is not None:
            marked.append((*found.span(), number))
    for found in _HOURS.finditer(plain):
        if all(found.end() <= begin or found.start() >= end for begin, end, _ in marked):
            marked.append((*found.span(), None))
    if not marked:
        return escape(contact)
    out, at = Markup(), 0
    for begin, end, number in sorted(marked, key=lambda one: one[0]):
        out += _pieces(contact[at:begin])
        shown = contact[begin:end]
        out += Markup('<span class="whole">{}</span>').format(shown) if number is None else _link(number, shown)
        at = end
    return out + _pieces(contact[at:])


def _dialled(text: str) -> str | None:
    """The number for a ``tel:`` link (RFC 3966); None if it has too few or too many digits to be one."""
    digits = re.sub(r"\D", "", text.replace("(0)", "") if text.startswith("+") else text)
    if text.startswith("+"):
        return f"+{digits}" if 8 <= len(digits) <= 15 else None
    return digits if len(digits) in (10, 11) else None


def _link(number: str, shown: str) -> Markup:
    return Markup('<a class="tel whole" href="tel:{}">{}</a>').format(number, shown)


def _width(text: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _pieces(text: str) -> Markup:
    """Text that breaks between its words only."""
    return Markup().join(
        Markup('<span class="piece">{}</span>').format(piece)
        if _width(piece) <= _WIDEST_PIECE and len(piece.strip("、，。；;")) > 1
        else escape(piece)
        for piece in _PIECE.findall(text)
    )
