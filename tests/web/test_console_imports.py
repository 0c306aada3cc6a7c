"""Files that staff imports on the console: the upload and its limits, what the check says, one person or two, and an
import that is killed in the middle."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from otp_core.model import Role
from otp_core.store.file_imports import FileImport, file_imports
from otp_core.store.schema import customer, file_import, file_piece
from tests.web.console import MULTIPART, Console, ConsoleClient, console, multipart
from tests.web.portal import Answer

REASON = {"reason": "order 12 of the maker"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """Where one person is enough, and files may have a megabyte."""
    with console(tmp_path_factory.mktemp("alone"), more="approvals = []\nimport_megabytes = 1") as running:
        yield running


@pytest.fixture(scope="module")
def supervisor(alone: Console) -> ConsoleClient:
    return alone.client(Role.SUPERVISOR)


def waited(client: ConsoleClient, answer: Answer) -> Answer:
    """The page of a file, once nobody works on it. (Thousands of rows took a minute on a machine with other work.)"""
    end = time.monotonic() + 240
    while "Refresh" in answer.headers and time.monotonic() < end:
        time.sleep(0.2)
        answer = client.get(answer.path)
    return answer


def brought(client: ConsoleClient, kind: str, content: bytes, name: str = "file.csv", **fields: str) -> Answer:
    """The page of a file that was brought and checked."""
    client.get(f"/imports/{kind}")
    return waited(client, client.upload(f"/imports/{kind}", content, name, **{**REASON, **fields}))


def newest(bank: Console) -> FileImport:
    with bank.sekisho.store.read() as connection:
        return file_imports(connection, limit=1)[0]


def kept_pieces(bank: Console) -> int:
    """How many there are when the server has tidied up, or has had the time for it."""
    end = time.monotonic() + 60
    while (pieces := _pieces(bank)) and time.monotonic() < end:
        time.sleep(0.1)
    return pieces


def _pieces(bank: Console) -> int:
    with bank.sekisho.store.read() as connection:
        return connection.execute(select(func.count()).select_from(file_piece)).scalar_one()


def count_customers(bank: Console) -> int:
    with bank.sekisho.store.read() as connection:
        return connection.execute(select(func.count()).select_from(customer)).scalar_one()


def text_of(answer: Answer) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text)))


def test_tokens_are_checked_then_imported_and_the_file_is_gone(alone: Console, supervisor: ConsoleClient) -> None:
    line = "VSMT880000%02d,3132333435363738393031323334353637383930,totp,6,30"
    content = "\n".join(line % number for number in range(30)).encode()
    page = brought(supervisor, "tokens", content, "maker.csv", ticket="T-9")
    assert "waits to be decided" in text_of(page) and "VSMT88000000, VSMT88000001" in text_of(page)
    with alone.sekisho.store.read() as connection:
        pieces = connection.execute(select(file_piece.c.content)).scalars().all()
    assert pieces and not any(b"VSMT" in piece or b"3132" in piece for piece in pieces)
    page = waited(supervisor, supervisor.post(f"{page.path}/begin"))
    assert "Imported: 30." in text_of(page) and kept_pieces(alone) == 0
    rows = [row for row in alone.sekisho.audit() if row.token == "VSMT88000029"]
    assert [(row.event, row.actor) for row in rows] == [("token.imported", "supervisor")]
    assert rows[0].reason == "file maker.csv: order 12 of the maker; ticket T-9"
    events = [row.event for row in alone.sekisho.audit() if row.event.startswith("import.")]
    assert events == ["import.kept", "import.begun", "import.ended"]


def test_wreckage_of_a_spreadsheet_is_shown_with_line_and_column_and_nothing_is_kept(
    alone: Console, supervisor: ConsoleClient
) -> None:
    before = count_customers(alone)
    page = brought(supervisor, "customers", b"contract_id,token_id\n1.23457E+09,\n0099,VSMT-none\n", "excel.csv")
    rows = re.findall(r"<tr>(<td.*?)</tr>", page.text)
    cells = [
        tuple(html.unescape(re.sub("<[^>]+>", "", cell)) for cell in re.findall("<td.*?</td>", row)) for row in rows
    ]
    assert [(line, column) for line, column, _ in cells] == [("2", "contract_id"), ("3", "token_id")]
    assert "spreadsheet" in cells[0][2] and "VSMT-none" not in page.text
    assert "Errors: 2" in text_of(page) and kept_pieces(alone) == 0 and count_customers(alone) == before
    assert supervisor.key(f"{page.path}/begin") == ""


def test_the_same_file_says_in_japanese_what_is_wrong_and_what_would_be_right(
    alone: Console, supervisor: ConsoleClient
) -> None:
    rows = ("wrong-1,1.2E+11,", "wrong-2,,Filter-Id", "wrong-2,,", "wrong-3,VSMT00009999,")
    content = "\n".join(("contract_id,token_id,attributes", *rows))
    page = brought(supervisor, "customers", content.encode())
    japanese = ConsoleClient(alone, dict(supervisor.cookies), "ja").get(page.path)
    shown = [html.unescape(one) for one in re.findall(r'data-label="内容">(.*?)</td>', japanese.text)]
    assert len(shown) == 4 and not any(re.search(r"\b(is|the|write)\b", one) for one in shown), shown
    assert shown[0].startswith("表計算ソフトが丸めた数値") and "列の表示形式を「文字列」にした" in shown[0]
    assert "JSON オブジェクト" in shown[1] and shown[2].startswith("3 行目と重複") and "在庫にない" in shown[3]
    assert "--skip-existing" not in japanese.text and "--accept-as-typed" in text_of(page)


@pytest.mark.parametrize(
    ("content", "fields", "said"),
    [
        (b"PK\x03\x04abc", {}, "Excel workbook"),
        (b"", {}, "the file is empty"),
        (b"contract_id\n", {}, "There is no row"),
        ("contract_id,name\n1,山田\n".encode("cp932"), {"encoding": "utf-8"}, "is not UTF-8"),
        (b"nonsense\n1\n", {}, "names no column that is known"),
    ],
)
def test_what_is_no_list_of_customers_is_said(
    alone: Console, supervisor: ConsoleClient, content: bytes, fields: dict[str, str], said: str
) -> None:
    page = brought(supervisor, "customers", content, **fields)
    assert said in text_of(page)
    assert kept_pieces(alone) == 0


def test_a_file_in_shift_jis_is_read_as_that(alone: Console, supervisor: ConsoleClient) -> None:
    page = brought(supervisor, "customers", "contract_id,name\nSJIS-1,髙田 太郎\n".encode("cp932"), "顧客.csv")
    assert "Shift_JIS (CP932)" in text_of(page) and "顧客.csv" in page.title
    waited(supervisor, supervisor.post(f"{page.path}/begin"))
    with alone.sekisho.store.read() as connection:
        assert connection.execute(select(customer.c.key).where(customer.c.contract_id == "SJIS-1")).scalar()


def test_a_file_that_is_too_large_is_said_so_and_one_below_is_not(alone: Console, supervisor: ConsoleClient) -> None:
    supervisor.get("/imports/customers")
    page = supervisor.upload("/imports/customers", b"x" * 2_000_000, **REASON)
    assert "larger than 1 MB" in page.wrong and page.path == "/imports/customers"
    assert 'value="order 12 of the maker"' in page.text
    content = b"contract_id,name\n" + b"".join(b"big-%d,%s\n" % (number, b"n" * 190) for number in range(5000))
    assert "waits to be decided" in text_of(brought(supervisor, "customers", content[:999_999].rsplit(b"\n", 1)[0]))
    supervisor.post(f"/imports/{newest(alone).key}/withdraw")
    assert newest(alone).state == "withdrawn" and kept_pieces(alone) == 0


def test_no_file_and_no_reason_are_said(supervisor: ConsoleClient) -> None:
    supervisor.get("/imports/tokens")
    assert "Choose the file" in supervisor.upload("/imports/tokens", b"", "", **REASON).wrong
    assert "Write the reason" in supervisor.upload("/imports/tokens", b"x", reason=" ").wrong


def test_a_file_is_not_read_for_who_may_not_bring_it_or_without_a_key(
    alone: Console, supervisor: ConsoleClient
) -> None:
    supervisor.get("/imports/tokens")
    key, path = supervisor.key("/imports/tokens"), "/imports/tokens"
    before = newest(alone).key
    bodies = [
        multipart({"key": ""}, b"x", "f.csv"),
        multipart({}, b"x", "f.csv"),
        multipart({"key": key[:-1] + "x"}, b"x", "f.csv"),
        # behind the file, the key comes too late
        multipart({}, b'x\r\n--limit\r\nContent-Disposition: form-data; name="key"\r\n\r\n' + key.encode(), "f.csv"),
    ]
    for body in bodies:
        assert supervisor.ask("POST", path, body, Content_Type=MULTIPART).status == 403
    right = multipart({"key": key, **REASON}, b"x", "f.csv")
    assert supervisor.ask("POST", path, right, Content_Type=MULTIPART, Origin="http://evil.example").status == 403
    assert supervisor.ask("POST", path, right, Content_Type="text/csv").status == 403
    for role in (Role.AUDITOR, Role.OPERATOR):
        client = alone.client(role)
        assert client.get(path).status == 403
        assert client.ask("POST", path, right, Content_Type=MULTIPART).status == 403
    assert alone.client().ask("POST", path, right, Content_Type=MULTIPART).status == 303
    assert newest(alone).key == before


def test_what_stands_in_front_of_a_form_is_not_read_line_by_line(supervisor: ConsoleClient) -> None:
    supervisor.get("/imports/tokens")
    form = multipart({"key": supervisor.key("/imports/tokens"), **REASON}, b"x", "f.csv")
    assert supervisor.ask("POST", "/imports/tokens", b"a\r\n" * 3 + form, Content_Type=MULTIPART).status == 400
    other = b"--other\r\n" + b"a\r\n" * 3
    assert supervisor.ask("POST", "/imports/tokens", other + form, Content_Type=MULTIPART).status == 400


@pytest.mark.parametrize("body", [b"", b"--limit", b"--limit\r\n\r\nx", b"--other\r\n", b"--limit\r\n" + b"x" * 20_000])
def test_a_malformed_form_is_an_error_of_the_browser(supervisor: ConsoleClient, body: bytes) -> None:
    assert supervisor.ask("POST", "/imports/tokens", body, Content_Type=MULTIPART).status in (400, 403)


@pytest.mark.parametrize(
    "fields",
    [{"reason": "x" * 1025}, {"reason": "x" * 100_000}, {"x" * 1000: "y" * 5000}, {f"f{n}": "" for n in range(25)}],
    ids=["a little too long", "very long", "of no name of ours", "too many"],
)
def test_fields_beside_a_file_are_bounded_as_in_any_form_and_none_is_cut(
    alone: Console, supervisor: ConsoleClient, fields: dict[str, str]
) -> None:
    supervisor.get("/imports/tokens")
    before = newest(alone).key
    for first in ({}, {"key": supervisor.key("/imports/tokens")}):
        body = multipart({**first, **fields}, b"x", "f.csv")
        assert supervisor.ask("POST", "/imports/tokens", body, Content_Type=MULTIPART).status == 413
    assert newest(alone).key == before


def test_two_files_at_once_are_both_imported(alone: Console) -> None:
    clients = [alone.client(Role.ADMINISTRATOR), alone.client(Role.SUPERVISOR)]
    pages = []
    for number, client in enumerate(clients):
        rows = "".join(f"two-{number}-{row}\n" for row in range(3000))
        page = brought(client, "customers", f"contract_id\n{rows}".encode())
        pages.append(client.post(f"{page.path}/begin"))
    for client, page in zip(clients, pages, strict=True):
        assert "Imported: 3,000." in text_of(waited(client, page))
    assert kept_pieces(alone) == 0


def test_rows_that_are_there_are_left_if_that_is_asked_for(alone: Console, supervisor: ConsoleClient) -> None:
    page = brought(supervisor, "customers", b"contract_id\nleft-1\n")
    waited(supervisor, supervisor.post(f"{page.path}/begin"))
    page = brought(supervisor, "customers", b"contract_id\nleft-1\nleft-2\n")
    assert "is in the store already" in text_of(page)
    page = brought(supervisor, "customers", b"contract_id\nleft-1\nleft-2\n", skip_existing="1")
    page = waited(supervisor, supervisor.post(f"{page.path}/begin"))
    assert "Imported: 1. Left as they are: 1." in text_of(page)


@dataclass
class Pair:
    bank: Console
    asker: ConsoleClient
    decider: ConsoleClient


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Where two people are needed."""
    with console(tmp_path_factory.mktemp("two")) as running:
        yield Pair(running, running.client(Role.SUPERVISOR), running.client(Role.ADMINISTRATOR))


