"""The door on a real socket, with a house behind it that answers as told: replies, refusals, overload, life cycle."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from structlog.testing import capture_logs

from otp_core.authentication.queue import OnVerdict
from otp_core.messages import TEXTS, Text
from otp_core.model import Accept, Attempt, Challenge, Language, Reject, Silence, Verdict
from radius_server.process.access import Limits
from tests.fakes_radius import YES, Door, FakeAuthenticator, in_loop, open_door, settings_of
from tests.radius import craft
from tests.radius.craft import PROXY_STATE, SECRET, SIGNED, STATE, attribute, password, user
from tests.radius_peer import ACCEPT, CHALLENGE, REJECT, Packet, access_request, status_server
from tests.sekisho import SECRET as SECRET_TEXT

STATE_OCTETS = bytes(range(16))
NO, ASK = Reject("no", Language.JA), Challenge(STATE_OCTETS, Language.JA)
LIMITS = Limits(max_in_flight=2, request_seconds=5.0, status_rate=20)


def ask_as(name: str, user_password: str = "x", **more: object) -> Packet:
    return access_request(name, user_password, secret=SECRET_TEXT, **more)  # type: ignore[arg-type]


def crafted(*attributes: bytes) -> Packet:
    return Packet(craft.packet(SIGNED, *attributes), SECRET)


# What the core is asked, and what the gateway hears.


@in_loop
async def test_a_request_becomes_an_attempt() -> None:
    settings = settings_of({"name": "vpn", "network": "127.0.0.9", "mode": "append", "language": "en"})
    async with open_door(settings=settings) as door:
        peer = door.gateway("127.0.0.9")
        before = asyncio.get_running_loop().time()
        calling_station_id = attribute(craft.CALLING_STATION, b"203.0.113.7")
        await door.ask(
            crafted(user(" ｔａｒｏ "), password("ひみつ123456"), attribute(STATE, b"state"), calling_station_id), peer
        )
        (attempt,) = door.authenticator.attempts
        assert (attempt.customer, attempt.user_password, attempt.client) == ("taro", "ひみつ123456", "vpn")
        assert (attempt.source, attempt.calling_station_id, attempt.challenge) == ("127.0.0.9", "203.0.113.7", b"state")
        assert attempt.policy == next(iter(door.server.clients)).policy
        assert before + 4.9 < attempt.deadline < before + 6
        assert attempt.fingerprint != 0


@in_loop
async def test_a_station_that_is_no_text_is_shown_as_far_as_it_goes() -> None:
    async with open_door() as door:
        await door.ask(crafted(user(), password("x"), attribute(craft.CALLING_STATION, b"\xff" + b"a" * 200)))
        assert door.authenticator.attempts[0].calling_station_id == "\ufffd" + "a" * 63


@in_loop
async def test_each_verdict_has_its_packet() -> None:
    verdicts: dict[str, list[Verdict]] = {"yes": [Accept()], "no": [NO], "ask": [ASK]}
    async with open_door(verdicts) as door:
        assert (await door.ask(ask_as("yes"))).name == ACCEPT
        assert (await door.ask(ask_as("no"))).name == REJECT
        challenge = await door.ask(ask_as("ask"))
        assert (challenge.name, challenge.state) == (CHALLENGE, STATE_OCTETS)


@in_loop
async def test_a_challenge_asks_in_the_customers_language_and_again_in_other_words() -> None:
    verdicts: dict[str, list[Verdict]] = {
        f"{language}{again}": [Challenge(STATE_OCTETS, language, again=again)]
        for language in Language
        for again in (False, True)
    }
    async with open_door(verdicts) as door:
        for language in Language:
            for again in (False, True):
                reply = await door.ask(ask_as(f"{language}{again}"))
                text = TEXTS[language, Text.CHALLENGE_AGAIN if again else Text.CHALLENGE]
                assert reply.attributes[1:] == ((24, STATE_OCTETS), (76, bytes(4)), (18, text.encode()))


@in_loop
async def test_a_refusal_before_any_attempt_is_in_the_clients_language() -> None:
    async with open_door(settings=settings_of({"language": "en"})) as door:
        reply = await door.ask(crafted(user()))
        assert reply.attributes[1:] == ((18, TEXTS[Language.EN, Text.REJECT].encode()),)


@in_loop
async def test_an_acceptance_carries_the_clients_text_and_attributes_then_the_customers() -> None:
    client = {"reply_attributes": {"Filter-Id": ["a", "b"]}, "reply_messages": {"accept": "ようこそ"}}
    verdicts: dict[str, list[Verdict]] = {"taro": [Accept({"Class": "0x00ff", "Cisco-AVPair": ["x", "y"]})]}
    async with open_door(verdicts, settings_of(client)) as door:
        reply = await door.ask(ask_as("taro"))
        assert reply.attributes[1:] == (
            (18, "ようこそ".encode()),
            (11, b"a"),
            (11, b"b"),
            (25, b"\0\xff"),
            (26, b"\0\0\0\x09\1\3x"),
            (26, b"\0\0\0\x09\1\3y"),
        )


@in_loop
async def test_a_refusal_and_a_challenge_carry_none_of_them() -> None:
    client = {"reply_attributes": {"Filter-Id": "a"}, "reply_messages": {"accept": "welcome"}}
    async with open_door({"no": [NO], "ask": [ASK]}, settings_of(client)) as door:
        assert [type_ for type_, _ in (await door.ask(ask_as("no"))).attributes] == [80, 18]
        assert [type_ for type_, _ in (await door.ask(ask_as("ask"))).attributes] == [80, 24, 76, 18]


@pytest.mark.parametrize(
    "broken", [{"No-Such": "x"}, {"Session-Timeout": "soon"}, {"Filter-Id": {"a": 1}}, {"Filter-Id": [["a"]]}]
)
@in_loop
async def test_a_customers_attribute_that_cannot_be_encoded_is_silence_and_never_an_acceptance_without_it(
    broken: dict[str, object],
) -> None:
    """What is left out might have been what restricts."""
    right: dict[str, object] = {"Session-Timeout": 60}
    with capture_logs() as lines:
        async with open_door({"taro": [Accept(right | broken), Accept(right)]}) as door:
            peer, asked = door.gateway(), ask_as("taro")
            assert await door.silent(peer, asked.octets)
            assert (door.server.in_flight, len(door.duplicates)) == (0, 0)
            assert (await door.ask(asked, peer)).attributes[1:] == ((27, b"\0\0\0<"),), "once it is put right"
    (line,) = [line for line in lines if line["event"] == "dropped"]
    (name,) = broken
    assert line["cause"].startswith(f"a customer's reply attribute cannot be encoded: {name}: ")
    assert line["source"] == "client 0"


@pytest.mark.parametrize("verdict", [Accept({"Filter-Id": "a"}), NO, ASK])
@in_loop
async def test_proxy_states_come_back_unchanged_in_order_and_last(verdict: Verdict) -> None:
    states = [b"\0", b"second", b"", b"x" * 253, b"second"]
    mixed = [one for state in states for one in (attribute(PROXY_STATE, state), attribute(44, b"between"))]
    async with open_door({"taro": [verdict]}, settings_of({"reply_max": 4096})) as door:
        reply = await door.ask(crafted(user(), password("x"), *mixed))
        assert [value for type_, value in reply.attributes if type_ == PROXY_STATE] == states
        assert {type_ for type_, _ in reply.attributes[-5:]} == {PROXY_STATE}
        assert reply.attributes[0][0] == 80


@in_loop
async def test_replies_are_signed_for_clients_that_do_not_sign_themselves() -> None:
    settings = settings_of({"require_message_authenticator": False})
    async with open_door({"yes": [Accept()], "no": [NO], "ask": [ASK]}, settings) as door:
        for name in ("yes", "no", "ask"):
            await door.ask(Packet(craft.packet(user(name), password("x")), SECRET))
        assert door.server.counters.share_protected("client 0") == 0.0
        await door.ask(ask_as("yes"))
        assert door.server.counters.share_protected("client 0") == 0.25


# Texts that do not fit.

LONG = "ご利用の皆さまへ。" * 100


@pytest.mark.parametrize("reply_max", [256, 300, 600, 1024, 2000, 4096])
@pytest.mark.parametrize("proxies", [0, 1, 3])
@in_loop
async def test_a_reply_is_never_longer_than_the_client_reads(reply_max: int, proxies: int) -> None:
    client = {"reply_max": reply_max, "reply_messages": {"challenge": LONG, "reject": LONG}}
    states = [attribute(PROXY_STATE, bytes(50))] * proxies
    async with open_door({"no": [NO], "ask": [ASK]}, settings_of(client)) as door:
        for name, others in (("no", 0), ("ask", 18 + 6)):
            peer = door.gateway()
            asked = crafted(user(name), password("x"), *states)
            peer.send(asked.octets)
            octets = await door.octets(peer)
            assert len(octets) <= reply_max
            left = reply_max - 38 - others - 52 * proxies
            whole = LONG.encode()
            assert len(octets) == reply_max - left + min(left // 254 * 254, len(whole) + 2 * -(-len(whole) // 252))


@in_loop
async def test_one_text_alone_gives_way_too() -> None:
    settings = settings_of({"reply_max": 256, "reply_messages": {"reject": "x" * 217 + "y"}})
    async with open_door({"no": [NO]}, settings) as door:
        assert (await door.ask(ask_as("no"))).attributes[1:] == ()
    settings = settings_of({"reply_max": 256, "reply_messages": {"reject": "x" * 216}})
    async with open_door({"no": [NO]}, settings) as door:
        assert (await door.ask(ask_as("no"))).attributes[1:] == ((18, b"x" * 216),)


@in_loop
async def test_what_is_left_of_a_text_is_whole_characters() -> None:
    settings = settings_of({"reply_max": 700, "reply_messages": {"reject": LONG}})
    async with open_door({"no": [NO]}, settings) as door:
        texts = [value.decode() for type_, value in (await door.ask(ask_as("no"))).attributes if type_ == 18]
        assert len(texts) == 2
        assert LONG.startswith("".join(texts))


@in_loop
async def test_texts_give_way_before_state_and_attributes() -> None:
    client = {"reply_max": 256, "reply_messages": {"accept": LONG}, "reply_attributes": {"Filter-Id": "x" * 200}}
    async with open_door({"yes": [Accept()], "ask": [ASK]}, settings_of(client)) as door:
        assert (await door.ask(ask_as("yes"))).attributes[1:] == ((11, b"x" * 200),)
        proxies = [attribute(PROXY_STATE, b"p" * 253)] * 15
        reply = await door.ask(crafted(user("ask"), password("x"), *proxies))
        assert reply.state == STATE_OCTETS
        assert not [value for type_, value in reply.attributes if type_ == 18]


@in_loop
async def test_a_reply_that_cannot_be_written_is_silence_and_is_counted() -> None:
    """15 Proxy-States leave less room than an Accept's attributes take: there is no right reply."""
    verdict = Accept({"Filter-Id": ["x" * 253] * 3})
    async with open_door({"taro": [verdict]}) as door:
        peer = door.gateway()
        assert await door.silent(
            peer, crafted(user(), password("x"), *[attribute(PROXY_STATE, bytes(253))] * 15).octets
        )
        assert door.server.in_flight == 0
        assert any("RADIUS allows 4096" in cause for cause in door.counts)


