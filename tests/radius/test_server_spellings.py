"""How gateways write names and passwords: realms, NULs, charsets; and several policies on one address."""

from __future__ import annotations

import contextlib
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_core.otp import normalise_contract_id
from otp_core.radius.codec import Unservable
from otp_core.radius.dictionary import Dictionary
from radius_server.clients import Client, clients_of
from radius_server.process.spelling import read_customer, read_password
from tests.fakes_radius import ask_as, crafted, in_loop, open_door, settings_of
from tests.radius import craft
from tests.radius.craft import NAS_IDENTIFIER, SECRET, attribute, password, user
from tests.radius_peer import ACCEPT, REJECT, Packet

OTHER_SECRET = "another-horse-battery-2"


def client(**values: object) -> Client:
    return next(iter(clients_of(settings_of(dict(values)), Dictionary())))


# Realms


@pytest.mark.parametrize(
    ("typed", "stripped"),
    [
        ("taro", "taro"),
        ("BANK\\taro", "taro"),
        ("taro@bank.example", "taro"),
        ("BANK\\taro@bank.example", "taro"),
        ("a\\b\\taro", "taro"),
        ("taro@branch@bank", "taro@branch"),
        (" BANK \\ taro ", "taro"),
        ("taro @ bank", "taro"),
        ("ＢＡＮＫ＼ｔａｒｏ", "taro"),
        ("taro＠bank", "taro"),
        ("BANK¥taro", "taro"),
        ("BANK￥taro", "taro"),
    ],
)
def test_a_realm_is_kept_taken_off_or_refused(typed: str, stripped: str) -> None:
    octets = typed.encode()
    assert read_customer(client(), octets) == normalise_contract_id(typed)
    assert read_customer(client(realm="strip"), octets) == stripped
    if stripped == typed:
        assert read_customer(client(realm="reject"), octets) == "taro"
    else:
        with pytest.raises(Unservable, match="realm"):
            read_customer(client(realm="reject"), octets)


@pytest.mark.parametrize("typed", ["@bank", "BANK\\", "BANK\\@bank", " ", "\\", "　"])
def test_a_realm_alone_is_no_name(typed: str) -> None:
    with pytest.raises(Unservable, match="no User-Name"):
        read_customer(client(realm="strip"), typed.encode())


@given(
    st.text(st.characters(exclude_characters="\\@¥￥＼＠﹫﹨", codec="utf-8"), max_size=40),
    st.text("abz.-", min_size=1),
)
def test_what_stands_beside_a_realm_is_what_stands_alone(name: str, realm: str) -> None:
    alone = normalise_contract_id(name)
    if not alone:
        return
    for text in (f"{realm}\\{alone}", f"{alone}@{realm}", f"{realm}\\{alone}@{realm}"):
        assert read_customer(client(realm="strip"), text.encode()) == alone


# NULs and charsets


@pytest.mark.parametrize("rubbish", [b"", b"\0", b"\0rubbish", b"\0\xff\xfe", b"\0\0x\0"])
def test_a_nul_and_what_is_behind_it_is_cut_off_where_it_is_said(rubbish: bytes) -> None:
    cutting = client(cut_at_nul=True)
    assert read_password(cutting, "ひみつ".encode() + rubbish, True) == "ひみつ"
    assert read_customer(cutting, b"taro" + rubbish) == "taro"
    if rubbish.strip(b"\0").isascii():
        assert read_password(client(), b"x" + rubbish, True) == "x" + rubbish.decode()


def test_the_charset_of_the_name_may_differ_from_that_of_the_password() -> None:
    one = client(charset="cp932", user_name_charset="utf-8")
    assert read_customer(one, "太郎".encode()) == "太郎"
    assert read_password(one, "太郎".encode("cp932"), True) == "太郎"
    both = client(charset="euc-jp")
    assert read_customer(both, "太郎".encode("euc-jp")) == read_password(both, "太郎".encode("euc-jp"), True) == "太郎"
    with pytest.raises(Unservable, match="User-Name of octets that are no utf-8"):
        read_customer(one, "太郎".encode("cp932"))


@given(st.binary(max_size=253), st.booleans(), st.sampled_from(["keep", "strip", "reject"]))
def test_whatever_octets_come_a_name_or_a_refusal_comes_out(octets: bytes, cut: bool, realm: str) -> None:
    for charset in ("utf-8", "latin-1", "cp1252", "cp932", "euc-jp"):
        one = client(cut_at_nul=cut, realm=realm, charset=charset)
        for read in (read_customer, partial(read_password, signed=cut)):
            with contextlib.suppress(Unservable):
                assert isinstance(read(one, octets), str)


@in_loop
async def test_the_accept_names_a_customer_whose_realm_was_taken_off_in_the_names_charset() -> None:
    from tests.radius.test_server_replies import known, names

    settings = settings_of({"realm": "strip", "charset": "utf-8", "user_name_charset": "cp932"})
    async with open_door({"太郎": [known("太郎")]}, settings) as door:
        reply = await door.ask(crafted(user("BANK\\太郎".encode("cp932")), password("ひみつ")))
        assert (reply.name, names(reply)) == (ACCEPT, ["太郎".encode("cp932")])
        assert door.authenticator.attempts[0].user_password == "ひみつ"


