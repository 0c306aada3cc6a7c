"""The acts of the API, by a real server: what each does, what is refused with which status, and who else sees it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from admin_web.api import models
from otp_core.accounts import Principal, PrincipalKind
from otp_core.model import OtpUse, Role, Scope
from tests.sekisho import STAFF, Customer
from tests.web.api import Api, Told, api, wrong
from tests.web.console import console

CUSTOMERS = "/api/v1/customers"
NOBODY = "000000"
TWO_PEOPLE = '[console]\nlisten = "127.0.0.1:0"\npublic_origin = "http://localhost:8399"\n'


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    rules = "[login]\ntokens_per_customer = 2\nlock_after = 5\n[throttle]\nfree_failures = 3\nfirst_delay = 60.0\n"
    folder = tmp_path_factory.mktemp("api")
    with api(folder, more="requests_per_second = 10000", other=rules + "max_delay = 60.0\n") as running:
        yield running


@pytest.fixture(scope="module")
def key(bank: Api) -> str:
    return bank.key("call-centre")


def act(bank: Api, key: str, one: Customer | str, name: str, **fields: str) -> Told:
    contract_id = one if isinstance(one, str) else one.contract_id
    return bank.post(f"{CUSTOMERS}/{contract_id}/{name}", fields, key)


def use(bank: Api, one: Customer) -> str:
    return bank.sekisho.desk.customers.login_record(one.contract_id).otp_use


def test_a_whole_life(bank: Api, key: str) -> None:
    """Every act that is done, what it answers and what it leaves in the trail; then the customer logs in."""
    one, other, third = (bank.sekisho.customer(enrolled=False) for _ in range(3))
    code = one.previous_code()
    told = [act(bank, key, one, "enrol", token_id=one.token_id, code=code, reason="at  the counter", ticket="4711")]
    told.append(act(bank, key, one, "suspend"))
    told.append(act(bank, key, one, "resume"))
    told.append(
        act(bank, key, one, "change-device", token_id=other.token_id, old_code=one.code(), code=other.previous_code())
    )
    told.append(act(bank, key, one, "resynchronise", first=other.code(50), second=other.code(51)))
    told.append(act(bank, key, one, "report-lost"))
    permit = act(bank, key, one, "permit-reissue")
    told.append(
        act(
            bank,
            key,
            one,
            "change-device",
            token_id=third.token_id,
            permit=permit.json["permit"],
            code=third.previous_code(),
        )
    )
    bank.sekisho.desk.customers.lock(one.contract_id, STAFF)
    told.append(act(bank, key, one, "unlock"))
    assert [one.status for one in (*told, permit)] == [200] * 9, [one.json for one in told]
    assert [one.json["done"] for one in told] == [
        "otp.enrolled",
        "otp.suspended",
        "otp.resumed",
        "otp.device-changed",
        "token.resynchronised",
        "otp.reported-lost",
        "otp.device-changed",
        "customer.unlocked",
    ]
    for answer in told:
        models.Receipt.model_validate_json(json.dumps(answer.json))
    models.ReissuePermit.model_validate_json(json.dumps(permit.json))
    rows = {row.id: row for row in bank.sekisho.audit(one.contract_id)}
    first = rows[told[0].json["reference"]]
    assert (first.event, first.actor, first.source) == ("otp.enrolled", "api:call-centre", "127.0.0.1")
    assert first.reason == "at the counter; ticket 4711"
    third_code = third.next_code(third.code(-1))
    challenge = bank.sekisho.login(one.contract_id, one.password)
    state = challenge.removeprefix("Access-Challenge ")
    assert bank.sekisho.login(one.contract_id, third_code, state=state) == "Access-Accept"


def test_a_code_is_good_once_at_whichever_door(bank: Api, key: str) -> None:
    one = bank.sekisho.customer()
    code = one.code()
    assert act(bank, key, one, "suspend", code=code).status == 200
    assert act(bank, key, one, "resume").status == 200
    assert act(bank, key, one, "suspend", code=code).problem == (422, "code-refused")
    challenge = bank.sekisho.login(one.contract_id, one.password).removeprefix("Access-Challenge ")
    assert bank.sekisho.login(one.contract_id, code, state=challenge).startswith("Access-Challenge")


def test_wrong_reused_and_unknown_are_one_answer(bank: Api, key: str) -> None:
    one, free, bound = bank.sekisho.customer(), bank.sekisho.customer(enrolled=False), bank.sekisho.customer()
    used = one.code()
    assert act(bank, key, one, "suspend", code=used).status == 200
    bank.sekisho.desk.enrolment.resume(one.contract_id, STAFF)
    told = [
        act(bank, key, one, "suspend", code=used),
        act(bank, key, one, "suspend", code="12"),
        act(bank, key, one, "suspend", code=wrong(one)),
    ]
    bank.sekisho.desk.customers.unlock(one.contract_id, STAFF)
    for token_id, code in (("VSMT99999999", NOBODY), (bound.token_id, NOBODY), (free.token_id, wrong(free))):
        fresh = bank.sekisho.customer(enrolled=False)
        told.append(act(bank, key, fresh, "enrol", token_id=token_id, code=code))
        assert use(bank, fresh) == OtpUse.NONE
    assert {json.dumps(one.json) for one in told} == {json.dumps(told[0].json)}
    assert told[0].problem == (422, "code-refused")


def test_a_state_is_said_before_any_code_is_looked_at(bank: Api, key: str) -> None:
    one, new = bank.sekisho.customer(), bank.sekisho.customer(enrolled=False)
    never = bank.sekisho.customer(enrolled=False)
    code = new.code()
    told = [
        act(bank, key, one, "enrol", token_id=new.token_id, code=code),
        act(bank, key, one, "resume"),
        act(bank, key, one, "unlock"),
        act(bank, key, one, "permit-reissue"),
        act(bank, key, one, "change-device", token_id=new.token_id, code=code, permit="AAAA-AAAA-AAAA"),
        act(bank, key, never, "suspend", code=NOBODY),
        act(bank, key, never, "change-device", token_id=new.token_id, code=code, old_code=NOBODY),
        act(bank, key, never, "report-lost"),
        act(bank, key, never, "resynchronise", first=NOBODY, second=NOBODY),
        bank.post(f"/api/v1/tokens/{one.token_id}/retire", {}, key),
    ]
    assert {answer.problem for answer in told} == {(409, "not-now")}
    for customer in (one, never):
        assert bank.sekisho.desk.customers.login_record(customer.contract_id).failures == 0
    assert act(bank, key, never, "enrol", token_id=new.token_id, code=code).status == 200, "no code was spent"


def test_wrong_codes_are_slowed_down_and_lock_as_at_every_door(bank: Api, key: str) -> None:
    one = bank.sekisho.customer()
    for _ in range(4):
        assert act(bank, key, one, "suspend", code=wrong(one)).problem == (422, "code-refused")
    told = act(bank, key, one, "suspend", code=one.code())
    assert told.problem == (429, "throttled") and 50 <= int(told.headers["Retry-After"]) <= 60
    assert use(bank, one) == OtpUse.ACTIVE
    bank.sekisho.desk.customers.lock(one.contract_id, STAFF)
    assert act(bank, key, one, "suspend", code=one.code()).problem == (409, "locked")
    assert act(bank, key, one, "suspend").status == 200, "staff suspends without a code"


def test_what_concerns_several_members_is_said_of_the_body_in_our_own_words(bank: Api, key: str) -> None:
    told = bank.post(f"{CUSTOMERS}/nobody/change-device", {"token_id": "VSMT00000002", "code": "123456"}, key)
    assert told.problem == (422, "ill-formed")
    assert told.json["errors"] == [{"field": "body", "detail": "needs either old_code or permit"}]


def test_which_of_several_tokens_is_asked(bank: Api, key: str) -> None:
    one, second, new = bank.sekisho.customer(), *(bank.sekisho.customer(enrolled=False) for _ in range(2))
    bank.sekisho.desk.devices.add(one.contract_id, one.code(), second.token_id, second.code(), STAFF)
    assert act(bank, key, one, "report-lost").problem == (409, "which-token")
    assert act(bank, key, one, "report-lost", token_id=new.token_id).problem == (409, "unknown-token")
    told = act(bank, key, one, "report-lost", token_id=one.token_id)
    assert (told.status, told.json["done"], told.json["token"]) == (200, "otp.one-reported-lost", one.token_id)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("enrol", {}),
        ("enrol", {"token_id": "VSMT00000001"}),
        ("enrol", {"token_id": "VSMT00000001", "code": 123456}),
        ("enrol", {"token_id": "VSMT00000001", "code": "1" * 65}),
        ("enrol", {"token_id": "VSMT00000001", "code": "123456", "himitsu": "x"}),
        ("enrol", {"token_id": "\ud800", "code": "123456"}),
        ("resume", {"code": "123456"}),
        ("resume", {"reason": "x" * 201}),
        ("change-device", {"token_id": "VSMT00000001", "code": "123456"}),
        ("change-device", {"token_id": "VSMT00000001", "code": "123456", "old_code": "1", "permit": "2"}),
        ("resynchronise", {"first": "123456"}),
    ],
)
def test_what_is_not_of_the_form_is_refused_and_changes_nothing(
    bank: Api, key: str, name: str, fields: dict[str, object]
) -> None:
    before = bank.sekisho.audit()
    told = bank.post(f"{CUSTOMERS}/nobody/{name}", fields, key)
    assert told.problem == (422, "ill-formed"), told.json
    assert "himitsu" not in json.dumps(told.json) and "123456" not in json.dumps(told.json)
    assert bank.sekisho.audit() == before


@pytest.mark.parametrize(
    ("raw", "content_type", "problem"),
    [
        (b"no JSON", "application/json", (400, "not-json")),
        (b'{"reason": "\xff"}', "application/json", (400, "not-json")),
        (b'{"reason": NaN}', "application/json", (400, "not-json")),
        (b"[" * 8000, "application/json", (400, "not-json")),
        (b"1" * 8000, "application/json", (400, "not-json")),
        (b"[]", "application/json", (422, "ill-formed")),
        (b"null", "application/json", (422, "ill-formed")),
        (b'{"reason": "a", "reason": "b"}', "application/json", (422, "ill-formed")),
        (b"{}", "text/plain", (415, "unsupported-media-type")),
        (b"{}", "application/x-www-form-urlencoded", (415, "unsupported-media-type")),
        (b"{}", "application/json; charset=utf-16", (415, "unsupported-media-type")),
        (b" " * 9000, "application/json", (413, "too-large")),
        (b"{}", "application/json; charset=UTF-8", (409, "not-now")),
        (b"", "text/plain", (409, "not-now")),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_body_is_json_or_nothing(
    bank: Api, key: str, raw: bytes, content_type: str, problem: tuple[int, str]
) -> None:
    one = bank.sekisho.customer()
    told = bank.ask("POST", f"{CUSTOMERS}/{one.contract_id}/resume", raw=raw, key=key, Content_Type=content_type)
    assert told.problem == problem


def test_a_program_does_not_write_that_somebody_approved_it(bank: Api, key: str) -> None:
    one = bank.sekisho.customer()
    body = {"reason": "asked; approved by kato", "ticket": "1; identity: document"}
    assert bank.post(f"{CUSTOMERS}/{one.contract_id}/suspend", body, key).status == 200
    (row,) = bank.sekisho.audit(one.contract_id, "otp.suspended")
    assert row.reason == "asked, approved by kato; ticket 1, identity: document"


def test_a_body_that_is_announced_too_large_is_not_waited_for(bank: Api, key: str) -> None:
    head = f"POST {CUSTOMERS}/nobody/resume HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
    with socket.create_connection(("127.0.0.1", bank.port), timeout=60) as connection:
        connection.sendall(f"{head}Content-Length: 1000000000\r\n\r\n".encode())
        assert b" 413 " in connection.recv(1000), "after ten seconds it would be 408"


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "\xff"])
def test_a_body_is_taken_as_it_is_or_not_at_all(bank: Api, key: str, coding: str) -> None:
    one = bank.sekisho.customer()
    path = f"{CUSTOMERS}/{one.contract_id}/suspend"
    told = bank.ask("POST", path, {}, key=key, raw=None, Content_Encoding=coding)
    assert told.problem == (415, "unsupported-media-type")
    assert bank.ask("POST", path, {}, key=key, raw=None, Content_Encoding="Identity").status == 200


def test_unknown_customers_and_tokens_are_not_there(bank: Api, key: str) -> None:
    for name, fields in (("resume", {}), ("enrol", {"token_id": "VSMT00000001", "code": NOBODY})):
        assert act(bank, key, "nobody", name, **fields).problem == (404, "not-found")
    assert bank.post("/api/v1/tokens/VSMT99999999/retire", {}, key).problem == (404, "not-found")


def test_what_was_typed_for_a_name_is_neither_repeated_nor_kept(bank: Api, key: str) -> None:
    one, typed = bank.sekisho.customer(), "himitsu-90817"
    told = [
        bank.post(f"{CUSTOMERS}/{typed}/resume", {}, key),
        bank.post(f"/api/v1/tokens/{typed}/retire", {}, key),
        act(bank, key, one, "report-lost", token_id=typed),
        act(bank, key, one, "enrol", token_id=typed, code=NOBODY),
    ]
    assert all(answer.status in (404, 409, 422) for answer in told)
    for text in (*(json.dumps(answer.json) for answer in told), repr(bank.sekisho.audit()), bank.sekisho.log_text()):
        assert "90817" not in text


def test_a_token_that_nobody_holds_is_retired_once(bank: Api, key: str) -> None:
    one = bank.sekisho.customer(enrolled=False)
    told = bank.post(f"/api/v1/tokens/{one.token_id}/retire", {"reason": "broken"}, key)
    assert (told.status, told.json["done"], told.json["token"]) == (200, "token.retired", one.token_id)
    assert bank.post(f"/api/v1/tokens/{one.token_id}/retire", {}, key).problem == (409, "not-now")
    assert act(bank, key, one, "enrol", token_id=one.token_id, code=one.code()).problem == (422, "code-refused")


def test_whose_token_it_is_hears_who_may_read_tokens(bank: Api, key: str) -> None:
    one = bank.sekisho.customer()
    retires = bank.key("retires", Scope.TOKENS_WRITE)
    path = f"/api/v1/tokens/{one.token_id}/retire"
    told = bank.post(path, {}, retires)
    assert told.problem == (409, "not-now") and one.contract_id not in told.json["detail"]
    assert one.contract_id in bank.post(path, {}, key).json["detail"]


def test_an_account_that_staff_signs_in_with_is_left_alone(bank: Api, key: str) -> None:
    one = bank.sekisho.customer()
    bank.sekisho.desk.staff.add("sato", Role.OPERATOR, STAFF, account=one.contract_id)
    for name in ("suspend", "report-lost", "permit-reissue"):
        assert act(bank, key, one, name).problem == (403, "not-permitted")
    assert use(bank, one) == OtpUse.ACTIVE


def test_neither_codes_nor_permits_are_in_the_log(bank: Api, key: str) -> None:
    one, new = bank.sekisho.customer(), bank.sekisho.customer(enrolled=False)
    act(bank, key, one, "report-lost")
    permit = act(bank, key, one, "permit-reissue").json["permit"]
    fields = {"token_id": new.token_id, "code": wrong(new), "permit": permit}
    assert act(bank, key, one, "change-device", **fields).problem == (422, "code-refused")
    assert (
        act(bank, key, one, "change-device", **fields | {"code": new.code(), "permit": "K7MX-4PQR-TTTT"}).status == 422
    )
    log = bank.sekisho.log_text() + repr(bank.sekisho.audit())
    for secret in (permit, wrong(new), new.code(), "K7MX"):
        assert secret not in log


# A second person


def lost(bank: Api) -> Customer:
    one = bank.sekisho.customer()
    bank.sekisho.desk.enrolment.report_lost(one.contract_id, STAFF)
    return one


def test_a_second_person_approves_and_the_program_asks_again(tmp_path: Path) -> None:
    with api(tmp_path, other=TWO_PEOPLE) as bank:
        key, other = bank.key("call-centre"), bank.key("other", Scope.CUSTOMERS_WRITE)
        bank.sekisho.desk.staff.add("kato", Role.SUPERVISOR, STAFF)
        kato = Principal("kato", PrincipalKind.STAFF, reason="called back", role=Role.SUPERVISOR)
        one = lost(bank)
        asked = act(bank, key, one, "permit-reissue", reason="passport seen")
        assert asked.status == 202
        models.Approval.model_validate_json(json.dumps(asked.json))
        place = asked.headers["Location"]
        assert place == f"/api/v1/approvals/{asked.json['number']}"
        assert act(bank, key, one, "permit-reissue").headers["Location"] == place, "it waits"
        assert bank.get(place, key).json == asked.json
        assert bank.get(place, other).problem == (404, "not-found")
        assert act(bank, other, one, "permit-reissue").problem == (409, "not-now")
        bank.sekisho.desk.approvals.decide(asked.json["number"], kato, approve=True)
        now = bank.get(place, key).json
        assert (now["state"], now["decided_by"]) == ("approved", "kato")
        permit = act(bank, key, one, "permit-reissue")
        assert permit.status == 200 and permit.json["done"] == "otp.reissue-permitted"
        assert bank.get(place, key).json["state"] == "done"
        (row,) = bank.sekisho.audit(one.contract_id, "otp.reissue-permitted")
        assert (row.actor, row.reason) == ("api:call-centre", "passport seen; approved by kato")
        assert act(bank, key, one, "permit-reissue").status == 202, "a second permit is asked for anew"


def test_what_a_second_person_refuses_is_asked_for_anew(tmp_path: Path) -> None:
    with api(tmp_path, other=TWO_PEOPLE) as bank:
        key, one = bank.key("call-centre"), lost(bank)
        bank.sekisho.desk.staff.add("kato", Role.SUPERVISOR, STAFF)
        kato = Principal("kato", PrincipalKind.STAFF, role=Role.SUPERVISOR)
        first = act(bank, key, one, "permit-reissue")
        bank.sekisho.desk.approvals.decide(first.json["number"], kato, approve=False)
        assert bank.get(first.headers["Location"], key).json["state"] == "refused"
        again = act(bank, key, one, "permit-reissue")
        assert (again.status, again.json["state"]) == (202, "asked")
        assert again.json["number"] != first.json["number"]
        assert bank.get("/api/v1/approvals/9999999999999999999", key).problem == (404, "not-found")


def test_one_person_is_enough_where_the_settings_say_so(tmp_path: Path) -> None:
    with api(tmp_path, other=f"{TWO_PEOPLE}approvals = []\n") as bank:
        assert act(bank, bank.key("call-centre"), lost(bank), "permit-reissue").status == 200


def test_the_console_shows_what_a_program_asks_for(tmp_path: Path) -> None:
    lines = '[api]\nlisten = "127.0.0.1:0"\n'
    with console(tmp_path, other=lines) as pages:
        one = pages.sekisho.customer()
        pages.sekisho.desk.enrolment.report_lost(one.contract_id, STAFF)
        log = pages.sekisho.log_text()
        port = int(log.partition("door=api")[0].rpartition("at=127.0.0.1:")[2].split()[0])
        bank = Api(pages.sekisho, port)
        crm = bank.key("crm")
        asked = act(bank, crm, one, "permit-reissue", reason="passport seen")
        supervisor = pages.client(Role.SUPERVISOR)
        page = f"/approvals/{asked.json['number']}"
        assert "api:crm" in supervisor.get("/approvals").text
        assert "passport seen" in supervisor.get(page).text
        supervisor.post(f"{page}/approve", reason="called back")
        now = bank.get(asked.headers["Location"], crm).json
        assert (now["state"], now["decided_by"]) == ("approved", "supervisor")
        assert act(bank, crm, one, "permit-reissue").status == 200


def test_a_customer_of_another_spelling_is_the_same_one(bank: Api, key: str) -> None:
    one = replace(bank.sekisho.customer(), contract_id="")
    number = one.token_id[-2:].lstrip("0")
    told = bank.post(f"{CUSTOMERS}/%EF%BD%94aro{number}/suspend", {}, key)
    assert (told.status, told.json["customer"]) == (200, f"taro{number}")
