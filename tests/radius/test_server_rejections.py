"""What is rejected without an attempt, and how long an Access-Reject waits."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from otp_core.messages import TEXTS, Text
from otp_core.model import Accept, Language
from tests.fakes_radius import FEW, NO, ask_as, crafted, in_loop, open_door, settings_of
from tests.radius import craft
from tests.radius.craft import SECRET, SIGNED, STATE, attribute, password, user
from tests.radius_peer import ACCEPT, REJECT, Packet

# Refused without an attempt.


MS_CHAP = craft.vendor(311, 25, bytes(50))
"""An MS-CHAP2-Response, RFC 2548 section 2.3.2."""


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("utf-8", "密é"),
        ("cp932", "密ｶﾅ～"),
        ("latin-1", "é÷\x80\xa0x"),
        ("cp1252", "100€ é"),
        ("utf-8", "\u2028\U0001f511"),
    ],
)
@in_loop
async def test_a_clients_charset_reads_its_names_and_passwords(charset: str, text: str) -> None:
    name = "taroé" if charset in ("latin-1", "cp1252") else "花子"
    async with open_door({}, settings_of({"charset": charset})) as door:
        peer = door.gateway()
        peer.send(crafted(user(name.encode(charset)), password(text.encode(charset))).octets)
        await asyncio.sleep(0.05)
        (attempt,) = door.authenticator.attempts
        assert (attempt.customer, attempt.user_password) == (name, text)


@pytest.mark.parametrize(
    ("charset", "octets"), [("utf-8", b"caf\xe9"), ("cp932", b"\x85"), ("cp932", b"\x81 "), ("cp1252", b"\x81")]
)
@in_loop
async def test_octets_that_are_no_text_are_refused_without_an_attempt(charset: str, octets: bytes) -> None:
    async with open_door(settings=settings_of({"charset": charset})) as door:
        assert (await door.ask(crafted(user(), password(octets)))).name == REJECT
        assert (await door.ask(crafted(user(octets), password("x")))).name == REJECT
        assert door.authenticator.attempts == []


@in_loop
async def test_two_passwords_never_become_one() -> None:
    """Octets that do not decode are never dropped: pyrad's decoder makes these two the same."""
    async with open_door(settings=settings_of({"charset": "latin-1"})) as door:
        await door.ask(crafted(user(), password(b"a\xffb")))
        await door.ask(crafted(user(), password(b"ab")))
        assert [attempt.user_password for attempt in door.authenticator.attempts] == ["aÿb", "ab"]


@pytest.mark.parametrize(
    "attributes",
    [
        [user(), password("x"), attribute(STATE, b"1"), attribute(STATE, b"1")],
        [user(), password("x"), attribute(3, bytes(17))],
        [user(), attribute(3, bytes(17))],
        [user(), attribute(79, b"\2\1\0\4")],
        [user(), user(), password("x")],
        [password("x")],
        [user()],
        [user(), attribute(2, bytes(17))],
        [user(), MS_CHAP],
    ],
    ids=["two States", "PAP, CHAP", "CHAP", "EAP", "two User-Names", "no User-Name", "no password", "17 octets", "MS"],
)
@in_loop
async def test_what_is_no_login_is_refused_without_an_attempt(attributes: list[bytes]) -> None:
    async with open_door() as door:
        reply = await door.ask(crafted(*attributes))
        assert (reply.name, reply.attributes[1:]) == (REJECT, ((18, TEXTS[Language.JA, Text.REJECT].encode()),))
        assert door.authenticator.attempts == []
        assert door.server.in_flight == 0


@pytest.mark.parametrize(
    ("credential", "name"),
    [
        (attribute(3, b"s3cret-chap-17-oc"), "CHAP"),
        (attribute(79, b"\2\1\0\x0es3cret-eap"), "EAP"),
        (craft.vendor(311, 25, b"s3cret".ljust(50)), "MS-CHAP"),
        (craft.vendor(311, 1, b"s3cret".ljust(50)), "MS-CHAP"),
    ],
    ids=["CHAP", "EAP", "MS-CHAPv2", "MS-CHAP"],
)
@in_loop
async def test_the_log_says_why_and_never_the_password(credential: bytes, name: str) -> None:
    with capture_logs() as lines:
        async with open_door() as door:
            for number in range(5):
                asked = craft.packet(SIGNED, user("secret-name"), credential, identifier=number)
                await door.ask(Packet(asked, SECRET))
    line, *others = [line for line in lines if line["event"] == "verdict"]
    assert (
        line["reason"].startswith(f"{name} is not served here: let the client use PAP") and line["client"] == "client 0"
    )
    assert ("set ms_chap = true for it" in line["reason"]) == (name == "MS-CHAP")
    assert [other["customer"] for other in others] == [line["customer"]] * 4
    assert "secret" not in str(lines)
    assert "s3cret" not in str(lines)


