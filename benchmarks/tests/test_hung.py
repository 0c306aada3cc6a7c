"""What the ratios of a hung server say, and when they say nothing."""

from __future__ import annotations

import random

import pytest

from benchmarks.hung import MET, MISSED, UNTOLD, Ratio, outcome, ratio


def test_a_machine_that_stutters_moves_the_ends_and_hardly_the_ratio() -> None:
    drawn = random.Random(7)
    well = [4_000 + 400 * drawn.random() for _ in range(40)]
    stuttering = [one * (20 if drawn.random() < 0.2 else 1) for one in well]
    quiet, noisy = ratio(well, well), ratio([one * 1.02 for one in stuttering], well)
    assert quiet == (1.0, 1.0, 1.0)
    assert 1.0 < noisy.value < 1.1 and noisy.low <= noisy.value <= noisy.high


def test_what_takes_half_as_long_again_is_seen() -> None:
    drawn = random.Random(7)
    well, hung = ([size * (1 + 0.3 * drawn.random()) for _ in range(40)] for size in (4_000, 6_000))
    found = ratio(hung, well)
    assert found.low > 1.3
    assert outcome(found, ratio(well, well), 0) == MISSED


QUIET = Ratio(1.0, 0.97, 1.04)


@pytest.mark.parametrize(
    ("hung", "control", "lost", "said"),
    [
        (Ratio(1.02, 0.99, 1.06), QUIET, 0, MET),
        (Ratio(1.02, 0.99, 1.06), QUIET, 1, MISSED),
        (Ratio(1.02, 0.80, 1.30), QUIET, 0, UNTOLD),
        (Ratio(1.30, 1.20, 1.40), QUIET, 0, MISSED),
        (Ratio(1.30, 1.20, 1.40), Ratio(1.25, 1.15, 1.40), 0, UNTOLD),
        (Ratio(0.70, 0.60, 0.80), Ratio(0.75, 0.60, 0.85), 0, UNTOLD),
    ],
)
def test_the_bar_is_met_missed_or_not_told(hung: Ratio, control: Ratio, lost: int, said: str) -> None:
    assert outcome(hung, control, lost) == said
