"""What the API reads, by a real server: the shapes of the command line, in pages by key; and the document about it."""

from __future__ import annotations

import json
import re
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from admin_web.api.models import AuditRow, Customer, Problem, Token
from otp_core.model import Scope
from otp_core.store.customer_search import MOST_COLLECTED, MOST_LOOKED_THROUGH
from otp_core.store.schema import customer, profile, search_term
from tests.journeys.command_line import CommandLine
from tests.sekisho import STAFF
from tests.web.api import Api, Told, api

CUSTOMERS, TOKENS, AUDIT = "/api/v1/customers", "/api/v1/tokens", "/api/v1/audit"


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api(tmp_path_factory.mktemp("api"), more="requests_per_second = 10000") as running:
        sekisho = running.sekisho
        for _ in range(3):
            sekisho.customer()
        sekisho.customer(enrolled=False)
        sekisho.desk.customers.lock("taro2", STAFF)
        sekisho.desk.customers.add("hanako", STAFF, name="山田花子", attributes={"Filter-Id": "gold"})
        yield running


@pytest.fixture(scope="module")
def key(bank: Api) -> str:
    return bank.key("reader", Scope.CUSTOMERS_READ, Scope.TOKENS_READ, Scope.AUDIT_READ)


@pytest.fixture(scope="module")
def line(bank: Api) -> CommandLine:
    return CommandLine(bank.sekisho)


def of_command(line: CommandLine, *words: str) -> list[Any]:
    return [json.loads(one) for one in line.run(*words, "--json").out.splitlines()]


def items(told: Told) -> list[Any]:
    assert told.status == 200, told.json
    return list(told.json["items"])


def pages(bank: Api, key: str, path: str) -> list[list[Any]]:
    """Every page of a list, by what each says of the next."""
    found, after = [], ""
    while True:
        told = bank.get(f"{path}&after={urllib.parse.quote(str(after))}" if after else path, key)
        found.append(items(told))
        after = told.json["next"]
        if after is None:
            return found


def test_the_shapes_are_the_command_lines(bank: Api, key: str, line: CommandLine) -> None:
    assert items(bank.get(CUSTOMERS, key)) == of_command(line, "customer", "list")
    assert items(bank.get(TOKENS, key)) == of_command(line, "token", "list")
    rows = items(bank.get(f"{AUDIT}?limit=1000", key))
    of_the_command = of_command(line, "audit", "--limit", "0")
    assert rows == of_the_command[: len(rows)] and len(rows) > 10
    # The lists above were looks, which are written a moment later.
    assert {one["event"] for one in of_the_command[len(rows) :]} <= {"looked.through-customers", "looked.at-customer"}
    for contract_id in ("taro1", "taro2", "hanako"):
        assert [bank.get(f"{CUSTOMERS}/{contract_id}", key).json] == of_command(line, "customer", "show", contract_id)
    assert [bank.get(f"{TOKENS}/VSMT00000001", key).json] == of_command(line, "token", "show", "VSMT00000001")


@pytest.mark.parametrize(
    ("path", "model"), [(CUSTOMERS, Customer), (TOKENS, Token), (f"{AUDIT}?limit=1000", AuditRow)], ids=str
)
def test_every_answer_is_as_the_document_says(bank: Api, key: str, path: str, model: type[BaseModel]) -> None:
    found = items(bank.get(path, key))
    assert found
    for one in found:
        model.model_validate_json(json.dumps(one))
        assert list(one) == list(model.model_fields)


def test_ids_are_taken_in_any_width_and_grouping(bank: Api, key: str) -> None:
    typed = urllib.parse.quote("ｔａｒｏ１")
    assert bank.get(f"{CUSTOMERS}/{typed}", key).json["contract_id"] == "taro1"
    assert bank.get(f"{TOKENS}/{urllib.parse.quote('ｖｓｍｔ 0000-0001')}", key).json["token_id"] == "VSMT00000001"
    for path in (f"{CUSTOMERS}/nobody", f"{TOKENS}/VSMT99999999", f"{CUSTOMERS}/{'x' * 300}", f"{TOKENS}/%20"):
        assert bank.get(path, key).problem == (404, "not-found"), path


@pytest.mark.parametrize("path", [f"{CUSTOMERS}?", f"{TOKENS}?", f"{AUDIT}?"])
def test_pages_are_the_whole_list_once(bank: Api, key: str, path: str) -> None:
    whole = items(bank.get(f"{path}limit=1000", key))
    in_pages = pages(bank, key, f"{path}limit=2")
    assert [one for page in in_pages for one in page] == whole
    assert {len(page) for page in in_pages[:-1]} == {2}


