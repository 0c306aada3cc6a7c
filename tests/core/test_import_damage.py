"""Files as a bank's spreadsheet writes them: what it has damaged is named, what it only writes otherwise is read."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import TypeVar
from urllib.parse import quote

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_core.imports import CustomerRow, RowProblem, TokenRow, encoding_of, lines_of, read_customers, read_tokens
from otp_core.imports.damage import Cell, damage
from otp_core.imports.otpauth import LONGEST_URI
from otp_core.model import Algorithm, Encoding, Kind, SeedForm, TokenSpec

SEED = b"12345678901234567890"
BASE32 = base64.b32encode(SEED).decode()
Row = TypeVar("Row")


def parted(found: Iterable[Row | RowProblem]) -> tuple[list[Row], list[tuple[int, str]]]:
    items = list(found)
    problems = [one for one in items if isinstance(one, RowProblem)]
    assert all(problem.message for problem in problems)
    return [one for one in items if not isinstance(one, RowProblem)], [(one.line, one.column) for one in problems]


def customers(*lines: str, as_typed: bool = False) -> tuple[list[CustomerRow], list[tuple[int, str]]]:
    return parted(read_customers((f"{line}\r\n" for line in lines), as_typed=as_typed))


def tokens(*lines: str, seeds: SeedForm = SeedForm.HEX) -> tuple[list[TokenRow], list[tuple[int, str]]]:
    return parted(read_tokens((f"{line}\r\n" for line in lines), seeds=seeds))


# Damaged cells

IN_IDS_AND_PASSWORDS = [
    "1.23457E+11", "1,23457E+11", "1E+15", "1.23457e+11", "１．２３Ｅ＋１１", "########", "##", "#N/A", "#REF!",
    "#DIV/0!", "#NAME?", "Err:502", '="00000012353"', "'00000012354", "TRUE", "FALSE", "True", "NULL", "\\N", "(null)",
    "nan", "None", "2026/11/29", "11/29/2026", "29.11.2026", "2026-11-29", "2026-11-29 00:00:00", "29-Nov", "Nov-29",
    "29-Nov-2026", "11月29日", "2026年11月29日", "2/1/26", "11/29/2026 9:05 AM",
    "123.457E+9", "12E+10", "R8.12.1", "H30/1/2", "令和8年12月1日", "平成元年2月3日", "8年12月1日",
    "2026年12月1日 0:00", "2026-12-01T00:00:00Z", "2026-12-01T00:00:00+09:00", "2026-12-01 00:00:00.000",
    "01-Dec-2026 00:00:00", "12:34", "1:05:00 PM", "\ufffd12345", "山田\ufffd", "〓野", "????", "？？",
]  # fmt: skip
IN_IDS = [
    "1234567.0", "1234567.00", "1,234,567", "=A1", "=SUM(A1:A2)", "1,234,567.50", "12,34,567", "1'234'567", "(1,234)",
    "▲1,234", "-1,234", "1,234円", "¥1,234,567", "￥1234", "\\1,234", "$1,234.50", "10%", "“12345”", "’12345",
    "`12345", "合計", "Grand Total", "該当なし", "(空白)",
]  # fmt: skip
OF_WEB_PAGES = ["&quot;1&quot;", "a&amp;b", "&#39;12", "&#x27;1"]
IN_PASSWORDS = [" front", "back ", "\tx", "\u3000x", "x\u00a0", "\ufeffx", "x\u200b", " "]
SOUND = [
    "1234567", "00000012353", "123-4567", "VSMT12345678", "vsmt 1234-5678", "1E5", "12E45678", "taro", "O'Brien", "a=b",
    "#", "#1", "12/34", "1.2.3.4", "123-45-6789", "may", "Marchand", "nullo", "truely", "R8-12-1", "H30", "A&B",
    "a&b;c", "why?", "1?2", "月", "8年目", "totals", "1:2345", "¥en", "E+1", "-1",
]  # fmt: skip


@pytest.mark.parametrize("cell", [*IN_IDS_AND_PASSWORDS, *IN_IDS])
@pytest.mark.parametrize("column", ["contract_id", "token_id"])
def test_damaged_ids_are_named_with_line_and_column(cell: str, column: str) -> None:
    quoted = '"' + cell.replace('"', '""') + '"'
    lines = ("contract_id,token_id", f"c1,{quoted}" if column == "token_id" else quoted)
    assert customers(*lines) == ([], [(2, column)])
    rows, problems = customers(*lines, as_typed=True)
    assert (len(rows), problems) == (1, [])


@pytest.mark.parametrize("cell", [*IN_IDS_AND_PASSWORDS, *IN_PASSWORDS])
def test_damaged_passwords_are_named_and_taken_only_if_that_is_said(cell: str) -> None:
    lines = ("contract_id,password", 'c1,"' + cell.replace('"', '""') + '"')
    if cell != "\tx":
        assert customers(*lines, as_typed=True)[0][0].password == cell
    assert customers(*lines) == ([], [(2, "password")])


@pytest.mark.parametrize("cell", OF_WEB_PAGES)
@pytest.mark.parametrize("column", ["contract_id", "password", "name"])
def test_what_is_written_for_a_web_page_is_named(cell: str, column: str) -> None:
    lines = ("contract_id,name,password", f'"{cell}",n,p' if column == "contract_id" else f'c1,"{cell}","{cell}"')
    assert (2, column) in customers(*lines)[1]


@pytest.mark.parametrize("cell", SOUND)
def test_sound_cells_are_left_alone(cell: str) -> None:
    assert [damage(cell, kind) for kind in Cell] == [None, None, None]


@pytest.mark.parametrize("cell", ["=geheim", "3.14", "a b", "1,234,567", "-", "密語"])
def test_a_password_may_be_what_no_id_is(cell: str) -> None:
    assert damage(cell, Cell.SECRET) is None


@pytest.mark.parametrize("cell", ["#N/A", "#####", '="山田"', "'山田", "=B2"])
def test_damaged_names_are_named_too(cell: str) -> None:
    quoted = cell.replace('"', '""')
    assert customers("contract_id,name", f'c1,"{quoted}"') == ([], [(2, "name")])


def test_a_damaged_seed_is_named_once() -> None:
    assert tokens("A1,1.23457E+19,totp,6,30", "1E+11,####,totp,6,30") == (
        [],
        [(1, "hexkey"), (2, "token_id"), (2, "hexkey")],
    )


def test_an_unquoted_formula_as_a_spreadsheet_exports_it_is_named() -> None:
    assert customers("contract_id,password", '="00000012353",geheim') == ([], [(2, "contract_id")])


@given(st.text(max_size=60))
def test_no_message_about_damage_repeats_the_cell(cell: str) -> None:
    for kind in Cell:
        told = damage(f"'{cell}", kind)
        assert told is not None or len(cell) > 250
        assert damage("'Kq7Zr2Wx9Vn4", kind) == damage("'somebody else's", kind)


# Rows and headers


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("contract_id,password,,,", "c1,geheim,,,"),
        ("contract_id,password,,,", "c1,geheim"),
        ("contract_id,password,name,email", "c1,geheim"),
        ("contract_id,password,name,email", "c1,geheim,,,,,"),
        ("Contract ID,Password", "c1,geheim"),
        ("ＣＯＮＴＲＡＣＴ－ＩＤ , password", "c1,geheim"),
        ("contract_id\tpassword", "c1\tgeheim"),
        ("name,,contract_id,password", ",,c1,geheim"),
    ],
)
def test_rows_short_of_optional_cells_and_headers_with_commas_at_the_end_are_read(header: str, row: str) -> None:
    rows, problems = customers(header, row)
    assert problems == []
    assert [(one.contract_id, one.password) for one in rows] == [("c1", "geheim")]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("contract_id,password", "c1,ge,heim"),
        ("contract_id,password", "c1,geheim,"),
        ("contract_id,password,,,", "c1,geheim,,x"),
        ("contract_id,,password", "c1,x,geheim"),
    ],
)
def test_a_cell_under_no_name_is_refused(header: str, row: str) -> None:
    """A password may end in a comma, or hold one: it is not cut off there."""
    assert customers(header, row) == ([], [(2, "")])


def test_a_row_without_its_contract_id_is_told() -> None:
    assert customers("password,contract_id", "geheim") == ([], [(2, "contract_id")])


# Encodings

TEXT = "contract_id,name\r\n1234567,山田－〜\r\n1234568,ﾀﾛｳ\r\n"


@pytest.mark.parametrize(
    ("octets", "encoding"),
    [
        (TEXT.encode(), Encoding.UTF_8),
        (TEXT.encode("utf-8-sig"), Encoding.UTF_8),
        (TEXT.replace("〜", "～").encode("cp932"), Encoding.CP932),
        (b"\xff\xfe" + TEXT.encode("utf-16-le"), Encoding.UTF_16_LE),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), Encoding.UTF_16_BE),
        (TEXT.encode("utf-16-le"), Encoding.UTF_16_LE),
        (TEXT.encode("utf-16-be"), Encoding.UTF_16_BE),
        (b"a,b\r\n1,\x93\xfa\r\n", Encoding.CP932),
        (b"", Encoding.UTF_8),
        (b"a", Encoding.UTF_8),
        (b"\xff", Encoding.UTF_8),
        (b"a,b\r\n1,\x85\x02\r\n", Encoding.UTF_8),
        ("a,b\n1,山田\n2,太郎\n3,山".encode("cp932")[:-1] + b"\n", Encoding.CP932),
        ("a,b\n1,山田\n2,太郎\n3,山".encode()[:-1] + b"\n", Encoding.UTF_8),
    ],
)
def test_encodings_are_told_apart(octets: bytes, encoding: Encoding) -> None:
    assert encoding_of(io.BytesIO(octets)) is encoding


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "utf-16", "utf-16-le", "utf-16-be"])
def test_what_is_in_a_file_is_read_whatever_its_encoding(encoding: str) -> None:
    file = io.BytesIO(TEXT.replace("〜", "～").encode(encoding))
    rows, problems = parted(read_customers(lines_of(file, encoding_of(file))))
    assert [(row.contract_id, row.name) for row in rows] == [("1234567", "山田－～"), ("1234568", "ﾀﾛｳ")]
    assert problems == []


@pytest.mark.parametrize("encoding", [Encoding.CP932, Encoding.UTF_16_LE, Encoding.UTF_8, Encoding.EUC_JP])
def test_lines_that_are_not_in_the_encoding_are_told(encoding: Encoding) -> None:
    bad = {Encoding.UTF_16_LE: b"\0\xd8,\0"}.get(encoding, b"\xff\xff")
    file = io.BytesIO("contract_id,name\n1,".encode(encoding) + bad + "\n2,x\n".encode(encoding))
    items = list(read_customers(lines_of(file, encoding), encoding=encoding))
    problem = items[0]
    assert isinstance(problem, RowProblem) and problem.line == 2
    assert f"is not {encoding.upper()}" in problem.message and "--encoding" in problem.message
    assert isinstance(items[1], CustomerRow)


def test_a_file_is_not_closed_by_reading_it() -> None:
    file = io.BytesIO(TEXT.encode("utf-16"))
    for _ in range(2):
        assert len(list(lines_of(file, encoding_of(file)))) == 3


@given(st.binary(max_size=200))
def test_any_octets_have_an_encoding_and_lines(octets: bytes) -> None:
    file = io.BytesIO(octets)
    for encoding in (encoding_of(file), *Encoding):
        for item in (*read_customers(lines_of(file, encoding)), *read_tokens(lines_of(file, encoding))):
            assert isinstance(item, RowProblem | CustomerRow | TokenRow)


# Seeds in Base32


def test_seeds_are_base32_where_the_header_or_the_command_says_so() -> None:
    spaced = " ".join(BASE32[at : at + 4] for at in range(0, 32, 4)).lower()
    for rows, problems in (
        tokens("token_id,base32,kind,digits,step", f"A1,{BASE32},totp,6,30"),
        tokens("token_id,base32,kind,digits,step", f"A1,{spaced},totp,6,30"),
        tokens(f"A1,{BASE32},totp,6,30", seeds=SeedForm.BASE32),
        tokens("token_id,hexkey,base32,kind,digits,step", f"A1,,{BASE32},totp,6,30"),
        tokens("token_id,hexkey,base32,kind,digits,step", f"A1,{SEED.hex()},,totp,6,30"),
    ):
        assert ([row.seed for row in rows], problems) == ([SEED], [])


def test_a_text_that_is_both_is_never_guessed() -> None:
    both = "ABCDEF2345672345ABCDEF2345672345"
    hexadecimal, _ = tokens(f"A1,{both},totp,6,30")
    base32, _ = tokens(f"A1,{both},totp,6,30", seeds=SeedForm.BASE32)
    assert hexadecimal[0].seed == bytes.fromhex(both) != base32[0].seed == base64.b32decode(both)


@pytest.mark.parametrize(
    ("header", "row", "column", "said"),
    [
        ("token_id,hexkey,kind,digits,step", f"A1,{BASE32},totp,6,30", "hexkey", "name the column base32"),
        ("token_id,base32,kind,digits,step", f"A1,{SEED.hex()},totp,6,30", "base32", "is not Base32"),
        ("token_id,base32,kind,digits,step", f"A1,{BASE32[:-1]}1,totp,6,30", "base32", "is not Base32"),
        ("token_id,base32,kind,digits,step", f"A1,{BASE32}A,totp,6,30", "base32", "is not Base32"),
        ("token_id,base32,kind,digits,step", "A1,GEZDGNBV,totp,6,30", "base32", "too short: 40 bits"),
        ("token_id,base32,kind,digits,step", f"A1,{'A' * 208},totp,6,30", "base32", "too long"),
        ("token_id,hexkey,kind,digits,step", f"A1,{'00' * 129},totp,6,30", "hexkey", "too long"),
        ("token_id,hexkey,kind,digits,step", f"A1,{'0' * 100_000},totp,6,30", "hexkey", "too long"),
        ("token_id,hexkey,base32,kind,digits,step", f"A1,00,{BASE32},totp,6,30", "base32", "beside hexkey"),
        ("token_id,hexkey,base32,kind,digits,step", "A1,,,totp,6,30", "hexkey", "too short"),
    ],
)
def test_a_wrong_seed_is_told_with_its_column(header: str, row: str, column: str, said: str) -> None:
    (problem,) = read_tokens([f"{header}\n", row])
    assert isinstance(problem, RowProblem)
    assert (problem.line, problem.column) == (2, column)
    assert said in problem.message


# otpauth:// URIs


@pytest.mark.parametrize("digits", [6, 8])
def test_the_uris_that_pyotp_makes_are_read(digits: int) -> None:
    """An independent writer of them."""
    totp = pyotp.TOTP(BASE32, digits=digits, interval=60).provisioning_uri(
        name="vsmt 1234-5678", issuer_name="Bank & Söhne"
    )
    hotp = pyotp.HOTP(BASE32, digits=digits, initial_count=2500).provisioning_uri(name="VSMH00000001")
    rows, problems = tokens(f"\ufeff{totp}", "", hotp)
    assert problems == []
    assert rows == [
        TokenRow(1, "VSMT12345678", SEED, TokenSpec(Kind.TOTP, Algorithm.SHA1, digits, 60)),
        TokenRow(3, "VSMH00000001", SEED, TokenSpec(Kind.HOTP, Algorithm.SHA1, digits, 30), 2499),
    ]


def test_a_uri_without_parameters_has_the_usual_ones() -> None:
    rows, _ = tokens(f"OTPAUTH://totp/Bank:A1?secret={BASE32.lower()}&unknown=x", f"otpauth://TOTP/A2?Secret={BASE32}")
    assert [(row.token_id, row.spec, row.last_step) for row in rows] == [
        ("A1", TokenSpec(), -1),
        ("A2", TokenSpec(), -1),
    ]


@pytest.mark.parametrize(
    ("uri", "column"),
    [
        ("otpauth://totp/A1", "secret"),
        ("otpauth://totp/A1?digits=6", "secret"),
        ("otpauth://totp/A1?secret=", "secret"),
        ("otpauth://totp/A1?secret=GEZDGNBV", "secret"),
        (f"otpauth://totp/A1?secret={BASE32}0", "secret"),
        (f"otpauth://totp/?secret={BASE32}", "label"),
        (f"otpauth://totp/{'A' * 65}?secret={BASE32}", "label"),
        (f"otpauth://motp/A1?secret={BASE32}", "kind"),
        (f"otpauth://totp/A1?secret={BASE32}&digits=9", "digits"),
        (f"otpauth://totp/A1?secret={BASE32}&period=5", "period"),
        (f"otpauth://totp/A1?secret={BASE32}&period=99999999999", "period"),
        (f"otpauth://totp/A1?secret={BASE32}&algorithm=MD5", "algorithm"),
        (f"otpauth://hotp/A1?secret={BASE32}", "counter"),
        (f"otpauth://hotp/A1?secret={BASE32}&counter=-1", "counter"),
        (f"otpauth://totp/Bank:A1?secret={BASE32}&issuer=Other", "issuer"),
        (f"otpauth://totp/A1?secret={BASE32}&digits=6&digits=8", ""),
        (f"otpauth://totp/A1?secret={BASE32}&" + "&".join(f"x{n}=1" for n in range(30)), ""),
        (f"otpauth://totp/A%ff1?secret={BASE32}", ""),
        (f"otpauth://totp/A1?secret={BASE32}&image={'x' * LONGEST_URI}", ""),
        ("otpauth-migration://offline?data=CjEK", ""),
        (f"A1,{SEED.hex()},totp,6,30", ""),
        (f"http://totp/A1?secret={BASE32}", ""),
        ("otpauth://[totp/A1", ""),
    ],
)
def test_a_uri_with_a_problem_is_told_with_its_part(uri: str, column: str) -> None:
    good = f"otpauth://totp/Z9?secret={BASE32}"
    rows, problems = tokens(good, uri)
    assert ([row.token_id for row in rows], problems) == (["Z9"], [(2, column)])


def test_an_account_that_comes_twice_is_told() -> None:
    uri = f"otpauth://totp/Bank:A1?secret={BASE32}"
    assert tokens(uri, uri)[1] == [(2, "label")]


@given(
    st.from_regex("[A-Z]{1,8}[0-9]{1,8}", fullmatch=True),
    st.binary(min_size=16, max_size=64),
    st.sampled_from(["SHA1", "SHA256", "SHA512"]),
    st.integers(6, 8),
    st.integers(10, 300),
    st.text("abc &=?#%:/é山", max_size=8),
)
def test_what_is_written_as_a_uri_is_what_is_read(
    token_id: str, seed: bytes, algorithm: str, digits: int, period: int, issuer: str
) -> None:
    secret = base64.b32encode(seed).decode().rstrip("=")
    label = quote(f"{issuer.replace(':', '')}:{token_id}", safe="")
    query = f"secret={secret}&algorithm={algorithm}&digits={digits}&period={period}"
    rows, problems = tokens(f"otpauth://totp/{label}?{query}")
    assert problems == []
    assert rows == [TokenRow(1, token_id, seed, TokenSpec(Kind.TOTP, Algorithm(algorithm.lower()), digits, period))]


@given(st.text(max_size=80))
def test_no_problem_with_a_uri_repeats_its_secret(text: str) -> None:
    for line in (f"otpauth://totp/A1?secret=Kq7Zr2Wx9Vn4&{text}", f"otpauth{text}://Kq7Zr2Wx9Vn4", f"otpauth:{text}"):
        for one in read_tokens([line]):
            assert isinstance(one, RowProblem | TokenRow)
            assert "kq7zr2wx9vn4" not in repr(one).lower()


@pytest.mark.parametrize(
    "lines",
    [
        ("sep=;", "contract_id;password", "c1;ge,heim"),
        ("sep=,", "contract_id,password", 'c1,"ge,heim"'),
        ("\ufeffsep=\t", "contract_id\tpassword", "c1\tge,heim"),
        ("contract_id;password", "c1;ge,heim"),
        ("Contract ID;Password;", "c1;ge,heim;"),
    ],
)
def test_cells_are_separated_as_the_first_line_says(lines: tuple[str, ...]) -> None:
    rows, problems = customers(*lines)
    assert problems == []
    assert [(row.line, row.contract_id, row.password) for row in rows] == [(len(lines), "c1", "ge,heim")]
