"""What somebody writes for the audit trail is one part of a row's text, and no other."""

from __future__ import annotations

import pytest

from otp_core.accounts.written import says_something, written
from sekisho.cli.context import principal


@pytest.mark.parametrize("semicolon", [";", "\uff1b", "\u037e", "\ufe14", "\ufe54"])
def test_nobody_writes_who_approved_it(semicolon: str) -> None:
    text = f"lost{semicolon} approved by kato{semicolon}\n ticket 4711"
    assert written(text) == "lost, approved by kato, ticket 4711"
    assert principal(text).reason == "lost, approved by kato, ticket 4711"


@pytest.mark.parametrize("text", ["", " ", "\u3000", "\u200b \u3164", "\u200d", "\u202e\x00", "\u2800"])
def test_what_nobody_can_see_is_no_reason(text: str) -> None:
    assert not says_something(text)


@pytest.mark.parametrize("text", ["x", "紛失", "\u200bx", "-", "4711"])
def test_what_somebody_can_see_is_one(text: str) -> None:
    assert says_something(text)