def test_customers_are_found_by_the_beginning_of_id_name_or_token(bank: Api, key: str) -> None:
    for search, wanted in (
        ("山田花", ["hanako"]),
        ("Taro3", ["taro3"]),
        ("vsmt 0000-0001", ["taro1"]),
        ("%", []),
        ("_", []),
    ):
        found = items(bank.get(f"{CUSTOMERS}?search={urllib.parse.quote(search)}", key))
        assert [one["contract_id"] for one in found] == wanted, search
    assert [one["contract_id"] for one in items(bank.get(f"{CUSTOMERS}?locked=true", key))] == ["taro2"]
    assert [one["contract_id"] for one in items(bank.get(f"{CUSTOMERS}?use=none", key))] == ["hanako", "taro4"]
    assert [one["token_id"] for one in items(bank.get(f"{TOKENS}?state=available", key))] == ["VSMT00000004"]
    assert [one["token_id"] for one in items(bank.get(f"{TOKENS}?search=vsmt0000-0002", key))] == ["VSMT00000002"]


def test_the_trail_is_filtered_and_gone_on_with(bank: Api, key: str) -> None:
    of_taro = items(bank.get(f"{AUDIT}?customer=taro2", key))
    acts = [one["event"] for one in of_taro if not one["event"].startswith("looked.")]
    assert acts == ["customer.added", "otp.enrolled", "customer.locked"]
    assert [one["customer"] for one in items(bank.get(f"{AUDIT}?event=customer.locked", key))] == ["taro2"]
    newest = items(bank.get(f"{AUDIT}?limit=1000", key))[-1]
    assert items(bank.get(f"{AUDIT}?after={newest['id']}", key)) == []
    assert newest in items(bank.get(f"{AUDIT}?since={urllib.parse.quote(newest['time'])}", key))
    before = items(bank.get(f"{AUDIT}?until={urllib.parse.quote(newest['time'])}", key))
    assert before and newest not in before
    for wrong in (
        "since=2026-01-01T00:00",
        "since=1767225600",
        "since=2026-01-01",
        "since=2026-01-01%2000:00:00Z",
        "since=2026-01-01T00:00:00",
        "since=2026-01-01T00:00:00Z%20",
        "since=2026-13-01T00:00:00Z",
        "after=1e3",
        "after=0x10",
        "until=1969-01-01T00:00:00Z",
        "since=9999-01-01T00:00:00Z",
        f"after={2**63}",
    ):
        assert bank.get(f"{AUDIT}?{wrong}", key).problem == (422, "ill-formed"), wrong


def test_a_name_that_was_nobodys_is_found_by_what_was_typed(bank: Api, key: str) -> None:
    bank.sekisho.login("nobody-at-all", "wrong")
    (row,) = items(bank.get(f"{AUDIT}?customer=nobody-at-all", key))
    assert row["event"] == "login.rejected" and row["customer"].startswith("name:")


@pytest.fixture
def crowd(bank: Api) -> Iterator[list[str]]:
    """More customers than are looked through for a page, and more terms than are collected, all of them the last
    one's."""
    keys = range(1, MOST_LOOKED_THROUGH + 1)
    ids = [f"zz{key:05}" for key in keys]
    terms = [f"zq{number}" for number in range(MOST_COLLECTED + 1)]
    with bank.sekisho.store.work() as work:
        add = work.connection.execute
        add(
            customer.insert(),
            [{"key": key, "contract_id": id_, "otp_use": "none"} for key, id_ in zip(keys, ids, strict=True)],
        )
        add(profile.insert(), [{"customer_key": key, "email": "zq0" if key == keys[-1] else None} for key in keys])
        add(search_term.insert(), [{"term": term, "customer_key": keys[-1]} for term in terms])
    yield ids
    with bank.sekisho.store.work() as work:
        for column in (search_term.c.customer_key, profile.c.customer_key, customer.c.key):
            work.connection.execute(column.table.delete().where(column <= keys[-1]))


def test_a_search_that_finds_very_many_goes_on_behind_a_short_page(
    bank: Api, key: str, line: CommandLine, crowd: list[str]
) -> None:
    found = pages(bank, key, f"{CUSTOMERS}?search=zq")
    assert [[one["contract_id"] for one in page] for page in found] == [[], crowd[-1:]]
    for limit in ("0", "1", "2"):
        assert of_command(line, "customer", "list", "--search", "zq", "--limit", limit) == found[1]


