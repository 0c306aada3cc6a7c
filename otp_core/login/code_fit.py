"""The form of a code, how a wrong one misses a token whose seed is in the store, and what that token is. Pure.

The near miss is for the log alone: no verdict depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from otp_core.login.policy import Rules
from otp_core.model import Algorithm, Kind, LoginRecord, LoginToken, TokenSpec
from otp_core.otp import LOOK_BACK, code_at, is_code, step_at, truncated

NEAR_STEPS = 20
"""Steps or counters on each side in which a wrong code is looked for."""


def is_code_of_any(text: str, tokens: Sequence[LoginToken]) -> bool:
    """Whether the text has the form of a code of one of these tokens. (A loop: a generator costs more than it.)"""
    for token in tokens:  # noqa: SIM110
        if is_code(text, token.digits):
            return True
    return False


def near_misses(record: LoginRecord, unseal: Callable[[bytes, str], bytes], code: str, now: int, rules: Rules) -> str:
    """``near_miss`` for each token whose seed is in the store; of several tokens, it names those that it tells of.
    ``unseal``: as for the evaluator. ``now``: ms. Raises KeyProblem."""
    found = []
    for token in record.tokens:
        if token.seed is not None:
            seed = unseal(token.seed, token.token_id)
            text = near_miss(token, seed, code, now, rules.window, rules.look_ahead)
            if text:
                found.append(text if len(record.tokens) == 1 else f"{text}, of token {token.token_id}")
    return "; ".join(found)


def near_miss(token: LoginToken, seed: bytes, code: str, now: int, window: int, look_ahead: int) -> str:
    """How a wrong code misses: "correct code, 3 steps late"; empty if it fits nowhere within NEAR_STEPS of where it was
    expected. Every step is tried, so that the time does not tell whether one fits."""
    spec = token_spec(token)
    if not is_code(code, spec.digits):
        return ""
    if spec.kind == Kind.TOTP:
        expected, unit, words = step_at(now, spec.period) + token.drift, "step", ("late", "early")
        away = [*range(-NEAR_STEPS, -window), *range(window + 1, NEAR_STEPS + 1)]
    else:
        expected, unit, words = token.last_step + 1, "counter", ("behind", "ahead")
        away = [*range(-NEAR_STEPS, -LOOK_BACK), *range(look_ahead + 1, look_ahead + NEAR_STEPS + 1)]
    number = int(code)
    fits = [
        one
        for one in away
        if expected + one >= 0 and truncated(seed, expected + one, spec.digits, spec.algorithm) == number
    ]
    if not fits:
        return ""
    nearest = min(fits, key=abs)
    return _missed_by(nearest, unit, words)


def steps_away(away: int) -> str:
    """The same words for a code that was accepted ``away`` time steps from the expected one; before 0: late."""
    return _missed_by(away, "step", ("late", "early"))


def _missed_by(away: int, unit: str, words: tuple[str, str]) -> str:
    return f"correct code, {abs(away)} {unit}{'' if abs(away) == 1 else 's'} {words[away > 0]}"


def codes_near(token: LoginToken, seed: bytes, now: int, window: int, look_ahead: int) -> list[str]:
    """All codes that a token shows within its window and NEAR_STEPS beyond, used ones too: what a code is looked for
    among where only a hash of it came. Their number depends on nothing but the kind of token and the rules."""
    spec = token_spec(token)
    if spec.kind == Kind.TOTP:
        expected, before = step_at(now, spec.period) + token.drift, max(window, NEAR_STEPS)
        behind = before
    else:
        expected, before, behind = token.last_step + 1, max(LOOK_BACK, NEAR_STEPS), look_ahead + NEAR_STEPS
    steps = range(expected - before, expected + behind + 1)
    return [code_at(seed, max(step, 0), spec) for step in steps]


def token_spec(token: LoginToken) -> TokenSpec:
    """The token's arithmetic as the store's row has it."""
    return _spec(token.kind, token.algorithm, token.digits, token.period)


@lru_cache(maxsize=256)
def _spec(kind: str, algorithm: str, digits: int, period: int) -> TokenSpec:
    return TokenSpec(Kind(kind), Algorithm(algorithm), digits, period)
