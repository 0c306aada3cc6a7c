"""Seeds as people write them: hexadecimal or Base32 (RFC 4648 section 6). Which of them, the caller has to know: many
texts are both. Pure; no message repeats a seed.
"""

from __future__ import annotations

import base64
import binascii

from otp_core.imports.worded import worded
from otp_core.model import SeedForm

SHORTEST_SEED = 16
"""Octets: 128 bits (RFC 4226 section 4, R6)."""

LONGEST_SEED = 128
"""Octets: the block of SHA-512. HMAC would hash a longer one first (RFC 2104 section 2)."""

_LONGEST_TEXT = 4 * LONGEST_SEED
_NOT_HEX = worded("is not hexadecimal: write two digits (0-9, a-f) for each octet, 40 for the usual 160 bits")
_IS_BASE32 = worded(
    "%(wrong)s; if it is Base32, name the column base32, or without a header say --seeds base32", wrong=_NOT_HEX
)
_TOO_LONG = worded("is too long: a seed has at most %(most)s bits", most=8 * LONGEST_SEED)
_ENOUGH = {
    SeedForm.HEX: worded("32 hexadecimal digits or more, usually 40"),
    SeedForm.BASE32: worded("26 letters or more, usually 32"),
}


def read_seed(text: str, form: SeedForm) -> bytes:
    """The octets of a seed. Blanks and hyphens between groups do not count. Raises ValueError with the right form."""
    if len(text) > _LONGEST_TEXT:
        raise ValueError(_TOO_LONG)
    seed = _from_hex(text) if form is SeedForm.HEX else _from_base32(text)
    if len(seed) < SHORTEST_SEED:
        wrong = worded(
            "is too short: %(bits)s bits, and a seed has at least 128 (RFC 4226 section 4): write %(digits)s",
            bits=len(seed) * 8,
            digits=_ENOUGH[form],
        )
        raise ValueError(wrong)
    if len(seed) > LONGEST_SEED:
        raise ValueError(_TOO_LONG)
    return seed


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text.replace("-", ""))
    except ValueError:
        raise ValueError(_IS_BASE32 if _could_be_base32(text) else _NOT_HEX) from None


def _could_be_base32(text: str) -> bool:
    try:
        return bool(_from_base32(text))
    except ValueError:
        return False


def _from_base32(text: str) -> bytes:
    """Padding may be left out, and bits beyond the last whole octet are dropped, as authenticator apps do."""
    letters = "".join(text.split()).replace("-", "").rstrip("=").upper()
    try:
        return base64.b32decode(letters + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError):
        wrong = worded(
            "is not Base32: write the letters A-Z and the digits 2-7, 32 for the usual 160 bits (hexadecimal seeds "
            "belong into a column hexkey)"
        )
        raise ValueError(wrong) from None
