"""Texts for customers who log in without a page: prompts and refusals, in Japanese and English.

They hold no secret and no reason: a refusal has the same text whatever was wrong.
"""

from __future__ import annotations

from enum import StrEnum

from otp_core.model import Language


class Text(StrEnum):
    """The texts, named after the answers that carry them."""

    CHALLENGE = "challenge"
    CHALLENGE_AGAIN = "challenge_again"
    REJECT = "reject"
    ACCEPT = "accept"


TEXTS: dict[tuple[Language, Text], str] = {
    (Language.JA, Text.CHALLENGE): "ワンタイムパスワードを入力してください。",
    (
        Language.JA,
        Text.CHALLENGE_AGAIN,
    ): "ワンタイムパスワードを確認できません。新しく表示されたものを入力してください。",
    (Language.JA, Text.REJECT): "ログインできません。入力内容をご確認ください。",
    (Language.EN, Text.CHALLENGE): "Enter your one-time password.",
    (Language.EN, Text.CHALLENGE_AGAIN): "That one-time password was not accepted. Enter the next one shown.",
    (Language.EN, Text.REJECT): "Login failed. Check what you entered.",
}
"""Text of each answer. An acceptance has none, unless a client's settings give one."""
