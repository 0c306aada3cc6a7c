"""Enrolment, suspension and change of device with tokens of VIP: on the customers' pages, at the command line, and what
VIP knows of it afterwards.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from otp_core.store.queries import customer_line, token_line
from otp_core.store.verifier_tasks import open_tasks
from tests.sekisho import STAFF, Customer
from tests.verifiers.vip_stub import UNFINISHED_TLS, Credential, Running, running_vip
from tests.web.portal import Portal, PortalClient, portal

pytestmark = UNFINISHED_TLS


@pytest.fixture(scope="module")
def vip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_vip(tmp_path_factory.mktemp("vip")) as one:
        yield one


@pytest.fixture(scope="module")
def bank(vip: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    more = vip.section(patterns='["SYMC*"]', timeout="1.0") + "[throttle]\nfree_failures = 100\n"
    with portal(tmp_path_factory.mktemp("portal"), login=more) as opened:
        yield opened


def use_of(bank: Portal, one: Customer) -> tuple[str, str | None]:
    with bank.sekisho.store.read() as connection:
        line = customer_line(connection, one.contract_id)
    assert line is not None
    return line.otp_use, line.tokens[0].token_id if line.tokens else None


def comes(true: Callable[[], bool], seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def enrol(client: PortalClient, app: Credential, code: str) -> str:
    shown = f"{app.credential_id[:4]} {app.credential_id[4:8]} {app.credential_id[8:]}".lower()
    return client.post("/enrol/token", token_id=shown, code=code, go="enrol").path


def enrolled(bank: Portal, vip: Running, credential_id: str) -> tuple[Customer, Credential, PortalClient]:
    one, client, app = bank.sekisho.customer(enrolled=False), PortalClient(bank), vip.vip.credential(credential_id)
    client.sign_in(one)
    assert enrol(client, app, app.code()) == "/enrol/done"
    return one, app, client


def test_a_token_that_is_in_no_inventory_is_enrolled_by_its_code(bank: Portal, vip: Running) -> None:
    one, client, app = bank.sekisho.customer(enrolled=False), PortalClient(bank), vip.vip.credential("SYMC00000001")
    client.sign_in(one)
    assert enrol(client, app, "000000" if app.code() != "000000" else "111111") == "/enrol/token"
    with bank.sekisho.store.read() as connection:
        assert token_line(connection, "SYMC00000001") is None, "only a right code brings it in"
    assert enrol(client, app, app.code()) == "/enrol/done"
    assert use_of(bank, one) == ("active", "SYMC00000001")
    assert vip.vip.users[one.contract_id] == {"SYMC00000001"}
    with bank.sekisho.store.read() as connection:
        line = token_line(connection, "SYMC00000001")
    assert line is not None and line.verifier == "vip"
    state = bank.sekisho.login(one.contract_id, one.password).split()[1]
    assert bank.sekisho.login(one.contract_id, app.code(1), state=state) == "Access-Accept"


def test_token_ids_of_no_pattern_and_of_nobody_at_vip_are_one_answer(bank: Portal, vip: Running) -> None:
    one, client, app = bank.sekisho.customer(enrolled=False), PortalClient(bank), vip.vip.credential("VSST00000001")
    client.sign_in(one)
    assert enrol(client, app, app.code()) == "/enrol/token"
    assert client.at is not None
    said = client.at.wrong
    assert enrol(client, Credential("SYMC09999999"), "123456") == "/enrol/token"
    assert client.at.wrong == said
    assert one.contract_id not in vip.vip.users or not vip.vip.users[one.contract_id]


def test_a_suspension_takes_the_token_away_there_and_coming_back_gives_it(bank: Portal, vip: Running) -> None:
    one, app, _ = enrolled(bank, vip, "SYMC00000002")
    client = PortalClient(bank)
    client.sign_in(one, "suspend")
    assert client.post("/suspend/code", code=app.code(1)).path == "/suspend/done"
    assert use_of(bank, one)[0] == "suspended"
    assert comes(lambda: vip.vip.users[one.contract_id] == set())
    bank.sekisho.desk.enrolment.resume(one.contract_id, STAFF)
    assert comes(lambda: vip.vip.users[one.contract_id] == {"SYMC00000002"})


def test_a_lost_token_is_refused_here_at_once_and_there_as_soon_as_vip_answers(bank: Portal, vip: Running) -> None:
    one = enrolled(bank, vip, "SYMC00000003")[0]
    vip.vip.answers["RemoveCredential"] = lambda request_id: vip.vip.reply("RemoveCredential", request_id, "6005")
    bank.sekisho.desk.enrolment.report_lost(one.contract_id, STAFF)
    assert bank.sekisho.login(one.contract_id, one.password) == "Access-Reject"
    bank.sekisho.wait_for_log("a verifier could not be told")
    with bank.sekisho.store.read() as connection:
        waiting = open_tasks(connection)
    assert (waiting.waiting, waiting.failed) == (1, 1)
    assert "its status is 6005" in (waiting.error or "")
    vip.vip.answers.clear()
    assert comes(lambda: vip.vip.users[one.contract_id] == set())


@pytest.mark.parametrize("leaving", [False, True])
def test_a_device_changes_from_vip_to_vip_or_to_a_token_of_ours(bank: Portal, vip: Running, leaving: bool) -> None:
    one, app, _ = enrolled(bank, vip, f"SYMC0000001{int(leaving)}")
    new = vip.vip.credential("SYMC00000020")
    here = bank.sekisho.customer(enrolled=False)
    client = PortalClient(bank)
    assert client.sign_in(one).path == "/enrol/old-code"
    assert client.post("/enrol/old-code", code="000000" if app.code(1) != "000000" else "111111").path != "/enrol/token"
    assert client.post("/enrol/old-code", code=app.code(1)).path == "/enrol/token"
    vip.vip.delay = 2.0  # down, in the middle
    if not leaving:
        answer = client.post("/enrol/token", token_id="SYMC00000020", code=new.code(), go="enrol")
        assert answer.status == 503
        assert use_of(bank, one) == ("active", app.credential_id)
    vip.vip.delay = 0.0
    client.get("/enrol/token")
    if leaving:
        assert client.post("/enrol/token", token_id=here.token_id, code=here.code(), go="enrol").path == "/enrol/done"
        assert comes(lambda: vip.vip.users[one.contract_id] == set())
    else:
        assert enrol(client, new, new.code(1)) == "/enrol/done"
        assert comes(lambda: vip.vip.users[one.contract_id] == {"SYMC00000020"})
    assert use_of(bank, one) == ("active", here.token_id if leaving else "SYMC00000020")


def test_staff_enrols_and_imports_at_the_command_line(bank: Portal, vip: Running) -> None:
    def sekisho(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sekisho", "--config", str(bank.sekisho.config), *words]
        return subprocess.run(command, input=typed, capture_output=True, text=True, check=False, timeout=60)

    one, app = bank.sekisho.customer(enrolled=False), vip.vip.credential("VSMT70000001")
    done = sekisho("token", "import", "-", "--verifier", "vip", typed="token_id\nvsmt 7000-0001\n")
    assert (done.returncode, "1" in done.stdout) == (0, True), done.stderr
    refused = sekisho("token", "import", "-", "--verifier", "vip", typed="VSMT70000002,3132333435363738,totp,6,30\n")
    assert refused.returncode == 1 and "has further columns" in refused.stderr + refused.stdout
    unknown = sekisho("token", "import", "-", "--verifier", "vpi", typed="VSMT70000002\n")
    assert unknown.returncode == 2 and "no [[verifiers]] has the name 'vpi'" in " ".join(unknown.stderr.split())
    done = sekisho("enrol", one.contract_id, "VSMT70000001", "--stdin", typed=f"{app.code()}\n")
    assert done.returncode == 0, done.stderr
    assert vip.vip.users[one.contract_id] == {"VSMT70000001"}
    resync = sekisho("resync", one.contract_id, "--stdin", typed=f"{app.code(1)}\n{app.code(2)}\n")
    assert resync.returncode == 1 and "vip verifies this token's codes" in resync.stderr
