"""Clients found by source address, longest prefix first, and the reply attributes that are encoded for them."""

from __future__ import annotations

import time
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from otp_core.messages import TEXTS, Text
from otp_core.model import Language, Mode, OtpUse
from otp_core.radius.codec import AttributeType
from otp_core.radius.dictionary import Dictionary
from radius_server.clients import Client, Clients, clients_of
from tests.fakes import collections_of
from tests.fakes_radius import settings_of

DICTIONARY = Dictionary()


def clients(*networks: str) -> Clients:
    return clients_of(settings_of(*({"name": network, "network": network} for network in networks)), DICTIONARY)


def found(among: Clients, address: str) -> str | None:
    client = among.find(address)
    return client.name if client else None


def client(**said: Any) -> Client:
    (one,) = clients_of(settings_of({"name": "vpn", **said}), DICTIONARY)
    return one


def test_the_longest_prefix_wins_in_whatever_order_they_are_written() -> None:
    networks = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32"]
    for order in (networks, networks[::-1]):
        among = clients(*order)
        assert found(among, "10.1.2.3") == "10.1.2.3/32"
        assert found(among, "10.1.2.4") == "10.1.2.0/24"
        assert found(among, "10.1.3.4") == "10.1.0.0/16"
        assert found(among, "10.2.0.0") == "10.0.0.0/8"
        assert found(among, "192.0.2.1") == "0.0.0.0/0"


def test_the_edges_of_a_network_belong_to_it_and_their_neighbours_do_not() -> None:
    among = clients("10.1.2.128/25", "2001:db8:0:8000::/49")
    assert found(among, "10.1.2.128") == found(among, "10.1.2.255") == "10.1.2.128/25"
    assert found(among, "10.1.2.127") is found(among, "10.1.3.0") is None
    assert found(among, "2001:db8:0:8000::") == found(among, "2001:db8:0:ffff:ffff:ffff:ffff:ffff")
    assert found(among, "2001:db8:0:8000::") == "2001:db8:0:8000::/49"
    assert found(among, "2001:db8:0:7fff::") is found(among, "2001:db8:1::") is None


def test_ipv6_clients_are_found_by_prefix_and_without_their_scope() -> None:
    among = clients("::/0", "2001:db8::/32", "2001:db8::1", "fe80::/10")
    assert found(among, "2001:db8::1") == "2001:db8::1"
    assert found(among, "2001:db8::2") == "2001:db8::/32"
    assert found(among, "fe80::1%eth0") == "fe80::/10"
    assert found(among, "::1") == "::/0"


def test_the_families_are_strangers_to_one_another() -> None:
    assert found(clients("0.0.0.0/0"), "::ffff:10.0.0.1") is None
    assert found(clients("0.0.0.0/0"), "::1") is None
    assert found(clients("::/0"), "10.0.0.1") is None


def test_an_address_that_no_network_has_is_nobody() -> None:
    among = clients("10.1.0.0/16")
    assert [found(among, "10.2.0.1") for _ in range(2)] == [None, None]


def test_a_hundred_thousand_strangers_leave_nothing_behind() -> None:
    """Their addresses may be forged, so they must neither fill the cache nor push a client out of it."""
    among = clients("10.0.0.0/8")
    assert found(among, "10.0.0.1") == "10.0.0.0/8"
    before = collections_of(among)
    started = time.monotonic()
    for number in range(100_000):
        assert among.find(f"192.{number >> 16}.{number >> 8 & 255}.{number & 255}") is None
    assert collections_of(among) == before
    assert time.monotonic() - started < 10


def test_a_wide_networks_many_gateways_do_not_grow_the_memory() -> None:
    among = clients("10.0.0.0/8")
    for number in range(30_000):
        assert among.find(f"10.0.{number >> 8}.{number & 255}") is not None
    assert max(collections_of(among)) <= 10_000


def test_a_stranger_costs_one_look_for_each_prefix_length_however_many_clients_there_are() -> None:
    few = clients("10.0.0.0/8", "172.16.0.0/12")
    many = clients("10.0.0.0/8", "172.16.0.0/12", *(f"10.0.{at >> 8}.{at & 255}" for at in range(3_000)))
    assert seconds_of_strangers(many) < 5 * seconds_of_strangers(few)
    assert found(many, "10.0.11.183") == "10.0.11.183"


def seconds_of_strangers(among: Clients) -> float:
    """The best of three, for 2,000 of them."""
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        for number in range(2_000):
            assert among.find(f"192.0.{number >> 8}.{number & 255}") is None
        best = min(best, time.perf_counter() - started)
    return best


