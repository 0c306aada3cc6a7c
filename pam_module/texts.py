"""What people read at a host: prompts and notices, in Japanese and English. A refusal is the host's to word."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from otp_core.model import Language


class TextName(StrEnum):
    """The names that the settings have for them."""

    LOGIN = "login"
    CODE = "code"
    CODE_AGAIN = "code_again"
    BOTH = "both"
    UNAVAILABLE = "unavailable"
    ENROL = "enrol"


TEXTS: dict[Language, dict[TextName, str]] = {
    Language.JA: {
        TextName.LOGIN: "ログインパスワード: ",
        TextName.CODE: "ワンタイムパスワード: ",
        TextName.CODE_AGAIN: "確認できませんでした。次に表示されるワンタイムパスワード: ",
        TextName.BOTH: "ログインパスワードに続けてワンタイムパスワード: ",
        TextName.UNAVAILABLE: "ただいまログインを確認できません。しばらくしてからお試しください。",
        TextName.ENROL: "ワンタイムパスワードが未登録です。{day}までに利用登録をしてください。",
    },
    Language.EN: {
        TextName.LOGIN: "Password: ",  # the one text that sudo puts its own in place of
        TextName.CODE: "One-time password: ",
        TextName.CODE_AGAIN: "Not accepted. The next one-time password shown: ",
        TextName.BOTH: "Password and one-time password: ",
        TextName.UNAVAILABLE: "The login cannot be checked just now. Try again later.",
        TextName.ENROL: "You have no one-time password yet. Enrol by {day}.",
    },
}


def texts_with(own: Mapping[Language, Mapping[Any, str]]) -> dict[Language, dict[TextName, str]]:
    """The usual texts with a profile's own in their place."""
    return {
        language: texts | {TextName(name): text for name, text in own.get(language, {}).items()}
        for language, texts in TEXTS.items()
    }