@in_loop
async def test_a_microsoft_attribute_beside_a_password_is_no_ms_chap() -> None:
    async with open_door() as door:
        assert (await door.ask(crafted(user(), password("x"), craft.vendor(311, 11, bytes(16))))).name == ACCEPT


@in_loop
async def test_another_vendors_attribute_is_not_called_ms_chap() -> None:
    with capture_logs() as lines:
        async with open_door() as door:
            await door.ask(crafted(user(), craft.vendor(9, 1, b"x")))
    assert [line["reason"] for line in lines if line["event"] == "verdict"] == ["no User-Password"]


@in_loop
async def test_what_anybody_may_have_sent_is_said_once_in_a_while() -> None:
    """Without Message-Authenticator a source address can be forged, and a line for each would fill the disk."""
    with capture_logs() as lines:
        async with open_door(settings=settings_of({"require_message_authenticator": False})) as door:
            for number in range(50):
                await door.ask(Packet(craft.packet(user(), identifier=number), SECRET))
            assert door.counts["refused without an attempt"] == 50
    (line,) = [line for line in lines if line["event"] == "verdict"]
    assert line["reason"] == "no User-Password"


# Reject delay.


@in_loop
async def test_a_delayed_refusal_delays_nobody_else() -> None:
    async with open_door({"yes": [Accept()], "no": [NO]}, settings_of({"reject_delay": 0.6})) as door:
        refused, loop = ask_as("no"), asyncio.get_running_loop()
        peers = [door.gateway() for _ in range(20)]
        started = loop.time()
        for peer in peers:
            peer.send(refused.octets)
        for _ in range(20):
            await door.ask(ask_as("yes"))
        assert loop.time() - started < 0.5
        assert (door.server.in_flight, door.server.delayed) == (0, 20)
        assert {(await door.hear(refused, peer)).name for peer in peers} == {REJECT}
        assert 0.6 <= loop.time() - started < 1.2
        assert door.server.delayed == 0


@in_loop
async def test_a_refusal_leaves_its_delay_after_the_request_came_however_long_the_verdict_took() -> None:
    async with open_door({}, settings_of({"reject_delay": 0.6})) as door:
        loop, took = asyncio.get_running_loop(), []
        for seconds in (0.0, 0.2, 0.4):
            peer, asked = door.gateway(), ask_as("taro")
            started = loop.time()
            peer.send(asked.octets)
            await asyncio.sleep(seconds or 0.01)
            door.authenticator.release(NO)
            assert (door.server.in_flight, door.server.delayed) == (0, 1)
            assert (await door.hear(asked, peer)).name == REJECT
            took.append(loop.time() - started)
        assert all(0.6 <= one < 0.75 for one in took), took


@in_loop
async def test_a_verdict_that_took_longer_than_the_delay_is_told_at_once() -> None:
    async with open_door({}, settings_of({"reject_delay": 0.3})) as door:
        peer, asked = door.gateway(), ask_as("taro")
        assert await door.silent(peer, asked.octets, wait=0.4)
        door.authenticator.release(NO)
        assert door.server.delayed == 0
        assert (await door.hear(asked, peer, wait=0.2)).name == REJECT


@in_loop
async def test_delayed_refusals_take_nobodys_place() -> None:
    async with open_door({"yes": [Accept()], "no": [NO]}, settings_of({"reject_delay": 0.5}), limits=FEW) as door:
        refused = [(door.gateway(), ask_as("no")) for _ in range(8)]
        for peer, asked in refused:
            assert await door.silent(peer, asked.octets, wait=0.01)
        assert (door.server.in_flight, door.server.delayed) == (0, 8)
        assert (await door.ask(ask_as("yes"), wait=0.2)).name == ACCEPT
        assert {(await door.hear(asked, peer)).name for peer, asked in refused} == {REJECT}


@in_loop
async def test_over_ten_delayed_refusals_for_each_place_the_next_is_silence() -> None:
    async with open_door({"no": [NO]}, settings_of({"reject_delay": 0.8}), limits=FEW) as door:
        peer = door.gateway()
        asked = [ask_as("no", identifier=number) for number in range(22)]
        for one in asked:
            peer.send(one.octets)
            await asyncio.sleep(0.005)
        assert door.server.delayed == 20
        assert door.counts["dropped: too many delayed rejections"] == 2
        assert len(door.duplicates) == 20, "who heard nothing may ask again"
        told = [(await door.octets(peer))[1] for _ in range(20)]
        assert sorted(told) == list(range(20))
        assert door.server.delayed == 0
        assert (await door.ask(asked[-1], peer)).name == REJECT


@in_loop
async def test_what_is_refused_without_an_attempt_is_delayed_as_well() -> None:
    async with open_door(settings=settings_of({"reject_delay": 0.4})) as door:
        started = asyncio.get_running_loop().time()
        await door.ask(crafted(user()))
        assert asyncio.get_running_loop().time() - started >= 0.4
