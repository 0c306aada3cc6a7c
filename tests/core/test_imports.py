"""Files of tokens and customers: what is taken, what is refused, with which line, column and form."""

from __future__ import annotations

import base64
import string
from collections.abc import Iterable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_core.first_factor.hashes import Cost, hash_password
from otp_core.imports import CustomerRow, RowProblem, TokenRow, read_customer, read_customers, read_tokens
from otp_core.imports.customers import read_attributes
from otp_core.model import Algorithm, Kind, Language, TokenSpec

SEED = "3132333435363738393031323334353637383930"
"""RFC 6238, appendix B."""

HASHES = {
    "argon2": hash_password(b"geheim", Cost(8, 1, 1)),
    "bcrypt": "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
    "PBKDF2": "pbkdf2_sha256$600000$saltsalt$" + base64.b64encode(bytes(32)).decode(),
    "sha512-crypt": "$6$saltstring$gUUU7Q1nHUlpW3Td/XNWQNCXldxCtDo4d5k5ezG8jW5"
    "8.bfdBZvqtBPM1S1LRoM/fG4Mb/ZCXJKbZYUcbur6S0",
}

Row = TypeVar("Row")


def tokens(*lines: str) -> tuple[list[TokenRow], list[RowProblem]]:
    return parted(read_tokens(f"{line}\n" for line in lines))


def customers(*lines: str, shared_tokens: bool = False) -> tuple[list[CustomerRow], list[RowProblem]]:
    return parted(read_customers((f"{line}\n" for line in lines), shared_tokens=shared_tokens))


def parted(found: Iterable[Row | RowProblem]) -> tuple[list[Row], list[RowProblem]]:
    found = list(found)
    faults = [one for one in found if isinstance(one, RowProblem)]
    return [one for one in found if not isinstance(one, RowProblem)], faults


def only_fault(faults: list[RowProblem]) -> RowProblem:
    assert len(faults) == 1, faults
    return faults[0]


def refused(line: str) -> RowProblem:
    """The only fault of a file of one token."""
    rows, faults = tokens(line)
    assert not rows
    return only_fault(faults)


def refused_customer(header: str, line: str) -> RowProblem:
    rows, faults = customers(header, line)
    assert not rows
    return only_fault(faults)


# Tokens


def test_a_token_is_five_cells_in_the_usual_order() -> None:
    rows, faults = tokens(f"VSMT12345678,{SEED},totp,6,30")
    assert rows == [TokenRow(1, "VSMT12345678", b"12345678901234567890", TokenSpec(Kind.TOTP, Algorithm.SHA1, 6, 30))]
    assert not faults


def test_a_sixth_cell_names_the_algorithm() -> None:
    rows, _ = tokens(f"A1,{SEED},totp,8,60,SHA-256", f"A2,{SEED},TOTP,7,30,sha512", f"A3,{SEED},totp,6,30,")
    assert [row.spec.algorithm for row in rows] == ["sha256", "sha512", "sha1"]


def test_a_counter_token_begins_where_its_counter_is() -> None:
    rows, faults = tokens(
        f"A1,{SEED},hotp,6,,,2500", f"A2,{SEED},hotp,6,,sha1,0", f"A3,{SEED},hotp,6", "A4,xx,totp,6,30,,0"
    )
    assert [row.last_step for row in rows] == [2499, -1, -1]
    assert only_fault(faults).column == "hexkey"
    rows, _ = tokens("token_id,hexkey,kind,digits,step,counter", f"A1,{SEED},hotp,6,,7", f"A2,{SEED},totp,6,30")
    assert [row.last_step for row in rows] == [6, -1]


def test_a_counter_token_needs_no_step() -> None:
    rows, faults = tokens(f"A1,{SEED},hotp,6,", f"A2,{SEED},HOTP,8,0", f"A3,{SEED},hotp,6,30")
    assert [row.spec.kind for row in rows] == [Kind.HOTP] * 3
    assert not faults


def test_a_header_is_recognised_and_may_change_the_order() -> None:
    rows, faults = tokens("Digits,step,kind,hexkey,token_id", f"6,30,totp,{SEED},A1")
    assert [(row.line, row.token_id) for row in rows] == [(2, "A1")]
    assert not faults


