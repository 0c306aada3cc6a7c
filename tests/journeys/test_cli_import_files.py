"""Files as they come from a bank's spreadsheet, through the command line: read if they are certain, otherwise refused
with line and column, and then the store is as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest

from otp_core.accounts import Principal, PrincipalKind
from otp_core.first_factor.hashes import check
from otp_core.model import Kind, TokenSpec
from otp_core.otp import code_at
from otp_core.store.unit_of_work import NewCustomer
from tests.journeys.command_line import CommandLine
from tests.journeys.test_cli_import import counted, hash_of
from tests.sekisho import Sekisho

SEED = b"12345678901234567890"
BASE32 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
HOTP = TokenSpec(Kind.HOTP)
TEXT = "contract_id,password,name,,,\r\n123－4567,パス－ワード～,山田太郎,,,\r\n1234568,x\r\n"
"""As Excel writes it: full width, rows without their last cells, commas at the end of the header."""


@pytest.fixture
def at(tmp_path: Path) -> Iterator[CommandLine]:
    sekisho = Sekisho(tmp_path)
    yield CommandLine(sekisho)
    sekisho.close()


def octets(at: CommandLine, content: bytes) -> str:
    path = at.folder / "file.csv"
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize(
    ("encoding", "told"),
    [("utf-8", ""), ("utf-8-sig", ""), ("cp932", "CP932"), ("utf-16", "UTF-16-LE"), ("utf-16-be", "UTF-16-BE")],
)
def test_a_spreadsheets_file_is_read_in_its_encoding_which_is_told(at: CommandLine, encoding: str, told: str) -> None:
    name = octets(at, TEXT.encode(encoding))
    said = at.run("customer", "import", name)
    assert "imported 2 customers" in said.out
    assert (told in said.err and "--encoding" in said.err) if told else said.err == ""
    assert json.loads(at.run("customer", "show", "123-4567", "--json").out)["name"] == "山田太郎"
    assert check("パス－ワード～".encode(), hash_of(at, "123-4567"))


def test_an_encoding_can_be_named(at: CommandLine) -> None:
    name = octets(at, "contract_id,name\n1,Zürich €\n".encode("cp1252"))
    assert json.loads(at.run("customer", "import", name, "--encoding", "cp1252", "--json").out)["encoding"] == "cp1252"
    assert json.loads(at.run("customer", "show", "1", "--json").out)["name"] == "Zürich €"
    said = at.run("customer", "import", name, "--encoding", "utf-8", code=1)
    assert "line 2: is not UTF-8" in said.err


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("UTF-16", "utf-16"), ("utf-16-be", "utf-16-be"), ("Shift_JIS", "cp932"), ("euc-jp", "euc-jp"), ("utf8", "utf-8")],
)
def test_encodings_have_the_names_that_operators_know(at: CommandLine, name: str, encoding: str) -> None:
    file = octets(at, "contract_id,name\n1,山田\n".encode(encoding))
    at.run("customer", "import", file, "--encoding", name)
    assert json.loads(at.run("customer", "show", "1", "--json").out)["name"] == "山田"


def test_an_encoding_that_is_not_read_here_is_told_with_those_that_are(at: CommandLine) -> None:
    for name in ("klingon", "utf-32", "rot13"):
        said = at.run("customer", "import", octets(at, b"contract_id\n"), "--encoding", name, code=2).err
        assert "utf-16" in said and "cp932" in said


@pytest.mark.parametrize("content", [b"PK\x03\x04\x14\0", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"\x1f\x8b\x08"])
def test_a_workbook_is_no_csv(at: CommandLine, content: bytes) -> None:
    assert "is no CSV but" in at.run("customer", "import", octets(at, content + bytes(100)), code=2).err


def test_a_customer_who_is_stored_in_another_form_is_not_added_again(at: CommandLine) -> None:
    with at.sekisho.store.work() as work:
        work.add_customers(
            [NewCustomer("123\u22124567", None), NewCustomer("9\u20148", None), NewCustomer("9\u20138", None)]
        )
    said = at.run("customer", "import", at.file("c.csv", "contract_id", "123-4567", "9-8", "1"), code=1).err
    assert "line 2, column contract_id: is in the store already, in another form" in said
    assert "line 3, column contract_id: is in the store already, in another form" in said
    assert "2 problems" in said


DAMAGED = (
    "contract_id,password,colour",
    "1.23457E+11,geheim1",
    '"=""00000012353""",geheim2',
    "'00000012354,geheim3",
    "4,##########",
    "5, geheim4",
    "5,",
    "TRUE,",
    "2026/11/29,geheim5,,,",
)


