"""The five modes as Debian's radclient walks them, with the codes that Debian's oathtool works out: over IPv4 and IPv6,
in Japanese and English. Neither program shares a line with Sekisho."""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otp_core.audit import Event
from otp_core.build import cost_of
from otp_core.desk import Desk
from otp_core.first_factor.hashes import hash_password
from otp_core.messages import TEXTS, Text
from otp_core.model import Language
from otp_core.settings import Settings, load
from tests.radius.tools import counted, heard, login, oath, radclient, received
from tests.radius_peer import Peers, access_request
from tests.sekisho import PASSWORD, SECRET, STAFF, Customer, Sekisho, client_table

MODES = {"challenge": 1, "append": 2, "auto": 3, "code": 4, "password": 5}
"""The client of each mode is 127.0.0.<number>; 127.0.0.6 speaks English, ::1 is a client as well."""

ATTRIBUTES = (
    'reply_attributes = { "Cisco-AVPair" = ["shell:priv-lvl=15", "ip:addr-pool=kinko"], "Filter-Id" = "営業店" }\n'
)
ACCEPT, REJECT, CHALLENGE = "Access-Accept", "Access-Reject", "Access-Challenge"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
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
        assert "Traceback" not in one.log_text()
    finally:
        one.close()


def ask(house: Sekisho, mode: str, user: str, typed: str, state: str = "") -> str:
    """One request from the client of a mode; what radclient printed."""
    number = MODES.get(mode, 6)
    return radclient(house.port, f"Packet-Src-IP-Address=127.0.0.{number},{login(user, typed, state)}")


def verdict(house: Sekisho, mode: str, user: str, typed: str, state: str = "") -> str:
    return heard(ask(house, mode, user, typed, state))


def text(language: Language, what: Text) -> list[str]:
    return [TEXTS[language, what]]


# Five modes.


def test_mode_challenge_asks_for_the_code_and_lets_in_once(house: Sekisho) -> None:
    one = house.customer()
    first = ask(house, "challenge", one.contract_id, PASSWORD)
    assert heard(first) == CHALLENGE
    assert received(first, "Reply-Message") == text(Language.JA, Text.CHALLENGE)
    assert received(first, "Prompt") == ["No-Echo"]
    (state,) = received(first, "State")
    second = ask(house, "challenge", one.contract_id, oath(one), state)
    assert heard(second) == ACCEPT
    assert received(second, "Reply-Message") == []
    assert verdict(house, "challenge", one.contract_id, oath(one, 1), state) == REJECT, "a State is good for one answer"


def test_mode_challenge_over_ipv6(house: Sekisho) -> None:
    one, port = house.customer(), house.ports[1]
    first = radclient(port, login(one.contract_id, PASSWORD), host="::1")
    assert heard(first) == CHALLENGE
    (state,) = received(first, "State")
    assert heard(radclient(port, login(one.contract_id, oath(one), state), host="::1")) == ACCEPT
    assert [row.source for row in house.audit(one.contract_id, Event.LOGIN_ACCEPTED)] == ["::1"]


def test_mode_challenge_asks_again_in_other_words_and_then_refuses(house: Sekisho) -> None:
    one = house.customer()
    (state,) = received(ask(house, "challenge", one.contract_id, PASSWORD), "State")
    for _ in range(2):
        again = ask(house, "challenge", one.contract_id, wrong(one), state)
        assert heard(again) == CHALLENGE
        assert received(again, "Reply-Message") == text(Language.JA, Text.CHALLENGE_AGAIN)
        (state,) = received(again, "State")
    last = ask(house, "challenge", one.contract_id, wrong(one), state)
    assert heard(last) == REJECT
    assert received(last, "Reply-Message") == text(Language.JA, Text.REJECT)
    assert received(last, "State") == []


def test_an_english_client_is_asked_in_english_and_may_show_the_code(house: Sekisho) -> None:
    one = house.customer()
    first = ask(house, "english", one.contract_id, PASSWORD)
    assert received(first, "Reply-Message") == text(Language.EN, Text.CHALLENGE)
    assert received(first, "Prompt") == ["Echo"]
    (state,) = received(first, "State")
    again = ask(house, "english", one.contract_id, wrong(one), state)
    assert received(again, "Reply-Message") == text(Language.EN, Text.CHALLENGE_AGAIN)
    assert received(ask(house, "english", one.contract_id, "x"), "Reply-Message") == text(Language.EN, Text.REJECT)