def test_token_ids_are_normalised() -> None:
    rows, _ = tokens(f"vsmt 1234-5678,{SEED},totp,6,30", f"ＶＳＭＴ８７６５４３２１,{SEED},totp,6,30")
    assert [row.token_id for row in rows] == ["VSMT12345678", "VSMT87654321"]


def test_a_byte_order_fingerprint_blank_lines_and_windows_line_ends_are_accepted() -> None:
    rows, faults = parted(read_tokens([f"\ufeffA1,{SEED},totp,6,30\r\n", "\r\n", ",,,,\r\n", f"A2,{SEED},totp,6,30"]))
    assert [(row.line, row.token_id) for row in rows] == [(1, "A1"), (4, "A2")]
    assert not faults


def test_an_empty_file_has_no_rows_and_no_faults() -> None:
    assert tokens() == ([], [])


@pytest.mark.parametrize(
    ("line", "column", "form"),
    [
        (f",{SEED},totp,6,30", "token_id", "VSMT12345678"),
        (f" _ ,{SEED},totp,6,30", "token_id", "VSMT12345678"),
        (f"A\x00B,{SEED},totp,6,30", "token_id", "letters and digits"),
        (f"{'A' * 65},{SEED},totp,6,30", "token_id", "at most 64"),
        ("A1,,totp,6,30", "hexkey", "at least 128"),
        (f"A1,{SEED[:-1]},totp,6,30", "hexkey", "two digits (0-9, a-f)"),
        ("A1,GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ,totp,6,30", "hexkey", "hexadecimal"),
        ("A1,313233343536373839303132333435,totp,6,30", "hexkey", "128 (RFC 4226 section 4)"),
        (f"A1,{SEED},motp,6,30", "kind", "totp or hotp"),
        (f"A1,{SEED},,6,30", "kind", "totp or hotp"),
        (f"A1,{SEED},totp,5,30", "digits", "6, 7 or 8"),
        (f"A1,{SEED},totp,９,30", "digits", "6, 7 or 8"),
        (f"A1,{SEED},totp,,30", "digits", "6, 7 or 8"),
        (f"A1,{SEED},totp,6,9", "step", "10 to 300"),
        (f"A1,{SEED},totp,6,", "step", "10 to 300"),
        (f"A1,{SEED},totp,6,30s", "step", "10 to 300"),
        (f"A1,{SEED},hotp,6,9999", "step", "leave it empty"),
        (f"A1,{SEED},totp,6,30,md5", "algorithm", "sha1, sha256 or sha512"),
        (f"A1,{SEED},totp,6", "", "5 or 6"),
        (f"A1,{SEED},totp,6,30,sha1,more", "counter", "leave it empty"),
        (f"A1,{SEED},totp,6,30,sha1,7", "counter", "leave it empty"),
        (f"A1,{SEED},hotp,6,,sha1,-1", "counter", "from 0"),
        (f"A1,{SEED},hotp,6,,sha1,{10**13}", "counter", "from 0"),
        (f"A1,{SEED},totp,6,30,sha1,,more", "", "5 or 6"),
        (f"A1;{SEED};totp;6;30", "", "token_id,hexkey,kind,digits,step"),
    ],
)
def test_each_fault_names_its_column_and_the_right_form(line: str, column: str, form: str) -> None:
    fault = refused(line)
    assert (fault.line, fault.column) == (1, column)
    assert form in fault.message


def test_128_bits_are_enough() -> None:
    rows, faults = tokens(f"A1,{SEED[:32]},totp,6,30")
    assert len(rows[0].seed) == 16
    assert not faults


def test_all_faults_of_a_row_and_of_a_file_are_told() -> None:
    rows, faults = tokens("A1,xx,motp,5,30", f"A2,{SEED},totp,6,30", "A3,xx,totp,6,30")
    assert [row.token_id for row in rows] == ["A2"]
    assert [(fault.line, fault.column) for fault in faults] == [
        (1, "hexkey"),
        (1, "kind"),
        (1, "digits"),
        (3, "hexkey"),
    ]


def test_a_token_id_that_comes_again_after_normalisation_is_told_with_the_first_line() -> None:
    fault = only_fault(tokens(f"VSMT12345678,{SEED},totp,6,30", f"vsmt 1234 5678,{SEED},totp,6,30")[1])
    assert (fault.line, fault.column) == (2, "token_id")
    assert "line 1" in fault.message


