"""How often hypothesis tries a property."""

from __future__ import annotations

from hypothesis import settings


def examples(usual: int) -> int:
    """For ``@settings(max_examples=...)``: as many as usual, and fewer where the profile has fewer than 100."""
    return max(5, usual * settings().max_examples // 100)
