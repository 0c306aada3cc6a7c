"""What somebody wrote for the audit trail: a reason, a ticket. Pure.

The text of a row has parts: what was written, how the identity was checked, the ticket, who approved it. "; " stands
between them, so whoever writes one part must not be able to add another.
"""

from __future__ import annotations

import unicodedata

from otp_core.unseen import unseen

_SEPARATORS = str.maketrans(dict.fromkeys(";\u037e\ufe14\ufe54\uff1b", ","))
"""The semicolon, and what is one in another form (Unicode NFKC)."""


def written(text: str) -> str:
    """The text as one part of a row: on one line, with a comma in the place of each semicolon."""
    return " ".join(text.translate(_SEPARATORS).split())


def reason_text(reason: str, *, identity: str = "", ticket: str = "") -> str:
    """The parts that are there, as the audit trail has them. ``identity``: one of ours, how it was checked."""
    ticket = written(ticket)
    parts = written(reason), f"identity: {identity}" if identity else "", f"ticket {ticket}" if ticket else ""
    return "; ".join(part for part in parts if part)


def says_something(text: str) -> bool:
    """Whether there is anything in it that somebody can see."""
    return any(not one.isspace() and unseen(one) is None and unicodedata.category(one) != "Cf" for one in text)
