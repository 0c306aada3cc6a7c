"""The prompts and messages that a person reads at a host, in Japanese and English. The text of a refusal is the host's
own (sshd, sudo)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from otp_core.model import Language


class TextName(StrEnum):
    """The names of the texts, as in the settings (texts_ja, texts_en)."""

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
        TextName.LOGIN: "Password: ",  # sudo replaces exactly this text by its own
        TextName.CODE: "One-time password: ",
        TextName.CODE_AGAIN: "Not accepted. The next one-time password shown: ",
        TextName.BOTH: "Password and one-time password: ",
        TextName.UNAVAILABLE: "The login cannot be checked just now. Try again later.",
        TextName.ENROL: "You have no one-time password yet. Enrol by {day}.",
    },
}


def texts_with(own: Mapping[Language, Mapping[TextName, str]]) -> dict[Language, dict[TextName, str]]:
    """TEXTS, with a profile's own texts in place of those that it has."""
    return {language: {**texts, **own.get(language, {})} for language, texts in TEXTS.items()}
