"""The API with a token of VIP: the act waits for VIP's answer, and is done or not at all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.verifiers.vip_stub import UNFINISHED_TLS, Running, running_vip
from tests.web.api import Api, api

pytestmark = UNFINISHED_TLS


@pytest.fixture(scope="module")
def vip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_vip(tmp_path_factory.mktemp("vip")) as one:
        yield one


@pytest.fixture(scope="module")
def bank(vip: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    other = vip.section(patterns='["SYMC*"]', timeout="1.0") + "[throttle]\nfree_failures = 100\n"
    with api(tmp_path_factory.mktemp("api"), other=other) as running:
        yield running


def test_an_act_is_done_with_what_vip_says_or_not_at_all(bank: Api, vip: Running) -> None:
    key, one, app = bank.key("call-centre"), bank.sekisho.customer(enrolled=False), vip.vip.credential("SYMC00000001")
    path, customers = f"/api/v1/customers/{one.contract_id}/enrol", bank.sekisho.desk.customers
    asked = {"token_id": "symc 0000 0001", "code": app.code()}
    vip.vip.delay = 2.0
    told = bank.post(path, asked, key)
    vip.vip.delay = 0.0
    assert told.status == 503
    assert customers.login_record(one.contract_id).otp_use == "none"
    vip.vip.calls.clear()
    # The same act once more: at VIP the first one may have arrived.
    asked["code"] = app.code(1)
    told = bank.post(path, asked, key, Idempotency_Key="k1")
    assert (told.status, told.json["done"]) == (200, "otp.enrolled"), told.json
    again = bank.post(path, asked, key, Idempotency_Key="k1")
    assert again.json == told.json and vip.vip.called() == ["CreateUser", "AddCredential"], "VIP was asked once"
    suspend = bank.post(f"/api/v1/customers/{one.contract_id}/suspend", {"code": "000000"}, key)
    assert suspend.type.endswith("code-refused"), suspend.json
    assert customers.login_record(one.contract_id).failures == 1
    resync = {"first": app.code(1), "second": app.code(2)}
    told = bank.post(f"/api/v1/customers/{one.contract_id}/resynchronise", resync, key)
    assert told.status == 409, told.json
    token = bank.ask("GET", "/api/v1/tokens/SYMC00000001", key=key)
    assert token.json["verifier"] == "vip"