def test_a_line_that_is_not_utf8_is_told_and_the_others_are_read() -> None:
    lines = [f"A1,{SEED},totp,6,30\n", b"\x83g\x81[,x\n".decode(errors="surrogateescape"), f"A3,{SEED},totp,6,30\n"]
    rows, faults = parted(read_tokens(lines))
    assert [row.line for row in rows] == [1, 3]
    assert (faults[0].line, "UTF-8" in faults[0].message) == (2, True)


def test_a_quote_that_is_never_closed_is_told_with_the_line_it_begins_on() -> None:
    fault = only_fault(tokens(f"A1,{SEED},totp,6,30", 'A2,"3132', f"A3,{SEED},totp,6,30")[1])
    assert (fault.line, "quote" in fault.message) == (2, True)


@pytest.mark.parametrize(
    ("header", "places"),
    [
        ("token_id,hexkey,kind,digits", ["step"]),
        ("token_id,hexkey,kind,digits,step,colour", ["6"]),
        ("token_id,token_id,hexkey", ["2", "kind", "digits", "step"]),
        ("token_id,kind,colour,steps,colour", ["3", "4", "5", "digits", "step", "hexkey"]),
    ],
)
def test_every_problem_of_a_header_is_told_and_no_row_is_taken(header: str, places: list[str]) -> None:
    rows, faults = tokens(header, f"A1,{SEED},totp,6,30")
    assert not rows
    assert [(fault.line, fault.column) for fault in faults if fault.line == 1] == [(1, place) for place in places]
    assert all("the header" in fault.message for fault in faults if fault.line == 1)


def test_the_rows_below_a_wrong_header_are_checked_as_far_as_it_goes() -> None:
    rows, faults = customers(
        "contract_id,e-mail,mail,language", "c1,taro,taro,fr", "c1,,,ja", "=A1,,,xx", "c2,a@b,x,en"
    )
    assert not rows
    assert [(fault.line, fault.column) for fault in faults] == [
        (1, "2"),
        (1, "3"),
        (2, "language"),
        (3, "contract_id"),
        (4, "contract_id"),
        (4, "language"),
    ]
    assert "did you mean email?" in faults[0].message


# Customers


def test_a_customer_needs_no_more_than_a_contract_id() -> None:
    rows, faults = customers("contract_id", "１２３４５６７ ")
    assert rows == [CustomerRow(2, "1234567", None, None, None, None, None, None, None)]
    assert not faults


def test_every_column_is_read_in_any_order() -> None:
    rows, faults = customers(
        "Attributes,language,email,name,token_id,password,contract_id",
        "Filter-Id=gold;Class=a;Class=b,EN,taro@example.jp,山田太郎,vsmt-1234-5678,two  words,c1",
    )
    assert rows == [
        CustomerRow(
            2,
            "c1",
            "two  words",
            None,
            "VSMT12345678",
            "山田太郎",
            "taro@example.jp",
            Language.EN,
            {"Filter-Id": "gold", "Class": ["a", "b"]},
        )
    ]
    assert not faults


@pytest.mark.parametrize("kind", HASHES)
def test_hashes_from_elsewhere_are_accepted(kind: str) -> None:
    rows, faults = customers("contract_id,password_hash", f'c1,"{HASHES[kind]}"')
    assert not faults
    assert rows[0].password_hash == HASHES[kind]


def test_attributes_may_be_a_json_object() -> None:
    rows, _ = customers("contract_id,attributes", 'c1,"{""Session-Timeout"": 600, ""Class"": [""a"", ""b""]}"')
    assert rows[0].attributes == {"Session-Timeout": 600, "Class": ["a", "b"]}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Class=OU=Sales;", {"Class": "OU=Sales;"}),
        ("Class=OU=Sales;;Filter-Id=gold", {"Class": "OU=Sales;", "Filter-Id": "gold"}),
        ("Filter-Id=gold;Class=OU=Sales;", {"Filter-Id": "gold", "Class": "OU=Sales;"}),
        ("Class=OU=Sales", {"Class": "OU=Sales"}),
        ('Class="OU=Sales;OU=Other;";Filter-Id=gold', {"Class": "OU=Sales;OU=Other;", "Filter-Id": "gold"}),
        ('Class="say ""x"" ; y" ; Filter-Id = a b ', {"Class": 'say "x" ; y', "Filter-Id": "a b"}),
        ("Cisco-AVPair=shell:priv-lvl=15;Cisco-AVPair=a", {"Cisco-AVPair": ["shell:priv-lvl=15", "a"]}),
        ("Cisco-AVPair=permit ip any; any", {"Cisco-AVPair": "permit ip any; any"}),
        (
            "Tunnel-Type:1=VLAN;Tunnel-Medium-Type:1=IEEE-802;Tunnel-Private-Group-Id:1=42",
            {"Tunnel-Type:1": "VLAN", "Tunnel-Medium-Type:1": "IEEE-802", "Tunnel-Private-Group-Id:1": "42"},
        ),
    ],
)
def test_no_attribute_loses_a_letter(text: str, meant: dict[str, object]) -> None:
    quoted = text.replace('"', '""')
    rows, faults = customers("contract_id,attributes", f'c1,"{quoted}"')
    assert faults == []
    assert rows[0].attributes == meant


