"""Shadow mode: FreeRADIUS is the old server and answers, radclient is the gateway, and ours is compared beside it."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from otp_core.login.obstacles import Obstacle, Old, Part
from otp_core.store.schema import customer, token
from otp_core.store.shadow_logins import Compared, note
from tests.journeys.command_line import run
from tests.radius.tools import heard, oath, radclient, received
from tests.radius_peer import access_request, read_reply
from tests.sekisho import PASSWORD, SECRET, STAFF, Sekisho, client_table, free_port
from tests.upstreams.freeradius import ATTRIBUTES, FreeRadius, block_of_page, freeradius, settings_of

ACCEPT, REJECT, CHALLENGE = "Access-Accept", "Access-Reject", "Access-Challenge"

OLD = r"""
		if (&Calling-Station-Id == "barred") {
			update control {
				&Auth-Type := Reject
			}
		}
		if (&NAS-Identifier == "challenge") {
			if (&State == 0x636f6465 && &User-Password =~ /^[0-9]{6}$/) {
				update control {
					&Cleartext-Password := "%{User-Password}"
				}
			}
			elsif (!&State && &User-Password == "@password") {
				update reply {
					&Message-Authenticator := 0x00
					&State := 0x636f6465
					&Reply-Message := "Code of the old server?"
				}
				update control {
					&Response-Packet-Type := Access-Challenge
				}
				handled
			}
		}
		elsif (&User-Password =~ /^@password[0-9]{6}$/) {
			update control {
				&Cleartext-Password := "%{User-Password}"
			}
		}
""".replace("@password", PASSWORD)
"""The old server takes the password of everybody, and any six digits for a code."""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    with freeradius(tmp_path_factory.mktemp("old"), attributes=ATTRIBUTES, questions=OLD) as one:
        yield one


def tables(*modes: str) -> str:
    return "".join(
        client_table(mode, "127.0.0.0/8", mode, nas_identifier=f'"{mode}"', shadow='"core"', reject_delay=1.0)
        for mode in modes
    )


@pytest.fixture
def sekisho(old: FreeRadius, tmp_path: Path) -> Iterator[Sekisho]:
    one = Sekisho(tmp_path, clients=tables("append", "challenge", "auto"), more=settings_of(old.port), workers=2)
    try:
        yield one.start()
    finally:
        one.close()


def ask(sekisho: Sekisho, client: str, name: str, text: str, more: str = "") -> str:
    return radclient(sekisho.port, f'User-Name="{name}",User-Password="{text}",NAS-Identifier="{client}"{more}')


def report(sekisho: Sekisho, client: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What the command says: the counts, and its customers by their contract IDs."""
    command = ["--config", str(sekisho.config), "shadow", "report", "--client", client, "--json", "--customers"]
    done = run(command)
    assert done.code == 0, done.err
    first, *rest = map(json.loads, done.out.splitlines())
    return first, {one["contract_id"]: one for one in rest}


def until(
    sekisho: Sekisho, client: str, seen: Callable[[dict[str, dict[str, Any]]], bool]
) -> dict[str, dict[str, Any]]:
    """The report's customers, as soon as they are so: it is written beside the logins, every few seconds."""
    end = time.monotonic() + 20
    while not seen(found := report(sekisho, client)[1]):
        assert time.monotonic() < end, found
        time.sleep(0.2)
    return found


def state_of_store(sekisho: Sekisho) -> list[tuple[object, ...]]:
    """What a login would change, if it counted or spent anything."""
    with sekisho.store.read() as connection:
        tokens = connection.execute(select(token.c.key, token.c.last_step, token.c.drift, token.c.last_at)).all()
        customers = connection.execute(select(customer.c.key, customer.c.failures, customer.c.locked_at)).all()
    return [tuple(one) for one in (*tokens, *customers)]


def logins_seen(customers: dict[str, dict[str, Any]], number: int) -> bool:
    return bool(sum(one["logins"] + one["refused"] for one in customers.values()) == number)


