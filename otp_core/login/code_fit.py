"""How a wrong code misses the token of a customer whose seed is in the store, and what that token is. Pure.

The near miss is for the log alone: no verdict depends on it.
"""

from __future__ import annotations

from functools import lru_cache

from otp_core.model import Algorithm, Kind, LoginRecord, TokenSpec
from otp_core.otp import LOOK_BACK, is_code, step_at, truncated

NEAR_STEPS = 20
"""Steps or counters on each side in which a wrong code is looked for."""


def near_miss(record: LoginRecord, seed: bytes, code: str, now: int, window: int, look_ahead: int) -> str:
    """How a wrong code misses: "correct code, 3 steps late"; empty if it fits nowhere within NEAR_STEPS of where it was
    expected. Every step is tried, so that the time does not tell whether one fits."""
    spec = token_spec(record)
    if not is_code(code, spec.digits):
        return ""
    if spec.kind == Kind.TOTP:
        expected, unit, words = step_at(now, spec.period) + record.drift, "step", ("late", "early")
        away = [*range(-NEAR_STEPS, -window), *range(window + 1, NEAR_STEPS + 1)]
    else:
        expected, unit, words = record.last_step + 1, "counter", ("behind", "ahead")
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
    return f"correct code, {abs(nearest)} {unit}{'' if abs(nearest) == 1 else 's'} {words[nearest > 0]}"


def token_spec(record: LoginRecord) -> TokenSpec:
    """The token's arithmetic as the store's row has it."""
    return _spec(record.kind, record.algorithm, record.digits, record.period)


@lru_cache(maxsize=256)
def _spec(kind: str, algorithm: str, digits: int, period: int) -> TokenSpec:
    return TokenSpec(Kind(kind), Algorithm(algorithm), digits, period)
