"""Texts for customers who log in without a page: prompts and refusals, in Japanese and English.

They hold no secret. A refusal has the same text whatever was wrong, but for PROBLEM_TEXTS, which only clients get that
ask for them.
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
    CHANGE_TOKEN = "change_token"


TEXTS: dict[tuple[Language, Text], str] = {
    (Language.JA, Text.CHALLENGE): "ワンタイムパスワードを入力してください。",
    (
        Language.JA,
        Text.CHALLENGE_AGAIN,
    ): "ワンタイムパスワードを確認できません。新しく表示されたものを入力してください。",
    (Language.JA, Text.REJECT): "ログインできません。入力内容をご確認ください。",
    (
        Language.JA,
        Text.CHANGE_TOKEN,
    ): "現在のトークンはまもなくご利用いただけなくなります。端末変更のお手続きをお願いいたします。",
    (Language.EN, Text.CHALLENGE): "Enter your one-time password.",
    (Language.EN, Text.CHALLENGE_AGAIN): "That one-time password was not accepted. Enter the next one shown.",
    (Language.EN, Text.REJECT): "Login failed. Check what you entered.",
    (Language.EN, Text.CHANGE_TOKEN): "Your token will soon stop working. Please change to another one.",
}
"""Text of each answer. An acceptance has none, unless a client's settings give one."""

_EXPIRED_JA = "パスワードの有効期限が切れています。変更してから、もう一度ログインしてください。"
_EXPIRED_EN = "Your password has expired. Change it, then log in again."
_ACCOUNT_JA = "この口座は現在ご利用になれません。窓口にお問い合わせください。"
_ACCOUNT_EN = "This account cannot be used now. Please contact us."

PROBLEM_TEXTS: dict[tuple[Language, str], str] = {
    (Language.JA, "password-expired"): _EXPIRED_JA,
    (Language.EN, "password-expired"): _EXPIRED_EN,
    (Language.JA, "password-must-change"): "パスワードの変更が必要です。変更してから、もう一度ログインしてください。",
    (Language.EN, "password-must-change"): "Your password has to be changed. Change it, then log in again.",
    (Language.JA, "account-disabled"): _ACCOUNT_JA,
    (Language.EN, "account-disabled"): _ACCOUNT_EN,
    (Language.JA, "account-expired"): _ACCOUNT_JA,
    (Language.EN, "account-expired"): _ACCOUNT_EN,
    (
        Language.JA,
        "account-locked-there",
    ): "この口座はロックされています。窓口にお問い合わせください。",
    (Language.EN, "account-locked-there"): "This account is locked. Please contact us.",
}
"""Refusals that say what is wrong with the account where the password is kept, by language and the code of the finding
(login.table.Finding). For clients with explain_password_problems."""
