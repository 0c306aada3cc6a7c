"""One-time-password arithmetic: the RFCs' own vectors, two strangers' implementations, drift, and what people type."""

from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess
import sys
import unicodedata
from collections.abc import Callable

import pyotp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.model import NEVER, Algorithm, Kind, TokenSpec
from otp_core.otp import (
    LOOK_BACK,
    Fit,
    code_at,
    code_at_the_end,
    find_step,
    fit,
    is_code,
    learn_drift,
    nearest_first,
    normalise_code,
    normalise_contract_id,
    normalise_token_id,
    resynchronise,
    spec_of,
    step_at,
    truncated,
)

SEED = b"12345678901234567890"
TOTP, HOTP = TokenSpec(), TokenSpec(Kind.HOTP)
NOON = 1_800_000_000_000
"""Milliseconds; the beginning of a step."""
STEP = NOON // 30_000

# RFC 4226, appendix D: the secret is SEED.
#
#    Count    Hexadecimal HMAC-SHA-1(secret, count)        Truncated (hex)  Decimal     HOTP
RFC_4226_APPENDIX_D = """
     0        cc93cf18508d94934c64b65d8ba7667fb7cde4b0     4c93cf18       1284755224     755224
     1        75a48a19d4cbe100644e8ac1397eea747a2d33ab     41397eea       1094287082     287082
     2        0bacb7fa082fef30782211938bc1c5e70416ff44     82fef30         137359152     359152
     3        66c28227d03a2d5529262ff016a1e6ef76557ece     66ef7655       1726969429     969429
     4        a904c900a64b35909874b33e61c5938a8e15ed1c     61c5938a       1640338314     338314
     5        a37e783d7b7233c083d4f62926c7a25f238d0316     33c083d4        868254676     254676
     6        bc9cd28561042c83f219324d3c607256c03272ae     7256c032       1918287922     287922
     7        a4fb960c0bc06e1eabb804e5b397cdc4b45596fa     4e5b397          82162583     162583
     8        1b3c89f65e6c9e883012052823443f048b4332db     2823443f        673399871     399871
     9        1637409809a679dc698207310c8c7fc07290d9e5     2679dc69        645520489     520489
"""

# RFC 6238, appendix B: X = 30, T0 = 0, 8 digits.
#
#  |  Time (sec)   |   UTC Time   | Value of T (hex) |   TOTP   |  Mode  |
RFC_6238_APPENDIX_B = """
   |      59     |  1970-01-01 00:00:59   | 0000000000000001 | 94287082 |  SHA1  |
   |      59     |  1970-01-01 00:00:59   | 0000000000000001 | 46119246 | SHA256 |
   |      59     |  1970-01-01 00:00:59   | 0000000000000001 | 90693936 | SHA512 |
   |  1111111109 |  2005-03-18 01:58:29   | 00000000023523EC | 07081804 |  SHA1  |
   |  1111111109 |  2005-03-18 01:58:29   | 00000000023523EC | 68084774 | SHA256 |
   |  1111111109 |  2005-03-18 01:58:29   | 00000000023523EC | 25091201 | SHA512 |
   |  1111111111 |  2005-03-18 01:58:31   | 00000000023523ED | 14050471 |  SHA1  |
   |  1111111111 |  2005-03-18 01:58:31   | 00000000023523ED | 67062674 | SHA256 |
   |  1111111111 |  2005-03-18 01:58:31   | 00000000023523ED | 99943326 | SHA512 |
   |  1234567890 |  2009-02-13 23:31:30   | 000000000273EF07 | 89005924 |  SHA1  |
   |  1234567890 |  2009-02-13 23:31:30   | 000000000273EF07 | 91819424 | SHA256 |
   |  1234567890 |  2009-02-13 23:31:30   | 000000000273EF07 | 93441116 | SHA512 |
   |  2000000000 |  2033-05-18 03:33:20   | 0000000003F940AA | 69279037 |  SHA1  |
   |  2000000000 |  2033-05-18 03:33:20   | 0000000003F940AA | 90698825 | SHA256 |
   |  2000000000 |  2033-05-18 03:33:20   | 0000000003F940AA | 38618901 | SHA512 |
   | 20000000000 |  2603-10-11 11:33:20   | 0000000027BC86AA | 65353130 |  SHA1  |
   | 20000000000 |  2603-10-11 11:33:20   | 0000000027BC86AA | 77737706 | SHA256 |
   | 20000000000 |  2603-10-11 11:33:20   | 0000000027BC86AA | 47863826 | SHA512 |
"""
# Its seeds are as long as the hash: erratum 2866, and the reference implementation in appendix A.
RFC_6238_SEEDS = {"sha1": SEED, "sha256": (SEED * 2)[:32], "sha512": (SEED * 4)[:64]}


