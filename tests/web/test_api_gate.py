"""What stands in front of every operation of the API, by a real server: the key, its networks, its rate, its scopes;
and what is refused before anybody looks at it.

The operations come from the site's own table, so a new one is held to this without a change here.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from admin_web.api.operations import Operation
from admin_web.api.problems import MEANINGS, ProblemType, problem_of_status
from admin_web.api.reading import MAX_BODY_BYTES
from otp_core.model import Scope
from otp_core.store.api_keys import api_key_named, drop_api_key
from tests.sekisho import PASSWORD, STAFF
from tests.web.api import Api, api, table_of

OPEN = {"/api/v1/openapi.json", "/api/v1/docs"}
"""What is open to everybody, written out a second time."""

CUSTOMERS = "/api/v1/customers"
CHECKED = json.dumps({"contract_id": "taro1", "password": PASSWORD})


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api(tmp_path_factory.mktemp("api"), more="requests_per_second = 10000") as running:
        running.sekisho.customer()
        yield running


@pytest.fixture(scope="module")
def key(bank: Api) -> str:
    return bank.key("everything")


@pytest.fixture(scope="module")
def operations(bank: Api) -> list[Operation]:
    return table_of(bank)


def place(operation: Operation) -> str:
    """A path of the operation, about what there is."""
    values = {"contract_id": "taro1", "token_id": "VSMT00000001"}
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], "1"), operation.path)


def test_without_a_key_nothing_is_looked_at(bank: Api, operations: list[Operation]) -> None:
    asked = [(one.method, place(one)) for one in operations if one.path not in OPEN]
    asked += [("POST", CUSTOMERS), ("GET", "/"), ("GET", "/api/v1/nothing"), ("DELETE", f"{CUSTOMERS}/taro1")]
    for method, path in asked:
        for body in (None, b"x" * (MAX_BODY_BYTES + 1), b"\xff"):
            raw = body if method == "POST" else None
            told = bank.ask(method, path, raw=raw)
            assert told.problem == (401, "key-needed"), (method, path)
            assert told.headers["WWW-Authenticate"] == 'Bearer realm="Sekisho"'


def test_the_document_and_its_page_alone_are_open(bank: Api, operations: list[Operation]) -> None:
    assert {one.path for one in operations if not one.scopes} == OPEN
    assert all(bank.get(path).status == 200 for path in OPEN)


def test_what_is_no_key_is_refused(bank: Api, key: str) -> None:
    wrong = [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {key}",
        key,
        f"Bearer {key}x",
        f"Bearer {key[:-1]}",
        "Bearer " + "x" * 4000,
    ]
    for header in wrong:
        assert bank.get(CUSTOMERS, Authorization=header).problem == (401, "key-needed"), header
    assert bank.get(CUSTOMERS, Authorization=f"bearer {key}").status == 200
    with socket.create_connection(("127.0.0.1", bank.port), 30) as twice:
        both = f"Authorization: Bearer {key}\r\n" * 2
        twice.sendall(f"GET {CUSTOMERS} HTTP/1.1\r\nHost: localhost\r\n{both}Connection: close\r\n\r\n".encode())
        assert twice.recv(4096).startswith(b"HTTP/1.1 4")


def test_a_revoked_key_is_refused_from_that_moment(bank: Api) -> None:
    key = bank.key("short")
    assert bank.get(CUSTOMERS, key).status == 200
    bank.sekisho.desk.api_keys.revoke("short", STAFF)
    assert bank.get(CUSTOMERS, key).problem == (401, "key-needed")


@pytest.mark.parametrize(("path", "body"), [("customers/taro1/suspend", "{}"), ("check", CHECKED)])
def test_a_key_that_is_revoked_before_the_body_is_here_does_nothing(bank: Api, path: str, body: str) -> None:
    key = bank.key("slow")
    before = len(bank.sekisho.acts())
    head = f"POST /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: "
    with socket.create_connection(("127.0.0.1", bank.port), 30) as slow:
        slow.sendall(f"{head}application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert slow.recv(4096).startswith(b"HTTP/1.1 100"), "the head was read"
        slow.sendall(body[:1].encode())
        time.sleep(0.2)
        bank.sekisho.desk.api_keys.revoke("slow", STAFF)
        slow.sendall(body[1:].encode())
        assert slow.recv(4096).startswith(b"HTTP/1.1 401")
    assert [line.event for line in bank.sekisho.acts()[before:]] == ["api-key.revoked"]


def test_a_key_that_is_revoked_while_its_act_waits_for_the_store_does_nothing(bank: Api) -> None:
    key, one = bank.key("waits"), bank.sekisho.customer()
    with ThreadPoolExecutor(1) as pool:
        with bank.sekisho.store.work() as work:
            record = api_key_named(work.connection, "waits")
            assert record is not None and drop_api_key(work.connection, record.key)
            asked = pool.submit(bank.post, f"{CUSTOMERS}/{one.contract_id}/suspend", {}, key)
            time.sleep(0.5)
            assert not asked.done(), "the gate has seen the key, and the store is held"
        assert asked.result().problem == (401, "key-needed")
    assert not bank.sekisho.audit(one.contract_id, "otp.suspended")


def test_a_key_is_good_from_its_networks_alone(bank: Api) -> None:
    elsewhere = bank.key("elsewhere", networks=("192.0.2.0/24", "2001:db8::/32"))
    here = bank.key("here", networks=("192.0.2.0/24", "127.0.0.0/8"))
    assert bank.get(CUSTOMERS, elsewhere).problem == (403, "network-refused")
    assert bank.get(CUSTOMERS, elsewhere, X_Forwarded_For="192.0.2.7").problem == (403, "network-refused")
    assert bank.get(CUSTOMERS, here).status == 200


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_opens_what_names_it_and_nothing_else(bank: Api, operations: list[Operation], scope: Scope) -> None:
    key = bank.key(scope.replace(":", "-"), scope)
    for one in operations:
        if one.scopes and scope not in one.scopes:
            told = bank.ask(one.method, place(one), raw=b"no JSON" if one.method == "POST" else None, key=key)
            assert told.problem == (403, "scope-missing"), one.name
            assert told.json["detail"] == f"needs {' or '.join(one.scopes)}"
        elif one.method == "GET" and one.path in (CUSTOMERS, "/api/v1/tokens", "/api/v1/audit"):
            assert bank.get(place(one), key).status == 200, one.name


def test_what_is_not_there_is_said_with_a_key(bank: Api, key: str) -> None:
    for path in ("/", "/api/v1", "/api/v1/customers/", "/api/v2/customers", "/api/v1/customers/taro1/nothing"):
        assert bank.get(path, key).problem == (404, "not-found"), path
    told = bank.ask("DELETE", f"{CUSTOMERS}/taro1", key=key)
    assert told.problem == (405, "method-not-allowed") and told.headers["Allow"] == "GET"
    assert bank.ask("OPTIONS", CUSTOMERS, key=key).problem == (405, "method-not-allowed")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "limit"),
        ("limit=", "limit"),
        ("limit=%205", "limit"),
        ("limit=%2B5", "limit"),
        ("limit=-5", "limit"),
        ("limit=05", "limit"),
        ("limit=5.0", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%EF%BC%95", "limit"),
        ("limit=" + "9" * 500, "limit"),
        ("locked=perhaps", "locked"),
        ("locked=1", "locked"),
        ("locked=True", "locked"),
        ("use=sometimes", "use"),
        ("search=", "search"),
        ("search=" + "x" * 129, "search"),
        ("after=" + "x" * 257, "after"),
        ("himitsu=1", "a name that is not known here"),
    ],
)
def test_a_query_that_is_not_known_is_refused_field_by_field(bank: Api, key: str, query: str, field: str) -> None:
    told = bank.get(f"{CUSTOMERS}?{query}", key)
    assert told.problem == (422, "ill-formed")
    assert [one["field"] for one in told.json["errors"]] == [field]
    assert "himitsu" not in json.dumps(told.json) and "xxxx" not in json.dumps(told.json)


def test_every_answer_carries_the_headers_and_is_kept_by_no_cache(bank: Api, key: str) -> None:
    for told in (bank.get(CUSTOMERS, key), bank.get("/", key), bank.get(CUSTOMERS), *map(bank.get, OPEN)):
        assert told.headers["Cache-Control"] == "no-store"
        assert told.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in told.headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in told.headers
        assert "Set-Cookie" not in told.headers


def test_neither_keys_nor_what_was_typed_for_a_name_are_in_the_log(bank: Api, key: str) -> None:
    bank.get(f"{CUSTOMERS}/himitsu-no-aikotoba?search=kakushigoto", key)
    bank.get("/api/v1/tokens/himitsu-no-aikotoba", key)
    log = bank.sekisho.wait_for_log("/api/v1/tokens/{token_id}")
    assert "/api/v1/customers/{contract_id}" in log
    for secret in ("himitsu", "kakushigoto", key, key[:20]):
        assert secret not in log


def test_a_key_over_its_rate_is_told_so_and_no_other_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    with api(tmp_path_factory.mktemp("rate"), more="requests_per_second = 5") as bank:
        greedy, other = bank.key("greedy"), bank.key("other")
        told = [bank.get("/api/v1/tokens", greedy) for _ in range(12)]
        assert [one.status for one in told[:5]] == [200] * 5
        assert [one.headers["RateLimit-Remaining"] for one in told[:5]] == ["4", "3", "2", "1", "0"]
        over = next(one for one in told if one.status != 200)
        assert over.problem == (429, "rate-limited")
        assert (over.headers["Retry-After"], over.headers["RateLimit-Limit"]) == ("1", "5")
        answered = bank.get("/api/v1/tokens", other)
        assert (answered.status, answered.headers["RateLimit-Remaining"]) == (200, "4")
        assert "RateLimit-Limit" not in bank.get("/api/v1/tokens").headers


def test_a_key_far_over_its_rate_is_told_so_no_faster_than_its_rate(tmp_path_factory: pytest.TempPathFactory) -> None:
    with api(tmp_path_factory.mktemp("far"), more="requests_per_second = 10") as bank, ThreadPoolExecutor(8) as pool:
        greedy = bank.key("greedy")
        begun = time.monotonic()
        told = list(pool.map(lambda _: bank.get("/api/v1/tokens", greedy).status, range(60)))
        took = time.monotonic() - begun
        assert told.count(429) <= 1 + 10 * took, (told.count(429), took)
        assert told.count(200) <= 10 + 10 * took


def test_every_problem_has_a_status_of_its_own_kind() -> None:
    assert set(MEANINGS) == set(ProblemType)
    for status in (400, 404, 405, 408, 413, 500):
        assert problem_of_status(status).status == status
    assert (problem_of_status(417).status, problem_of_status(501).status) == (400, 500)
