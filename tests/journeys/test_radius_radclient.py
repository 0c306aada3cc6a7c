"""The five modes as Debian's radclient walks them, with the codes that Debian's oathtool works out: over IPv4 and IPv6,
in Japanese and English. Neither program shares a line with Sekisho."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import update

from otp_core.accounts import Desk
from otp_core.audit import Event
from otp_core.first_factor.hashes import hash_password
from otp_core.imports.customers import read_attributes
from otp_core.messages import TEXTS, Text
from otp_core.model import Language
from otp_core.store.schema import customer
from otp_core.store.sqlite import driver
from sekisho.settings import Settings, load
from sekisho.wiring import cost_of
from tests.radius.tools import counted, heard, login, oath, radclient, received
from tests.radius_peer import Peers, access_request
from tests.sekisho import PASSWORD, SECRET, STAFF, Customer, Sekisho, client_table

MODES = {"challenge": 1, "append": 2, "auto": 3, "code": 4, "password": 5}
"""The client of each mode is 127.0.0.<number>; 127.0.0.6 speaks English, ::1 is a client as well."""

ATTRIBUTES = (
    'reply_attributes = { "Cisco-AVPair" = ["shell:priv-lvl=15", "ip:addr-pool=kinko"], "Filter-Id" = "営業店", '
    '"Tunnel-Type:1" = "VLAN", "Tunnel-Medium-Type:1" = "IEEE-802", "Tunnel-Private-Group-Id:1" = "42" }\n'
)
ACCEPT, REJECT, CHALLENGE = "Access-Accept", "Access-Reject", "Access-Challenge"


@pytest.fixture(scope="module")
def sekisho(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    clients = "".join(client_table(mode, f"127.0.0.{number}", mode) for mode, number in MODES.items())
    clients += client_table("english", "127.0.0.6", "challenge", language='"en"', prompt='"echo"') + ATTRIBUTES
    clients += client_table("v6", "::1", "challenge")
    clients += client_table("code is enough", "127.0.0.8", "challenge", without_password='"code"')
    clients += client_table("slow", "127.0.0.7", "challenge", reject_delay=4.0)
    one = Sekisho(tmp_path_factory.mktemp("modes"), clients=clients, listen=("127.0.0.1:0", "[::1]:0"))
    try:
        yield one.start()
        one.stop()
        counted(one)
        assert PASSWORD not in one.log_text()
        assert one.traceback() == ""
    finally:
        one.close()


def ask(sekisho: Sekisho, mode: str, user: str, user_password: str, state: str = "") -> str:
    """One request from the client of a mode; what radclient printed."""
    number = MODES.get(mode, 6)
    return radclient(sekisho.port, f"Packet-Src-IP-Address=127.0.0.{number},{login(user, user_password, state)}")


def verdict(sekisho: Sekisho, mode: str, user: str, user_password: str, state: str = "") -> str:
    return heard(ask(sekisho, mode, user, user_password, state))


def text(language: Language, what: Text) -> list[str]:
    return [TEXTS[language, what]]


# Five modes.


def test_mode_challenge_asks_for_the_code_and_lets_in_once(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    first = ask(sekisho, "challenge", one.contract_id, PASSWORD)
    assert heard(first) == CHALLENGE
    assert received(first, "Reply-Message") == text(Language.JA, Text.CHALLENGE)
    assert received(first, "Prompt") == ["No-Echo"]
    (state,) = received(first, "State")
    second = ask(sekisho, "challenge", one.contract_id, oath(one), state)
    assert heard(second) == ACCEPT
    assert received(second, "Reply-Message") == []
    assert verdict(sekisho, "challenge", one.contract_id, oath(one, 1), state) == REJECT, (
        "a State is good for one answer"
    )


def test_mode_challenge_over_ipv6(sekisho: Sekisho) -> None:
    one, port = sekisho.customer(), sekisho.ports[1]
    first = radclient(port, login(one.contract_id, PASSWORD), host="::1")
    assert heard(first) == CHALLENGE
    (state,) = received(first, "State")
    assert heard(radclient(port, login(one.contract_id, oath(one), state), host="::1")) == ACCEPT
    assert [row.source for row in sekisho.audit(one.contract_id, Event.LOGIN_ACCEPTED)] == ["::1"]


def test_mode_challenge_asks_again_in_other_words_and_then_refuses(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    (state,) = received(ask(sekisho, "challenge", one.contract_id, PASSWORD), "State")
    for _ in range(2):
        again = ask(sekisho, "challenge", one.contract_id, wrong(one), state)
        assert heard(again) == CHALLENGE
        assert received(again, "Reply-Message") == text(Language.JA, Text.CHALLENGE_AGAIN)
        (state,) = received(again, "State")
    last = ask(sekisho, "challenge", one.contract_id, wrong(one), state)
    assert heard(last) == REJECT
    assert received(last, "Reply-Message") == text(Language.JA, Text.REJECT)
    assert received(last, "State") == []


def test_an_english_client_is_asked_in_english_and_may_show_the_code(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    first = ask(sekisho, "english", one.contract_id, PASSWORD)
    assert received(first, "Reply-Message") == text(Language.EN, Text.CHALLENGE)
    assert received(first, "Prompt") == ["Echo"]
    (state,) = received(first, "State")
    again = ask(sekisho, "english", one.contract_id, wrong(one), state)
    assert received(again, "Reply-Message") == text(Language.EN, Text.CHALLENGE_AGAIN)
    assert received(ask(sekisho, "english", one.contract_id, "x"), "Reply-Message") == text(Language.EN, Text.REJECT)


def test_a_customers_own_language_goes_before_the_clients(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    with sekisho.store.work() as work:
        work.connection.execute(update(customer).where(customer.c.contract_id == one.contract_id).values(language="en"))
    first = ask(sekisho, "challenge", one.contract_id, PASSWORD)
    assert received(first, "Reply-Message") == text(Language.EN, Text.CHALLENGE)


def test_a_refusal_is_in_the_clients_language_so_that_it_tells_of_no_customer(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    with sekisho.store.work() as work:
        work.connection.execute(update(customer).where(customer.c.contract_id == one.contract_id).values(language="en"))
    for mode, user_password in (
        ("challenge", "x"),
        ("append", PASSWORD + wrong(one)),
        ("code", wrong(one)),
        ("password", "x"),
    ):
        for name in (one.contract_id, "nobody-at-all"):
            assert received(ask(sekisho, mode, name, user_password), "Reply-Message") == text(Language.JA, Text.REJECT)


def test_mode_append_wants_password_and_code_in_one(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    code = oath(one)
    assert verdict(sekisho, "append", one.contract_id, PASSWORD) == REJECT
    assert verdict(sekisho, "append", one.contract_id, code) == REJECT
    assert verdict(sekisho, "append", one.contract_id, "x" + code) == REJECT
    assert verdict(sekisho, "append", one.contract_id, PASSWORD + code) == ACCEPT
    assert verdict(sekisho, "append", one.contract_id, PASSWORD + code) == REJECT, "a code is good for one login"


def test_mode_auto_takes_both_in_one(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    assert verdict(sekisho, "auto", one.contract_id, PASSWORD + oath(one)) == ACCEPT


def test_mode_auto_asks_whoever_gives_the_password_alone(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    first = ask(sekisho, "auto", one.contract_id, PASSWORD)
    assert heard(first) == CHALLENGE
    assert verdict(sekisho, "auto", one.contract_id, oath(one), received(first, "State")[0]) == ACCEPT


def test_mode_code_takes_the_code_alone_once(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    code = oath(one)
    assert verdict(sekisho, "code", one.contract_id, wrong(one)) == REJECT
    assert verdict(sekisho, "code", one.contract_id, PASSWORD) == REJECT
    assert verdict(sekisho, "code", one.contract_id, code) == ACCEPT
    assert verdict(sekisho, "code", one.contract_id, code) == REJECT
    assert verdict(sekisho, "code", one.contract_id, one.next_code(code)) == ACCEPT, "the next step's is another one"


def test_mode_password_takes_the_password_alone(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    assert verdict(sekisho, "password", one.contract_id, PASSWORD) == ACCEPT
    assert verdict(sekisho, "password", one.contract_id, "x") == REJECT
    assert verdict(sekisho, "password", one.contract_id, PASSWORD + oath(one)) == REJECT


@pytest.mark.parametrize("mode", ["challenge", "append", "auto", "password"])
def test_without_a_token_the_password_is_enough(sekisho: Sekisho, mode: str) -> None:
    one = sekisho.customer(enrolled=False)
    assert verdict(sekisho, mode, one.contract_id, PASSWORD) == ACCEPT
    assert verdict(sekisho, mode, one.contract_id, "x") == REJECT


@pytest.mark.parametrize("mode", ["challenge", "append", "auto", "password"])
def test_a_customer_whose_password_is_not_kept_here_is_refused_where_one_is_asked(sekisho: Sekisho, mode: str) -> None:
    one = sekisho.customer(password="")
    for user_password in ("anything", "", "anything" + oath(one), oath(one)):
        assert verdict(sekisho, mode, one.contract_id, user_password) == REJECT
    assert verdict(sekisho, "code", one.contract_id, oath(one)) == ACCEPT, "none of it was an attempt at the code"


@pytest.mark.parametrize("mode", ["append", "code"])
def test_an_alias_is_answered_with_the_name_as_it_is_stored(sekisho: Sekisho, mode: str) -> None:
    one = sekisho.customer()
    opening = "" if mode == "code" else PASSWORD
    wide = one.contract_id.translate({ord("t"): "ｔ", ord("1"): "１"})
    aliased = ask(sekisho, mode, f" {wide} ", opening + oath(one))
    assert (heard(aliased), received(aliased, "User-Name")) == (ACCEPT, [one.contract_id])
    plain = ask(sekisho, mode, one.contract_id, opening + one.next_code(oath(one)))
    assert (heard(plain), received(plain, "User-Name")) == (ACCEPT, [])


def test_a_password_typed_as_the_name_stays_nowhere(sekisho: Sekisho) -> None:
    for mode in MODES:
        assert verdict(sekisho, mode, PASSWORD, "123456") == REJECT
    rows = sekisho.audit(PASSWORD)
    assert {row.actor for row in rows} == set(MODES)
    assert PASSWORD not in repr(sekisho.audit())


def test_in_mode_code_nobody_without_a_token_gets_in(sekisho: Sekisho) -> None:
    """The gateway says that it has checked the password; whether it has, nobody here can tell."""
    never, suspended, lost = sekisho.customer(enrolled=False), sekisho.customer(), sekisho.customer()
    sekisho.desk.enrolment.suspend(suspended.contract_id, None, STAFF)
    sekisho.desk.enrolment.report_lost(lost.contract_id, STAFF)
    for one in (never, suspended, lost):
        for user_password in ("", "anything", PASSWORD, oath(one)):
            assert verdict(sekisho, "code", one.contract_id, user_password) == REJECT
    for one in (never, suspended):
        assert verdict(sekisho, "challenge", one.contract_id, PASSWORD) == ACCEPT
        for mode in ("challenge", "append", "auto", "password"):
            assert verdict(sekisho, mode, one.contract_id, "") == REJECT


def test_where_the_code_is_enough_it_is_asked_for_and_still_needed(sekisho: Sekisho) -> None:
    one, without_token = sekisho.customer(password=""), sekisho.customer(password="", enrolled=False)
    where = "Packet-Src-IP-Address=127.0.0.8,"
    first = radclient(sekisho.port, where + login(one.contract_id, "anything"))
    assert heard(first) == CHALLENGE
    (state,) = received(first, "State")
    assert heard(radclient(sekisho.port, where + login(one.contract_id, oath(one), state))) == ACCEPT
    assert heard(radclient(sekisho.port, where + login(without_token.contract_id, "anything"))) == REJECT


@pytest.mark.parametrize("mode", MODES)
def test_a_stranger_and_a_wrong_password_get_the_same_answer(sekisho: Sekisho, mode: str) -> None:
    one = sekisho.customer()
    replies = [ask(sekisho, mode, user, "x") for user in (one.contract_id, f"nobody-{mode}")]
    assert [heard(printed) for printed in replies] == [REJECT, REJECT]
    first, second = (received(printed, "Reply-Message") for printed in replies)
    assert first == second == text(Language.JA, Text.REJECT)


def wrong(customer: Customer) -> str:
    """A code that fits none of the steps around now."""
    near = {oath(customer, steps) for steps in range(-3, 4)}
    return next(code for code in ("000000", "111111", "222222", "333333") if code not in near)


# What an acceptance brings.


def test_reply_attributes_arrive_as_they_are_set_vendors_included(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    first = ask(sekisho, "english", one.contract_id, PASSWORD)
    assert received(first, "Cisco-AVPair") == received(first, "Filter-Id") == []
    second = ask(sekisho, "english", one.contract_id, oath(one), received(first, "State")[0])
    assert received(second, "Cisco-AVPair") == ["shell:priv-lvl=15", "ip:addr-pool=kinko"]
    assert received(second, "Filter-Id") == ["営業店"]
    vlan = {"Tunnel-Type:1": "VLAN", "Tunnel-Medium-Type:1": "IEEE-802", "Tunnel-Private-Group-Id:1": "42"}
    assert {name: received(second, name) for name in vlan} == {name: [value] for name, value in vlan.items()}


def test_a_customers_own_attributes_come_with_the_acceptance_and_with_nothing_else(sekisho: Sekisho) -> None:
    name = "with-attributes"
    add_customer(sekisho.desk, sekisho.settings, name, {"Class": "0x00ff", "Session-Timeout": 3600})
    printed = ask(sekisho, "password", name, PASSWORD)
    assert (received(printed, "Class"), received(printed, "Session-Timeout")) == (["0x00ff"], ["3600"])
    printed = ask(sekisho, "password", name, "x")
    assert (heard(printed), received(printed, "Class")) == (REJECT, [])


def test_what_an_import_says_of_class_and_vlan_arrives_letter_by_letter(sekisho: Sekisho) -> None:
    text = "Class=OU=Sales;;Tunnel-Type:2=VLAN;Tunnel-Private-Group-Id:2=営業"
    attributes = read_attributes(text)
    assert attributes is not None
    add_customer(sekisho.desk, sekisho.settings, "in-a-vlan", dict(attributes))
    printed = ask(sekisho, "password", "in-a-vlan", PASSWORD)
    assert received(printed, "Class") == ["0x" + b"OU=Sales;".hex()]
    assert received(printed, "Tunnel-Type:2") == ["VLAN"]
    assert received(printed, "Tunnel-Private-Group-Id:2") == ["営業"]


def add_customer(desk: Desk, settings: Settings, name: str, attributes: dict[str, object]) -> None:
    hash_ = hash_password(PASSWORD.encode(), cost_of(settings))
    desk.customers.add(name, STAFF, password_hash=hash_, attributes=attributes)


def test_what_radclient_says_of_the_reply_is_right(sekisho: Sekisho) -> None:
    """radclient drops what does not verify: a reply that it shows was signed with the right secret."""
    one = sekisho.customer(enrolled=False)
    attributes = f"Packet-Src-IP-Address=127.0.0.5,{login(one.contract_id, PASSWORD)}"
    assert heard(radclient(sekisho.port, f"{attributes},Proxy-State=0x00ff,Proxy-State=0x31")) == ACCEPT
    printed = radclient(sekisho.port, f"{attributes},Proxy-State=0x00ff,Proxy-State=0x31")
    assert received(printed, "Proxy-State") == ["0x00ff", "0x31"]
    assert len(received(printed, "Message-Authenticator")) == 1


# Who is not heard.


def test_another_secret_is_silence(sekisho: Sekisho) -> None:
    since = len(sekisho.log_text())
    one = sekisho.customer(enrolled=False)
    attributes = f"Packet-Src-IP-Address=127.0.0.5,{login(one.contract_id, PASSWORD)}"
    assert heard(radclient(sekisho.port, attributes, secret="another-secret-entirely", wait=0.5)) == "silence"
    sekisho.wait_for_log("wrong Message-Authenticator: wrong secret likely", since=since)
    assert sekisho.audit(one.contract_id, "login.accepted") == []


def test_an_unsigned_request_is_silence(sekisho: Sekisho) -> None:
    one = sekisho.customer(enrolled=False)
    attributes = f"Packet-Src-IP-Address=127.0.0.5,{login(one.contract_id, PASSWORD)}"
    assert heard(radclient(sekisho.port, attributes, signed=False, wait=0.5)) == "silence"


def test_an_address_that_is_no_client_is_silence(sekisho: Sekisho) -> None:
    one = sekisho.customer(enrolled=False)
    attributes = f"Packet-Src-IP-Address=127.0.0.99,{login(one.contract_id, PASSWORD)}"
    assert heard(radclient(sekisho.port, attributes, wait=0.5)) == "silence"


# Retransmissions and Status-Server.


def test_identical_datagrams_are_one_attempt_and_one_refusal(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    attributes = f"Packet-Src-IP-Address=127.0.0.7,{login(one.contract_id, 'x')}"
    printed = radclient(sekisho.port, attributes, tries=6, wait=1)
    assert printed.count("Sent Access-Request") >= 3, "one a second, until the refusal at 4 s"
    assert heard(printed) == REJECT
    assert len(sekisho.audit(one.contract_id, "login.rejected")) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_status_server_is_answered(sekisho: Sekisho, host: str) -> None:
    port = sekisho.ports[1] if ":" in host else sekisho.ports[0]
    printed = radclient(port, "NAS-Identifier=test", host=host, kind="status")
    assert heard(printed) == ACCEPT
    assert len(received(printed, "Message-Authenticator")) == 1


@pytest.mark.sqlite_files
def test_status_server_is_silent_while_the_store_takes_no_write_and_comes_back(sekisho: Sekisho) -> None:
    with locked(sekisho):
        since = len(sekisho.log_text())
        time.sleep(4.2)  # a lock counts after three seconds, and an answer is remembered for one
        assert heard(radclient(sekisho.port, "NAS-Identifier=test", kind="status")) == "silence"
        sekisho.wait_for_log("not healthy", since=since)
    time.sleep(1.1)
    assert heard(radclient(sekisho.port, "NAS-Identifier=test", kind="status")) == ACCEPT


@pytest.mark.sqlite_files
def test_a_login_hears_nothing_while_the_store_is_locked_and_its_next_try_is_answered(sekisho: Sekisho) -> None:
    one = sekisho.customer(enrolled=False)
    attributes = f"Packet-Src-IP-Address=127.0.0.5,{login(one.contract_id, PASSWORD)}"
    with locked(sekisho):
        since = len(sekisho.log_text())
        assert heard(radclient(sekisho.port, attributes, wait=1)) == "silence"
        sekisho.wait_for_log("no login can be answered", since=since)
    assert heard(radclient(sekisho.port, attributes)) == ACCEPT


@contextmanager
def locked(sekisho: Sekisho) -> Iterator[None]:
    """Another process holds the store's write lock."""
    lock = driver.connect(sekisho.database, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        lock.execute("ROLLBACK")
        lock.close()


# What an answer's time tells.


def test_a_stranger_is_refused_in_the_time_of_a_wrong_password(tmp_path: Path) -> None:
    """Whoever measures learns no contract ID: a password is hashed for strangers too. A hash takes about 10 ms here.

    Interleaved, and by the fastest tenth of each: what else the machine does makes single answers slower, never all."""
    more = "memory_kib = 8192\ntime_cost = 2\n[throttle]\npassword_first_delay = 0.0\npassword_max_delay = 0.0"
    sekisho = Sekisho(tmp_path, clients=client_table("gateway", "127.0.0.1", "password"))
    sekisho.config.write_text(sekisho.config.read_text().replace("memory_kib = 256\ntime_cost = 1\n", f"{more}\n"))
    sekisho.settings = load(sekisho.config, environment={}).settings
    assert sekisho.settings.password.memory_kib == 8192
    try:
        known = sekisho.customer(enrolled=False).contract_id
        sekisho.start()
        with Peers(sekisho.where) as peers:
            times: dict[str, list[float]] = {known: [], "nobody": []}
            for _ in range(100):
                for user, taken in times.items():
                    began = time.perf_counter()
                    reply = peers.ask(access_request(user, "x", secret=SECRET))
                    taken.append(time.perf_counter() - began)
                    assert reply is not None
                    assert reply.name == REJECT
    finally:
        sekisho.close()
    wrong_password, stranger = (statistics.quantiles(taken, n=10)[0] for taken in times.values())
    assert 0.85 < stranger / wrong_password < 1 / 0.85
