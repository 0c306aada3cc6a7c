"""Password and code in one text: whatever was put together is taken apart again, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_core.login.splitting import split
from otp_core.otp import is_code, normalise_code

WIDE = str.maketrans("0123456789", "０１２３４５６７８９")
passwords = st.text(max_size=40)
separators = st.text(st.characters(exclude_categories=("C", "Nd", "Nl", "No", "Z")), max_size=3) | st.sampled_from(
    ["", ",", ":", "+", "|", "-", " ", "/", "::", "###", "，"]
)
digits = st.integers(6, 8)


@st.composite
def codes(draw: st.DrawFn) -> tuple[int, str]:
    """The number of digits, and a code as people type it."""
    count = draw(digits)
    text = draw(st.text("0123456789", min_size=count, max_size=count))
    if draw(st.booleans()):
        text = f"{text[:3]} {text[3:]}"
    return count, text.translate(WIDE) if draw(st.booleans()) else text


@given(passwords, codes(), separators, st.booleans())
def test_what_was_put_together_is_taken_apart(
    password: str, code: tuple[int, str], separator: str, code_first: bool
) -> None:
    count, text = code
    both = text + separator + password if code_first else password + separator + text
    assert split(both, count, separator, code_first) == (password, text)


@given(st.text(max_size=60), digits, separators, st.booleans())
def test_what_comes_out_is_a_code_and_the_rest_of_the_text(
    text: str, count: int, separator: str, code_first: bool
) -> None:
    found = split(text, count, separator, code_first)
    if found is not None:
        password, code = found
        assert is_code(normalise_code(code), count)
        assert len(password) + len(separator) + len(code) == len(text)
        assert text.startswith(code if code_first else password)
        assert text.endswith(password if code_first else code)


@pytest.mark.parametrize(
    ("text", "separator", "code_first", "found"),
    [
        ("password,123456", ",", False, ("password", "123456")),
        ("pass,word,123456", ",", False, ("pass,word", "123456")),
        ("password,123,456", ",", False, None),
        ("password-123-456", "-", False, ("password", "123-456")),
        ("password，１２３４５６", ",", False, ("password", "１２３４５６")),
        ("password123456", ",", False, None),
        ("password,", ",", False, None),
        (",123456", ",", False, ("", "123456")),
        ("123456", ",", False, None),
        ("123456password", "", True, ("password", "123456")),
        ("123456,password", ",", True, ("password", "123456")),
        ("123456,pass,word", ",", True, ("pass,word", "123456")),
        ("123456password", ",", True, None),
        ("password123456", "", True, None),
        ("1234567password", "", True, ("7password", "123456")),
        ("password,123456", "，", False, ("password", "123456")),
        ("p1  2 3 4 5 6", "", False, ("p", "1  2 3 4 5 6")),
        ("p1  2  3 4 5 6", "", False, None),  # 13 characters: more than twice the digits
        ("p1  2  3  4  5  6", "", False, None),
        ("password㉑㉑㉑", "", False, None),  # fewer characters than digits
        ("###㉑㉑㉑", "###", False, None),
        ("", "", False, None),
        ("12345", "", True, None),
    ],
)
def test_the_usual_spellings(text: str, separator: str, code_first: bool, found: tuple[str, str] | None) -> None:
    assert split(text, 6, separator, code_first) == found


def test_password_then_code_without_anything_between_is_the_usual_order() -> None:
    assert split("secret123456", 6) == ("secret", "123456")


def test_a_long_text_costs_no_more_than_a_short_one() -> None:
    """Of a text only so much is looked at as a code can be long: this would take minutes otherwise."""
    assert split("1 " * 1_000_000, 6, "", True) == (("1 " * 1_000_000)[11:], "1 1 1 1 1 1")
    assert split("ﷺ" * 1_000_000, 6, ",") is None
