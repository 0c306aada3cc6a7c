"""POST /check, by a real server: a login by the same rules, throttles and audit trail as at every door."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from admin_web.api.models import Checked
from otp_core.model import Scope
from tests.sekisho import STAFF, Customer
from tests.web.api import Api, Told, api, wrong

CHECK = "/api/v1/check"


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    throttle = '[throttle]\nfirst_delay = 60.0\nmax_delay = 60.0\n[log]\nverdicts = "all"\n'
    with api(tmp_path_factory.mktemp("api"), more="requests_per_second = 10000", other=throttle) as running:
        yield running


@pytest.fixture(scope="module")
def key(bank: Api) -> str:
    return bank.key("vpn", Scope.CHECK_PASSWORD, Scope.CHECK_CODE)


def check(bank: Api, key: str, one: Customer | str, **fields: str) -> Told:
    contract_id = one if isinstance(one, str) else one.contract_id
    return bank.post(CHECK, {"contract_id": contract_id, **fields}, key)


def test_password_and_code_are_a_login_once(bank: Api, key: str) -> None:
    one = bank.sekisho.customer()
    told = check(bank, key, one, password=one.password, code=one.code())
    assert told.status == 200, told.json
    Checked.model_validate_json(json.dumps(told.json))
    assert (told.json["customer"], told.json["token"]) == (one.contract_id, one.token_id)
    row = bank.sekisho.audit(one.contract_id)[-1]
    assert (row.id, row.event, row.actor, row.source) == (
        told.json["reference"],
        "login.accepted",
        "api:vpn",
        "127.0.0.1",
    )
    assert check(bank, key, one, password=one.password, code=one.code()).problem == (422, "code-refused")
    challenge = bank.sekisho.login(one.contract_id, one.password).removeprefix("Access-Challenge ")
    assert bank.sekisho.login(one.contract_id, one.code(), state=challenge).startswith("Access-Challenge")


def test_the_code_alone_and_the_password_alone_are_what_was_asked(bank: Api, key: str) -> None:
    one = bank.sekisho.customer()
    code = one.code()
    assert check(bank, key, one, code=f" {code[:3]} {code[3:]}").status == 200
    assert check(bank, key, one, code=code).problem == (422, "code-refused")
    assert check(bank, key, one, password=one.password).status == 200
    assert check(bank, key, one, password="wrong").problem == (422, "code-refused")


@pytest.mark.parametrize("password", ["with 123456", "ends\x1f123456", "\x1f", "漢字とé", "123456"])
def test_any_password_is_told_apart_from_the_code(bank: Api, key: str, password: str) -> None:
    one = bank.sekisho.customer(password)
    assert check(bank, key, one, password=password[:-1] or "x", code=one.code()).problem == (422, "code-refused")
    assert check(bank, key, one, password=password, code=one.code()).status == 200


def test_every_refusal_is_one_answer(bank: Api, key: str) -> None:
    one, never, locked = bank.sekisho.customer(), bank.sekisho.customer(enrolled=False), bank.sekisho.customer()
    lost = bank.sekisho.customer()
    bank.sekisho.desk.customers.lock(locked.contract_id, STAFF)
    bank.sekisho.desk.enrolment.report_lost(lost.contract_id, STAFF)
    told = [
        check(bank, key, one, password=one.password, code=wrong(one)),
        check(bank, key, one, password="wrong", code=one.code()),
        check(bank, key, one, password=one.password, code="12"),
        check(bank, key, one, password=one.password, code="12345678"),
        check(bank, key, one, code="no code"),
        check(bank, key, "nobody", password="himitsu", code="123456"),
        check(bank, key, "nobody", code="123456"),
        check(bank, key, never, password=never.password, code=never.code()),
        check(bank, key, never, code=never.code()),
        check(bank, key, locked, password=locked.password, code=locked.code()),
        check(bank, key, lost, password=lost.password, code=lost.code()),
    ]
    assert {json.dumps(answer.json) for answer in told} == {json.dumps(told[0].json)}
    assert told[0].problem == (422, "code-refused")
    reasons = [row.reason for row in bank.sekisho.audit(never.contract_id, "login.")]
    assert reasons == ["no active token, and the client wants one"] * 2
    assert bank.sekisho.desk.customers.login_record(one.contract_id).failures == 1


def test_wrong_codes_are_slowed_down_and_said_so(bank: Api, key: str) -> None:
    one = bank.sekisho.customer()
    for _ in range(4):
        assert check(bank, key, one, code=wrong(one)).problem == (422, "code-refused")
    told = check(bank, key, one, code=one.code())
    assert told.problem == (429, "throttled") and 50 <= int(told.headers["Retry-After"]) <= 60


def test_each_half_needs_its_scope(bank: Api) -> None:
    one = bank.sekisho.customer()
    passwords, codes = bank.key("passwords", Scope.CHECK_PASSWORD), bank.key("codes", Scope.CHECK_CODE)
    assert check(bank, passwords, one, password=one.password).status == 200
    assert check(bank, passwords, one, code=one.code()).problem == (403, "scope-missing")
    assert check(bank, codes, one, password=one.password, code=one.code()).problem == (403, "scope-missing")
    assert check(bank, codes, one, code=one.code()).status == 200, "nothing was spent before"


@pytest.mark.parametrize("fields", [{}, {"password": ""}, {"code": ""}, {"password": "x" * 513}, {"state": "x"}])
def test_what_is_not_of_the_form_is_no_attempt(bank: Api, key: str, fields: dict[str, str]) -> None:
    one = bank.sekisho.customer()
    assert check(bank, key, one, **fields).problem == (422, "ill-formed")
    assert check(bank, key, "\u3000", code="123456").problem == (422, "ill-formed")
    assert bank.sekisho.audit(one.contract_id, "login.") == []


def test_one_code_at_two_doors_at_once_is_one_success(bank: Api, key: str) -> None:
    one = bank.sekisho.customer()
    code = one.code()
    states = [bank.sekisho.login(one.contract_id, one.password).removeprefix("Access-Challenge ") for _ in range(4)]
    with ThreadPoolExecutor(20) as pool:
        by_api = [pool.submit(check, bank, key, one, code=code) for _ in range(8)]
        by_both = [pool.submit(check, bank, key, one, password=one.password, code=code) for _ in range(4)]
        by_radius = [pool.submit(bank.sekisho.login, one.contract_id, code, state=state) for state in states]
        accepted = sum(future.result().status == 200 for future in (*by_api, *by_both))
        accepted += sum(future.result() == "Access-Accept" for future in by_radius)
    assert accepted == 1
    assert len(bank.sekisho.audit(one.contract_id, "login.accepted")) == 1


def test_neither_password_nor_code_is_in_log_or_trail(bank: Api, key: str) -> None:
    one = bank.sekisho.customer("kuchinashi-no-hana")
    code = wrong(one)
    check(bank, key, one, password=one.password, code=code)
    check(bank, key, one, password="hirugao-no-hana")
    bank.sekisho.wait_for_log("door=api")
    said = bank.sekisho.log_text() + repr(bank.sekisho.audit(one.contract_id))
    for secret in ("kuchinashi", "hirugao", code):
        assert secret not in said


def test_the_log_has_a_line_of_each_login_and_one_more_of_what_was_refused(bank: Api, key: str) -> None:
    """Once two of each login, a thousand times a second: `log.verdicts` says which ones it tells of."""
    one, since = bank.sekisho.customer(), len(bank.sekisho.log_text())
    code = one.code()
    assert check(bank, key, one, code=code).status == 200
    assert check(bank, key, one, code=code).status == 422
    said = bank.sekisho.wait_for_log("status=422", since=since)[since:]
    assert [" verdict " in line or "request" in line for line in said.splitlines()].count(True) == 3
    assert said.count("door=api") == 2 and "status=200" not in said
