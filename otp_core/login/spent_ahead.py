"""What is left of a token whose codes were accepted while the clock stood in the future. Pure.

Its last step lies ahead, so every code would be a reused one until that time comes. The last step is taken back as far
as no accepted code could be accepted again. What was accepted ahead is kept as spans of steps: when that time comes, a
code in them is a reused one. How many codes were accepted and when, the audit trail tells; their steps it does not, so
each span is as wide as window and drift allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from otp_core.clock import SMALL_STEP
from otp_core.login.policy import Rules
from otp_core.otp import spans_of, step_at

GRACE_MS = int(SMALL_STEP * 1000)
"""A stamp so little ahead is left alone: what it does wrong is over when that time has passed."""
MOST_SPANS = 64
"""Spans that are kept for one token; the latest are joined beyond."""


class Use(NamedTuple):
    """A moment (ms) at which a code of the token was accepted; ``resynchronised``: two codes, which may have been as
    far away as a resynchronisation looks."""

    at: int
    resynchronised: bool = False


class TokenSteps(NamedTuple):
    """A TOTP token. ``period``: seconds; ``last_step``, ``drift``: steps; ``spent_ahead``: spans as the store has
    them."""

    period: int
    last_step: int
    drift: int
    spent_ahead: str | None


def is_ahead(token: TokenSteps, now: int, rules: Rules) -> bool:
    """Whether the token's last step lies so far ahead of ``now`` (ms) that no right clock can have accepted it."""
    return (token.last_step - token.drift - rules.window) * token.period * 1000 > now + GRACE_MS


def recent_ms(period: int, rules: Rules, uses: int) -> int:
    """For how long (ms) before now the uses of a token matter: whatever was accepted earlier fits no more."""
    return (2 * rules.window + 2 + min(uses, 2 * rules.max_drift)) * period * 1000


def taken_back(token: TokenSteps, uses: Sequence[Use], now: int, rules: Rules) -> tuple[int, str]:
    """The last step that the token gets, and the spans of what was accepted ahead. ``uses``: every acceptance since
    ``recent_ms`` before ``now`` (ms)."""
    ahead = sorted(use for use in uses if use.at > now)
    resynchronised = any(use.resynchronised for use in ahead)
    learnt = min(len(ahead), 2 * rules.max_drift)  # each acceptance moves the drift by one step at most
    here = step_at(now, token.period) + token.drift
    since = now - recent_ms(token.period, rules, len(ahead))
    last = here - rules.window - 1
    if resynchronised:
        # The drift at the right time is not known any more.
        last = max(here, step_at(now, token.period) + rules.max_drift) + rules.window + learnt
    recent = [step_at(use.at, token.period) for use in uses if since <= use.at <= now]
    # A code that fits now may have been accepted at one of these moments.
    last = max([last, *(step + token.drift + rules.window + learnt for step in recent)])
    last = min(max(last, -1), token.last_step)
    spans = [*spans_of(token.spent_ahead), (token.last_step, token.last_step)]
    for number, use in enumerate(ahead):
        centre = step_at(use.at, token.period) + token.drift
        away = rules.window + min(len(ahead) - number, 2 * rules.max_drift)
        if resynchronised:
            away += rules.resync_window + rules.max_drift  # it may have been anywhere in between
        spans.append((max(centre - away, last + 1), min(centre + away, token.last_step)))
    return last, _text(spans, last)


def with_step(token: TokenSteps, last: int) -> str:
    """The token's spans with its ``last_step`` as one more; only what lies beyond the step ``last``."""
    return _text([*spans_of(token.spent_ahead), (token.last_step, token.last_step)], last)


def _text(spans: Sequence[tuple[int, int]], last: int) -> str:
    return " ".join(f"{first}-{final}" for first, final in _joined(spans, last))


def _joined(spans: Sequence[tuple[int, int]], last: int) -> list[tuple[int, int]]:
    """The spans in order, without overlaps, at most MOST_SPANS; only what lies beyond ``last``."""
    joined: list[tuple[int, int]] = []
    for first, final in sorted(spans):
        if final <= last or final < first:
            continue
        if joined and (first <= joined[-1][1] + 1 or len(joined) == MOST_SPANS):
            joined[-1] = (joined[-1][0], max(joined[-1][1], final))
        else:
            joined.append((first, final))
    return joined
