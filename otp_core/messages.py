"""What customers read where there is no page: prompts and refusals, in Japanese and English. No secret, no reason:
a refusal says the same whatever was wrong."""

from __future__ import annotations

from enum import StrEnum

from otp_core.model import Language


class Text(StrEnum):
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
"""An acceptance says nothing unless a client's settings give it a text."""
