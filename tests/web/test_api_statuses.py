"""Every status that the document has for an operation is brought about and seen, by a real server, and each answer is
held to the document. A status that nothing can bring about is not one to document.

Operations and statuses are the document's own: a new one fails here until this file says how it comes about. What was
seen is written to build/api-statuses.txt.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from schemathesis import Response

from admin_web.api.reading import MAX_BODY_BYTES
from otp_core.accounts import Principal, PrincipalKind
from otp_core.model import Role, Scope
from tests.sekisho import PASSWORD, STAFF, Customer
from tests.web.api import Api, api
from tests.web.api_document import CONFORMS, by_name, document_of, exchange

TABLE = Path(__file__).parents[2] / "build" / "api-statuses.txt"
TWO_PEOPLE = '[console]\nlisten = "127.0.0.1:0"\npublic_origin = "http://localhost:8399"\n'
JSON = {"Content-Type": "application/json"}
KATO = Principal("kato", PrincipalKind.STAFF, reason="called back", role=Role.SUPERVISOR)

Asked = tuple[str, dict[str, str]]
"""What the path names, and the body."""

State = Callable[["Counter"], Asked]
"""Brings a state about, for one request."""


def bound(counter: Counter) -> Customer:
    return counter.bank.sekisho.customer()


def free(counter: Counter) -> Customer:
    return counter.bank.sekisho.customer(enrolled=False)


def suspended(counter: Counter) -> Customer:
    one = bound(counter)
    counter.bank.sekisho.desk.enrolment.suspend(one.contract_id, None, STAFF)
    return one


def lost(counter: Counter) -> Customer:
    one = bound(counter)
    counter.bank.sekisho.desk.enrolment.report_lost(one.contract_id, STAFF)
    return one


def locked(counter: Counter) -> Customer:
    one = bound(counter)
    counter.bank.sekisho.desk.customers.lock(one.contract_id, STAFF)
    return one


def customer(make: Callable[[Counter], Customer], **body: str) -> State:
    return lambda counter: (make(counter).contract_id, body)


def token(make: Callable[[Counter], Customer]) -> State:
    return lambda counter: (make(counter).token_id, {})


def enrolling(make: Callable[[Counter], Customer]) -> State:
    def asked(counter: Counter) -> Asked:
        one, new = make(counter), free(counter)
        return one.contract_id, {"token_id": new.token_id, "code": new.code()}

    return asked


def changing(make: Callable[[Counter], Customer]) -> State:
    def asked(counter: Counter) -> Asked:
        one, new = make(counter), free(counter)
        return one.contract_id, {"token_id": new.token_id, "code": new.code(), "old_code": one.code()}

    return asked


def resynchronising(make: Callable[[Counter], Customer]) -> State:
    def asked(counter: Counter) -> Asked:
        one = make(counter)
        return one.contract_id, {"first": one.code(50), "second": one.code(51)}

    return asked


def logging_in(counter: Counter) -> Asked:
    return "", {"contract_id": bound(counter).contract_id, "password": PASSWORD}


def asked_for(counter: Counter, one: Customer) -> int:
    """The number of a request for a permit, which nobody has decided."""
    told = counter.bank.post(f"/api/v1/customers/{one.contract_id}/permit-reissue", {}, counter.key)
    return int(told.json["number"])


def approved(counter: Counter) -> Customer:
    """The permit is for the key that asked for it."""
    one = lost(counter)
    counter.bank.sekisho.desk.approvals.decide(asked_for(counter, one), KATO, approve=True)
    return one


STATES: dict[tuple[str, int], State] = {
    ("getDocument", 200): lambda _: ("", {}),
    ("getPage", 200): lambda _: ("", {}),
    ("listCustomers", 200): lambda _: ("", {}),
    ("getCustomer", 200): customer(bound),
    ("getCustomer", 404): lambda _: ("nobody", {}),
    ("listTokens", 200): lambda _: ("", {}),
    ("getToken", 200): token(bound),
    ("getToken", 404): lambda _: ("VSMT99999999", {}),
    ("listAudit", 200): lambda _: ("", {}),
    ("enrol", 200): enrolling(free),
    ("enrol", 409): enrolling(bound),
    ("suspend", 200): customer(bound),
    ("suspend", 409): customer(suspended),
    ("resume", 200): customer(suspended),
    ("resume", 409): customer(bound),
    ("changeDevice", 200): changing(bound),
    ("changeDevice", 409): changing(free),
    ("reportLost", 200): customer(bound),
    ("reportLost", 409): customer(free),
    ("unlock", 200): customer(locked),
    ("unlock", 409): customer(bound),
    ("resynchronise", 200): resynchronising(bound),
    ("resynchronise", 409): resynchronising(free),
    ("permitReissue", 200): customer(approved),
    ("permitReissue", 202): customer(lost),
    ("permitReissue", 409): customer(bound),
    ("getApproval", 200): lambda counter: (str(asked_for(counter, lost(counter))), {}),
    ("getApproval", 404): lambda _: ("9999", {}),
    ("retireToken", 200): token(free),
    ("retireToken", 404): lambda _: ("VSMT99999999", {}),
    ("retireToken", 409): token(bound),
    ("check", 200): logging_in,
}
"""What each operation is asked to answer with this. Of acts on customers, 404 is for one who is not there."""


class Counter:
    """Asks, and keeps what was seen."""

    def __init__(self, bank: Api) -> None:
        self.bank, self.operations = bank, by_name(document_of(bank))
        self.key = bank.key("everything")
        self.others = {name: bank.key(name.replace(":", "-"), name) for name in (Scope.AUDIT_READ, Scope.TOKENS_READ)}
        self.seen: dict[tuple[str, int], int] = defaultdict(int)

    def ask(self, name: str, asked: Asked, *, key: str | None = "", query: str = "", **more: Any) -> Response:
        """One request of an operation; its answer is held to the document."""
        one = self.operations[name]
        named, body = asked
        method, path = one.method.upper(), one.path
        for part in ("contract_id", "token_id", "number"):
            path = path.replace(f"{{{part}}}", named)
        raw = more.pop("raw", json.dumps(body).encode()) if method == "POST" else None
        headers = {**(JSON if raw is not None else {}), **more.pop("headers", {})}
        if key is not None:
            headers["Authorization"] = f"Bearer {key or self.key}"
        told = exchange(self.bank.port, method, path + query, headers, raw, **more)
        one.Case(method=method).validate_response(told, checks=CONFORMS)
        self.seen[name, told.status_code] += 1
        return told

    def statuses(self, name: str) -> set[int]:
        return {int(status) for status in self.operations[name].definition.raw["responses"]}

    def documented(self) -> set[tuple[str, int]]:
        return {(name, status) for name in self.operations for status in self.statuses(name)}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api(tmp_path_factory.mktemp("api"), more="requests_per_second = 100000", other=TWO_PEOPLE) as running:
        running.sekisho.desk.staff.add("kato", Role.SUPERVISOR, STAFF)
        yield running


def ask_for(counter: Counter, name: str, status: int) -> Response:
    """The request of an operation that is to be answered with this status; not 408, 429 and 503."""
    somebody: Asked = ("1" if name == "getApproval" else "nobody"), {}
    if (name, status) in STATES:
        return counter.ask(name, STATES[name, status](counter))
    match status:
        case 400 if counter.operations[name].method.upper() == "POST":
            return counter.ask(name, somebody, raw=b"no JSON")
        case 400:
            return counter.ask(name, somebody, headers={"X-Long": "x" * 9000})
        case 401:
            return counter.ask(name, somebody, key=None)
        case 403:
            other = Scope.TOKENS_READ if name == "listAudit" else Scope.AUDIT_READ
            return counter.ask(name, somebody, key=counter.others[other])
        case 404:
            return counter.ask(name, ("nobody", STATES[name, 200](counter)[1]))
        case 413:
            return counter.ask(name, somebody, raw=b" " * (MAX_BODY_BYTES + 1))
        case 415:
            return counter.ask(name, somebody, headers={"Content-Type": "text/plain"})
        case 417:
            return counter.ask(name, somebody, headers={"Expect": "a miracle"})
        case 422:
            return counter.ask(name, somebody, query="?himitsu=1")
    raise AssertionError(f"{name} {status} is documented, and nothing here brings it about")


def test_every_documented_status_of_every_operation_is_seen(
    bank: Api, tmp_path_factory: pytest.TempPathFactory
) -> None:
    counter = Counter(bank)
    with ThreadPoolExecutor(32) as pool:
        slow = [pool.submit(slow_body, counter, name) for name in counter.operations if 408 in counter.statuses(name)]
        for name, status in sorted(counter.documented()):
            if status not in (408, 429, 503):
                assert ask_for(counter, name, status).status_code == status, (name, status)
        with api(tmp_path_factory.mktemp("short"), more="requests_per_second = 1") as short:
            elsewhere = Counter(short)
            over_the_rate(elsewhere)
            store_is_gone(elsewhere)
        assert [one.result().status_code for one in slow] == [408] * len(slow)
    for place, times in elsewhere.seen.items():
        counter.seen[place] += times
    write_table(counter)
    assert set(counter.seen) == counter.documented()


def slow_body(counter: Counter, name: str) -> Response:
    return counter.ask(name, ("nobody", {}), slow=True)


def over_the_rate(counter: Counter) -> None:
    """429: a key that has made its one request a second."""
    for name in counter.operations:
        if 429 in counter.statuses(name):
            told = (counter.ask(name, ("1", {})).status_code for _ in range(20))
            assert 429 in told, name


def store_is_gone(counter: Counter) -> None:
    """503: the store's file is not there, or nobody is let in to the database."""
    with counter.bank.sekisho.store_away():
        for name in counter.operations:
            if 503 in counter.statuses(name):
                assert counter.ask(name, ("1", {})).status_code == 503, name


def write_table(counter: Counter) -> None:
    """A line for each operation: status and how often it was seen."""
    lines = []
    for name in counter.operations:
        found = [f"{status}: {counter.seen[name, status]}" for status in sorted(counter.statuses(name))]
        lines.append(f"{name:16}{'  '.join(found)}")
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join(lines) + "\n")