def hotp_vectors() -> list[list[str]]:
    return [line.split() for line in RFC_4226_APPENDIX_D.strip().splitlines()]


def totp_vectors() -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in RFC_6238_APPENDIX_B.strip().splitlines()]


def test_no_vector_of_the_rfcs_was_lost_in_copying() -> None:
    assert (len(hotp_vectors()), len(totp_vectors())) == (10, 18)


@pytest.mark.parametrize(("count", "mac", "cut", "decimal", "code"), hotp_vectors())
def test_rfc_4226_appendix_d(count: str, mac: str, cut: str, decimal: str, code: str) -> None:
    step = int(count)
    assert hmac.digest(SEED, step.to_bytes(8, "big"), "sha1").hex() == mac
    assert int(cut, 16) == int(decimal)
    assert code_at(SEED, step, HOTP) == code
    for digits in (6, 7, 8):
        assert truncated(SEED, step, digits, "sha1") == int(decimal) % 10**digits


@pytest.mark.parametrize(("seconds", "utc", "t", "code", "mode"), totp_vectors())
def test_rfc_6238_appendix_b(seconds: str, utc: str, t: str, code: str, mode: str) -> None:
    algorithm = Algorithm(mode.lower())
    step = step_at(int(seconds) * 1000, 30)
    assert step == int(t, 16), utc
    for digits in (6, 7, 8):
        spec = TokenSpec(Kind.TOTP, algorithm, digits)
        assert code_at(RFC_6238_SEEDS[algorithm], step, spec) == code[-digits:]


def test_a_step_changes_on_the_millisecond() -> None:
    assert [step_at(at, 30) for at in (0, 29_999, 30_000, 59_999, 60_000)] == [0, 0, 1, 1, 2]
    assert (step_at(59_999, 60), step_at(60_000, 60)) == (0, 1)


# Two implementations by strangers.

seeds = st.binary(min_size=16, max_size=140)
algorithms = st.sampled_from(list(Algorithm))
digit_counts = st.sampled_from([6, 7, 8])


@settings(deadline=None)
@given(seeds, st.integers(0, 2**40), algorithms, digit_counts)
def test_codes_are_those_of_pyotp(seed: bytes, step: int, algorithm: Algorithm, digits: int) -> None:
    theirs = pyotp.HOTP(base64.b32encode(seed).decode(), digits=digits, digest=getattr(hashlib, algorithm))
    assert code_at(seed, step, TokenSpec(Kind.HOTP, algorithm, digits)) == theirs.at(step)


@settings(deadline=None)
@given(seeds, st.integers(0, 2**35), st.sampled_from([30, 60]), algorithms, digit_counts)
def test_a_totp_of_a_moment_is_that_of_pyotp(
    seed: bytes, seconds: int, period: int, algorithm: Algorithm, digits: int
) -> None:
    digest = getattr(hashlib, algorithm)
    theirs = pyotp.TOTP(base64.b32encode(seed).decode(), digits=digits, digest=digest, interval=period)
    step = step_at(seconds * 1000, period)
    assert code_at(seed, step, TokenSpec(Kind.TOTP, algorithm, digits, period)) == theirs.generate_otp(
        seconds // period
    )