@given(st.dictionaries(st.sampled_from(["Class", "Filter-Id", "Tunnel-Type:1"]), st.text(min_size=1), min_size=1))
def test_quoted_attributes_are_read_as_they_are_written(attributes: dict[str, str]) -> None:
    text = ";".join(f'{name}="{value.replace(chr(34), chr(34) * 2)}"' for name, value in attributes.items())
    assert read_attributes(text) == attributes


@pytest.mark.parametrize(
    ("header", "line", "column", "form"),
    [
        ("contract_id,attributes", "1,Filter-Id=gold;", "attributes", 'Name="value;"'),
        ("contract_id,attributes", '1,"Class=""x"', "attributes", "not closed"),
        ("contract_id,attributes", '1,"Class=""x""y"', "attributes", "not closed"),
        ("contract_id,attributes", '1,"{""Class"": ""a"", ""Class"": ""b""}"', "attributes", "twice"),
        ("contract_id,attributes", f"1,Class={'x' * 20_000}", "attributes", "too long"),
        ("contract_id,attributes", "1,Tunnel-Type:32=VLAN", "attributes", "a tag of 1 to 31"),
        ("contract_id,attributes", "1,State:1=x", "attributes", "written by the server"),
        ("contract_id,password", ",geheim", "contract_id", "contract ID"),
        ("contract_id", '"c\t1"', "contract_id", "nobody can type"),
        ("contract_id", f"{'あ' * 85}", "contract_id", "253 octets"),
        ("contract_id,password", '1,"pass\tword"', "password", "control character"),
        ("contract_id,password,password_hash", f'1,geheim,"{HASHES["bcrypt"]}"', "password_hash", "one of the two"),
        ("contract_id,password_hash", "1,5f4dcc3b5aa765d61d8327deb882cf99", "password_hash", "argon2"),
        ("contract_id,token_id", "1,- -", "token_id", "VSMT12345678"),
        ("contract_id,name", f"1,{'x' * 201}", "name", "200"),
        ("contract_id,reading", f"1,{'x' * 201}", "reading", "200"),
        ("contract_id,name", "1,山田\u202e太郎", "name", "U+202E"),
        ("contract_id,name", "1,\u3164", "name", "U+3164"),
        ("contract_id,reading", "1,やまだ\u200bたろう", "reading", "U+200B"),
        ("contract_id,email", "1,taro", "email", "name@example.jp"),
        ("contract_id,email", "1,a@b@c", "email", "name@example.jp"),
        ("contract_id,email", '1,"mallory,a@b.jp"', "email", "name@example.jp"),
        ("contract_id,language", "1,fr", "language", "ja or en"),
        ("contract_id,attributes", "1,gold", "attributes", "Name=value"),
        ("contract_id,attributes", "1,Filter-Id=", "attributes", "Name=value"),
        ("contract_id,attributes", '1,"{""Filter-Id"":"', "attributes", "JSON"),
        ("contract_id,attributes", '1,"{""Filter-Id"": null}"', "attributes", "text, a whole number"),
        ("contract_id,attributes", "1,State=abc", "attributes", "written by the server"),
        ("contract_id,password", "1,a,b", "", "the header names 2"),
    ],
)
def test_each_fault_of_a_customer_names_its_column_and_the_right_form(
    header: str, line: str, column: str, form: str
) -> None:
    fault = refused_customer(header, line)
    assert (fault.line, fault.column) == (2, column)
    assert form in fault.message