def test_a_customers_own_language_goes_before_the_clients(house: Sekisho) -> None:
    one = house.customer()
    with sqlite3.connect(house.database) as store:
        store.execute("UPDATE customer SET language = 'en' WHERE contract_id = ?", (one.contract_id,))
    first = ask(house, "challenge", one.contract_id, PASSWORD)
    assert received(first, "Reply-Message") == text(Language.EN, Text.CHALLENGE)


def test_a_refusal_is_in_the_clients_language_so_that_it_tells_of_no_customer(house: Sekisho) -> None:
    one = house.customer()
    with sqlite3.connect(house.database) as store:
        store.execute("UPDATE customer SET language = 'en' WHERE contract_id = ?", (one.contract_id,))
    for mode, typed in (("challenge", "x"), ("append", PASSWORD + wrong(one)), ("code", wrong(one)), ("password", "x")):
        for name in (one.contract_id, "nobody-at-all"):
            assert received(ask(house, mode, name, typed), "Reply-Message") == text(Language.JA, Text.REJECT)


def test_mode_append_wants_password_and_code_in_one(house: Sekisho) -> None:
    one = house.customer()
    code = oath(one)
    assert verdict(house, "append", one.contract_id, PASSWORD) == REJECT
    assert verdict(house, "append", one.contract_id, code) == REJECT
    assert verdict(house, "append", one.contract_id, "x" + code) == REJECT
    assert verdict(house, "append", one.contract_id, PASSWORD + code) == ACCEPT
    assert verdict(house, "append", one.contract_id, PASSWORD + code) == REJECT, "a code is good for one login"


def test_mode_auto_takes_both_in_one(house: Sekisho) -> None:
    one = house.customer()
    assert verdict(house, "auto", one.contract_id, PASSWORD + oath(one)) == ACCEPT


def test_mode_auto_asks_whoever_gives_the_password_alone(house: Sekisho) -> None:
    one = house.customer()
    first = ask(house, "auto", one.contract_id, PASSWORD)
    assert heard(first) == CHALLENGE
    assert verdict(house, "auto", one.contract_id, oath(one), received(first, "State")[0]) == ACCEPT


def test_mode_code_takes_the_code_alone_once(house: Sekisho) -> None:
    one = house.customer()
    code = oath(one)
    assert verdict(house, "code", one.contract_id, wrong(one)) == REJECT
    assert verdict(house, "code", one.contract_id, PASSWORD) == REJECT
    assert verdict(house, "code", one.contract_id, code) == ACCEPT
    assert verdict(house, "code", one.contract_id, code) == REJECT
    assert verdict(house, "code", one.contract_id, one.next_code(code)) == ACCEPT, "the next step's is another one"


def test_mode_password_takes_the_password_alone(house: Sekisho) -> None:
    one = house.customer()
    assert verdict(house, "password", one.contract_id, PASSWORD) == ACCEPT
    assert verdict(house, "password", one.contract_id, "x") == REJECT
    assert verdict(house, "password", one.contract_id, PASSWORD + oath(one)) == REJECT


@pytest.mark.parametrize("mode", ["challenge", "append", "auto", "password"])
def test_without_a_token_the_password_is_enough(house: Sekisho, mode: str) -> None:
    one = house.customer(enrolled=False)
    assert verdict(house, mode, one.contract_id, PASSWORD) == ACCEPT
    assert verdict(house, mode, one.contract_id, "x") == REJECT


@pytest.mark.parametrize("mode", ["challenge", "append", "auto", "password"])
def test_a_customer_whose_password_is_not_kept_here_is_refused_where_one_is_asked(house: Sekisho, mode: str) -> None:
    one = house.customer(password="")
    for typed in ("anything", "", "anything" + oath(one), oath(one)):
        assert verdict(house, mode, one.contract_id, typed) == REJECT
    assert verdict(house, "code", one.contract_id, oath(one)) == ACCEPT, "none of it was an attempt at the code"


