"""Logins with codes that are known elsewhere, as a gateway has them: radclient, Sekisho, and VIP behind."""

from __future__ import annotations

import re
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from otp_core.first_factor.hashes import hash_password
from otp_core.store.unit_of_work import NewCustomer
from sekisho.wiring import cost_of
from tests.radius_peer import access_request
from tests.sekisho import PASSWORD, SECRET, STAFF, Sekisho, running
from tests.verifiers.vip_stub import UNFINISHED_TLS, Credential, Running, running_vip

pytestmark = UNFINISHED_TLS


@pytest.fixture(scope="module")
def vip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_vip(tmp_path_factory.mktemp("vip")) as one:
        yield one


@pytest.fixture(scope="module")
def sekisho(vip: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    folder = tmp_path_factory.mktemp("bank")
    with running(folder, "append", more=vip.section(timeout="1.5"), workers=2) as one:
        yield one


def enrolled(sekisho: Sekisho, vip: Running, contract_id: str, credential_id: str) -> Credential:
    """A customer whose token is VIP's, as an import of both leaves them."""
    app = vip.vip.credential(credential_id)
    sekisho.desk.tokens.import_elsewhere([credential_id], "vip", STAFF)
    with sekisho.store.work() as work:
        record = work.token(credential_id)
    assert record is not None
    hash_ = hash_password(PASSWORD.encode(), cost_of(sekisho.settings))
    sekisho.desk.customers.import_rows([NewCustomer(contract_id, hash_, token_key=record.key)], [credential_id], STAFF)
    vip.vip.users[contract_id] = {credential_id}
    return app


def failures(sekisho: Sekisho, contract_id: str) -> int:
    with sekisho.store.work() as work:
        record = work.login_record(contract_id)
    assert record is not None
    return record.failures


def wrong(app: Credential) -> str:
    shown = {app.code(steps) for steps in range(-3, 4)}
    return next(text for text in ("000000", "111111", "222222") if text not in shown)


def figures(sekisho: Sekisho) -> dict[tuple[str, str], float]:
    """The calls of VIP, by their name and outcome, as Prometheus reads them."""
    port = re.findall(r"listening\s+at=127.0.0.1:(\d+) door=metrics", sekisho.log_text())[-1]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    families = {one.name: one for one in text_string_to_metric_families(text)}
    calls = {(one.labels["call"], one.labels["outcome"]): one.value for one in families["sekisho_vip_calls"].samples}
    seconds = {one.name: one.value for one in families["sekisho_vip_seconds"].samples if "le" not in one.labels}
    assert seconds["sekisho_vip_seconds_count"] == sum(v for (_, outcome), v in calls.items() if outcome != "no-answer")
    assert "sekisho_vip_in_flight" in families and "VSMT" not in text and "hanako" not in text
    return calls


def test_calls_of_vip_are_counted_by_what_they_led_to(vip: Running, tmp_path: Path) -> None:
    more = vip.section(timeout="0.5") + '\n[metrics]\nlisten = "127.0.0.1:0"\n'
    with running(tmp_path, "append", more=more) as one:
        app = enrolled(one, vip, "hanako", "VSMT90000091")
        assert one.login("hanako", PASSWORD + app.code()) == "Access-Accept"
        assert one.login("hanako", PASSWORD + wrong(app)) == "Access-Reject"
        vip.vip.delay = 2.0
        try:
            assert one.login("hanako", PASSWORD + app.code(1), wait=2) == "silence"
        finally:
            vip.vip.delay = 0.0
        call = "AuthenticateCredentials"
        wanted = {(call, "done"): 1.0, (call, "wrong-code"): 1.0, (call, "no-answer"): 1.0}
        end = time.monotonic() + 10  # written once a second
        while (found := figures(one)) != wanted and time.monotonic() < end:
            time.sleep(0.2)
        assert found == wanted


def test_a_code_of_vip_lets_in_once(sekisho: Sekisho, vip: Running) -> None:
    app = enrolled(sekisho, vip, "taro", "VSMT90000001")
    code = app.code()
    assert sekisho.login("taro", PASSWORD + code) == "Access-Accept"
    assert sekisho.login("taro", PASSWORD + wrong(app)) == "Access-Reject"
    assert failures(sekisho, "taro") == 1
    assert sekisho.login("taro", PASSWORD + app.code(1)) == "Access-Accept"
    assert failures(sekisho, "taro") == 0
    # The service says yes to everything (an Enterprise Gateway's business continuity): here each code is good once.
    vip.vip.accepts_all = True
    try:
        assert sekisho.login("taro", PASSWORD + code) == "Access-Reject"
        assert [row.reason for row in sekisho.audit("taro")][-1] == "reused code"
    finally:
        vip.vip.accepts_all = False
    assert set(vip.vip.called()) == {"AuthenticateCredentials"}


def test_the_code_of_another_token_of_the_same_user_is_no_code(sekisho: Sekisho, vip: Running) -> None:
    enrolled(sekisho, vip, "jiro", "VSMT90000002")
    other = vip.vip.credential("VSMT90000003")
    vip.vip.users["jiro"].add("VSMT90000003")
    assert sekisho.login("jiro", PASSWORD + other.code()) == "Access-Reject"


def test_an_outage_is_silence_and_counts_for_nobody(sekisho: Sekisho, vip: Running) -> None:
    app = enrolled(sekisho, vip, "hana", "VSMT90000004")
    vip.vip.delay = 3.0
    try:
        assert sekisho.login("hana", PASSWORD + wrong(app), wait=2) == "silence"
    finally:
        vip.vip.delay = 0.0
    assert failures(sekisho, "hana") == 0
    assert sekisho.login("hana", PASSWORD + app.code(1)) == "Access-Accept"
    text = sekisho.log_text()
    assert "VIP gives no answer" in text and app.code() not in text and PASSWORD not in text


def test_a_token_that_is_locked_there_is_a_case_for_staff(sekisho: Sekisho, vip: Running) -> None:
    app = enrolled(sekisho, vip, "kenji", "VSMT90000005")
    app.state = "locked"
    assert sekisho.login("kenji", PASSWORD + app.code()) == "Access-Reject"
    assert failures(sekisho, "kenji") == 0
    assert [row.reason for row in sekisho.audit("kenji")][-1] == "token locked, says its verifier"


def test_copies_of_a_request_are_one_question(sekisho: Sekisho, vip: Running) -> None:
    """The same datagram reaches both workers: VIP would find the code used the second time."""
    app = enrolled(sekisho, vip, "yuki", "VSMT90000006")
    vip.vip.calls.clear()
    vip.vip.delay = 0.3
    request = access_request("yuki", PASSWORD + app.code(), secret=SECRET).octets
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(5)
            for _ in range(6):
                one.sendto(request, sekisho.where)
                time.sleep(0.02)
            codes = {one.recv(4096)[0]}
            one.settimeout(0.6)
            try:
                while True:
                    codes.add(one.recv(4096)[0])
            except TimeoutError:
                pass
    finally:
        vip.vip.delay = 0.0
    assert codes == {2}
    assert vip.vip.called() == ["AuthenticateCredentials"]


def test_others_do_not_wait_for_a_slow_vip(sekisho: Sekisho, vip: Running) -> None:
    app = enrolled(sekisho, vip, "mika", "VSMT90000007")
    here = sekisho.customer()
    vip.vip.delay = 1.0
    try:
        slow = threading.Thread(target=lambda: sekisho.login("mika", PASSWORD + app.code()))
        slow.start()
        begun = time.monotonic()
        assert sekisho.login(here.contract_id, here.password + here.code()) == "Access-Accept"
        assert time.monotonic() - begun < 0.9
        slow.join()
    finally:
        vip.vip.delay = 0.0
