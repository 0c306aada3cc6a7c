"""How what is typed finds what is stored, however either is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_core.folding import LONGEST_TERM, MOST_WORDS, folded, folded_words, name_terms


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("髙橋", "高橋"),
        ("山﨑", "山崎"),
        ("山嵜", "山崎"),
        ("𠮷野", "吉野"),
        ("渡邊", "渡辺"),
        ("渡邉", "渡辺"),
        ("齋藤", "斉藤"),
        ("齊藤", "斎藤"),
        ("濵田", "浜田"),
        ("澤田", "沢田"),
        ("佐々木", "佐佐木"),
        ("神\ufe00田", "神田"),
        ("葛\U000e0100西", "葛西"),
        ("ヤマダ", "やまだ"),
        ("ﾔﾏﾀﾞ", "ヤマダ"),
        ("シヨウコ", "ショウコ"),
        ("ゆーこ", "ユーコ"),
        ("ﾕ-ｺ", "ユーコ"),
        ("Núñez", "nunez"),
        ("Ｔａｒｏ", "taro"),
        ("１２３－４５６７", "1234567"),
        ("TARO@example.jp", "ｔａｒｏ＠ｅｘａｍｐｌｅ．ｊｐ"),
    ],
)
def test_two_ways_to_write_one_name_are_one(stored: str, typed: str) -> None:
    assert folded(stored) == folded(typed) != ""


@pytest.mark.parametrize(("one", "other"), [("はた", "ばた"), ("太田", "大田"), ("taro", "toro"), ("ハ", "パ")])
def test_different_names_stay_different(one: str, other: str) -> None:
    assert folded(one) != folded(other)


@pytest.mark.parametrize("between", [" ", "\u3000", "・", "  ", ",", "、"])
def test_every_word_of_a_name_begins_a_term(between: str) -> None:
    assert name_terms(between.join(("山田", "花子", "マリア"))) == {
        "山田花子まりあ",
        "花子まりあ山田",
        "まりあ山田花子",
    }


@given(st.text())
def test_folding_is_bounded_and_folds_nothing_twice(text: str) -> None:
    words = folded_words(text)
    assert len(words) <= MOST_WORDS and all(words)
    assert len(folded(text)) <= LONGEST_TERM and all(len(term) <= LONGEST_TERM for term in name_terms(text))
    assert folded(folded(text)) == folded(text)


def test_a_text_that_grows_without_end_is_cut() -> None:
    assert len(folded_words("\ufdfa" * 100_000)) == MOST_WORDS
    assert folded("a\u0301" * 100_000) == "a" * LONGEST_TERM
