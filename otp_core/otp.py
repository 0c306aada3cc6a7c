"""One-time-password arithmetic (RFC 4226, RFC 6238), drift, and how typed text becomes a code. Pure; no clock.

Codes are strings of exactly ``digits`` ASCII digits, seeds are raw bytes, steps are integers. Never logs, never stores.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections.abc import Iterable, Iterator
from enum import StrEnum

from otp_core.model import Algorithm, Kind, TokenSpec

# Spaces, hyphens and dashes of every kind that a phone's keyboard, a word processor or a paste can bring along.
_SEPARATORS = re.compile(
    "[\\s\u00ad\u058a\u05be\u1400\u1806\u180e\u200b-\u200f\u2010-\u2015\u2043\u2060\u2212\u2500\u2e17\u2e1a\u2e3a\u2e3b"
    "\u2e40\u2e5d\u301c\u3030\u30a0\u30fb\u30fc\u207b\u208b\ufe58\ufe63\uff0d\ufeff\U00010ead_-]+"
)

DIGITS = range(6, 9)
"""How many a code may have."""

_MODULUS: dict[int, int] = {digits: int(10**digits) for digits in DIGITS}
LOOK_BACK = 3
"""Counters behind the last accepted one at which an old HOTP code is still recognised as reused."""


class Fit(StrEnum):
    """How a code stands to its token."""

    FITS = "fits"
    REUSED = "reused"
    WRONG = "wrong"


def normalise_token_id(text: str) -> str:
    """``vsmt 1234-5678``, ``ＶＳＭＴ１２３４５６７８`` -> ``VSMT12345678``. May be empty."""
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", text)).upper()


def normalise_code(text: str) -> str:
    """Full-width digits, spaces and hyphens of every kind are forgiven. May be anything: see ``is_code``."""
    if text.isascii() and text.isdigit():
        return text
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", text))


def normalise_contract_id(text: str) -> str:
    """Full-width letters and digits become ASCII, surrounding white space goes; case stays as it is."""
    if text.isascii():
        return text.strip()
    return unicodedata.normalize("NFKC", text).strip()


def is_code(text: str, digits: int) -> bool:
    """True for exactly ``digits`` ASCII digits."""
    return len(text) == digits and text.isascii() and text.isdigit()


def code_at_the_end(text: str, digits: int) -> int:
    """How many characters of a password with a code behind it are the code, typed as a phone shows it (``123 456``) or
    in full width: as few as make one. 0: it ends with none."""
    for length in range(digits, min(len(text), 2 * digits) + 1):
        if is_code(normalise_code(text[-length:]), digits):
            return length
    return 0


def truncated(seed: bytes, step: int, digits: int, algorithm: str) -> int:
    """RFC 4226 section 5.3: HMAC, dynamic truncation, modulo 10^digits."""
    mac = hmac.digest(seed, step.to_bytes(8, "big"), algorithm)
    offset = mac[-1] & 0x0F
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFFFFFF
    return number % _MODULUS[digits]


def code_at(seed: bytes, step: int, spec: TokenSpec) -> str:
    """The code of one step, with its leading zeros."""
    return str(truncated(seed, step, spec.digits, spec.algorithm)).zfill(spec.digits)


def step_at(at_ms: int, period: int) -> int:
    """The time step in which a moment lies (RFC 6238 section 4.2, T0 = 0)."""
    return at_ms // (period * 1000)


def find_step(seed: bytes, spec: TokenSpec, code: str, steps: Iterable[int]) -> int | None:
    """The first of ``steps`` whose code this is; None if it is no code or fits none of them."""
    if not is_code(code, spec.digits):
        return None
    number, digits, algorithm = int(code), spec.digits, spec.algorithm
    for step in steps:
        if step >= 0 and truncated(seed, step, digits, algorithm) == number:
            return step
    return None


def nearest_first(centre: int, window: int) -> Iterator[int]:
    """``centre``, then one back, one ahead, two back ...: a punctual customer is found at the first HMAC."""
    yield centre
    for away in range(1, window + 1):
        yield centre - away
        yield centre + away


def fit(
    seed: bytes,
    spec: TokenSpec,
    code: str,
    *,
    at_ms: int,
    last_step: int,
    drift: int,
    window: int,
    look_ahead: int,
) -> tuple[Fit, int]:
    """How ``code`` stands to a token whose last accepted step was ``last_step``, and the step it belongs to
    (-1 for a wrong one). A step at or before the last accepted one is reused (RFC 6238 section 5.2)."""
    if spec.kind == Kind.TOTP:
        steps: Iterable[int] = nearest_first(step_at(at_ms, spec.period) + drift, window)
    else:
        steps = (
            *range(last_step + 1, last_step + 2 + look_ahead),
            *range(last_step, last_step - LOOK_BACK, -1),
        )
    step = find_step(seed, spec, code, steps)
    if step is None:
        return Fit.WRONG, -1
    return (Fit.FITS if step > last_step else Fit.REUSED), step


def learn_drift(drift: int, step: int, now_step: int, bound: int) -> int:
    """RFC 6238 section 6: follow the token's clock one step at a time, never further out than ``bound``
    (a resynchronised token may stand beyond it, and may only come nearer)."""
    offset = step - now_step
    moved = drift + (offset > drift) - (offset < drift)
    return drift if abs(moved) > bound and abs(moved) > abs(drift) else moved


def resynchronise(
    seed: bytes,
    spec: TokenSpec,
    first: str,
    second: str,
    *,
    at_ms: int,
    last_step: int,
    window: int,
    look_ahead: int,
) -> int | None:
    """The step of ``second``, if the two codes follow one another near now (TOTP) or ahead of the counter
    (HOTP, RFC 4226 section 7.4), and neither was accepted before. None if they do not."""
    if not (is_code(first, spec.digits) and is_code(second, spec.digits)):
        return None
    if spec.kind == Kind.TOTP:
        steps: Iterable[int] = nearest_first(step_at(at_ms, spec.period), window)
    else:
        steps = range(last_step + 1, last_step + 1 + look_ahead)
    numbers = (int(first), int(second))
    for step in steps:
        if step > last_step and numbers == (
            truncated(seed, step, spec.digits, spec.algorithm),
            truncated(seed, step + 1, spec.digits, spec.algorithm),
        ):
            return step + 1
    return None


def spec_of(kind: str, algorithm: str, digits: int, period: int) -> TokenSpec:
    """A checked TokenSpec. Raises ValueError with the right form."""
    try:
        kind_, algorithm_ = Kind(kind.lower()), Algorithm(algorithm.lower().replace("-", ""))
    except ValueError:
        raise ValueError(
            f"{kind!r} with {algorithm!r}: the kind is totp or hotp, the algorithm sha1, sha256 or sha512"
        ) from None
    if digits not in _MODULUS:
        raise ValueError(f"{digits} digits: a code has 6, 7 or 8")
    if kind_ is Kind.TOTP and not 10 <= period <= 300:
        raise ValueError(f"a step of {period} s: it lasts 10 to 300 s, usually 30")
    return TokenSpec(kind_, algorithm_, digits, period)