@in_loop
async def test_a_refused_realm_is_a_rejection_and_no_attempt() -> None:
    async with open_door(settings=settings_of({"realm": "reject"})) as door:
        assert (await door.ask(ask_as("BANK\\taro"))).name == REJECT
        assert (await door.ask(ask_as("taro"))).name == ACCEPT
        assert [one.customer for one in door.authenticator.attempts] == ["taro"]


# Several clients on one network


def asked(identifier: str | None, secret: str = SECRET.decode(), number: int = 7) -> Packet:
    more = [] if identifier is None else [attribute(NAS_IDENTIFIER, identifier.encode())]
    octets = craft.packet(
        craft.SIGNED, user(), password("x", secret=secret.encode()), *more, secret=secret.encode(), identifier=number
    )
    return Packet(octets, secret.encode())


STAFF = {"name": "staff", "nas_identifier": "vpn-staff", "mode": "code"}
CUSTOMERS = {"name": "customers", "nas_identifier": "vpn-customers", "secret": OTHER_SECRET}
REST = {"name": "rest"}


@in_loop
async def test_the_nas_identifier_tells_clients_on_one_network_apart() -> None:
    async with open_door(settings=settings_of(STAFF, CUSTOMERS, REST)) as door:
        for packet in (asked("vpn-staff"), asked("vpn-customers", OTHER_SECRET), asked("another"), asked(None)):
            assert (await door.ask(packet)).name == ACCEPT
        names = [one.client for one in door.authenticator.attempts]
        assert names == ["staff", "customers", "rest", "rest"]
        assert door.authenticator.attempts[0].policy.mode == "code"
        assert await door.silent(door.gateway(), asked("vpn-customers").octets), "the secret is that client's"


@in_loop
async def test_who_is_none_of_them_is_dropped_and_counted() -> None:
    async with open_door(settings=settings_of(STAFF, CUSTOMERS)) as door:
        assert await door.silent(door.gateway(), asked("another").octets, asked(None).octets)
        assert door.counts == {"dropped: no client of this network has this NAS-Identifier": 2}
        assert door.authenticator.attempts == []


@in_loop
async def test_one_client_alone_may_ask_for_its_nas_identifier() -> None:
    async with open_door(settings=settings_of(STAFF)) as door:
        assert (await door.ask(asked("vpn-staff"))).name == ACCEPT
        assert (await door.ask(asked("vpn-staff\0"))).name == ACCEPT, "some send a NUL behind it"
        assert await door.silent(door.gateway(), asked("vpn-staf").octets, asked("VPN-staff").octets, asked("").octets)


@in_loop
async def test_a_longer_prefix_still_wins_and_its_clients_are_the_only_ones() -> None:
    narrow = {**STAFF, "network": "127.0.0.9"}
    async with open_door(settings=settings_of(narrow, REST)) as door:
        assert await door.silent(door.gateway("127.0.0.9"), asked("another").octets)
        assert (await door.ask(asked("another"), door.gateway("127.0.0.8"))).name == ACCEPT
        assert (await door.ask(asked("vpn-staff"), door.gateway("127.0.0.9"))).name == ACCEPT
        assert [one.client for one in door.authenticator.attempts] == ["rest", "staff"]


@pytest.mark.parametrize(("same_secret", "answered"), [(True, True), (False, False)])
@in_loop
async def test_a_status_server_of_a_proxy_is_answered_where_there_is_one_secret(
    same_secret: bool, answered: bool
) -> None:
    """FreeRADIUS writes "Status Check. Are you alive?" into it."""
    customers = {**CUSTOMERS, "secret": SECRET.decode()} if same_secret else CUSTOMERS
    status = craft.packet(craft.SIGNED, attribute(NAS_IDENTIFIER, b"Status Check. Are you alive?"), code=craft.STATUS)
    async with open_door(settings=settings_of(STAFF, customers)) as door:
        peer = door.gateway()
        assert await door.silent(peer, status) is not answered


@given(st.binary(max_size=253))
def test_whatever_a_nas_identifier_holds_a_client_or_nobody_is_chosen(identifier: bytes) -> None:
    from otp_core.radius.requests import read_request

    clients = clients_of(settings_of(STAFF, CUSTOMERS), Dictionary())
    found = clients.find("127.0.0.1")
    assert found is not None and found.shared
    request = read_request(craft.packet(attribute(NAS_IDENTIFIER, identifier)))
    chosen = clients.choose(found, request)
    assert (chosen and chosen.name) == {b"vpn-staff": "staff", b"vpn-customers": "customers"}.get(
        identifier.rstrip(b"\0")
    )


def test_a_client_alone_on_its_network_is_not_asked_for_anything() -> None:
    (only,) = clients_of(settings_of({}), Dictionary())
    assert not only.shared