# Refused without an attempt.

MS_CHAP = craft.vendor(311, 25, bytes(50))
"""An MS-CHAP2-Response, RFC 2548 section 2.3.2."""


@pytest.mark.parametrize(
    ("charset", "text"),
    [("utf-8", "密é"), ("cp932", "密ｶﾅ～"), ("latin-1", "é÷\x80\xa0x"), ("utf-8", "\u2028\U0001f511")],
)
@in_loop
async def test_a_clients_charset_reads_its_names_and_passwords(charset: str, text: str) -> None:
    name = "taroé" if charset == "latin-1" else "花子"
    async with open_door({}, settings_of({"charset": charset})) as door:
        peer = door.gateway()
        peer.send(crafted(user(name.encode(charset)), password(text.encode(charset))).octets)
        await asyncio.sleep(0.05)
        (attempt,) = door.authenticator.attempts
        assert (attempt.customer, attempt.user_password) == (name, text)


@pytest.mark.parametrize(("charset", "octets"), [("utf-8", b"caf\xe9"), ("cp932", b"\x85"), ("cp932", b"\x81 ")])
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
async def test_the_log_says_why_once_and_never_what_was_typed(credential: bytes, name: str) -> None:
    with capture_logs() as lines:
        async with open_door() as door:
            for number in range(5):
                asked = craft.packet(SIGNED, user("secret-name"), credential, identifier=number)
                await door.ask(Packet(asked, SECRET))
    (line,) = [line for line in lines if line["event"] == "refused without an attempt"]
    assert (line["cause"], line["source"]) == (f"{name} is not served here: let the client use PAP", "client 0")
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
    assert [line["cause"] for line in lines if line["event"] == "refused without an attempt"] == ["no User-Password"]


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
    async with open_door({"yes": [Accept()], "no": [NO]}, settings_of({"reject_delay": 0.5}), limits=LIMITS) as door:
        refused = [(door.gateway(), ask_as("no")) for _ in range(8)]
        for peer, asked in refused:
            assert await door.silent(peer, asked.octets, wait=0.01)
        assert (door.server.in_flight, door.server.delayed) == (0, 8)
        assert (await door.ask(ask_as("yes"), wait=0.2)).name == ACCEPT
        assert {(await door.hear(asked, peer)).name for peer, asked in refused} == {REJECT}


