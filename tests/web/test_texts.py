"""The portal's words: every sentence has its Japanese, none is left over, and what is compiled is what is written."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

import admin_web
import otp_core.imports
from admin_web.languages import language_of, translator
from otp_core.model import Language

FOLDER = Path(admin_web.__file__).parent
JAPANESE = FOLDER / "locale" / "ja" / "LC_MESSAGES"
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]


def sentences() -> set[str]:
    keywords = {"_": None, "gettext_noop": None, "worded": None}
    folders = (FOLDER, Path(otp_core.imports.__file__).parent)
    found = (one for folder in folders for one in extract_from_dir(folder, METHODS, keywords=keywords))
    return {text for _, _, text, _, _ in found if isinstance(text, str)}


def catalogue() -> Catalog:
    return read_po(io.BytesIO((JAPANESE / "portal.po").read_bytes()), locale="ja")


def test_every_sentence_has_its_japanese_and_none_is_left_over() -> None:
    written = {str(one.id): str(one.string) for one in catalogue() if one.id}
    assert sentences() - written.keys() == set()
    assert written.keys() - sentences() == set()
    assert [text for text, japanese in written.items() if not japanese] == []


def test_what_is_filled_in_is_the_same_in_both() -> None:
    holes = re.compile(r"%\(\w+\)s")
    for one in catalogue():
        if one.id:
            assert sorted(holes.findall(str(one.id))) == sorted(holes.findall(str(one.string))), one.id


def test_the_compiled_catalogue_is_that_of_the_sentences() -> None:
    with (JAPANESE / "portal.mo").open("rb") as file:
        compiled = {str(one.id): str(one.string) for one in read_mo(file) if one.id}
    assert compiled == {str(one.id): str(one.string) for one in catalogue() if one.id}, "run: make texts"


def test_the_words_of_the_trade_are_those_of_the_guide() -> None:
    said = translator(Language.JA)
    assert (said("Contract ID"), said("Login password"), said("Next"), said("Enrol"), said("Suspend")) == (
        "契約者ＩＤ",
        "ログインパスワード",
        "次へ",
        "登録",
        "停止",
    )
    assert said("Return to the login page") == "ログイン画面に戻る"
    assert said("Token ID (credential ID)") == "トークンＩＤ（クレデンシャルＩＤ）"


@pytest.mark.parametrize(
    ("cookie", "accepts", "language"),
    [
        (None, None, "ja"),
        (None, "en-US,en;q=0.9,ja;q=0.8", "en"),
        (None, "fr-FR,de;q=0.5", "ja"),
        (None, "fr,en;q=0.5", "en"),
        ("en", "ja-JP", "en"),
        ("ja", "en-US", "ja"),
        ("xx", "en-US", "en"),
        (None, ";;,,q=1", "ja"),
    ],
)
def test_the_choice_comes_before_the_browsers_wish(cookie: str | None, accepts: str | None, language: str) -> None:
    assert language_of(cookie, accepts) == language
