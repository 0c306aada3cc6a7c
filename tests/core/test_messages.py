"""What customers read where there is no page: in both languages, and never why they were refused."""

from __future__ import annotations

import pytest

from otp_core.login.table import Finding
from otp_core.messages import TEXTS, Text
from otp_core.model import Language


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("text", [Text.CHALLENGE, Text.CHALLENGE_AGAIN, Text.REJECT])
def test_every_text_is_there_in_every_language_and_fits_one_attribute(language: Language, text: Text) -> None:
    words = TEXTS[language, text]
    assert words.isprintable() and words.strip() == words
    assert 0 < len(words.encode()) <= 253, "one Reply-Message (RFC 2865 section 5.18)"


def test_an_acceptance_says_nothing() -> None:
    assert not [text for _, text in TEXTS if text is Text.ACCEPT]


def test_a_refusal_is_one_text_whatever_was_wrong() -> None:
    for language in Language:
        words = TEXTS[language, Text.REJECT].lower()
        assert not [finding for finding in Finding if finding.value in words]
        assert not [word for word in ("locked", "unknown", "password", "ロック", "パスワード") if word in words]


def test_no_text_is_the_same_in_both_languages() -> None:
    assert len(set(TEXTS.values())) == len(TEXTS)