@in_loop
async def test_over_ten_delayed_refusals_for_each_place_the_next_is_silence() -> None:
    async with open_door({"no": [NO]}, settings_of({"reject_delay": 0.8}), limits=LIMITS) as door:
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


# Duplicates.


@in_loop
async def test_copies_of_a_request_under_way_are_silent_and_one_attempt() -> None:
    async with open_door({}) as door:
        peer, asked = door.gateway(), ask_as("taro")
        assert await door.silent(peer, *[asked.octets] * 5)
        assert len(door.authenticator.attempts) == door.server.in_flight == 1
        assert door.counts["duplicate in progress"] == 4
        door.authenticator.release(Accept())
        await door.hear(asked, peer)
        assert await door.silent(peer)


@in_loop
async def test_a_copy_of_an_answered_request_gets_the_same_octets_without_new_work() -> None:
    for verdict in (Accept({"Filter-Id": "a"}), NO, ASK):
        async with open_door({"taro": [verdict]}) as door:
            peer, asked = door.gateway(), ask_as("taro")
            peer.send(asked.octets)
            first = await door.octets(peer)
            for _ in range(3):
                peer.send(asked.octets)
                assert await door.octets(peer) == first
            assert len(door.authenticator.attempts) == 1
            assert door.counts["duplicate answered again"] == 3


