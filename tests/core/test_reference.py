"""Reference numbers: short, without look-alikes, and found again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_core.audit import Ids, id_at
from otp_core.reference import ALPHABET, LENGTH, ids_of, reference_of

NOW = id_at(1_796_000_000_000)
YEAR_MS = 365 * 24 * 3_600_000
TWENTY_YEARS = id_at(1_796_000_000_000 - 20 * YEAR_MS)


@given(st.integers(TWENTY_YEARS, NOW))
def test_a_reference_finds_its_row_for_twenty_years(number: int) -> None:
    first, last = ids_of(reference_of(number), NOW)
    assert first <= number <= last
    assert last - first < id_at(5)


def test_it_has_eight_characters_and_none_that_is_mistaken_for_another() -> None:
    assert len(reference_of(NOW)) == LENGTH == 8
    assert set(reference_of(NOW)) <= set(ALPHABET)
    for look_alikes in ("0O", "1IL", "2Z", "5S", "8B", "UV"):
        assert len(set(look_alikes) & set(ALPHABET)) <= 1


def test_acts_of_different_moments_have_different_references() -> None:
    moments = [NOW - id_at(5) * number for number in range(20_000)]
    found = {reference_of(moment) for moment in moments}
    assert len(found) == len(moments)
    neighbours = zip(reference_of(NOW), reference_of(NOW + id_at(5)), strict=True)
    assert sum(one != other for one, other in neighbours) > 4, "read out wrongly, it is nobody else's"


def test_what_one_act_writes_has_one_reference() -> None:
    ids = Ids(clock=lambda: 1_796_000_000.0012)
    assert len({reference_of(ids.next()) for _ in range(3)}) == 1


@pytest.mark.parametrize("form", ["{0}", " {0} ", "{1}-{2}", "{1} {2}", "{1}ー{2}"])
def test_it_is_taken_as_it_is_typed(form: str) -> None:
    right = reference_of(NOW)
    typed = form.format(right, right[:4], right[4:])
    wide = typed.translate({ord(letter): ord(letter) + 0xFEE0 for letter in ALPHABET})
    for text in (typed, typed.lower(), wide):
        assert ids_of(text, NOW) == ids_of(right, NOW)


def test_the_whole_number_of_a_row_is_taken_too() -> None:
    assert ids_of(str(NOW), NOW) == (NOW, NOW)


@pytest.mark.parametrize(
    "typed", ["", "K7MX", "K7MX4PQ0", "K7MX4PQRR", "9" * 19, "é" * 8, "K" * 10_000, "ﷺ" * 3000, "\0" * 8, "①" * 8]
)
def test_what_cannot_be_one_is_said_with_the_right_form(typed: str) -> None:
    with pytest.raises(ValueError, match="write the 8 letters and digits of a reference number, for example"):
        ids_of(typed, NOW)