def test_a_file_without_a_header_is_refused_without_showing_its_first_line() -> None:
    rows, faults = customers("1234567,korrekt pferd", "1234568,batterie")
    assert not rows
    assert "contract_id,password" in only_fault(faults).message
    assert "pferd" not in str(faults)


def test_a_customer_who_comes_again_is_told_with_the_first_line() -> None:
    fault = only_fault(customers("contract_id", "c1", "c2", " c1")[1])
    assert (fault.line, fault.column, "line 2" in fault.message) == (4, "contract_id", True)


@pytest.mark.parametrize(
    "again",
    ["123-4567", "１２３−４５６７", "123-4567\u200b", "123 - 4567", "\ufeff123‐4567", "123ー4567", "\u3000123-4567"],
)
def test_two_spellings_of_one_contract_id_are_refused_with_both_lines(again: str) -> None:
    fault = only_fault(customers("contract_id,name", "123-4567,Taro", "1234567,other", f"{again},Hanako")[1])
    assert (fault.line, fault.column, "line 2" in fault.message) == (4, "contract_id", True)


def test_one_token_goes_to_one_customer_unless_tokens_are_shared() -> None:
    lines = ("contract_id,token_id", "c1,VSMT12345678", "c2,vsmt 1234 5678")
    fault = only_fault(customers(*lines)[1])
    assert (fault.line, fault.column, "line 2" in fault.message) == (3, "token_id", True)
    rows, faults = customers(*lines, shared_tokens=True)
    assert (len(rows), faults) == (2, [])


def test_a_single_customer_is_checked_like_a_row() -> None:
    assert read_customer(contract_id="1", email="taro@example.jp").email == "taro@example.jp"
    with pytest.raises(ValueError, match=r"contract_id is empty.*; email is no"):
        read_customer(contract_id="", email="taro")


# Both

SECRET = "Kq7Zr2Wx9Vn4"


@given(
    st.lists(
        st.sampled_from([SECRET, f"'{SECRET}", f"{SECRET}@{SECRET}", f'"{SECRET}', f"{{{SECRET}", "totp", "6", ""])
    )
)
def test_no_fault_ever_repeats_a_cell(cells: list[str]) -> None:
    """Cells slip: whatever stands where, a message says nothing of it."""
    line = ",".join(cells)
    headers = (
        "token_id,hexkey,kind,digits,step",
        "contract_id,password,password_hash,token_id,email,language,attributes",
    )
    found = [
        *read_tokens([line, line]),
        *read_tokens([f"{headers[0]}\n", line]),
        *read_customers([line]),
        *read_customers([f"{headers[1]}\n", line, line]),
    ]
    assert not any(SECRET.lower() in str(one).lower() for one in found if isinstance(one, RowProblem))


@given(st.lists(st.text(alphabet=st.characters(codec=None) | st.sampled_from(',"\r\n\0'), max_size=60), max_size=5))
def test_no_text_is_too_strange_to_be_answered(lines: list[str]) -> None:
    for found in (*read_tokens(lines), *read_customers(["contract_id,password,attributes\n", *lines])):
        assert isinstance(found, RowProblem | TokenRow | CustomerRow)


@given(
    st.text(alphabet=string.ascii_uppercase, min_size=1, max_size=8),
    st.binary(min_size=16, max_size=64),
    st.sampled_from(["sha1", "sha256", "sha512"]),
    st.integers(6, 8),
    st.integers(10, 300),
)
def test_what_is_written_is_what_is_read(token_id: str, seed: bytes, algorithm: str, digits: int, step: int) -> None:
    rows, faults = tokens(f"X{token_id},{seed.hex()},totp,{digits},{step},{algorithm}")
    assert rows == [TokenRow(1, f"X{token_id}", seed, TokenSpec(Kind.TOTP, Algorithm(algorithm), digits, step))]
    assert not faults


def test_a_row_shows_no_secret_when_it_is_printed() -> None:
    row = tokens(f"A1,{SEED},totp,6,30")[0][0]
    assert SEED not in repr(row)
    assert "1234567890" not in repr(row)
    assert "geheim" not in repr(customers("contract_id,password", "c1,geheim")[0][0])


def test_attributes_of_any_json_are_answered() -> None:
    for value in ('{"a": {"b": 1}}', "{}", '{"a": []}', "{" * 100_000):
        rows, faults = customers("contract_id,attributes", f'c1,"{value.replace(chr(34), chr(34) * 2)}"')
        assert len(rows) + len(faults) == 1
