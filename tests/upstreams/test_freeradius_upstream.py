"""FreeRADIUS behind, radclient in front: the password is checked there, the code here."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.radius.tools import heard, oath, radclient, received
from tests.radius_peer import access_request, read_reply
from tests.sekisho import PASSWORD, Customer, Sekisho, client_table
from tests.sekisho import SECRET as SEKISHO_SECRET
from tests.upstreams.freeradius import ATTRIBUTES, QUESTIONS, FreeRadius, freeradius, settings_of

ACCEPT, REJECT, CHALLENGE = "Access-Accept", "Access-Reject", "Access-Challenge"
RELAYED = '["Class", "Cisco-AVPair", "MS-MPPE-Send-Key", "Tunnel-Password", "Filter-Id"]'
MODES = ("append", "challenge", "auto", "code", "password")


def clients() -> str:
    """One client for each mode, told apart by its NAS-Identifier; those that relay, and one that is asked questions."""
    tables = [(mode, mode, False) for mode in MODES] + [
        ("relay", "append", True),
        ("relay-challenge", "challenge", True),
    ]
    tables += [("asks", "challenge", True)]
    return "".join(
        client_table(
            name, "127.0.0.0/8", mode, nas_identifier=f'"{name}"', first_factor='"core-passwords"', relay=relay
        )
        for name, mode, relay in tables
    )


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    folder = tmp_path_factory.mktemp("upstream")
    with freeradius(folder, attributes=ATTRIBUTES, questions=QUESTIONS) as one:
        yield one


@pytest.fixture(scope="module")
def sekisho(upstream: FreeRadius, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    folder = tmp_path_factory.mktemp("sekisho")
    one = Sekisho(folder, clients=clients(), more=settings_of(upstream.port, relay_attributes=RELAYED), workers=2)
    try:
        yield one.start()
    finally:
        one.close()


def ask(sekisho: Sekisho, client: str, one: Customer, text: str, state: str = "", more: str = "") -> str:
    attributes = f'User-Name="{one.contract_id}",User-Password="{text}",NAS-Identifier="{client}"{more}'
    return radclient(sekisho.port, attributes + (f",State={state}" if state else ""))


def nobody_here(sekisho: Sekisho) -> Customer:
    """A customer whose password is not kept here."""
    return sekisho.customer(password="")


@pytest.mark.parametrize("mode", MODES)
def test_a_login_of_each_mode(sekisho: Sekisho, upstream: FreeRadius, mode: str) -> None:
    one = nobody_here(sekisho)
    if mode == "challenge":
        first = ask(sekisho, mode, one, PASSWORD)
        assert heard(first) == CHALLENGE
        second = ask(sekisho, mode, one, oath(one), received(first, "State")[0])
    else:
        texts = {"append": PASSWORD + oath(one), "auto": PASSWORD + oath(one), "code": oath(one), "password": PASSWORD}
        second = ask(sekisho, mode, one, texts[mode])
    assert heard(second) == ACCEPT
    assert received(second, "Class") == [], "this client does not relay"
    assert len(upstream.asked(one.contract_id)) == (0 if mode == "code" else 1)


@pytest.mark.parametrize("mode", ["append", "challenge", "auto", "password"])
def test_a_wrong_password_is_refused_and_an_empty_one_is_not_even_asked(
    sekisho: Sekisho, upstream: FreeRadius, mode: str
) -> None:
    one = nobody_here(sekisho)
    assert heard(ask(sekisho, mode, one, "wrong" + oath(one))) == REJECT
    assert len(upstream.asked(one.contract_id)) == 1
    assert heard(ask(sekisho, mode, one, oath(one) if mode in ("append", "auto") else "")) == REJECT
    assert len(upstream.asked(one.contract_id)) == 1
    assert {row.reason for row in sekisho.audit(one.contract_id, "login.rejected")} == {"wrong password"}


@pytest.mark.parametrize("client", ["relay", "relay-challenge"])
def test_attributes_come_back_in_order_and_keys_are_hidden_anew(sekisho: Sekisho, client: str) -> None:
    one = nobody_here(sekisho)
    if client == "relay":
        printed = ask(sekisho, client, one, PASSWORD + oath(one))
    else:
        (state,) = received(ask(sekisho, client, one, PASSWORD), "State")
        printed = ask(sekisho, client, one, oath(one), state)
    assert heard(printed) == ACCEPT
    assert received(printed, "Class") == ["0x6f6e65", "0x74776f"]
    assert received(printed, "Cisco-AVPair") == ["shell:priv-lvl=15", "ip:addr-pool=kinko"]
    assert received(printed, "Filter-Id") == ["ib"]
    assert received(printed, "MS-MPPE-Send-Key") == ["0x00112233445566778899aabbccddeeff"]
    assert received(printed, "Tunnel-Password:1") == ["through the tunnel"]
    assert received(printed, "Session-Timeout") == [], "not on the list"
    order = re.findall(r"^\t(Class|Filter-Id|Cisco-AVPair|MS-MPPE-Send-Key)", printed, re.MULTILINE)
    assert order[-6:] == ["Class", "Class", "Filter-Id", "Cisco-AVPair", "Cisco-AVPair", "MS-MPPE-Send-Key"]


def test_questions_of_the_upstream_pass_under_our_own_state(sekisho: Sekisho, upstream: FreeRadius) -> None:
    one = nobody_here(sekisho)
    station = ',Calling-Station-Id="203.0.113.7",NAS-Port=7'
    first = ask(sekisho, "asks", one, PASSWORD, more=station)
    assert (heard(first), received(first, "Reply-Message")) == (CHALLENGE, ["Enter a new PIN"])
    second = ask(sekisho, "asks", one, "4711", received(first, "State")[0])
    assert (heard(second), received(second, "Reply-Message")) == (CHALLENGE, ["The same again"])
    third = ask(sekisho, "asks", one, "4711", received(second, "State")[0])
    assert heard(third) == CHALLENGE, "the upstream is content, and our code is due"
    fourth = ask(sekisho, "asks", one, oath(one), received(third, "State")[0])
    assert heard(fourth) == ACCEPT
    assert received(fourth, "Class") == ["0x6f6e65", "0x74776f"]
    states = [received(one, "State")[0] for one in (first, second, third)]
    assert len(set(states)) == 3
    assert not {"0x70696e", "0x616761696e"} & set(states)
    packets = upstream.asked(one.contract_id)
    assert len(packets) == 3
    assert all('Calling-Station-Id = "203.0.113.7"' in packet and "NAS-Port = 7" in packet for packet in packets)


def test_our_proxy_state_goes_last_and_does_not_come_back(sekisho: Sekisho, upstream: FreeRadius) -> None:
    one = nobody_here(sekisho)
    printed = ask(sekisho, "password", one, PASSWORD, more=",Proxy-State=0x00ff,Proxy-State=0x3131")
    assert received(printed, "Proxy-State") == ["0x00ff", "0x3131"]
    (packet,) = upstream.asked(one.contract_id)
    states = re.findall(r"Proxy-State = (\S+)", packet)
    assert states[:2] == ["0x00ff", "0x3131"] and len(states) == 3
    assert "Proxy-State" in packet.splitlines()[-1]


def test_the_user_name_goes_as_it_came(sekisho: Sekisho, upstream: FreeRadius) -> None:
    one = nobody_here(sekisho)
    spelled = one.contract_id.translate({ord(a): ord(a) + 0xFEE0 for a in "taro"})
    attributes = f'User-Name=" {spelled} ",User-Password="{PASSWORD}",NAS-Identifier="password"'
    assert heard(radclient(sekisho.port, attributes)) == ACCEPT
    assert len(upstream.asked(f" {spelled} ")) == 1


def test_a_relayed_reject_is_not_delayed_again(tmp_path: Path) -> None:
    table = client_table("gw", "127.0.0.0/8", "append", first_factor='"core-passwords"', reject_delay=1.0)
    with freeradius(tmp_path / "upstream", reject_delay=1) as upstream:
        one = Sekisho(tmp_path, clients=table, more=settings_of(upstream.port, timeout=3.0))
        try:
            one.start()
            customer = nobody_here(one)
            begun = time.monotonic()
            assert heard(ask(one, "gw", customer, "wrong" + oath(customer), more="")) == REJECT
            assert 0.9 < time.monotonic() - begun < 1.8
        finally:
            one.close()


def test_a_gateways_retransmission_reaches_the_upstream_once(sekisho: Sekisho, upstream: FreeRadius) -> None:
    """Two workers read from one socket, so copies reach both; all of them are answered alike, or not at all."""
    one = nobody_here(sekisho)
    nas = [(32, b"relay")]
    packet = access_request(one.contract_id, PASSWORD + oath(one), secret=SEKISHO_SECRET, more=nas)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(6)]
        for gateway in sockets:
            gateway.connect(("127.0.0.1", sekisho.port))
            gateway.settimeout(3)
            gateway.send(packet.octets)
        replies = {gateway.recv(5000) for gateway in sockets}
    attributes = [read_reply(packet, octets) for octets in replies]
    assert {reply.name for reply in attributes} == {ACCEPT}
    classes = [[value for type_, value in reply.attributes if type_ == 25] for reply in attributes]
    assert classes == [[b"one", b"two"]] * len(classes)
    assert len(upstream.asked(one.contract_id)) == 1
    assert len(sekisho.audit(one.contract_id, "login.accepted")) == 1


def test_copies_of_the_answer_to_a_challenge_get_the_same_attributes(sekisho: Sekisho, upstream: FreeRadius) -> None:
    one = nobody_here(sekisho)
    nas = [(32, b"relay-challenge")]
    (state,) = received(ask(sekisho, "relay-challenge", one, PASSWORD), "State")
    packet = access_request(one.contract_id, oath(one), secret=SEKISHO_SECRET, state=bytes.fromhex(state[2:]), more=nas)
    heard_by = []
    for _ in range(6):  # from other ports: the cache of duplicates does not know them
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gateway:
            gateway.connect(("127.0.0.1", sekisho.port))
            gateway.settimeout(3)
            gateway.send(packet.octets)
            heard_by.append(read_reply(packet, gateway.recv(5000)))
    assert {reply.name for reply in heard_by} == {ACCEPT}
    for reply in heard_by:
        assert [value for type_, value in reply.attributes if type_ == 25] == [b"one", b"two"]
    assert len(upstream.asked(one.contract_id)) == 1