def test_everything_that_a_spreadsheet_damaged_is_named_at_once_and_the_store_is_as_it_was(at: CommandLine) -> None:
    before = counted(at)
    name = at.file("c.csv", *DAMAGED)
    said = at.run("customer", "import", name, code=1)
    places = [line.partition(f"{name}: ")[2].split(":")[0] for line in said.err.splitlines()[:-1]]
    assert places == [
        "line 1, column 3",
        "line 2, column contract_id",
        "line 3, column contract_id",
        "line 4, column contract_id",
        "line 5, column password",
        "line 6, column password",
        "line 7, column contract_id",
        "line 8, column contract_id",
        "line 9, column contract_id",
    ]
    assert counted(at) == before
    assert "--accept-as-typed" in said.err
    assert not any(f"geheim{number}" in said.err for number in range(1, 6))


def test_what_looks_damaged_is_taken_as_it_stands_only_if_that_is_said(at: CommandLine) -> None:
    name = at.file("c.csv", "contract_id,password", "1, mit rand ", "TRUE,'x")
    at.run("customer", "import", name, code=1)
    assert "imported 2 customers" in at.run("customer", "import", name, "--accept-as-typed").out
    assert check(b" mit rand ", hash_of(at, "1"))
    assert check(b"'x", hash_of(at, "TRUE"))


def test_two_spellings_of_one_contract_id_are_refused_with_both_lines(at: CommandLine) -> None:
    name = at.file("c.csv", "contract_id", "123-4567", "１２３−４５６７", "123 - 4567\u200b")
    said = at.run("customer", "import", name, code=1).err
    assert "line 3, column contract_id: is on line 2 already" in said
    assert "line 4, column contract_id: is on line 2 already" in said
    at.run("customer", "add", "123-4567")
    assert (
        "in the store already" in at.run("customer", "import", at.file("c.csv", "contract_id", "123—4567"), code=1).err
    )


@pytest.mark.parametrize(
    "lines",
    [
        (f"HW-1,{SEED.hex()},hotp,6,,,2500",),
        ("token_id,base32,kind,digits,step,counter", f"HW-1,{BASE32},hotp,6,,2500"),
        (pyotp.HOTP(BASE32, initial_count=2500).provisioning_uri(name="HW1", issuer_name="Bank"),),
    ],
)
def test_a_counter_token_that_has_made_many_codes_can_be_enrolled_and_resynchronised(
    at: CommandLine, lines: tuple[str, ...]
) -> None:
    assert "imported 1 token" in at.run("token", "import", at.file("t.csv", *lines)).out
    at.run("customer", "add", "c1")
    at.run("enrol", "c1", "HW1", user_password=f"{code_at(SEED, 2499, HOTP)}\n", code=1)
    at.run("enrol", "c1", "HW1", user_password=f"{code_at(SEED, 2500, HOTP)}\n")
    at.run("resync", "c1", user_password=f"{code_at(SEED, 2520, HOTP)}\n{code_at(SEED, 2521, HOTP)}\n")
    staff = Principal("staff", PrincipalKind.COMMAND)
    at.sekisho.desk.enrolment.suspend("c1", code_at(SEED, 2522, HOTP), staff)


def test_tokens_whose_second_column_is_base32_without_a_header(at: CommandLine) -> None:
    name = at.file("t.csv", f"A1,{BASE32},totp,6,30", f"A2,{'ABCDEF23' * 5},totp,6,30")
    said = at.run("token", "import", name, code=1).err
    assert "line 1, column hexkey" in said and "--seeds base32" in said
    assert "imported 2 tokens" in at.run("token", "import", name, "--seeds", "base32").out


def test_a_file_of_uris_is_refused_as_a_whole_and_tells_no_secret(at: CommandLine) -> None:
    good, bad = f"otpauth://totp/A1?secret={BASE32}", f"otpauth://totp/A2?secret={BASE32}1&digits=9"
    said = at.run("token", "import", at.file("t.txt", good, bad), code=1)
    assert "line 2, column secret: is not Base32" in said.err
    assert BASE32 not in said.err + said.out
    assert counted(at) == (0, 0, 0)


@pytest.mark.parametrize("noun", ["customer", "token"])
def test_what_is_empty_or_has_no_end_is_refused(at: CommandLine, noun: str) -> None:
    """An empty file is what a program before it leaves behind when it has failed."""
    assert "the file is empty; nothing was imported" in at.run(noun, "import", octets(at, b""), code=1).err
    for device in ("/dev/null", "/dev/zero"):
        assert "is no file and no pipe" in at.run(noun, "import", device, code=2).err
    name = at.folder / "endless.csv"
    name.write_bytes(b"x" * 3_000_000)
    at.run(noun, "import", str(name), code=1)