@in_loop
async def test_a_copy_during_the_reject_delay_is_silent() -> None:
    async with open_door({"no": [NO]}, settings_of({"reject_delay": 0.4})) as door:
        peer, asked = door.gateway(), ask_as("no")
        assert await door.silent(peer, asked.octets, asked.octets)
        await door.hear(asked, peer)
        assert await door.silent(peer)
        assert len(door.authenticator.attempts) == 1


@in_loop
async def test_the_same_key_with_a_new_authenticator_replaces_the_old_request() -> None:
    async with open_door({"first": [], "second": [Accept()]}) as door:
        peer = door.gateway()
        first, second = ask_as("first", identifier=9), ask_as("second", identifier=9)
        peer.send(first.octets)
        assert (await door.ask(second, peer)).name == ACCEPT
        door.authenticator.release(NO)
        assert (await door.hear(first, peer)).name == REJECT
        assert (await door.ask(second, peer)).name == ACCEPT
        assert len(door.authenticator.attempts) == 2


@in_loop
async def test_the_same_key_and_authenticator_with_other_octets_is_a_new_request() -> None:
    """Not even a client that never changes its authenticators gets somebody else's reply."""
    authenticator = bytes(16)
    async with open_door({"first": [Accept()], "second": [NO]}) as door:
        peer = door.gateway()
        first, second = (ask_as(name, identifier=9, authenticator=authenticator) for name in ("first", "second"))
        assert (await door.ask(first, peer)).name == ACCEPT
        assert (await door.ask(second, peer)).name == REJECT
        longer = ask_as("second", identifier=9, authenticator=authenticator, more=[(32, b"nas")])
        assert (await door.ask(longer, peer)).name == REJECT
        assert [attempt.customer for attempt in door.authenticator.attempts] == ["first", "second", "second"]
        assert (await door.ask(longer, peer)).name == REJECT
        assert door.counts["duplicate answered again"] == 1


