"""One-time-password arithmetic (RFC 4226, RFC 6238), clock drift, and the normalisation of typed IDs and codes.

Codes are strings of exactly ``digits`` ASCII digits, seeds are raw bytes, steps are integers: RFC 6238 time steps or
RFC 4226 counters. Pure; it has no clock, logs nothing and stores nothing.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Any, Final

from otp_core.model import Algorithm, Kind, TokenSpec

LONGEST_TYPED = 256
"""Characters of a typed ID or code, and of what it becomes. A longer text is none: every ID is shorter (253 octets).
NFKC makes up to 18 characters of one, and takes the square of a row of combining marks (Unicode Standard Annex 15)."""

# What nobody can see: Unicode's Default_Ignorable_Code_Point, and annotation marks. A paste brings them along.
_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Every kind of hyphen and dash that a phone's keyboard, a word processor or a paste can produce.
_DASHES = (
    "\u02d7\u058a\u05be\u1400\u1806\u2010-\u2015\u2043\u207b\u208b\u2212\u2500\u2501\u2796\u2e17\u2e1a\u2e3a\u2e3b"
    "\u2e40\u2e5d\u301c\u3030\u30a0\ufe31\ufe32\ufe58\ufe63\uff0d\U00010d6e\U00010ead-"
)
# A Japanese keyboard's key beside the zero: a long vowel or a middle dot after kana and kanji, a dash after the rest.
_KANA_DASHES = "\u30fb\u30fc"
ANY_SEPARATOR = re.compile(f"[\\s_{_INVISIBLE}{_KANA_DASHES}{_DASHES}]+")
_ANY_INVISIBLE = re.compile(f"[{_INVISIBLE}]+")
_ANY_DASH = re.compile(f"[{_DASHES}]|(?<![\u3041-\u30ff\u3400-\u9fff])[{_KANA_DASHES}]+")
_BLANKS_ROUND_A_HYPHEN = re.compile("(?<=-)\\s+|(?<!\\s)\\s+(?=-)")

DIGITS = range(6, 9)
"""How many digits a code may have."""

_MODULUS: Final[dict[int, int]] = {digits: int(10**digits) for digits in DIGITS}
LOOK_BACK = 3
"""Counters behind the last accepted one at which an old HOTP code is still recognised as reused."""

RESYNC_NEEDED = 1
"""The drift of a counter token that must be resynchronised before a single code of it is good again; otherwise 0."""


class Fit(StrEnum):
    """The result of matching a code against a token."""

    FITS = "fits"
    REUSED = "reused"
    WRONG = "wrong"
    RESYNC_NEEDED = "unsynchronised"


_TOTP: Final = Kind.TOTP
_FITS: Final = Fit.FITS
_WRONG: Final = Fit.WRONG
"""For each login: Python 3.11 takes its time for a member of an enum."""


def compatibility_form(text: str) -> str | None:
    """The text in Unicode's form NFKC: full-width letters and digits become ASCII. None for one that is longer than
    LONGEST_TYPED, or becomes so: what a stranger sends is bounded before it is looked at. IDs and codes are normalised
    nowhere else."""
    if len(text) > LONGEST_TYPED:
        return None
    form = unicodedata.normalize("NFKC", text)
    return form if len(form) <= LONGEST_TYPED else None


def normalise_token_id(text: str) -> str:
    """A token ID as stored: ``vsmt 1234-5678``, ``ＶＳＭＴ 12345678`` -> ``VSMT12345678``. May be empty. A text that is
    too long (see ``compatibility_form``) stays as it is, or too long by one character: it is no ID."""
    form = compatibility_form(text)
    return _cut(text) if form is None else ANY_SEPARATOR.sub("", form).upper()


def normalise_code(text: str) -> str:
    """A typed code with full-width digits made ASCII, and spaces, hyphens and invisible characters removed. The result
    need not be a code: see ``is_code``. A text that is too long stays as it is, or too long by one character."""
    if text.isascii() and text.isdigit():
        return _cut(text)
    form = compatibility_form(text)
    return _cut(text) if form is None else ANY_SEPARATOR.sub("", form)


def normalise_contract_id(text: str) -> str:
    """A contract ID as stored: full-width letters and digits are made ASCII, and every kind of dash a hyphen; blanks
    around it and around a hyphen go, and so does what is invisible. Hyphens and case are kept. May be empty. A text
    that is too long stays as it is, or too long by one character: it is no ID."""
    if len(text) > LONGEST_TYPED:
        return _cut(text)
    if not text.isascii():
        form = compatibility_form(_ANY_INVISIBLE.sub("", text))
        if form is None:
            return text
        text = _ANY_DASH.sub(_hyphens, form)
    text = text.strip()
    return _BLANKS_ROUND_A_HYPHEN.sub("", text) if "-" in text else text


def _cut(text: str) -> str:
    """Long enough that normalising it once more changes nothing."""
    return text[: LONGEST_TYPED + 1]


def _hyphens(dashes: re.Match[str]) -> str:
    return "-" * len(dashes[0])


def is_code(text: str, digits: int) -> bool:
    """Whether the text is exactly ``digits`` ASCII digits."""
    return len(text) == digits and text.isascii() and text.isdigit()


def code_at_the_end(text: str, digits: int) -> int:
    """How many characters at the end of a password with a code appended are the code, which may be typed as a phone
    shows it (``123 456``) or in full width. The shortest ending that is a code counts; 0: there is none."""
    for length in range(digits, min(len(text), 2 * digits) + 1):
        if is_code(normalise_code(text[-length:]), digits):
            return length
    return 0


_HASHES: Final = {
    str(Algorithm.SHA1): (hashlib.sha1, 64),
    str(Algorithm.SHA256): (hashlib.sha256, 64),
    str(Algorithm.SHA512): (hashlib.sha512, 128),
}
"""The hash of each algorithm, and the octets of its block."""
_INNER_PAD: Final = bytes(octet ^ 0x36 for octet in range(256))
_OUTER_PAD: Final = bytes(octet ^ 0x5C for octet in range(256))


_Hash = Callable[[bytes], Any]


def _keyed(seed: bytes, algorithm: str) -> tuple[_Hash, bytes, bytes]:
    """The hash of an HMAC (RFC 2104), and the key with its inner and its outer pad: once for all steps of a token. Two
    plain hashes take three fifths of the time of hmac.digest, for which OpenSSL looks everything up anew at each
    call."""
    hash_, block = _HASHES[algorithm]
    padded = (seed if len(seed) <= block else hash_(seed).digest()).ljust(block, b"\0")
    return hash_, padded.translate(_INNER_PAD), padded.translate(_OUTER_PAD)


def _number(hash_: _Hash, inner: bytes, outer: bytes, step: int) -> int:
    """The number of a step's code before it is cut to digits: HMAC and dynamic truncation (RFC 4226 section 5.3)."""
    mac: bytes = hash_(outer + hash_(inner + step.to_bytes(8, "big")).digest()).digest()
    offset = mac[-1] & 0x0F
    return int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFFFFFF


def truncated(seed: bytes, step: int, digits: int, algorithm: str) -> int:
    """The number of a code: HMAC, dynamic truncation, modulo 10^digits (RFC 4226 section 5.3)."""
    return _number(*_keyed(seed, algorithm), step) % _MODULUS[digits]


def code_at(seed: bytes, step: int, spec: TokenSpec) -> str:
    """The code of one step, with leading zeros."""
    return str(truncated(seed, step, spec.digits, spec.algorithm)).zfill(spec.digits)


def step_at(at_ms: int, period: int) -> int:
    """The time step of a moment in ms since the epoch (RFC 6238 section 4.2, T0 = 0). ``period``: seconds."""
    return at_ms // (period * 1000)


def find_step(seed: bytes, spec: TokenSpec, code: str, steps: Iterable[int]) -> int | None:
    """The first of ``steps`` whose code this is; None if there is none, or the text is no code."""
    if not is_code(code, spec.digits):
        return None
    number, modulus = int(code), _MODULUS[spec.digits]
    hash_, inner, outer = _keyed(seed, spec.algorithm)
    for step in steps:
        if step >= 0 and _number(hash_, inner, outer, step) % modulus == number:
            return step
    return None


def nearest_first(centre: int, window: int) -> Iterator[int]:
    """``centre``, then one back, one ahead, two back ...: a token without drift is found at the first HMAC."""
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
    spent_ahead: str | None = None,
) -> tuple[Fit, int]:
    """Match ``code`` against a token: the result, and the step of the code (-1 for a wrong one).

    ``last_step``: the last accepted step; a code of that step or an earlier one is reused (RFC 6238 section 5.2).
    TOTP: ``window`` steps on each side of the step of ``at_ms`` plus ``drift`` are tried. HOTP: ``look_ahead`` counters
    beyond the next one are tried (RFC 4226 section 7.4), and LOOK_BACK accepted ones; none where it must be
    resynchronised first (RESYNC_NEEDED): whatever the code, the result says so. ``spent_ahead``: spans of steps that
    were accepted while the clock stood in the future (login/spent_ahead.py); their codes are reused ones.
    """
    if spec.kind == _TOTP:
        steps: Iterable[int] = nearest_first(step_at(at_ms, spec.period) + drift, window)
    elif drift == RESYNC_NEEDED:
        return Fit.RESYNC_NEEDED, -1
    else:
        steps = (
            *range(last_step + 1, last_step + 2 + look_ahead),
            *range(last_step, last_step - LOOK_BACK, -1),
        )
    step = find_step(seed, spec, code, steps)
    if step is None:
        return _WRONG, -1
    if spent_ahead is not None and is_spent_ahead(spent_ahead, step):
        return Fit.REUSED, step
    return (_FITS if step > last_step else Fit.REUSED), step


def spans_of(text: str | None) -> list[tuple[int, int]]:
    """The spans of steps in the text of ``token.spent_ahead``: (first, last), both of them spent."""
    found = []
    for span in (text or "").split():
        first, _, last = span.partition("-")
        found.append((int(first), int(last)))
    return found


def is_spent_ahead(text: str | None, step: int) -> bool:
    """Whether a step lies in one of these spans."""
    return any(first <= step <= last for first, last in spans_of(text))


def learn_drift(drift: int, step: int, now_step: int, bound: int) -> int:
    """The new drift after a code of ``step`` was accepted at ``now_step``: one step nearer to what was observed, up to
    ``bound`` on each side (RFC 6238 section 6). A drift beyond ``bound``, set by a resynchronisation, only shrinks."""
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
    spent_ahead: str | None = None,
) -> int | None:
    """The step of ``second``, if the two codes belong to consecutive steps near ``at_ms`` (TOTP, ``window`` on each
    side) or ahead of the counter (HOTP, ``look_ahead``; RFC 4226 section 7.4) and neither was accepted before, nor lies
    in ``spent_ahead`` (see ``fit``); else None."""
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
            spent = is_spent_ahead(spent_ahead, step) or is_spent_ahead(spent_ahead, step + 1)
            return None if spent else step + 1
    return None


def spec_of(kind: str, algorithm: str, digits: int, period: int) -> TokenSpec:
    """A checked TokenSpec. ``period``: seconds. Raises ValueError with the right form."""
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