@pytest.mark.parametrize("digits", [6, 7, 8])
@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize(("seconds", "period"), [(59, 30), (1_111_111_109, 30), (2_000_000_000, 60)])
def test_totp_codes_are_those_of_oathtool(seconds: int, period: int, algorithm: Algorithm, digits: int) -> None:
    seed = hashlib.sha512(b"a seed like any other").digest()[:20]
    codes = oathtool(
        f"--totp={algorithm}",
        f"--digits={digits}",
        f"--now=@{seconds}",
        f"--time-step-size={period}s",
        "--window=19",
        seed.hex(),
    )
    spec, first = TokenSpec(Kind.TOTP, algorithm, digits, period), step_at(seconds * 1000, period)
    assert codes == [code_at(seed, step, spec) for step in range(first, first + 20)]


@pytest.mark.parametrize("digits", [6, 7, 8])
def test_hotp_codes_are_those_of_oathtool(digits: int) -> None:
    codes = oathtool("--hotp", f"--digits={digits}", "--counter=7", "--window=19", SEED.hex())
    assert codes == [code_at(SEED, step, TokenSpec(Kind.HOTP, digits=digits)) for step in range(7, 27)]


def oathtool(*arguments: str) -> list[str]:
    return subprocess.run(["oathtool", *arguments], capture_output=True, text=True, check=True).stdout.split()


# What is a code.


@pytest.mark.parametrize(
    "text", ["", "12345", "1234567", "12345a", "12 345", "-12345", "１２３４５６", "٣٣٣٣٣٣", "²²²²²²"]
)
def test_six_digits_are_ascii_digits_and_six(text: str) -> None:
    assert not is_code(text, 6)
    assert find_step(SEED, TOTP, text, range(100)) is None


def test_a_code_keeps_its_leading_zeros() -> None:
    spec = TokenSpec(Kind.TOTP, Algorithm.SHA1, 8)
    assert code_at(SEED, step_at(1111111109_000, 30), spec) == "07081804"
    assert find_step(SEED, spec, "07081804", [0x23523EC]) == 0x23523EC
    assert find_step(SEED, spec, "7081804", [0x23523EC]) is None


def test_the_nearest_step_is_tried_first_and_one_back_before_one_ahead() -> None:
    assert list(nearest_first(10, 0)) == [10]
    assert list(nearest_first(10, 2)) == [10, 9, 11, 8, 12]


def test_steps_before_the_beginning_are_never_tried() -> None:
    assert find_step(SEED, TOTP, "755224", [-2, -1, 0]) == 0
    assert find_step(SEED, TOTP, "755224", [-2, -1]) is None


# The window (RFC 6238 section 5.2), reuse, and drift (section 6).


def code(away: int, spec: TokenSpec = TOTP) -> str:
    return code_at(SEED, STEP + away, spec)


def fit_now(
    text: str, *, last_step: int = NEVER, drift: int = 0, window: int = 1, spec: TokenSpec = TOTP
) -> tuple[Fit, int]:
    return fit(SEED, spec, text, at_ms=NOON, last_step=last_step, drift=drift, window=window, look_ahead=3)


@pytest.mark.parametrize("window", [0, 1, 2])
def test_a_code_fits_in_its_window_and_nowhere_else(window: int) -> None:
    for away in range(-4, 5):
        expected = (Fit.FITS, STEP + away) if abs(away) <= window else (Fit.WRONG, -1)
        assert fit_now(code(away), window=window) == expected


@pytest.mark.parametrize("drift", [-7, 3])
def test_the_window_follows_the_drift(drift: int) -> None:
    for away in range(drift - 3, drift + 4):
        expected = (Fit.FITS, STEP + away) if abs(away - drift) <= 1 else (Fit.WRONG, -1)
        assert fit_now(code(away), drift=drift) == expected


@pytest.mark.parametrize(("behind", "found"), [(0, Fit.REUSED), (1, Fit.REUSED), (2, Fit.REUSED), (3, Fit.WRONG)])
def test_the_last_three_codes_of_a_counter_token_are_reused_and_older_ones_wrong(behind: int, found: Fit) -> None:
    seed, spec = b"12345678901234567890", TokenSpec(Kind.HOTP)
    code = code_at(seed, 50 - behind, spec)
    assert fit(seed, spec, code, at_ms=0, last_step=50, drift=0, window=1, look_ahead=10)[0] is found