def test_the_report_says_who_is_safe_and_why_the_others_are_not(sekisho: Sekisho) -> None:
    safe, once = sekisho.customer(), sekisho.customer()
    tokenless, other_password = sekisho.customer(enrolled=False), sekisho.customer("another password")
    locked, wrong, lost = sekisho.customer(), sekisho.customer(), sekisho.customer()
    sekisho.desk.enrolment.report_lost(lost.contract_id, STAFF)
    with sekisho.store.work() as work:
        here = customer.c.contract_id == locked.contract_id
        work.connection.execute(customer.update().where(here).values(locked_at=int(time.time() * 1000)))
    before, audited = state_of_store(sekisho), len(sekisho.audit())
    for one in (safe, safe, once, tokenless, other_password, locked, lost):
        assert heard(ask(sekisho, "append", one.contract_id, PASSWORD + oath(one))) == ACCEPT
    assert heard(ask(sekisho, "append", wrong.contract_id, PASSWORD + "000000")) == ACCEPT
    assert heard(ask(sekisho, "append", "hanako", PASSWORD + "123456")) == ACCEPT
    assert heard(ask(sekisho, "append", "stranger", "guess")) == REJECT
    found = until(sekisho, "append", lambda customers: logins_seen(customers, 9))
    assert {name: one["obstacle"] for name, one in found.items()} == {
        safe.contract_id: None,
        once.contract_id: "one-login-seen",
        tokenless.contract_id: "no-token",
        other_password.contract_id: "password-differs",
        locked.contract_id: "locked",
        lost.contract_id: "token-lost",
        wrong.contract_id: "code-wrong",
        "hanako": "not-known",
    }
    counts, _ = report(sekisho, "append")
    assert (counts["customers"], counts["safe"]) == (8, 1)
    assert {one["obstacle"]: one["customers"] for one in counts["obstacles"]}["locked"] == 1
    assert state_of_store(sekisho) == before, "nothing is spent, and nothing counted"
    assert len(sekisho.audit()) == audited


def test_a_customer_who_was_put_right_becomes_safe(sekisho: Sekisho) -> None:
    one = sekisho.customer(enrolled=False)
    ask(sekisho, "append", one.contract_id, PASSWORD + oath(one))
    until(sekisho, "append", lambda customers: customers.get(one.contract_id, {}).get("obstacle") == "no-token")
    sekisho.desk.enrolment.enrol(one.contract_id, one.token_id, one.previous_code(), STAFF)
    for _ in range(2):
        ask(sekisho, "append", one.contract_id, PASSWORD + oath(one))
    found = until(sekisho, "append", lambda customers: logins_seen(customers, 3))
    assert found[one.contract_id]["safe"]
    assert found[one.contract_id]["agreed"] == 2


def test_questions_of_the_old_server_are_relayed_as_they_are(sekisho: Sekisho, old: FreeRadius) -> None:
    one, tokenless = sekisho.customer(), sekisho.customer(enrolled=False)
    before = len(old.asked(one.contract_id))
    for who in (one, one, tokenless):
        first = ask(sekisho, "challenge", who.contract_id, PASSWORD)
        assert heard(first) == CHALLENGE
        assert received(first, "State") == ["0x636f6465"]
        assert received(first, "Reply-Message") == ["Code of the old server?"]
        second = ask(sekisho, "challenge", who.contract_id, oath(who), ",State=0x636f6465")
        assert heard(second) == ACCEPT
    found = until(sekisho, "challenge", lambda customers: logins_seen(customers, 3))
    assert found[one.contract_id]["safe"]
    assert found[tokenless.contract_id]["obstacle"] == "no-token"
    assert len(old.asked(one.contract_id)) - before == 4


def test_the_whole_answer_comes_back_keys_hidden_anew(sekisho: Sekisho, old: FreeRadius) -> None:
    one = sekisho.customer()
    more = ',Proxy-State=0x00ff,Calling-Station-Id="203.0.113.7",Cisco-AVPair="a=b"'
    printed = ask(sekisho, "append", one.contract_id, PASSWORD + oath(one), more)
    assert received(printed, "Class") == ["0x6f6e65", "0x74776f"]
    assert received(printed, "Cisco-AVPair") == ["shell:priv-lvl=15", "ip:addr-pool=kinko"]
    assert received(printed, "Session-Timeout") == ["60"]
    assert received(printed, "MS-MPPE-Send-Key") == ["0x00112233445566778899aabbccddeeff"]
    assert received(printed, "Tunnel-Password:1") == ["through the tunnel"]
    assert received(printed, "Proxy-State") == ["0x00ff"]
    packet = old.asked(one.contract_id)[-1]
    assert 'Calling-Station-Id = "203.0.113.7"' in packet and 'Cisco-AVPair = "a=b"' in packet
    assert len(re.findall("Proxy-State", packet)) == 2


def test_a_refusal_is_not_delayed_again_and_one_that_we_would_not_make_is_told(sekisho: Sekisho) -> None:
    one, barred = sekisho.customer(), sekisho.customer()
    begun = time.monotonic()
    assert heard(ask(sekisho, "append", one.contract_id, "wrong" + oath(one))) == REJECT
    assert time.monotonic() - begun < 0.9, "reject_delay is 1 s here, and 0 at the old server"
    text, station = PASSWORD + oath(barred), ',Calling-Station-Id="barred"'
    assert heard(ask(sekisho, "append", barred.contract_id, text, station)) == REJECT
    found = until(sekisho, "append", lambda customers: logins_seen(customers, 2))
    assert found[one.contract_id]["obstacle"] == "no-login-seen"
    assert (found[one.contract_id]["refused"], found[one.contract_id]["let_in"]) == (1, 0)
    assert found[barred.contract_id]["obstacle"] == "let-in-here"


