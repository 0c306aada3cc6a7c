"""Idempotency-Key, by a real server: done once and answered the same, in a race and behind a kill -9."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from otp_core.model import OtpUse, Role
from tests.sekisho import STAFF, Customer
from tests.web.api import Api, Told, api, wrong

CUSTOMERS = "/api/v1/customers"


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    throttle = "[throttle]\nfirst_delay = 60.0\nmax_delay = 60.0\n"
    with api(tmp_path_factory.mktemp("api"), more="requests_per_second = 10000", other=throttle) as running:
        yield running


@pytest.fixture(scope="module")
def key(bank: Api) -> str:
    return bank.key("call-centre")


def act(bank: Api, key: str, one: Customer, name: str, once: str, **fields: str) -> Told:
    path = f"{CUSTOMERS}/{one.contract_id}/{name}"
    return bank.ask("POST", path, fields, key=key, raw=None, Idempotency_Key=once)


def same(one: Told, other: Told) -> bool:
    return (one.status, one.json, one.headers.get_content_type()) == (
        other.status,
        other.json,
        other.headers.get_content_type(),
    )


def test_what_was_done_is_answered_again_and_not_done_again(bank: Api, key: str) -> None:
    one = bank.sekisho.customer()
    first = act(bank, key, one, "suspend", "k-1", code=(code := one.code()))
    bank.sekisho.desk.enrolment.resume(one.contract_id, STAFF)
    again = act(bank, key, one, "suspend", "k-1", code=code)
    assert first.status == 200 and same(first, again)
    assert bank.sekisho.desk.customers.login_record(one.contract_id).otp_use == OtpUse.ACTIVE
    assert len(bank.sekisho.audit(one.contract_id, "otp.suspended")) == 1
    assert act(bank, key, one, "suspend", "k-2").status == 200, "another key is another request"


def test_what_was_refused_is_answered_again_and_not_counted_again(bank: Api, key: str) -> None:
    one = bank.sekisho.customer()
    code = wrong(one)
    told = [act(bank, key, one, "suspend", "wrong", code=code) for _ in range(3)]
    assert told[0].problem == (422, "code-refused") and same(told[0], told[1]) and same(told[0], told[2])
    assert bank.sekisho.desk.customers.login_record(one.contract_id).failures == 1
    assert act(bank, key, one, "resume", "state").problem == (409, "not-now")
    bank.sekisho.desk.enrolment.suspend(one.contract_id, None, STAFF)
    assert act(bank, key, one, "resume", "state").problem == (409, "not-now")


def test_what_is_only_for_now_is_not_kept(bank: Api, key: str) -> None:
    one = bank.sekisho.customer()
    for number in range(4):
        act(bank, key, one, "suspend", f"wrong-{number}", code=wrong(one))
    code = one.code()
    assert act(bank, key, one, "suspend", "later", code=code).problem == (429, "throttled")
    bank.sekisho.desk.customers.unlock(one.contract_id, STAFF)
    assert act(bank, key, one, "suspend", "later", code=code).status == 200


def test_a_key_is_for_one_request_of_one_program_at_one_path(bank: Api, key: str) -> None:
    one, other = bank.sekisho.customer(), bank.sekisho.customer()
    assert act(bank, key, one, "suspend", "k", reason="asked by telephone").status == 200
    told = act(bank, key, one, "suspend", "k", reason="asked in writing")
    assert told.problem == (422, "idempotency-key-reused")
    path = f"{CUSTOMERS}/{one.contract_id}/suspend"
    spaced = b'{ "ticket": "",\n "reason": "asked by telephone" }'
    assert bank.ask("POST", path, raw=spaced, key=key, Idempotency_Key="k").status == 200, "the same, written otherwise"
    assert act(bank, key, other, "suspend", "k").status == 200
    assert act(bank, key, one, "resume", "k").status == 200
    assert act(bank, bank.key("another"), one, "suspend", "k").status == 200


@pytest.mark.parametrize("text", ["", "two words", "x" * 129, "h\u00e9"])
def test_what_is_no_key_is_refused_and_nothing_is_done(bank: Api, key: str, text: str) -> None:
    one = bank.sekisho.customer()
    told = act(bank, key, one, "suspend", text)
    assert told.problem == (422, "ill-formed") and told.json["errors"][0]["field"] == "Idempotency-Key"
    assert bank.sekisho.desk.customers.login_record(one.contract_id).otp_use == OtpUse.ACTIVE


def test_a_permit_is_shown_again_to_who_asked_and_kept_sealed(bank: Api, key: str) -> None:
    one = bank.sekisho.customer()
    bank.sekisho.desk.enrolment.report_lost(one.contract_id, STAFF)
    first, again = (act(bank, key, one, "permit-reissue", "permit") for _ in range(2))
    assert first.status == 200 and same(first, again)
    assert len(bank.sekisho.audit(one.contract_id, "otp.reissue-permitted")) == 1
    octets = b"".join(path.read_bytes() for path in bank.sekisho.folder.glob("s.db*"))
    assert first.json["permit"].encode() not in octets


def test_a_request_for_a_second_person_is_answered_again_with_its_place(tmp_path: Path) -> None:
    console = '[console]\nlisten = "127.0.0.1:0"\n'
    with api(tmp_path, other=console) as bank:
        bank.sekisho.desk.staff.add("kato", Role.SUPERVISOR, STAFF)
        key, one = bank.key("call-centre"), bank.sekisho.customer()
        bank.sekisho.desk.enrolment.report_lost(one.contract_id, STAFF)
        first, again = (act(bank, key, one, "permit-reissue", "permit") for _ in range(2))
        assert first.status == 202 and same(first, again)
        assert first.headers["Location"] == again.headers["Location"]


def test_in_a_race_it_is_done_once_and_everybody_hears_the_same(bank: Api, key: str) -> None:
    for _ in range(3):
        one = bank.sekisho.customer()
        code = one.code()
        with ThreadPoolExecutor(16) as pool:
            asked = [pool.submit(act, bank, key, one, "suspend", "race", code=code) for _ in range(16)]
            told = [future.result() for future in asked]
        assert {(answer.status, json.dumps(answer.json)) for answer in told} == {(200, json.dumps(told[0].json))}
        assert len(bank.sekisho.audit(one.contract_id, "otp.suspended")) == 1


def test_a_server_that_is_killed_has_done_it_with_its_answer_or_not_at_all(tmp_path: Path) -> None:
    """kill -9 at another moment of the act each time; then the same request again."""
    with api(tmp_path) as bank:
        key, before = bank.key("call-centre"), 0
        for number in range(8):
            one = bank.sekisho.customer()
            heard: list[Told] = []

            def ask(one: Customer = one, number: int = number, heard: list[Told] = heard) -> None:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    heard.append(act(bank, key, one, "suspend", f"k-{number}"))

            asking = threading.Thread(target=ask)
            asking.start()
            time.sleep(0.002 * number)
            bank.sekisho.kill()
            asking.join(30)
            bank.sekisho.start()
            before += len(bank.sekisho.audit(one.contract_id, "otp.suspended"))
            told = act(bank, key, one, "suspend", f"k-{number}")
            assert told.status == 200, told.json
            assert len(bank.sekisho.audit(one.contract_id, "otp.suspended")) == 1
            assert all(same(told, answer) for answer in heard)
        assert before < 8, "some were killed before"
