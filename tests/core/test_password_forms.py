"""One password, spelt in several ways: what was hashed once is found again, whatever keyboard, charset or file it came
from, and the number of hashes tells nothing."""

from __future__ import annotations

import asyncio
import contextlib
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_core.first_factor.hash_pool import HashPool
from otp_core.first_factor.hashes import Cost, check, hash_password
from otp_core.first_factor.password_forms import canonical, forms
from otp_core.login.table import Finding
from otp_core.model import Accept, Policy
from tests.core.bank import APPEND, AUTO, CHALLENGE, PASSWORD, Bank
from tests.core.entrance import entrance, run
from tests.core.test_authenticator_local_password import CountingPool, held, local_password

CHEAP = Cost(256, 1, 1)
NFC, NFD = "Zürich パスワード", unicodedata.normalize("NFD", "Zürich パスワード")


def read_in_two_ways() -> dict[str, str]:
    """What Microsoft's table and that of JIS make of the same two octets, for all octets of which they differ."""
    found = {"\u2015": "\u2014", "\uffe4": "¦"}  # those two only Apple and iconv read otherwise
    for octets in (bytes((first, second)) for first in range(0x81, 0xFD) for second in range(0x40, 0xFD)):
        with contextlib.suppress(UnicodeDecodeError):
            windows, jis = octets.decode("cp932"), octets.decode("shift_jis")
            if windows != jis:
                found[windows] = jis
    return found


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("himitsu", 1),
        ("p@$$\\~-", 1),
        ("", 1),
        ("秘密", 1),
        ("ひみつ", 1),
        (NFC, 2),
        (NFD, 2),
        ("１−２", 2),
        ("\x80", 2),
    ],
)
def test_equal_forms_are_one(text: str, number: int) -> None:
    assert len(forms(text)) == len(set(forms(text))) == number


@given(st.text())
def test_there_is_one_form_at_least_and_there_are_six_at_most(text: str) -> None:
    assert 1 <= len(forms(text)) <= 6
    assert text in forms(text)
    assert canonical(text).decode() == forms(text)[0]


@given(st.text(max_size=60))
def test_a_password_is_found_whichever_normal_form_was_hashed_or_typed(text: str) -> None:
    nfc, nfd = unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)
    assert {nfc, nfd} <= set(forms(nfd))
    assert {nfc, nfd} <= set(forms(nfc))
    assert canonical(nfd) == canonical(nfc) == nfc.encode()


@given(st.text(max_size=40), st.text("0123456789 １２", max_size=16))
def test_a_part_has_no_more_forms_than_the_whole(password: str, code: str) -> None:
    """So the hashes for password and code, split or whole, can be made equally many."""
    assert len(forms(password)) <= len(forms(password + code))


@pytest.mark.parametrize(("octets", "jis"), [(b"a\x81\x7cb", "a\u2212b"), (b"a\x81\x60b", "a\u301cb")])
def test_both_mappings_of_shift_jis_are_tried(octets: bytes, jis: str) -> None:
    windows = octets.decode("cp932")
    assert windows != jis
    assert jis in forms(windows) and windows in forms(jis)


@pytest.mark.parametrize(("windows", "jis"), read_in_two_ways().items())
def test_every_character_with_two_mappings_is_known(windows: str, jis: str) -> None:
    assert jis in forms(windows) and windows in forms(jis)


def test_a_euro_sign_from_a_gateway_that_says_latin_1_is_found() -> None:
    assert "100€" in forms(b"100\x80".decode("latin-1"))


def test_a_very_long_password_is_taken_as_it_is() -> None:
    text = "e\u0301" * 128
    assert forms(text) == ("é" * 128, text)
    assert canonical(text) == ("é" * 128).encode()
    assert forms(text + "x") == (text + "x",), "257 characters"
    assert forms("é" * 257) == ("é" * 257,)
    assert canonical(text + "x") == (text + "x").encode()


def bank_with(folder: Path, password: str) -> Bank:
    bank = Bank(folder)
    bank.customer(password_hash=hash_password(password.encode(), CHEAP))
    return bank


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        (NFC, NFD),
        (NFD, NFC),
        (NFD, NFD),
        ("e\u0301\u00e9", "e\u0301\u00e9"),
        ("a\u2212b", b"a\x81\x7cb".decode("cp932")),
        ("a\u301cb", b"a\x81\x60b".decode("cp932")),
        ("a\uff0db", "a\u2212b"),
        (unicodedata.normalize("NFD", "ガ～"), "ガ\u301c"),
        ("100€", "100\x80"),
    ],
)
def test_a_password_lets_in_however_it_is_spelt(tmp_path: Path, stored: str, typed: str) -> None:
    bank = bank_with(tmp_path, stored)

    async def scene() -> None:
        pool = HashPool(1, 10)
        async with entrance(bank, local_password(bank, pool)) as door:
            assert await door.says("taro", typed, PASSWORD) == Accept()
            assert await door.why("taro", typed + "x", PASSWORD) == Finding.WRONG_PASSWORD
        pool.close()

    run(scene)


def test_a_hash_of_another_form_is_replaced_by_one_of_nfc(tmp_path: Path) -> None:
    bank = bank_with(tmp_path, NFD)

    async def scene() -> None:
        pool = HashPool(1, 10)
        factor = local_password(bank, pool)
        async with entrance(bank, factor) as door:
            assert await door.says("taro", NFD, PASSWORD) == Accept()
            await asyncio.gather(*factor._renewals)  # they are made beside the login
            assert check(NFC.encode(), held(bank))
            assert await door.says("taro", NFD, PASSWORD) == Accept()
            assert await door.says("taro", NFC, PASSWORD) == Accept()
        pool.close()

    run(scene)
    assert len(bank.audit(event="password.rehashed")) == 1


@pytest.mark.parametrize("mode", [AUTO, CHALLENGE, PASSWORD, APPEND])
@pytest.mark.parametrize(
    "text", ["wrong", "wröng", "wro\u0308ng\u2212", "wröng123456", "wröng12\u20003456", "x12\u20003456"]
)
def test_the_number_of_hashes_depends_on_the_text_alone(tmp_path: Path, mode: Policy, text: str) -> None:
    """Known or not, with a token or without one, with a password held here or not; ASCII costs one hash a reading."""
    bank, hash_ = Bank(tmp_path), hash_password(b"richtig", CHEAP)
    bank.customer("with-token", password_hash=hash_)
    bank.customer("without-token", None, password_hash=hash_)
    bank.customer("no-password", "VSMT00000002")
    bank.customer("neither", None)
    hashed = []

    async def scene() -> None:
        for who in ("with-token", "without-token", "no-password", "neither", "nobody"):
            pool = CountingPool(1, 10)
            async with entrance(bank, local_password(bank, pool)) as door:
                await door.why(who, text, mode)
            pool.close()
            hashed.append(pool.hashed)

    run(scene)
    readings = 2 if mode is AUTO and "456" in text else 1
    assert set(hashed) == {len(forms(text)) * readings}


def test_a_right_password_takes_as_many_hashes_as_a_wrong_one(tmp_path: Path) -> None:
    """Its code may be wrong: then the time of the refusal must not tell that the password was right."""
    bank = bank_with(tmp_path, NFC)
    hashed = []

    async def scene() -> None:
        for text in (f"{NFC}000000", f"{NFC}x000000"):
            pool = CountingPool(1, 10)
            async with entrance(bank, local_password(bank, pool)) as door:
                await door.why("taro", text, APPEND)
            pool.close()
            hashed.append(pool.hashed)

    run(scene)
    assert hashed[0] == hashed[1] == 2