def test_a_step_at_or_before_the_last_accepted_one_is_reused_not_wrong() -> None:
    assert fit_now(code(-1), last_step=STEP) == (Fit.REUSED, STEP - 1)
    assert fit_now(code(0), last_step=STEP) == (Fit.REUSED, STEP)
    assert fit_now(code(1), last_step=STEP) == (Fit.FITS, STEP + 1)


def test_what_is_no_code_is_wrong() -> None:
    assert fit_now("") == fit_now("abcdef") == fit_now(code(0) + "0") == (Fit.WRONG, -1)


def test_a_counter_is_looked_for_ahead_and_only_there_accepted() -> None:
    def at(counter: int, last: int) -> tuple[Fit, int]:
        return fit_now(code_at(SEED, counter, HOTP), last_step=last, spec=HOTP)

    assert at(0, NEVER) == (Fit.FITS, 0)
    assert [at(counter, 10)[0] for counter in (11, 12, 13, 14)] == [Fit.FITS] * 4, "the next one, and look_ahead more"
    assert at(15, 10) == (Fit.WRONG, -1)
    assert [at(10 - back, 10)[0] for back in range(LOOK_BACK)] == [Fit.REUSED] * LOOK_BACK
    assert at(10 - LOOK_BACK, 10) == (Fit.WRONG, -1)


def test_the_hour_means_nothing_to_a_counter() -> None:
    text = code_at(SEED, 5, HOTP)
    answers = {
        fit(SEED, HOTP, text, at_ms=at, last_step=4, drift=drift, window=1, look_ahead=3)
        for at in (0, NOON)
        for drift in (0, 9)
    }
    assert answers == {(Fit.FITS, 5)}


@pytest.mark.parametrize("counter", [4, 5, 99])
def test_a_counter_token_whose_stored_drift_is_1_must_be_resynchronised_first(counter: int) -> None:
    """Whatever the code. So the store has it since version 0.2."""
    text = code_at(SEED, counter, HOTP)
    found = fit(SEED, HOTP, text, at_ms=NOON, last_step=4, drift=1, window=1, look_ahead=3)
    assert found == (Fit.RESYNC_NEEDED, -1)


def test_drift_is_followed_one_step_at_a_time() -> None:
    assert learn_drift(0, STEP, STEP, bound=10) == 0
    assert learn_drift(0, STEP + 1, STEP, bound=10) == 1
    assert learn_drift(0, STEP - 1, STEP, bound=10) == -1
    assert learn_drift(3, STEP + 3, STEP, bound=10) == 3
    assert learn_drift(3, STEP + 2, STEP, bound=10) == 2
    assert learn_drift(0, STEP + 5, STEP, bound=10) == 1


def test_drift_is_never_learnt_beyond_its_bound() -> None:
    assert learn_drift(10, STEP + 11, STEP, bound=10) == 10
    assert learn_drift(-10, STEP - 11, STEP, bound=10) == -10
    assert learn_drift(0, STEP + 1, STEP, bound=0) == 0


def test_a_token_resynchronised_beyond_the_bound_may_only_come_nearer() -> None:
    assert learn_drift(50, STEP + 51, STEP, bound=10) == 50
    assert learn_drift(50, STEP + 49, STEP, bound=10) == 49
    assert learn_drift(-50, STEP - 51, STEP, bound=10) == -50
    assert learn_drift(-50, STEP - 49, STEP, bound=10) == -49


@settings(deadline=None)
@given(st.integers(-300, 300), st.integers(-300, 300), st.integers(0, 100))
def test_drift_moves_by_one_towards_the_token_and_never_further_out(drift: int, offset: int, bound: int) -> None:
    learnt = learn_drift(drift, STEP + offset, STEP, bound)
    assert abs(learnt - drift) <= 1
    assert abs(learnt - offset) <= abs(drift - offset)
    assert abs(learnt) <= max(bound, abs(drift))


