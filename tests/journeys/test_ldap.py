"""A bank whose passwords are in a directory: radclient -> Sekisho -> slapd, in every mode; the pages' sign-in too."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from otp_core.accounts.results import Refused
from otp_core.audit import Event
from otp_core.messages import PROBLEM_TEXTS
from otp_core.model import Language, TokenSpec
from pam_module.frames import ResultCode
from tests.ldap.slapd import BASE, PASSWORD, SERVICE, SERVICE_PASSWORD, Slapd, dn_of, slapd
from tests.pam.host import login as log_in_by_pam
from tests.pam.host import wait_for
from tests.radius.tools import heard, login, oath, radclient, received
from tests.radius_peer import Peers, access_request
from tests.sekisho import SECRET, STAFF, Customer, Sekisho, client_table, free_port
from tests.web.portal import Portal, PortalClient

ACCEPT, REJECT, CHALLENGE = "Access-Accept", "Access-Reject", "Access-Challenge"
MODES = {"challenge": 1, "append": 2, "auto": 3, "password": 4, "explains": 5, "by attribute": 6}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with slapd(tmp_path_factory.mktemp("slapd")) as server:
        yield server


def first_factor(server: Slapd, name: str, *more: str) -> str:
    return "\n".join(
        (
            "[[first_factors]]",
            f'name = "{name}"',
            'type = "ldap"',
            f'urls = ["{server.url}"]',
            f'ca_file = "{server.authority.file}"',
            f'bind_dn = "{SERVICE}"',
            'bind_password_file = "bind.password"',
            f'base = "{BASE}"',
            'filter = "(&(objectClass=inetOrgPerson)(|(uid={user})(mail={user})))"',
            "timeout = 4.5",  # it answers, on a machine with other tests too
            *more,
            "",
        )
    )


@pytest.fixture(scope="module")
def sekisho(tmp_path_factory: pytest.TempPathFactory, server: Slapd) -> Iterator[Sekisho]:
    folder = tmp_path_factory.mktemp("bank")
    (folder / "bind.password").write_text(SERVICE_PASSWORD + "\n")
    (folder / "bind.password").chmod(0o600)
    usual = {"first_factor": '"directory"', "reject_delay": 0.1}
    by_attribute = usual | {"first_factor": '"by attribute"'}
    clients = "".join(client_table(mode, f"127.0.0.{MODES[mode]}", mode, **usual) for mode in list(MODES)[:4])
    clients += client_table("explains", "127.0.0.5", "password", **usual, explain_password_problems="true")
    clients += client_table("by attribute", "127.0.0.6", "challenge", **by_attribute)
    port, socket_path = free_port(), Path(tempfile.mkdtemp(prefix="sk")) / "s"
    doors = f'[metrics]\nlisten = "127.0.0.1:{free_port()}"\n'
    doors += (
        f'[web]\nlisten = "127.0.0.1:{port}"\npublic_origin = "http://localhost:{port}"\n'
        f'first_factor = "by attribute"\n[pam]\nsocket = "{socket_path}"\n'
        '[[pam.profiles]]\nname = "default"\nlanguage = "en"\nreject_delay = 0.1\nfirst_factor = "directory"\n'
    )
    more = doors + first_factor(server, "directory")
    more += first_factor(server, "by attribute", 'customer_attribute = "employeeNumber"')
    one = Sekisho(folder, clients=clients, more=more, workers=2)
    try:
        one.start()
        wait_for(socket_path)
        yield one
        one.stop()
        said = one.log_text()
        assert PASSWORD not in said and SERVICE_PASSWORD not in said
        assert one.traceback() == ""
    finally:
        one.close()
        shutil.rmtree(socket_path.parent)


@pytest.fixture(scope="module")
def taro(sekisho: Sekisho) -> Customer:
    return holder(sekisho, "taro")


def holder(sekisho: Sekisho, contract_id: str, *, token: bool = True) -> Customer:
    """A customer without a password here."""
    number = len(sekisho.audit())
    one = Customer(contract_id, PASSWORD, f"VSMT{number:08d}", contract_id.encode().ljust(20, b"x"))
    sekisho.desk.customers.add(contract_id, STAFF)
    if token:
        sekisho.desk.tokens.import_rows([(one.token_id, one.seed, TokenSpec())], STAFF)
        sekisho.desk.enrolment.enrol(contract_id, one.token_id, one.previous_code(), STAFF)
    return one


def ask(sekisho: Sekisho, mode: str, user: str, password: str, state: str = "", wait: float = 8) -> str:
    source = f"Packet-Src-IP-Address=127.0.0.{MODES[mode]},"
    return radclient(sekisho.port, source + login(user.replace("\\", "\\\\"), password, state), wait=wait)


def test_the_code_is_asked_for_behind_the_directorys_password(sekisho: Sekisho, taro: Customer) -> None:
    assert heard(ask(sekisho, "challenge", "taro", "not-it")) == REJECT
    first = ask(sekisho, "challenge", "taro", PASSWORD)
    assert heard(first) == CHALLENGE
    [state] = received(first, "State")
    assert heard(ask(sekisho, "challenge", "taro", oath(taro), state)) == ACCEPT


def test_password_and_code_in_one_text_are_one_bind(sekisho: Sekisho, server: Slapd) -> None:
    hanako = holder(sekisho, "hanako")
    before = len(server.binds(dn_of("hanako")))
    code = oath(hanako)
    assert heard(ask(sekisho, "append", "hanako", PASSWORD + "000000")) == REJECT
    time.sleep(0.3)
    assert heard(ask(sekisho, "append", "hanako", PASSWORD + code)) == ACCEPT
    assert heard(ask(sekisho, "append", "hanako", "not-it" + code)) == REJECT
    assert len(server.binds(dn_of("hanako"))) - before == 3


def test_mode_auto_takes_one_reading(sekisho: Sekisho, server: Slapd) -> None:
    jiro = holder(sekisho, "jiro")
    before = len(server.binds(dn_of("jiro")))
    assert heard(ask(sekisho, "auto", "jiro", PASSWORD + oath(jiro))) == ACCEPT
    assert heard(ask(sekisho, "auto", "jiro", PASSWORD)) == CHALLENGE
    assert heard(ask(sekisho, "auto", "jiro", PASSWORD + "000000")) == REJECT
    assert sekisho.audit("jiro")[-1].reason == "wrong code"
    assert len(server.binds(dn_of("jiro"))) - before == 3


def test_whichever_name_is_typed_it_is_one_customer_in_both_rounds(sekisho: Sekisho) -> None:
    holder(sekisho, "K-0001", token=False)
    for typed in ("taro", "BANK\\taro", "taro@bank.example", "TARO@Bank.Example"):
        printed = ask(sekisho, "by attribute", typed, PASSWORD)
        assert (heard(printed), received(printed, "User-Name")) == (ACCEPT, ["K-0001"])
    assert [row.event for row in sekisho.audit("K-0001", Event.LOGIN_ACCEPTED)] == [Event.LOGIN_ACCEPTED] * 4
    hanako = holder(sekisho, "K-0002")
    [state] = received(ask(sekisho, "by attribute", "hanako", PASSWORD), "State")
    printed = ask(sekisho, "by attribute", "BANK\\hanako", oath(hanako), state)
    assert (heard(printed), received(printed, "User-Name")) == (ACCEPT, ["K-0002"])


@pytest.mark.parametrize(("password", "heard"), [(PASSWORD, ACCEPT), ("not-it", REJECT)])
def test_all_copies_of_a_request_are_one_bind_whichever_worker_they_reach(
    sekisho: Sekisho, server: Slapd, password: str, heard: str
) -> None:
    one = holder(sekisho, f"copied-{heard[-6:].lower()}", token=False)
    before = len(server.binds(dn_of(one.contract_id)))
    packet = access_request(one.contract_id, password, secret=SECRET)
    with Peers(("127.0.0.1", sekisho.port), source="127.0.0.4") as peers:
        replies = {reply.name for reply in peers.ask_all([packet] * 20, wait=0.8) if reply}
    assert (replies, len(server.binds(dn_of(one.contract_id))) - before) == ({heard}, 1)


@pytest.mark.usefixtures("taro")
def test_an_account_that_is_nobodys_customer_is_told_from_a_wrong_password_inside_alone(sekisho: Sekisho) -> None:
    unknown, wrong = ask(sekisho, "password", "shiro", PASSWORD), ask(sekisho, "password", "taro", "not-it")
    nobody = ask(sekisho, "password", "nobody", PASSWORD)
    assert [heard(one) for one in (unknown, wrong, nobody)] == [REJECT] * 3
    assert received(unknown, "Reply-Message") == received(wrong, "Reply-Message") == received(nobody, "Reply-Message")
    assert [row.reason for row in sekisho.audit("shiro")] == ["unknown customer"]
    assert sekisho.audit("taro")[-1].reason == "wrong password"


@pytest.mark.parametrize(
    ("uid", "reason", "code"),
    [
        ("expired", "password expired, says the first factor", "password-expired"),
        ("reset", "password has to be changed, says the first factor", "password-must-change"),
        ("locked", "account locked, says the first factor", "account-locked-there"),
    ],
)
def test_the_state_of_an_account_is_told_inside_and_outside_only_where_it_is_wanted(
    sekisho: Sekisho, uid: str, reason: str, code: str
) -> None:
    holder(sekisho, uid, token=False)
    usual, explained = ask(sekisho, "password", uid, PASSWORD), ask(sekisho, "explains", uid, PASSWORD)
    assert (heard(usual), heard(explained)) == (REJECT, REJECT)
    assert received(usual, "Reply-Message") == received(ask(sekisho, "password", "taro", "not-it"), "Reply-Message")
    assert received(explained, "Reply-Message") == [PROBLEM_TEXTS[Language.JA, code]]
    assert [row.reason for row in sekisho.audit(uid, Event.LOGIN_REJECTED)] == [reason] * 2


def test_an_outage_is_silence_and_no_wrong_password_and_ends_by_itself(
    sekisho: Sekisho, server: Slapd, taro: Customer
) -> None:
    before = len(sekisho.audit())
    server.stop()
    try:
        with ThreadPoolExecutor(5) as pool:
            found = list(pool.map(lambda _: heard(ask(sekisho, "password", "taro", PASSWORD, wait=0.7)), range(5)))
        assert (found, len(sekisho.audit())) == (["silence"] * 5, before)
    finally:
        server.start()
    assert heard(ask(sekisho, "challenge", "taro", PASSWORD)) == CHALLENGE
    for _ in range(40):  # whichever of the two workers has noticed the outage
        if "a directory's server answers again" in sekisho.log_text():
            break
        assert heard(ask(sekisho, "challenge", "taro", PASSWORD)) == CHALLENGE
    sekisho.wait_for_log("a directory's server answers again")
    assert "refuses connections" in sekisho.log_text()


@pytest.mark.usefixtures("taro")
def test_twenty_customers_at_once_share_the_connections(sekisho: Sekisho, server: Slapd) -> None:
    before = len(server.binds(SERVICE))
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda _: heard(ask(sekisho, "challenge", "taro", PASSWORD)), range(20)))
    assert found == [CHALLENGE] * 20
    assert len(server.binds(SERVICE)) - before <= 2 * 8


# The other doors


def pages(sekisho: Sekisho) -> PortalClient:
    assert sekisho.settings.web is not None
    return PortalClient(Portal(sekisho, sekisho.settings.web.listen.port))


def known_to_both(sekisho: Sekisho) -> None:
    """The customer whose account is jiro, without a token: added by whichever test comes first."""
    with suppress(Refused):
        holder(sekisho, "K-0003", token=False)


def signed_in(sekisho: Sekisho, typed: str, password: str = PASSWORD) -> tuple[int, str, str]:
    """What the page says: status, title, what is wrong."""
    client = pages(sekisho)
    answer = client.post("/enrol", contract_id=typed, password=password, key="")
    return answer.status, answer.title, answer.wrong


def test_customers_sign_in_to_the_pages_with_the_directorys_password_by_any_name(sekisho: Sekisho) -> None:
    known_to_both(sekisho)
    for typed in ("jiro", "jiro@bank.example"):
        status, title, wrong = signed_in(sekisho, typed)
        assert (status, wrong) == (200, "") and "nrol" in title
    with ThreadPoolExecutor(3) as pool:  # each refusal takes a second
        refused = list(pool.map(lambda typed: signed_in(sekisho, typed, "not-it"), ("jiro", "nobody", "saburo")))
    assert len(set(refused)) == 1 and refused[0][2]
    assert sekisho.audit("K-0003")[-1].reason == "wrong password, or too soon after one"


def test_a_pam_profile_asks_the_directory(sekisho: Sekisho) -> None:
    goro = holder(sekisho, "goro")
    assert sekisho.settings.pam is not None
    path = sekisho.settings.pam.socket
    went = log_in_by_pam(path, "goro", PASSWORD, goro.code())
    assert (went.code, went.roles) == (ResultCode.SUCCESS, ["password", "otp"])
    assert log_in_by_pam(path, "goro", "not-it", "000000").code == ResultCode.AUTH_ERR


def test_an_outage_is_a_page_of_its_own_and_authinfo_unavail(sekisho: Sekisho, server: Slapd) -> None:
    assert sekisho.settings.pam is not None
    server.stop()
    try:
        status, title, _ = signed_in(sekisho, "jiro")
        assert status == 503 and title.startswith("This is not possible at the moment")
        assert log_in_by_pam(sekisho.settings.pam.socket, "goro", PASSWORD).code == ResultCode.UNAVAILABLE
    finally:
        server.start()
    assert signed_in(sekisho, "jiro")[0] == 200


def test_the_metrics_tell_how_the_directory_answers_and_name_no_customer(sekisho: Sekisho, server: Slapd) -> None:
    assert heard(ask(sekisho, "password", "taro", "not-it")) == REJECT
    assert sekisho.settings.metrics is not None
    url = f"http://{sekisho.settings.metrics.listen}/metrics"
    server_label = f'server="localhost:{server.tls_port}",upstream="directory"'
    wanted = [
        f'sekisho_upstream_logins_total{{outcome="reject",{server_label}}} ',
        f"sekisho_upstream_server_dead{{{server_label}}} ",
        'sekisho_upstream_seconds_count{upstream="directory"} ',
        'sekisho_upstream_in_flight{upstream="directory"} 0',
    ]
    end = time.monotonic() + 10
    while True:
        with urllib.request.urlopen(url, timeout=5) as answer:
            said = answer.read().decode()
        if all(one in said for one in wanted):
            break
        assert time.monotonic() < end, [one for one in wanted if one not in said]
        time.sleep(0.2)
    assert "taro" not in said


def test_an_explanation_finds_out_whose_name_it_is_as_the_login_does(sekisho: Sekisho, server: Slapd) -> None:
    def explained(client: str, name: str) -> str:
        command = [sys.executable, "-m", "sekisho", "--config", str(sekisho.config), "explain", "login", name]
        done = subprocess.run([*command, "--client", client], capture_output=True, timeout=60, check=False)
        return (done.stdout + done.stderr).decode()

    known_to_both(sekisho)
    before = len(server.binds(dn_of("jiro")))
    for typed in ("jiro", "BANK\\jiro"):
        said = explained("by attribute", typed)
        assert "K-0003" in said and "Access-Accept" in said, said
        assert f"{typed} was typed, and this is the customer K-0003" in said
    assert "unknown customer" in explained("by attribute", "nobody-of-the-directory")
    assert len(server.binds(dn_of("jiro"))) == before, "nobody is bound as the customer"