def test_every_prefix_length_finds_its_own() -> None:
    """All networks from /0 to a single address contain it; an address that differs in bit N belongs to the network one
    bit shorter."""
    for address in (ip_address("170.170.170.170"), ip_address("aaaa:" * 7 + "aaaa")):
        bits = address.max_prefixlen
        networks = [str(ip_network(f"{address}/{prefix}", strict=False)) for prefix in range(bits)] + [str(address)]
        among = clients(*networks)
        assert found(among, str(address)) == networks[-1]
        for prefix in range(1, bits + 1):
            beside = type(address)(int(address) ^ 1 << bits - prefix)
            assert found(among, str(beside)) == networks[prefix - 1]


def test_iterating_names_every_client() -> None:
    assert {one.name for one in clients("10.0.0.0/8", "::1")} == {"10.0.0.0/8", "::1"}


def test_a_client_is_at_risk_when_it_may_leave_the_signature_out() -> None:
    assert not client().at_risk
    assert client(require_message_authenticator=False).at_risk


def test_no_secret_shows_where_a_client_is_printed() -> None:
    assert "correct-horse" not in repr(client())


def test_settings_reach_the_client() -> None:
    one = client(
        mode="code",
        charset="cp932",
        reject_delay=2.5,
        reply_max=300,
        limit_proxy_state=False,
        repeated_login_seconds=7,
        language="en",
    )
    assert (one.policy.mode, one.policy.repeated_login_seconds, one.policy.language) == (Mode.CODE, 7, Language.EN)
    assert (one.charset, one.reject_delay, one.reply_max, one.limit_proxy_state) == ("cp932", 2.5, 300, False)


@pytest.mark.parametrize(
    ("said", "let_in"),
    [
        ({}, {OtpUse.NONE, OtpUse.SUSPENDED}),
        ({"without_token": "reject"}, set()),
        ({"without_token": "reject", "suspended": "password"}, {OtpUse.SUSPENDED}),
        ({"suspended": "reject"}, {OtpUse.NONE}),
        ({"lost": "password"}, {OtpUse.NONE, OtpUse.SUSPENDED, OtpUse.LOST, OtpUse.REISSUE_PERMITTED}),
        ({"mode": "code"}, set()),
        ({"mode": "code", "suspended": "password"}, {OtpUse.SUSPENDED}),
        ({"mode": "code", "without_token": "password"}, {OtpUse.NONE, OtpUse.SUSPENDED}),
    ],
)
def test_who_needs_no_code_is_as_it_is_set(said: dict[str, str], let_in: set[OtpUse]) -> None:
    assert client(**said).policy.password_only == let_in


@pytest.mark.parametrize(
    ("prompt", "octets"), [("no-echo", [(76, bytes(4))]), ("echo", [(76, b"\0\0\0\1")]), ("none", [])]
)
def test_prompt_says_whether_the_code_is_shown(prompt: str, octets: list[tuple[int, bytes]]) -> None:
    """RFC 2869 section 5.10: 0 is no echo, 1 is echo."""
    assert client(prompt=prompt).prompt == octets


def test_texts_are_the_catalogues_in_both_languages() -> None:
    texts = client().texts
    assert {key for key, parts in texts.items() if parts} == set(TEXTS)
    for key, text in TEXTS.items():
        assert texts[key] == [(AttributeType.REPLY_MESSAGE, text.encode())]
    assert texts[Language.JA, Text.ACCEPT] == []


def test_a_clients_own_text_serves_every_language() -> None:
    texts = client(reply_messages={"challenge": "Enter Your Passcode", "accept": "ようこそ"}).texts
    for language in Language:
        assert texts[language, Text.CHALLENGE] == [(18, b"Enter Your Passcode")]
        assert texts[language, Text.ACCEPT] == [(18, "ようこそ".encode())]
        assert texts[language, Text.REJECT] == [(18, TEXTS[language, Text.REJECT].encode())]


def test_reply_attributes_are_encoded_in_their_order() -> None:
    said = {"Filter-Id": ["a", "b"], "Session-Timeout": 3600, "Cisco-AVPair": "x"}
    assert client(reply_attributes=said).accept_attributes == [
        (11, b"a"),
        (11, b"b"),
        (27, b"\0\0\x0e\x10"),
        (26, b"\0\0\0\x09\x01\x03x"),
    ]


def test_a_reply_attribute_that_cannot_be_encoded_is_told() -> None:
    with pytest.raises(ValueError, match="Filter-ID: not in the dictionary; did you mean Filter-Id"):
        client(reply_attributes={"Filter-ID": "x"})