def test_a_retransmission_is_asked_and_counted_once(sekisho: Sekisho, old: FreeRadius) -> None:
    """Two workers read from one socket, so copies reach both."""
    one = sekisho.customer()
    before = len(old.asked(one.contract_id))
    packet = access_request(one.contract_id, PASSWORD + oath(one), secret=SECRET, more=[(32, b"append")])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(5)
        for _ in range(20):
            peer.sendto(packet.octets, ("127.0.0.1", sekisho.port))
        assert read_reply(packet, peer.recv(5000)).name == ACCEPT
    last = sekisho.customer()
    ask(sekisho, "append", last.contract_id, PASSWORD + oath(last))
    found = until(sekisho, "append", lambda customers: last.contract_id in customers)
    assert found[one.contract_id]["logins"] == 1
    assert len(old.asked(one.contract_id)) - before == 1


def test_chap_is_answered_and_said_to_be_not_comparable(sekisho: Sekisho) -> None:
    one = sekisho.customer()
    attributes = f'User-Name="{one.contract_id}",CHAP-Password="{PASSWORD}",NAS-Identifier="append"'
    assert heard(radclient(sekisho.port, attributes)) == ACCEPT
    found = until(sekisho, "append", lambda customers: one.contract_id in customers)
    assert found[one.contract_id]["obstacle"] == "not-compared"


def test_the_page_shows_what_the_command_says(tmp_path: Path) -> None:
    clients = client_table("ib-gateway", "127.0.0.1", "append", shadow='"core"')
    sekisho = Sekisho(tmp_path, clients=clients, more=settings_of(1812))
    yes = Compared("ib-gateway", "", 1000, Old.ACCEPTED, Part.WHOLE, None, known=True)
    seen = [("a", None), ("a", None), ("b", None), ("c", Obstacle.NO_TOKEN), ("d", Obstacle.PASSWORD_DIFFERS)]
    with sekisho.store.work_aside() as work:
        note(work.connection, [yes._replace(customer=name, obstacle=found) for name, found in seen], 10)
    command = ["--config", str(sekisho.config), "shadow"]
    shown = run([*command, "report", "--client", "ib-gateway"]).out
    block = block_of_page("client:         ib-gateway")
    assert sorted(_bare(shown)) == sorted(_bare(block))
    table = run([*command, "report", "--client", "ib-gateway", "--csv"]).out
    assert [line.split(",")[:3] for line in table.splitlines()[1:3]] == [
        ["a", "True", ""],
        ["b", "False", "one-login-seen"],
    ]
    unknown = run([*command, "report", "--client", "vpn"])
    assert unknown.code == 2 and "they have: ib-gateway" in unknown.err
    done = run([*command, "forget", "--client", "ib-gateway"])
    assert done.out == "ib-gateway: 4 customers forgotten\n"


def _bare(text: str) -> list[str]:
    """The lines without their figures."""
    return [re.sub(r"\s*[0-9][0-9:.T+-]*\s*", " N ", line) for line in text.strip("\n").splitlines()]


def test_of_several_old_servers_the_one_that_asked_gets_the_answer(old: FreeRadius, tmp_path: Path) -> None:
    nobody = free_port()
    more = settings_of(old.port).replace('servers = ["', f'servers = ["127.0.0.1:{nobody}", "')
    sekisho = Sekisho(tmp_path, clients=tables("challenge"), more=more)
    try:
        sekisho.start()
        one = sekisho.customer()
        first = ask(sekisho, "challenge", one.contract_id, PASSWORD)
        assert received(first, "State") == ["0x636f646501"], "with one octet more, which names the second server"
        second = ask(sekisho, "challenge", one.contract_id, oath(one), ",State=0x636f646501")
        assert heard(second) == ACCEPT
        third = ask(sekisho, "challenge", one.contract_id, oath(one), ",State=0x636f646500")
        assert heard(third) == "silence", "nobody else is asked than the server that the State names"
    finally:
        sekisho.close()


def test_an_old_server_that_is_down_is_silence_and_comes_back(tmp_path: Path) -> None:
    with freeradius(tmp_path / "old", questions=OLD) as one:
        port = one.port
    sekisho = Sekisho(tmp_path, clients=tables("append"), more=settings_of(port, dead_seconds=30.0))
    try:
        sekisho.start()
        who = sekisho.customer()
        assert heard(ask(sekisho, "append", who.contract_id, PASSWORD + oath(who))) == "silence"
        sekisho.wait_for_log("server does not answer")
        status = radclient(sekisho.port, 'NAS-Identifier="append"', kind="status", wait=1)
        assert heard(status) == "silence"
        with freeradius(tmp_path / "old", port=port, questions=OLD):
            end = time.monotonic() + 15
            while heard(ask(sekisho, "append", who.contract_id, PASSWORD + oath(who))) != ACCEPT:
                assert time.monotonic() < end
        found = until(sekisho, "append", lambda customers: bool(customers))
        assert found[who.contract_id]["logins"] == 1
    finally:
        sekisho.close()