@in_loop
async def test_padding_makes_no_new_request() -> None:
    """RFC 2865 section 3: octets outside the range of the Length field are ignored."""
    async with open_door() as door:
        peer, asked = door.gateway(), ask_as("taro")
        assert (await door.ask(asked, peer)).name == ACCEPT
        peer.send(asked.octets + b"padding")
        assert (await door.hear(asked, peer)).name == ACCEPT
        assert len(door.authenticator.attempts) == 1


@in_loop
async def test_requests_of_one_socket_with_other_identifiers_do_not_replace_one_another() -> None:
    async with open_door() as door:
        peer = door.gateway()
        asked = [ask_as("taro", identifier=number) for number in (1, 2, 3)]
        first = [await door.ask(one, peer) for one in asked]
        again = [await door.ask(one, peer) for one in asked]
        assert [reply.attributes for reply in again] == [reply.attributes for reply in first]
        assert len(door.authenticator.attempts) == 3
        assert door.counts["duplicate answered again"] == 3


@in_loop
async def test_the_same_octets_from_another_port_are_another_request_with_the_same_fingerprint() -> None:
    async with open_door() as door:
        asked = ask_as("taro")
        for _ in range(2):
            await door.ask(asked)
        first, second = door.authenticator.attempts
        assert first.fingerprint == second.fingerprint


@in_loop
async def test_a_fingerprint_names_one_request_of_one_client() -> None:
    clients = [{"network": "127.0.0.1"}, {"network": "127.0.0.2"}]
    authenticator = bytes(16)
    async with open_door(settings=settings_of(*clients)) as door:
        for source, identifier, user_password in (
            ("127.0.0.1", 1, "123456"),
            ("127.0.0.2", 1, "123456"),
            ("127.0.0.1", 2, "123456"),
            ("127.0.0.1", 1, "654321"),
        ):
            asked = ask_as("taro", user_password, identifier=identifier, authenticator=authenticator)
            await door.ask(asked, door.gateway(source))
        assert len({attempt.fingerprint for attempt in door.authenticator.attempts}) == 4


