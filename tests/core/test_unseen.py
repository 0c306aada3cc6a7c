"""Characters that nobody can see are found by their number; letters of every script stay."""

from __future__ import annotations

import pytest

from otp_core.accounts.principal import Principal, PrincipalKind
from otp_core.unseen import unseen, with_numbers


@pytest.mark.parametrize(
    "text",
    ["", "Yamada", "山田　太郎", "髙󠄀橋", "ﾔﾏﾀﾞ", "שרה כהן", "محمد", "क्\u200dष", "\ue000", "👨\u200d👩", "a b"],
)
def test_letters_of_every_script_are_seen(text: str) -> None:
    assert unseen(text) is None
    assert with_numbers(text) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("a\u202eb", "U+202E"),
        ("a\u2066b", "U+2066"),
        ("a\u200fb", "U+200F"),
        ("a\u061cb", "U+061C"),
        ("a\u200bb", "U+200B"),
        ("\ufeffa", "U+FEFF"),
        ("a\u00adb", "U+00AD"),
        ("a\u2028b", "U+2028"),
        ("a\x1b[31mb", "U+001B"),
        ("a\ud800", "U+D800"),
        ("a\U000e0041b", "U+E0041"),
        ("\u3164", "U+3164"),
    ],
)
def test_what_nobody_sees_is_found_by_its_number(text: str, number: str) -> None:
    assert unseen(text) == number
    assert f"<{number}>" in with_numbers(text)
    assert unseen(with_numbers(text)) is None


def test_no_reason_in_the_audit_trail_looks_like_another() -> None:
    principal = Principal("sato", PrincipalKind.STAFF, reason="lost\u202eenohp")
    assert principal.audit_fields["reason"] == "lost<U+202E>enohp"
