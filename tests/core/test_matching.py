"""A code against several tokens: which finding counts, and about which token it is."""

from __future__ import annotations

import itertools

import pytest

from otp_core.login.matching import match
from otp_core.login.requests import CodeFinding
from otp_core.login.table import Finding
from otp_core.model import LoginToken
from otp_core.otp import Fit
from tests.core.evaluator_harness import NOON, TOTP, login_token

FITS = {
    Fit.FITS: Finding.FITS,
    Fit.REUSED: Finding.REUSED,
    Fit.WRONG: Finding.WRONG,
    Fit.RESYNC_NEEDED: Finding.RESYNC_NEEDED,
}
ORDER = [Fit.FITS, Fit.REUSED, Fit.WRONG, Fit.RESYNC_NEEDED]
"""The most decisive first."""


def said(*fits: Fit) -> tuple[Finding, LoginToken | None, list[tuple[int, int]]]:
    """The match where each token says this; its step is ten times its number."""
    tokens = [login_token(number) for number in range(1, len(fits) + 1)]

    def fit(token: LoginToken, code: str, now: int) -> tuple[Fit, int]:
        assert (code, now) == ("123456", NOON)
        return fits[token.key - 1], token.key * 10

    found = match(tokens, "123456", (), NOON, fit)
    return found.finding, found.token, [(token.key, step) for token, step in found.fitting]


@pytest.mark.parametrize("fits", list(itertools.product(ORDER, repeat=3)))
def test_the_most_decisive_finding_counts_and_names_a_token_that_said_so(fits: tuple[Fit, ...]) -> None:
    decisive = min(fits, key=ORDER.index)
    finding, token, fitting = said(*fits)
    assert finding is FITS[decisive]
    if decisive is Fit.WRONG:
        assert token is None
    else:
        assert token is not None and fits[token.key - 1] is decisive
    assert fitting == [(number, 10 * number) for number, one in enumerate(fits, 1) if one is Fit.FITS]


def test_a_token_with_another_length_of_code_is_not_asked() -> None:
    tokens = [login_token(1, TOTP._replace(digits=8)), login_token(2)]
    found = match(tokens, "123456", (), NOON, lambda token, code, now: (Fit.FITS, token.key))
    assert [token.key for token, _ in found.fitting] == [2]


def elsewhere(number: int) -> LoginToken:
    token = login_token(number)
    token.seed, token.verifier = None, "vip"
    return token


@pytest.mark.parametrize("here", [Fit.REUSED, Fit.WRONG, Fit.RESYNC_NEEDED])
def test_a_verifier_is_asked_where_nothing_here_fits(here: Fit) -> None:
    found = match([login_token(1), elsewhere(2)], "123456", (), NOON, lambda *_: (here, -1))
    assert (found.finding, found.token and found.token.key) == (Finding.VERIFIER_NEEDED, 2)


@pytest.mark.parametrize(
    ("step", "last_step", "finding", "spent"),
    [(None, 4, Finding.FITS, 5), (5, 4, Finding.FITS, 5), (4, 4, Finding.REUSED, None), (3, 4, Finding.REUSED, None)],
)
def test_what_a_verifier_found_is_spent_by_its_step_or_else_by_the_next(
    step: int | None, last_step: int, finding: Finding, spent: int | None
) -> None:
    token = elsewhere(1)
    token.last_step = last_step
    found = match([token], "123456", [CodeFinding(token.token_id, Fit.FITS, step)], NOON, lambda *_: (Fit.WRONG, -1))
    assert (found.finding, [one for _, one in found.fitting]) == (finding, [] if spent is None else [spent])


def test_of_two_verifiers_the_second_is_asked_only_if_the_code_is_not_the_first_ones() -> None:
    one, other = elsewhere(1), elsewhere(2)
    fits = [CodeFinding(one.token_id, Fit.FITS)]
    assert match([one, other], "123456", fits, NOON, lambda *_: (Fit.WRONG, -1)).finding is Finding.FITS
    wrong = [CodeFinding(one.token_id, Fit.WRONG)]
    found = match([one, other], "123456", wrong, NOON, lambda *_: (Fit.WRONG, -1))
    assert (found.finding, found.token) == (Finding.VERIFIER_NEEDED, other)