@in_loop
async def test_a_fingerprint_is_the_packets_own_also_where_logins_may_join() -> None:
    """Which logins are the same one, the core says: the door says which packets are."""
    async with open_door(settings=settings_of({"repeated_login_seconds": 5})) as door:
        once, anew = ask_as("taro", "123456"), ask_as("taro", "123456")
        for asked in (once, once, anew):
            await door.ask(asked)  # each from a port of its own
        first, copy, other = (attempt.fingerprint for attempt in door.authenticator.attempts)
        assert first == copy != other


@in_loop
async def test_a_packet_that_fails_its_signature_never_touches_the_cache() -> None:
    async with open_door({}) as door:
        peer, asked = door.gateway(), ask_as("taro", identifier=5)
        forged = ask_as("taro", identifier=5)
        assert await door.silent(peer, forged.octets[:-1] + bytes((forged.octets[-1] ^ 1,)))
        assert len(door.duplicates) == 0
        peer.send(asked.octets)
        assert await door.silent(peer, forged.octets[:30] + b"?" + forged.octets[31:])
        door.authenticator.release(Accept())
        assert (await door.hear(asked, peer)).name == ACCEPT
        assert len(door.authenticator.attempts) == 1


@in_loop
async def test_after_silence_the_retransmission_is_asked_anew() -> None:
    async with open_door({"taro": [Silence("the store is locked"), Accept()]}) as door:
        peer, asked = door.gateway(), ask_as("taro")
        assert await door.silent(peer, asked.octets)
        assert door.server.in_flight == 0
        assert (await door.ask(asked, peer)).name == ACCEPT
        assert door.counts["dropped: the store is locked"] == 1


# Overload.


@in_loop
async def test_over_the_bound_new_first_packets_are_dropped_and_second_rounds_keep_their_place() -> None:
    async with open_door({}, limits=LIMITS) as door:
        firsts = [door.gateway() for _ in range(3)]
        for peer in firsts:
            assert await door.silent(peer, ask_as("first").octets, wait=0.02)
        assert (door.server.in_flight, door.counts["dropped: too many requests in flight"]) == (2, 1)
        seconds = [(door.gateway(), ask_as("second", state=b"state")) for _ in range(3)]
        for peer, asked in seconds:
            assert await door.silent(peer, asked.octets, wait=0.02)
        assert (door.server.in_flight, door.counts["dropped: too many requests in flight"]) == (4, 2)
        assert [attempt.challenge for attempt in door.authenticator.attempts] == [None, None, b"state", b"state"]
        door.authenticator.release(Accept())
        for peer, asked in seconds[:2]:
            assert (await door.hear(asked, peer)).name == ACCEPT
        assert door.server.in_flight == 0


@in_loop
async def test_after_overload_the_dropped_ones_retransmission_is_served() -> None:
    async with open_door({"yes": [Accept()]}, limits=LIMITS) as door:
        for _ in range(2):
            assert await door.silent(door.gateway(), ask_as("stuck").octets, wait=0.02)
        peer, asked = door.gateway(), ask_as("yes")
        assert await door.silent(peer, asked.octets)
        door.authenticator.release(Accept())
        assert (await door.ask(asked, peer)).name == ACCEPT


@in_loop
async def test_over_the_bound_a_copy_of_an_answered_request_is_still_answered() -> None:
    """A retransmission is nothing new: it costs no work, and its customer has been let in already."""
    async with open_door({"yes": [Accept()]}, limits=LIMITS) as door:
        peer, asked = door.gateway(), ask_as("yes")
        await door.ask(asked, peer)
        stuck = [(door.gateway(), ask_as("stuck")) for _ in range(2)]
        for stuck_peer, one in stuck:
            assert await door.silent(stuck_peer, one.octets, wait=0.02)
        assert (await door.ask(asked, peer)).name == ACCEPT
        assert await door.silent(stuck[0][0], stuck[0][1].octets)
        assert door.counts["duplicate in progress"] == 1
        assert "dropped: too many requests in flight" not in door.counts


