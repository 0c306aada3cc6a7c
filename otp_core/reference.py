"""The reference number (受付番号) of an act: eight characters that a customer can read out on the telephone.

It is made from the number of the act's audit row and names the RANGE_US microseconds in which that row was made; it
comes round again after 24 years. So the trail is searched by the order of its numbers, without an index of its own,
and what one act wrote is found together. Values only.
"""

from __future__ import annotations

import re

from otp_core.audit import TAG_BITS
from otp_core.otp import compatibility_form

ALPHABET = "346789ACDEFGHJKMNPQRTVWXY"
"""Without what is mistaken for another: 0 O, 1 I L, 2 Z, 5 S, 8 B, U V."""

LENGTH = 8
RANGE_US = 5000
_COUNT = len(ALPHABET) ** LENGTH
_SCATTER = 94_302_117_553
"""Prime to the count, near its golden section: references of one minute then have nothing in common."""

_GATHER = pow(_SCATTER, -1, _COUNT)
_LONGEST_TYPED = 64
_PUNCTUATION = re.compile(r"[\s‐‑‒–—―−－ー-]+")


def reference_of(audit_id: int) -> str:
    """The reference of an audit row's number."""
    rest, letters = (audit_id >> TAG_BITS) // RANGE_US * _SCATTER % _COUNT, []
    for _ in range(LENGTH):
        rest, digit = divmod(rest, len(ALPHABET))
        letters.append(ALPHABET[digit])
    return "".join(letters)


def ids_of(typed: str, newest: int) -> tuple[int, int]:
    """The first and the last audit number that a reference may mean, none of them in a range later than that of the
    number ``newest``. Taken in any case, width and grouping, or as the 19 digits of the row's number itself. Raises
    ValueError."""
    text = typed if len(typed) > _LONGEST_TYPED else _PUNCTUATION.sub("", compatibility_form(typed) or typed).upper()
    if re.fullmatch(r"[0-9]{15,19}", text) and int(text) < 2**63:
        return int(text), int(text)
    if len(text) != LENGTH or not set(text) <= set(ALPHABET):
        raise ValueError(
            f"write the {LENGTH} letters and digits of a reference number, for example {_EXAMPLE}; "
            "0, 1, 2, 5, B, I, L, O, S, U and Z never stand in one"
        )
    number = 0
    for letter in reversed(text):
        number = number * len(ALPHABET) + ALPHABET.index(letter)
    found = number * _GATHER % _COUNT
    now = (newest >> TAG_BITS) // RANGE_US
    found += (now - found) // _COUNT * _COUNT
    first = max(found, 0) * RANGE_US << TAG_BITS
    return first, first + (RANGE_US << TAG_BITS) - 1


_EXAMPLE = reference_of(1_796_012_345_678_900 << TAG_BITS)