@settings(deadline=None)
@given(st.integers(-10, 10), st.booleans())
def test_a_token_whose_clock_runs_away_slowly_is_never_lost(start: int, fast: bool) -> None:
    """One step a login: the window follows, until the bound is reached."""
    drift, last, away = start, NEVER, start
    for login in range(100):
        now = NOON + login * 3_600_000
        away += 1 if fast else -1
        if abs(away) > 10:
            break
        text = code_at(SEED, step_at(now, 30) + away, TOTP)
        found, step = fit(SEED, TOTP, text, at_ms=now, last_step=last, drift=drift, window=1, look_ahead=0)
        assert found is Fit.FITS
        drift, last = learn_drift(drift, step, step_at(now, 30), 10), step
        assert drift == away


# Resynchronisation: two consecutive codes.


def resync(
    first: str, second: str, *, last_step: int = NEVER, spec: TokenSpec = TOTP, look_ahead: int = 50
) -> int | None:
    return resynchronise(SEED, spec, first, second, at_ms=NOON, last_step=last_step, window=20, look_ahead=look_ahead)


@pytest.mark.parametrize("away", [-20, -7, 0, 1, 20])
def test_two_consecutive_codes_find_a_token_far_from_the_hour(away: int) -> None:
    assert resync(code(away), code(away + 1)) == STEP + away + 1


@pytest.mark.parametrize("away", [-21, 21, 1000])
def test_a_token_further_away_than_the_window_is_not_found(away: int) -> None:
    assert resync(code(away), code(away + 1)) is None


def test_codes_that_do_not_follow_one_another_prove_nothing() -> None:
    assert resync(code(5), code(5)) is None
    assert resync(code(6), code(5)) is None
    assert resync(code(5), code(7)) is None
    assert resync(code(5), "") is None
    assert resync("", code(5)) is None
    assert resync("12345", "67890") is None


def test_no_code_at_or_before_the_last_accepted_one_resynchronises() -> None:
    assert resync(code(5), code(6), last_step=STEP + 4) == STEP + 6
    assert resync(code(5), code(6), last_step=STEP + 5) is None
    assert resync(code(5), code(6), last_step=STEP + 6) is None


def test_a_counter_is_found_ahead_of_the_last_one_and_not_behind() -> None:
    """RFC 4226 section 7.4."""

    def of(counter: int, last_step: int) -> int | None:
        first, second = code_at(SEED, counter, HOTP), code_at(SEED, counter + 1, HOTP)
        return resync(first, second, last_step=last_step, spec=HOTP)

    assert of(0, NEVER) == 1
    assert of(11, 10) == 12
    assert of(60, 10) == 61
    assert of(61, 10) is None, "further ahead than look_ahead"
    assert of(10, 10) is None, "the first of the two was accepted before"
    assert of(9, 10) is None


def test_resynchronisation_at_the_beginning_of_time_is_no_error() -> None:
    first, second = code_at(SEED, 0, TOTP), code_at(SEED, 1, TOTP)
    assert resynchronise(SEED, TOTP, first, second, at_ms=0, last_step=NEVER, window=5, look_ahead=0) == 1


# How typed text becomes an ID or a code.


@pytest.mark.parametrize(
    "text",
    [
        "VSMT12345678",
        "vsmt12345678",
        "vsmt 1234-5678",
        " VSMT-1234 5678\n",
        "ＶＳＭＴ１２３４５６７８",
        "ｖｓｍｔ　１２３４－５６７８",
        "VSMT\u00ad1234\u200b5678",
        "vsmtー1234ー5678",
        "vsmt_1234_5678",
        "ﾞVSMT12345678".removeprefix("ﾞ"),
    ],
)
def test_a_token_id_is_read_in_any_grouping_request_and_width(text: str) -> None:
    assert normalise_token_id(text) == "VSMT12345678"


def separators() -> list[str]:
    """Everything that Unicode calls a space or a dash, and what looks like one."""
    named = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Pd", "Zs")]
    return [*named, *"\t\r\n\u00ad\u200b\u2043\u2060\u2212\u2500\u30fb\u30fc\ufeffｰ･_"]


