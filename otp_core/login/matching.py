"""A code against all tokens of a customer: fits one or more, else reused, else wrong. Pure.

Tokens with other lengths of code are no candidates. Codes that somebody else verifies come in as findings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from otp_core.login.requests import LOCAL_VERIFIER, CodeFinding
from otp_core.login.table import ELSEWHERE, Finding
from otp_core.model import LoginToken
from otp_core.otp import Fit

FitLocally = Callable[[LoginToken, str, int], tuple[Fit, int]]
"""(token, code, now in ms) -> how the code stands to a token whose seed is in the store, and its step."""


class Match(NamedTuple):
    """``fitting``: every token that the code fits, with its step there: it is spent on all of them, so that digits that
    fit two are not good twice. ``token``: the one that the finding is about; None for a wrong code, which is about
    none."""

    finding: Finding
    token: LoginToken | None
    fitting: Sequence[tuple[LoginToken, int]] = ()


_FITS: Final = Fit.FITS
_WRONG: Final = Fit.WRONG
_FOUND_FITS: Final = Finding.FITS
_FOUND_WRONG: Final = Finding.WRONG
"""For each login: Python 3.11 takes its time for a member of an enum, and for its hash."""
_FINDING: Final = {
    Fit.FITS: Finding.FITS,
    Fit.REUSED: Finding.REUSED,
    Fit.WRONG: Finding.WRONG,
    Fit.RESYNC_NEEDED: Finding.RESYNC_NEEDED,
}
_MOST_DECISIVE_FIRST = (
    Finding.VERIFIER_NEEDED,
    Finding.REUSED,
    Finding.WRONG,
    Finding.RESYNC_NEEDED,
    Finding.VERIFIER_ASKS,
    *ELSEWHERE,
)
"""Of a code that fits none. A wrong code is counted even where another token must be resynchronised first: otherwise
such a token would let anybody guess at the others."""


def match(
    tokens: Sequence[LoginToken], code: str, verified: Sequence[CodeFinding], now: int, fit_locally: FitLocally
) -> Match:
    """``tokens``: the customer's, of which the code has the length of at least one. ``verified``: what verifiers have
    said about this code so far. ``now``: ms. Raises what ``fit_locally`` raises."""
    if len(tokens) == 1 and tokens[0].verifier == LOCAL_VERIFIER:  # most customers; the rest would find the same
        fit, step = fit_locally(tokens[0], code, now)
        if fit is _FITS:
            return Match(_FOUND_FITS, tokens[0], ((tokens[0], step),))
        return Match(_FINDING[fit], None if fit is _WRONG else tokens[0])
    fitting: list[tuple[LoginToken, int]] = []
    found: dict[Finding, LoginToken] = {}
    elsewhere: list[LoginToken] = []
    one_is_wrong = False
    for token in tokens:
        if len(code) != token.digits:
            continue
        if token.verifier != LOCAL_VERIFIER:
            elsewhere.append(token)
            continue
        fit, step = fit_locally(token, code, now)
        if fit is _FITS:
            fitting.append((token, step))
        elif fit is _WRONG:
            one_is_wrong = True
        else:
            found[_FINDING[fit]] = token
    if elsewhere and not fitting:
        # A verifier uses a code up and counts a wrong one: it is asked only about a code that fits nothing here.
        _match_elsewhere(tokens, elsewhere, verified, fitting, found)
    if fitting:
        return Match(_FOUND_FITS, fitting[0][0], fitting)
    if one_is_wrong:
        found[_FOUND_WRONG] = tokens[0]
    for finding in _MOST_DECISIVE_FIRST:
        if finding in found:
            return Match(finding, None if finding is _FOUND_WRONG else found[finding])
    raise AssertionError("a code of a length that no token has")


def _match_elsewhere(
    tokens: Sequence[LoginToken],
    elsewhere: Sequence[LoginToken],
    verified: Sequence[CodeFinding],
    fitting: list[tuple[LoginToken, int]],
    found: dict[Finding, LoginToken],
) -> None:
    """Add the findings of verifiers; of those that were not asked yet, the first is needed."""
    known = {one.token_id: one for one in verified}
    if not known.keys() <= {token.token_id for token in tokens}:
        # The device was changed meanwhile: the code is of no use, and nobody guessed.
        found[Finding.REUSED] = elsewhere[0]
        return
    unasked = None
    for token in elsewhere:
        one = known.get(token.token_id)
        if one is None:
            unasked = unasked or token
            continue
        step = token.last_step + 1 if one.step is None else one.step
        if one.fit is Fit.FITS and one.trouble is None and step > token.last_step:
            fitting.append((token, step))
        elif one.trouble is not None:
            found[one.trouble] = token
        else:
            found[Finding.REUSED if one.fit is Fit.FITS else _FINDING[one.fit]] = token
    if unasked is not None and not fitting:
        found[Finding.VERIFIER_NEEDED] = unasked