def asked(pair: Pair, contract_id: str) -> str:
    """The path of the request for an import of this customer."""
    page = brought(pair.asker, "customers", f"contract_id\n{contract_id}\n".encode(), f"{contract_id}.csv")
    assert "Ask for approval" in page.text
    page = pair.asker.post(f"{page.path}/begin")
    found = re.search(r'href="(/approvals/\d+)"', page.text)
    assert found is not None
    return found[1]


def test_two_people_import_a_file(pair: Pair) -> None:
    request = asked(pair, "both-1")
    assert pair.asker.post(f"{request}/approve", key="", reason="mine").status == 403
    page = pair.decider.get(request)
    assert "both-1.csv" in text_of(page) and "Import customers from both-1.csv" in page.title
    assert "Approved" in text_of(pair.decider.post(f"{request}/approve", reason="seen the order"))
    pair.asker.get(request)
    page = waited(pair.asker, pair.asker.post(f"{request}/carry-out"))
    assert "Imported: 1." in text_of(page)
    (row,) = [row for row in pair.bank.sekisho.audit() if row.customer == "both-1"]
    assert row.actor == "supervisor" and row.reason.endswith("; approved by administrator")


def test_a_file_that_was_changed_after_the_approval_is_not_imported(pair: Pair) -> None:
    """How it is read belongs to the digest; so does each octet, and what was approved is compared with it."""
    request = asked(pair, "tampered-1")
    pair.decider.get(request)
    pair.decider.post(f"{request}/approve", reason="seen the order")
    with pair.bank.sekisho.store.work() as work:
        mine = file_import.c.key == newest(pair.bank).key
        work.connection.execute(update(file_import).where(mine).values(digest=b"another"))
    pair.asker.get(request)
    assert "the state has changed" in pair.asker.post(f"{request}/carry-out").wrong
    assert newest(pair.bank).state == "checked"
    pair.asker.get(f"/imports/{newest(pair.bank).key}")
    assert "The file was deleted" in text_of(pair.asker.post(f"/imports/{newest(pair.bank).key}/withdraw"))