def test_where_the_code_is_enough_it_is_asked_for_and_still_needed(house: Sekisho) -> None:
    one, without_token = house.customer(password=""), house.customer(password="", enrolled=False)
    where = "Packet-Src-IP-Address=127.0.0.8,"
    first = radclient(house.port, where + login(one.contract_id, "anything"))
    assert heard(first) == CHALLENGE
    (state,) = received(first, "State")
    assert heard(radclient(house.port, where + login(one.contract_id, oath(one), state))) == ACCEPT
    assert heard(radclient(house.port, where + login(without_token.contract_id, "anything"))) == REJECT


@pytest.mark.parametrize("mode", MODES)
def test_a_stranger_and_a_wrong_password_get_the_same_answer(house: Sekisho, mode: str) -> None:
    one = house.customer()
    replies = [ask(house, mode, user, "x") for user in (one.contract_id, f"nobody-{mode}")]
    assert [heard(printed) for printed in replies] == [REJECT, REJECT]
    first, second = (received(printed, "Reply-Message") for printed in replies)
    assert first == second == text(Language.JA, Text.REJECT)


def wrong(customer: Customer) -> str:
    """A code that fits none of the steps around now."""
    near = {oath(customer, steps) for steps in range(-3, 4)}
    return next(code for code in ("000000", "111111", "222222", "333333") if code not in near)


# What an acceptance brings.


def test_reply_attributes_arrive_as_they_are_set_vendors_included(house: Sekisho) -> None:
    one = house.customer()
    first = ask(house, "english", one.contract_id, PASSWORD)
    assert received(first, "Cisco-AVPair") == received(first, "Filter-Id") == []
    second = ask(house, "english", one.contract_id, oath(one), received(first, "State")[0])
    assert received(second, "Cisco-AVPair") == ["shell:priv-lvl=15", "ip:addr-pool=kinko"]
    assert received(second, "Filter-Id") == ["営業店"]


def test_a_customers_own_attributes_come_with_the_acceptance_and_with_nothing_else(house: Sekisho) -> None:
    name = "with-attributes"
    add_customer(house.desk, house.settings, name, {"Class": "0x00ff", "Session-Timeout": 3600})
    printed = ask(house, "password", name, PASSWORD)
    assert (received(printed, "Class"), received(printed, "Session-Timeout")) == (["0x00ff"], ["3600"])
    printed = ask(house, "password", name, "x")
    assert (heard(printed), received(printed, "Class")) == (REJECT, [])


def add_customer(desk: Desk, settings: Settings, name: str, attributes: dict[str, object]) -> None:
    hash_ = hash_password(PASSWORD.encode(), cost_of(settings))
    desk.add_customer(name, STAFF, password_hash=hash_, attributes=attributes)


def test_what_radclient_says_of_the_reply_is_right(house: Sekisho) -> None:
    """radclient drops what does not verify: a reply that it shows was signed with the right secret."""
    one = house.customer(enrolled=False)
    attributes = f"Packet-Src-IP-Address=127.0.0.5,{login(one.contract_id, PASSWORD)}"
    assert heard(radclient(house.port, f"{attributes},Proxy-State=0x00ff,Proxy-State=0x31")) == ACCEPT
    printed = radclient(house.port, f"{attributes},Proxy-State=0x00ff,Proxy-State=0x31")
    assert received(printed, "Proxy-State") == ["0x00ff", "0x31"]
    assert len(received(printed, "Message-Authenticator")) == 1


# Who is not heard.


def test_another_secret_is_silence(house: Sekisho) -> None:
    since = len(house.log_text())
    one = house.customer(enrolled=False)
    attributes = f"Packet-Src-IP-Address=127.0.0.5,{login(one.contract_id, PASSWORD)}"
    assert heard(radclient(house.port, attributes, secret="another-secret-entirely", wait=0.5)) == "silence"
    house.wait_for_log("wrong Message-Authenticator: is the shared secret right?", since=since)
    assert house.audit(one.contract_id, "login.accepted") == []