def test_the_command_says_where_a_search_goes_on(bank: Api, line: CommandLine) -> None:
    said = line.run("customer", "list", "--search", "vsmt", "--limit", "2", "--json")
    assert [json.loads(one)["contract_id"] for one in said.out.splitlines()] == ["taro1", "taro2"]
    assert "there are more: --after taro2" in said.err
    rest = of_command(line, "customer", "list", "--search", "vsmt", "--after", "taro2")
    assert [one["contract_id"] for one in rest] == ["taro3"]


@pytest.mark.parametrize("nobody", ["customer=%E2%80%8B", "customer=%20", "token=--", "token=%E2%80%8B-"])
def test_a_name_of_which_nothing_is_left_is_nobodys_and_not_everybodys(bank: Api, key: str, nobody: str) -> None:
    assert items(bank.get(f"{AUDIT}?{nobody}", key)) == []


@pytest.mark.parametrize("more", ["", "&customer=taro1", "&until=2020-01-01T00:00:00Z"])
def test_behind_the_largest_number_of_a_row_there_is_nothing(bank: Api, key: str, more: str) -> None:
    told = bank.get(f"{AUDIT}?after={2**63 - 1}{more}", key)
    assert (told.status, told.json) == (200, {"items": [], "next": None})


def test_no_answer_holds_a_secret(bank: Api, key: str) -> None:
    everything = "".join(json.dumps(bank.get(path, key).json) for path in (CUSTOMERS, TOKENS, f"{AUDIT}?limit=1000"))
    for one in ("argon2", "seed", "sekisho_", "digest"):
        assert one not in everything


def refs(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            yield from refs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from refs(inner)


def test_the_document_is_whole(bank: Api) -> None:
    found = bank.get("/api/v1/openapi.json").json
    assert found["openapi"] == "3.1.0" and found["servers"] == [{"url": f"http://localhost:{bank.port}"}]
    names = []
    for path, methods in found["paths"].items():
        for operation in methods.values():
            names.append(operation["operationId"])
            in_path = [one["name"] for one in operation.get("parameters", []) if one["in"] == "path"]
            assert in_path == re.findall(r"\{(\w+)\}", path)
            if operation.get("security") != []:
                assert {"401", "403", "422", "429", "503"} <= set(operation["responses"])
    assert len(set(names)) == len(names)
    schemas = found["components"]["schemas"]
    used = set(refs(found))
    assert {one.rpartition("/")[2] for one in used} == set(schemas), (
        "each model is used, and each that is used is there"
    )
    assert all(one.startswith("#/components/schemas/") for one in used)


def test_a_parameter_of_the_document_says_what_is_taken(bank: Api) -> None:
    """Left out is what a query has for null."""
    asked = bank.get("/api/v1/openapi.json").json["paths"][CUSTOMERS]["get"]["parameters"]
    found = {one["name"]: one["schema"] for one in asked}
    assert found["search"] == {"title": "Search", "type": "string", "minLength": 1, "maxLength": 128}
    assert (found["limit"]["minimum"], found["limit"]["maximum"], found["limit"]["default"]) == (1, 1000, 100)
    assert found["use"]["enum"] == ["none", "active", "suspended", "lost", "reissue permitted"]
    assert not any("anyOf" in one or one.get("type") == "null" for one in found.values())


def test_a_problem_is_as_the_document_says(bank: Api, key: str) -> None:
    for told in (bank.get(CUSTOMERS), bank.get(f"{CUSTOMERS}?limit=0", key), bank.get("/nothing", key)):
        Problem.model_validate_json(json.dumps(told.json))


def test_whom_a_program_looked_at_is_recorded(bank: Api) -> None:
    key = bank.key("watcher", Scope.CUSTOMERS_READ, Scope.TOKENS_READ, Scope.AUDIT_READ)
    looks = (f"{CUSTOMERS}/hanako", f"{CUSTOMERS}/HANAKO", f"{TOKENS}/VSMT00000001", f"{CUSTOMERS}?limit=2")
    for path in (*looks, AUDIT, f"{AUDIT}?token=VSMT00000002"):
        bank.get(path, key)
    expected = {("hanako", "customer"), ("taro1", "token"), ("taro2", "audit of a token")}
    end = time.monotonic() + 10
    while True:
        rows = [row for row in bank.sekisho.audit(event="looked.") if row.actor == "api:watcher"]
        if expected <= {(row.customer, row.reason) for row in rows}:
            break
        assert time.monotonic() < end, rows
        time.sleep(0.05)
    assert sum(row.customer == "hanako" for row in rows) == 1
    assert "" not in {row.customer for row in rows}, "rows of the trail that are about nobody are a look at nobody"
    lists = [row.reason for row in rows if row.event == "looked.through-customers"]
    assert lists and "customers: " in lists[0]
