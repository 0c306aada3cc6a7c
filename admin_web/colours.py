"""The bank's colour and what is derived from it: legible by WCAG 2.2, whatever the bank chooses. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

LEAST_CONTRAST = 4.5
"""Of text with its background (WCAG 2.2, success criterion 1.4.3)."""

_HEX = re.compile(r"#[0-9a-fA-F]{6}|#[0-9a-fA-F]{3}")
_WHITE, _BLACK, _NIGHT = (255, 255, 255), (0, 0, 0), (22, 22, 24)
_Rgb = tuple[int, int, int]


class Palette(NamedTuple):
    """``key``: for links, buttons and the head of a page, with white text; ``dark``: the same under the pointer;
    ``tint``: a background for ``dark``; ``light``: for links and buttons on a dark page, with ``night`` text."""

    key: str
    dark: str
    tint: str
    light: str
    night: str


def read_colour(text: str) -> str:
    """A colour as ``#rrggbb``. Raises ValueError with the right form, or for one on which white text is not legible."""
    if not _HEX.fullmatch(text):
        raise ValueError('is no colour: write it as red, green and blue, "#135e46"')
    digits = text[1:].lower()
    colour = _parts(digits if len(digits) == 6 else "".join(digit * 2 for digit in digits))
    found = _contrast(colour, _WHITE)
    if found < LEAST_CONTRAST:
        better = _until(colour, _BLACK, lambda one: _contrast(one, _WHITE) >= LEAST_CONTRAST)
        raise ValueError(
            f"has a contrast of {found:.1f} with white, and text needs {LEAST_CONTRAST} (WCAG 2.2, 1.4.3): write a "
            f'darker one, "{_text(better)}" for instance'
        )
    return _text(colour)


def palette(colour: str) -> Palette:
    """What pages use of a colour that ``read_colour`` has accepted."""
    key = _parts(colour[1:])
    light = _until(key, _WHITE, lambda one: _contrast(one, _NIGHT) >= LEAST_CONTRAST + 1)
    return Palette(colour, _text(_mix(key, _BLACK, 0.3)), _text(_mix(key, _WHITE, 0.92)), _text(light), _text(_NIGHT))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2, "contrast ratio")."""
    return _contrast(_parts(one[1:]), _parts(other[1:]))


def portal_css(colour: str | None) -> str:
    """The style sheet that puts the bank's colour in the place of the portal's own."""
    if colour is None:
        return ""
    of = palette(colour)
    return (
        f":root{{--key:{of.key};--key-dark:{of.dark};--tint:{of.tint}}}"
        "header{background:var(--key);color:#fff}"
        "header a,header .bank span{color:#fff}"
    )


def soft_token_css(colour: str | None) -> str:
    """The same for the soft token, on a light page and on a dark one."""
    if colour is None:
        return ""
    of = palette(colour)
    return (
        f":root{{--blue:{of.key};--on-blue:#fff}}"
        f"@media (prefers-color-scheme:dark){{:root{{--blue:{of.light};--on-blue:{of.night}}}}}"
    )


def _until(colour: _Rgb, towards: _Rgb, good: Callable[[_Rgb], bool]) -> _Rgb:
    """The first good one on the way from a colour to another, which is good."""
    steps = (_mix(colour, towards, step / 50) for step in range(51))
    return next(one for one in steps if good(one))


def _mix(colour: _Rgb, other: _Rgb, share: float) -> _Rgb:
    red, green, blue = (round(one + (two - one) * share) for one, two in zip(colour, other, strict=True))
    return red, green, blue


def _contrast(one: _Rgb, other: _Rgb) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: _Rgb) -> float:
    """Relative luminance (WCAG 2.2)."""
    red, green, blue = (part / 255 for part in colour)
    return 0.2126 * _linear(red) + 0.7152 * _linear(green) + 0.0722 * _linear(blue)


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)


def _parts(digits: str) -> _Rgb:
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)


def _text(colour: _Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


Colour = Annotated[str, AfterValidator(read_colour)]