@pytest.mark.parametrize("changed", ["choices", "piece"])
def test_a_file_that_is_changed_under_the_import_is_not_believed(pair: Pair, changed: str) -> None:
    request = asked(pair, f"changed-{changed}")
    pair.decider.get(request)
    pair.decider.post(f"{request}/approve", reason="seen the order")
    key = newest(pair.bank).key
    with pair.bank.sekisho.store.work() as work:
        if changed == "choices":
            values = {"choices": newest(pair.bank).choices.replace("false", "true")}
            work.connection.execute(update(file_import).where(file_import.c.key == key).values(values))
        else:
            work.connection.execute(
                update(file_piece).where(file_piece.c.file_key == key).values(content=b"\x02" + bytes(60))
            )
    pair.asker.get(request)
    page = waited(pair.asker, pair.asker.post(f"{request}/carry-out"))
    assert "not the one that was brought" in text_of(page) and "Nothing was imported." in text_of(page)
    assert kept_pieces(pair.bank) == 0


def test_a_file_that_is_refused_is_deleted(pair: Pair) -> None:
    request = asked(pair, "refused-1")
    pair.decider.get(request)
    pair.decider.post(f"{request}/refuse", refusal="unknown order")
    pair.bank.sekisho.desk.file_imports.sweep()
    page = pair.asker.get(f"/imports/{newest(pair.bank).key}")
    assert "it was refused" in text_of(page) and kept_pieces(pair.bank) == 0


def test_an_import_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    with console(tmp_path, more="approvals = []") as bank:
        client = bank.client(Role.SUPERVISOR)
        rows = "".join(f"kill-{row},山田 {row}\n" for row in range(8000))
        page = brought(client, "customers", f"contract_id,name\n{rows}".encode())
        path = page.path
        client.post(f"{path}/begin")
        end = time.monotonic() + 30
        while not 0 < newest(bank).done < 8000 and time.monotonic() < end:
            time.sleep(0.01)
        assert newest(bank).state == "writing"
        bank.sekisho.kill()
        half = newest(bank)
        assert 0 < half.done < 8000 and count_customers(bank) == len(Role) + half.written
        bank.sekisho.start()
        page = waited(client, client.get(path))
        assert "Imported: 8,000." in text_of(page) and count_customers(bank) == len(Role) + 8000
        added = [row.customer for row in bank.sekisho.audit() if row.event == "customer.added" and row.customer]
        imported = [one for one in added if one.startswith("kill-")]
        assert len(imported) == len(set(imported)) == 8000 and kept_pieces(bank) == 0