def test_an_unsigned_request_is_silence(house: Sekisho) -> None:
    one = house.customer(enrolled=False)
    attributes = f"Packet-Src-IP-Address=127.0.0.5,{login(one.contract_id, PASSWORD)}"
    assert heard(radclient(house.port, attributes, signed=False, wait=0.5)) == "silence"


def test_an_address_that_is_no_client_is_silence(house: Sekisho) -> None:
    one = house.customer(enrolled=False)
    attributes = f"Packet-Src-IP-Address=127.0.0.99,{login(one.contract_id, PASSWORD)}"
    assert heard(radclient(house.port, attributes, wait=0.5)) == "silence"


# Retransmissions and Status-Server.


def test_identical_datagrams_are_one_attempt_and_one_refusal(house: Sekisho) -> None:
    one = house.customer()
    attributes = f"Packet-Src-IP-Address=127.0.0.7,{login(one.contract_id, 'x')}"
    printed = radclient(house.port, attributes, tries=6, wait=1)
    assert printed.count("Sent Access-Request") >= 3, "one a second, until the refusal at 4 s"
    assert heard(printed) == REJECT
    assert len(house.audit(one.contract_id, "login.rejected")) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_status_server_is_answered(house: Sekisho, host: str) -> None:
    port = house.ports[1] if ":" in host else house.ports[0]
    printed = radclient(port, "NAS-Identifier=test", host=host, kind="status")
    assert heard(printed) == ACCEPT
    assert len(received(printed, "Message-Authenticator")) == 1


def test_status_server_is_silent_while_the_store_takes_no_write_and_comes_back(house: Sekisho) -> None:
    with locked(house):
        since = len(house.log_text())
        time.sleep(4.2)  # a lock counts after three seconds, and an answer is remembered for one
        assert heard(radclient(house.port, "NAS-Identifier=test", kind="status")) == "silence"
        house.wait_for_log("not healthy", since=since)
    time.sleep(1.1)
    assert heard(radclient(house.port, "NAS-Identifier=test", kind="status")) == ACCEPT


def test_a_login_hears_nothing_while_the_store_is_locked_and_its_next_try_is_answered(house: Sekisho) -> None:
    one = house.customer(enrolled=False)
    attributes = f"Packet-Src-IP-Address=127.0.0.5,{login(one.contract_id, PASSWORD)}"
    with locked(house):
        since = len(house.log_text())
        assert heard(radclient(house.port, attributes, wait=1)) == "silence"
        house.wait_for_log("no login can be answered", since=since)
    assert heard(radclient(house.port, attributes)) == ACCEPT


@contextmanager
def locked(house: Sekisho) -> Iterator[None]:
    """Another process holds the store's write lock."""
    lock = sqlite3.connect(house.database, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        lock.execute("ROLLBACK")
        lock.close()


# What an answer's time tells.


def test_a_stranger_is_refused_in_the_time_of_a_wrong_password(tmp_path: Path) -> None:
    """Whoever measures learns no contract ID: a password is hashed for strangers too. A hash takes about 10 ms here."""
    more = "memory_kib = 8192\ntime_cost = 2\n[throttle]\npassword_first_delay = 0.0\npassword_max_delay = 0.0"
    house = Sekisho(tmp_path, clients=client_table("gateway", "127.0.0.1", "password"))
    house.config.write_text(house.config.read_text().replace("memory_kib = 256\ntime_cost = 1\n", f"{more}\n"))
    house.settings = load(house.config, environment={}).settings
    assert house.settings.password.memory_kib == 8192
    try:
        known = house.customer(enrolled=False).contract_id
        house.start()
        with Peers(house.where) as peers:
            times: dict[str, list[float]] = {known: [], "nobody": []}
            for _ in range(40):
                for user, taken in times.items():
                    began = time.perf_counter()
                    reply = peers.ask(access_request(user, "x", secret=SECRET))
                    taken.append(time.perf_counter() - began)
                    assert reply is not None
                    assert reply.name == REJECT
    finally:
        house.close()
    wrong_password, stranger = (statistics.median(taken) for taken in times.values())
    assert 0.5 < stranger / wrong_password < 2
