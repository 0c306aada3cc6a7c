"""What is typed or sent is bounded before it is normalised, in one place."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_core.otp import (
    LONGEST_TYPED,
    compatibility_form,
    normalise_code,
    normalise_contract_id,
    normalise_token_id,
)


@pytest.mark.parametrize("normalise", [normalise_token_id, normalise_code, normalise_contract_id])
@pytest.mark.parametrize(
    "text", ["a" + "\u0315\u0300" * 4000, "\ufdfa" * 5000, "\ufdfa" * 200, "ａ" * (LONGEST_TYPED + 1), "ß" * 10_000]
)
def test_what_is_too_long_to_be_an_id_or_a_code_is_not_looked_at(normalise: Callable[[str], str], text: str) -> None:
    """A row of combining marks costs the square of its length, U+FDFA becomes 18 characters."""
    assert compatibility_form(text) is None
    assert normalise(text) == text[: LONGEST_TYPED + 1] == normalise(normalise(text))


@given(st.text(max_size=300))
def test_no_form_is_longer_than_it_may_be(text: str) -> None:
    form = compatibility_form(text)
    assert form is None or (len(form) <= LONGEST_TYPED and form == unicodedata.normalize("NFKC", text))
    for normalise in (normalise_token_id, normalise_code, normalise_contract_id):
        assert len(normalise(text)) <= 3 * LONGEST_TYPED, "an upper-case letter may be three"


def test_only_one_function_of_the_product_normalises() -> None:
    """So nothing is normalised that has not been bounded."""
    root = Path(__file__).parents[2]
    packages = ("otp_core", "radius_server", "pam_module", "admin_web", "sekisho")
    sources = [path for package in packages for path in (root / package).rglob("*.py")]
    assert [path.name for path in sources if 'normalize("NFKC"' in path.read_text()] == ["otp.py"]
    assert (root / "otp_core/otp.py").read_text().count('normalize("NFKC"') == 1
