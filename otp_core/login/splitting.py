"""Password and code in one text, as the gateways and their users write them: one behind the other, in either order,
with a separator or without one. Pure.
"""

from __future__ import annotations

from otp_core.otp import compatibility_form, is_code, normalise_code


def split(text: str, digits: int, separator: str = "", code_first: bool = False) -> tuple[str, str] | None:
    """The password and the code in a text; None if there is no code where it should be.

    ``digits``: of the code, which may be typed as a phone shows it (``123 456``) or in full width. The shortest end, or
    with ``code_first`` the shortest beginning, that is a code counts. ``separator``: what stands between the two, in
    any width; a text without it holds no code, and a password may hold it, too."""
    between = len(separator)
    for length in range(digits, min(len(text) - between, 2 * digits) + 1):
        if code_first:
            code, middle, password = text[:length], text[length : length + between], text[length + between :]
        else:
            end = len(text) - length
            password, middle, code = text[: end - between], text[end - between : end], text[end:]
        if (not between or _same(middle, separator)) and is_code(normalise_code(code), digits):
            return password, code
    return None


def _same(text: str, separator: str) -> bool:
    return text == separator or (compatibility_form(text) or text) == (compatibility_form(separator) or separator)