@in_loop
async def test_with_too_many_open_challenges_nothing_that_would_open_one_is_begun() -> None:
    modes = ("challenge", "auto", "append", "code", "password")
    clients = [{"network": f"127.0.0.{at}", "mode": mode} for at, mode in enumerate(modes, 1)]
    async with open_door(settings=settings_of(*clients)) as door:
        door.full = True
        for at, mode in enumerate(modes, 1):
            peer = door.gateway(f"127.0.0.{at}")
            first = ask_as("taro")
            assert await door.silent(peer, first.octets) is (mode in ("challenge", "auto"))
            assert (await door.ask(ask_as("taro", state=b"state"), peer)).name == ACCEPT
        assert door.counts["dropped: too many open challenges"] == 2
        door.full = False
        assert (await door.ask(ask_as("taro"), door.gateway("127.0.0.1"))).name == ACCEPT


# Status-Server.


@in_loop
async def test_status_server_is_answered_when_healthy_and_silent_when_not() -> None:
    async with open_door() as door:
        assert (await door.ask(status_server(secret=SECRET_TEXT))).attributes[1:] == ()
        door.healthy = False
        peer = door.gateway()
        assert await door.silent(peer, status_server(secret=SECRET_TEXT).octets)
        door.healthy = True
        assert (await door.ask(status_server(secret=SECRET_TEXT), peer)).name == ACCEPT
        assert door.authenticator.attempts == []


@in_loop
async def test_status_server_needs_its_signature_from_every_client() -> None:
    async with open_door(settings=settings_of({"require_message_authenticator": False})) as door:
        assert await door.silent(door.gateway(), craft.packet(code=craft.STATUS))


@in_loop
async def test_status_server_is_answered_at_its_rate_for_each_client() -> None:
    limits = Limits(max_in_flight=10, request_seconds=5.0, status_rate=3)
    clients = [{"network": "127.0.0.1"}, {"network": "127.0.0.2"}]
    async with open_door(settings=settings_of(*clients), limits=limits) as door:
        loop = asyncio.get_running_loop()
        for _ in range(2):
            await asyncio.sleep(1.01 - loop.time() % 1)
            answered = []
            for source in ("127.0.0.1", "127.0.0.2"):
                peer = door.gateway(source)
                answered.append([await answers(door, peer) for _ in range(5)])
            assert answered == [[True, True, True, False, False]] * 2
        assert door.counts["dropped: more Status-Server than status_rate"] == 8


async def answers(door: Door, peer: socket.socket) -> bool:
    return not await door.silent(peer, status_server(secret=SECRET_TEXT).octets, wait=0.05)


@in_loop
async def test_status_server_is_answered_under_overload_and_brings_its_proxy_states_back() -> None:
    async with open_door({}, limits=Limits(max_in_flight=1, request_seconds=5.0, status_rate=20)) as door:
        assert await door.silent(door.gateway(), ask_as("stuck").octets)
        octets = craft.packet(SIGNED, attribute(PROXY_STATE, b"2"), attribute(PROXY_STATE, b"1"), code=craft.STATUS)
        reply = await door.ask(Packet(octets, SECRET))
        assert (reply.name, reply.attributes[1:]) == (ACCEPT, ((33, b"2"), (33, b"1")))


# New settings.


@in_loop
async def test_a_request_in_flight_keeps_its_own_settings_and_the_next_one_has_the_new() -> None:
    async with open_door({"stuck": [], "yes": [Accept()]}) as door:
        peer, stuck = door.gateway(), ask_as("stuck")
        assert await door.silent(peer, stuck.octets, wait=0.02)
        new = "another-secret-altogether"
        door.reload(settings_of({"secret": new, "reply_attributes": {"Filter-Id": "new"}}))
        door.authenticator.release(Accept())
        assert (await door.hear(stuck, peer)).attributes[1:] == ()
        assert (await door.ask(access_request("yes", "x", secret=new))).attributes[1:] == ((11, b"new"),)
        assert await door.silent(peer, ask_as("yes").octets)