def test_spaces_and_hyphens_of_every_kind_are_forgiven() -> None:
    kept = [
        hex(ord(one))
        for one in separators()
        if normalise_token_id(f"{one}vsmt{one}1234{one}") != "VSMT1234" or normalise_code(f"12{one}34 56") != "123456"
    ]
    assert len(separators()) > 40
    assert kept == []


@pytest.mark.parametrize(
    "text", ["123456", "１２３４５６", "123 456", "123-456", "123‐456", " 123456 ", "１２３　４５６", "①②③④⑤⑥"]
)
def test_a_code_is_read_in_any_grouping_and_width(text: str) -> None:
    assert normalise_code(text) == "123456"


@pytest.mark.parametrize("text", ["12345a", "٣٣٣٣٣٣", "12.3456", "1234567", "", "123456;"])
def test_normalising_makes_no_code_out_of_something_else(text: str) -> None:
    assert not is_code(normalise_code(text), 6)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("taro", "taro"),
        ("  taro \n", "taro"),
        ("Taro", "Taro"),
        ("ｔａｒｏ０１", "taro01"),
        ("\u3000ｔａｒｏ\u3000", "taro"),
        ("ta-ro", "ta-ro"),
        ("ta ro", "ta ro"),
        ("ta_ro", "ta_ro"),
        ("ta~ro", "ta~ro"),
        ("-taro-", "-taro-"),
        ("ﾀﾛｳ", "タロウ"),
        ("ﾀﾛｰ･ﾔﾏﾀﾞ", "タロー・ヤマダ"),
        ("123-4567", "123-4567"),
        ("123--4567", "123--4567"),
        ("１２３\u2212４５６７", "123-4567"),
        ("１２３－４５６７", "123-4567"),
        ("123ー4567", "123-4567"),
        ("１２３ｰ４５６７", "123-4567"),
        ("123・4567", "123-4567"),
        ("123-4567\u200b", "123-4567"),
        ("\ufeff123\u00ad-\u20604567\u202c", "123-4567"),
        ("123\ufe0f-4567\U000e0100", "123-4567"),
        ("123 - 4567", "123-4567"),
        ("123 -4567", "123-4567"),
        ("123-\t 4567", "123-4567"),
        ("１２３　－　４５６７", "123-4567"),
        ("123 -- 4567", "123--4567"),
        ("123 - - 4567", "123--4567"),
        ("e\u200d\u0301", "é"),
    ],
)
def test_a_contract_id_loses_its_width_its_margins_and_the_kind_of_its_dashes(text: str, meant: str) -> None:
    assert normalise_contract_id(text) == meant


def invisible() -> list[str]:
    """Format characters (Unicode's category Cf) but for those that are shown, and a few that are invisible as well."""
    shown = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13440)}
    named = [chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) == "Cf" and n not in shown]
    return [*named, *"\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe0e\ufe0f\U000e0100"]


def test_every_kind_of_dash_is_a_hyphen_in_a_contract_id() -> None:
    dashes = [chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) == "Pd"]
    dashes += "\u02d7\u2043\u2212\u2500\u30fb\u30fc\uff65\uff70"
    assert [hex(ord(one)) for one in dashes if set(normalise_contract_id(f"12{one}3")) != set("12-3")] == []


def test_what_is_invisible_counts_for_nothing_in_ids_and_codes() -> None:
    assert len(invisible()) > 100
    for one in invisible():
        assert normalise_contract_id(f"{one}12{one}-{one}3{one}") == "12-3", hex(ord(one))
        assert normalise_token_id(f"{one}vsmt{one}1{one}") == "VSMT1", hex(ord(one))
        assert normalise_code(f"{one}12{one}34{one}56{one}") == "123456", hex(ord(one))


@pytest.mark.parametrize("normalise", [normalise_contract_id, normalise_token_id, normalise_code])
@pytest.mark.parametrize("text", ["1" * 257, "a" + "\u0301" * 300, "\ufdfa" * 5000, " " * 300, "1-" * 200])
def test_a_text_that_is_longer_than_any_id_is_cut_and_not_normalised(
    normalise: Callable[[str], str], text: str
) -> None:
    assert normalise(text) == text[:257]
    assert len(text[:256].encode()) > 253, "longer than any ID that can be stored"