@in_loop
async def test_a_client_that_was_taken_out_is_a_stranger_at_once() -> None:
    async with open_door(settings=settings_of({"network": "127.0.0.1"})) as door:
        peer = door.gateway()
        await door.ask(ask_as("taro"), peer)
        door.reload(settings_of({"network": "127.0.0.2"}))
        assert await door.silent(peer, ask_as("taro").octets)
        assert (await door.ask(ask_as("taro"), door.gateway("127.0.0.2"))).name == ACCEPT


# What must not go wrong, and what happens if it does.


class BrokenAuthenticator(FakeAuthenticator):
    """Has a fault for one customer."""

    def admit(self, attempt: Attempt, on_verdict: OnVerdict) -> None:
        if attempt.customer == "broken":
            raise RuntimeError("a fault of ours")
        super().admit(attempt, on_verdict)


@in_loop
async def test_a_fault_of_ours_is_logged_and_holds_no_place() -> None:
    with capture_logs() as lines:
        async with open_door(limits=LIMITS, authenticator=BrokenAuthenticator(YES)) as door:
            peer, asked = door.gateway(), ask_as("broken", "geheim")
            for _ in range(5):
                assert await door.silent(peer, asked.octets, wait=0.02)
            assert (door.server.in_flight, len(door.duplicates)) == (0, 0)
            assert (await door.ask(ask_as("taro"), peer)).name == ACCEPT
            assert door.counts["dropped: an error of our own"] == 5
    assert [line["octets"] for line in lines if line["event"] == "a datagram could not be handled"] == [
        len(asked.octets)
    ] * 5
    assert "geheim" not in str(lines)


@in_loop
async def test_a_reply_that_the_kernel_does_not_take_is_counted_and_done_with() -> None:
    async with open_door({}) as door:
        assert await door.silent(door.gateway(), ask_as("taro").octets)
        asyncio.get_running_loop().remove_reader(door.listener.socket)
        door.listener.close()
        assert door.authenticator.release(Accept()) == 1
        assert door.counts["reply not sent"] == 1
        assert door.server.in_flight == 0


# What a stranger can do.


@in_loop
async def test_strangers_from_everywhere_cannot_fill_the_log() -> None:
    """Source addresses can be forged, one for each datagram."""
    with capture_logs() as lines:
        async with open_door(settings=settings_of({"network": "127.0.0.1"})) as door:
            for number in range(1000):
                peer = door.gateway(f"127.1.{number >> 8}.{number & 255}")
                peer.send(b"?")
                peer.close()
            assert (await door.ask(ask_as("taro"))).name == ACCEPT
            cause = "no client has this address: is it missing in [[radius.clients]]?"
            assert door.counts[f"dropped: {cause}"] == 1000
    assert 1 <= len([line for line in lines if line.get("cause") == cause]) <= 100


@in_loop
async def test_one_source_is_named_once_and_then_with_how_often() -> None:
    with capture_logs() as lines:
        async with open_door() as door:
            peer = door.gateway()
            assert await door.silent(peer, *[b"?"] * 50, wait=0.05)
            assert door.counts["dropped: under 20 octets"] == 50
    (line,) = [line for line in lines if line["event"] == "dropped"]
    assert (line["cause"], line["source"]) == ("under 20 octets", "127.0.0.1")


@in_loop
async def test_a_burst_is_drained_and_every_request_answered() -> None:
    async with open_door() as door:
        peers = [door.gateway() for _ in range(20)]
        asked = [(peer, ask_as("taro", identifier=number)) for number in range(25) for peer in peers]
        for peer, one in asked:
            peer.send(one.octets)
        started = time.monotonic()
        replies = [await door.octets(peer) for peer, _ in asked]
        assert len(replies) == len(asked) == len(door.authenticator.attempts) == 500
        assert time.monotonic() - started < 5