@pytest.mark.parametrize("normalise", [normalise_contract_id, normalise_token_id, normalise_code])
def test_a_text_as_long_as_may_be_is_normalised(normalise: Callable[[str], str]) -> None:
    assert normalise("１" * 256) == "1" * 256
    assert normalise("１" * 257) == "１" * 257


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8") | st.sampled_from([*separators(), *invisible(), *"タa1\u0301\u3099"])))
def test_normalising_a_contract_id_twice_changes_nothing(text: str) -> None:
    assert normalise_contract_id(normalise_contract_id(text)) == normalise_contract_id(text)


@settings(deadline=None)
@given(st.lists(st.sampled_from([*"0123456789", *"０１２３４５６７８９", *separators()])))
def test_a_code_is_its_digits_whatever_stands_between_them(text: list[str]) -> None:
    digits = "".join(str(unicodedata.digit(one)) for one in text if one.isdigit())
    assert normalise_code("".join(text)) == digits


# How a token may be made.


@pytest.mark.parametrize(
    ("kind", "algorithm", "digits", "period", "meant"),
    [
        ("totp", "sha1", 6, 30, TokenSpec()),
        ("TOTP", "SHA-256", 8, 60, TokenSpec(Kind.TOTP, Algorithm.SHA256, 8, 60)),
        ("hotp", "SHA512", 7, 30, TokenSpec(Kind.HOTP, Algorithm.SHA512, 7)),
        ("totp", "sha1", 6, 10, TokenSpec(period=10)),
        ("totp", "sha1", 6, 300, TokenSpec(period=300)),
        ("hotp", "sha1", 6, 0, TokenSpec(Kind.HOTP, period=0)),
    ],
)
def test_a_specification_is_read(kind: str, algorithm: str, digits: int, period: int, meant: TokenSpec) -> None:
    assert spec_of(kind, algorithm, digits, period) == meant


@pytest.mark.parametrize(
    ("kind", "algorithm", "digits", "period", "advice"),
    [
        ("ocra", "sha1", 6, 30, "totp or hotp"),
        ("totp", "md5", 6, 30, "sha1, sha256 or sha512"),
        ("totp", "sha1", 5, 30, "6, 7 or 8"),
        ("totp", "sha1", 9, 30, "6, 7 or 8"),
        ("totp", "sha1", 6, 9, "10 to 300 s"),
        ("totp", "sha1", 6, 301, "10 to 300 s"),
    ],
)
def test_a_wrong_specification_is_told_the_right_form(
    kind: str, algorithm: str, digits: int, period: int, advice: str
) -> None:
    with pytest.raises(ValueError, match=advice):
        spec_of(kind, algorithm, digits, period)


def test_a_counter_ahead_comes_before_the_same_code_behind() -> None:
    """Counters 10 and 19 of this seed have one code: it must not be called reused while the token may have gone on."""
    seed = b"00000000000000062468"
    assert code_at(seed, 10, HOTP) == code_at(seed, 19, HOTP) == "048847"
    found = fit(seed, HOTP, "048847", at_ms=0, last_step=10, drift=0, window=1, look_ahead=10)
    assert found == (Fit.FITS, 19)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("pw123456", 6),
        ("pw12 34 56", 8),
        ("pw１２３４５６", 6),
        ("pw1 2 3 4 5  6", 12),
        ("pw1 2 3 4 5   6", 0),  # 13 characters: more than twice the digits
        ("pw1  2  3  4  5  6", 0),
        ("12345", 0),
        ("123456", 6),
        ("pw㉑㉑㉑", 0),  # 21 in a circle is no digit of a code: fewer characters than digits
        ("", 0),
    ],
)
def test_a_code_behind_a_password_takes_up_to_twice_its_digits(text: str, length: int) -> None:
    assert code_at_the_end(text, 6) == length
