"""From request to attempt and from verdict to reply: attributes, languages, texts that do not fit, Proxy-State."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from otp_core.messages import PROBLEM_TEXTS, TEXTS, Text
from otp_core.model import Accept, AuditRow, Challenge, Language, Reject, Verdict
from tests.fakes_radius import ASK, NO, STATE_OCTETS, ask_as, crafted, in_loop, open_door, settings_of
from tests.radius import craft
from tests.radius.craft import PROXY_STATE, SECRET, STATE, USER_NAME, attribute, password, user
from tests.radius_peer import ACCEPT, CHALLENGE, REJECT, Packet, Reply

# Attempts and replies.


@in_loop
async def test_a_request_becomes_an_attempt() -> None:
    settings = settings_of({"name": "vpn", "network": "127.0.0.9", "mode": "append", "language": "en"})
    async with open_door(settings=settings) as door:
        peer = door.gateway("127.0.0.9")
        before = asyncio.get_running_loop().time()
        calling_station_id = attribute(craft.CALLING_STATION_ID, b"203.0.113.7")
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
async def test_a_calling_station_id_that_is_no_text_is_shown_as_far_as_it_goes() -> None:
    async with open_door() as door:
        await door.ask(crafted(user(), password("x"), attribute(craft.CALLING_STATION_ID, b"\xff" + b"a" * 200)))
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
async def test_a_first_factor_asks_its_own_question() -> None:
    own = Challenge(STATE_OCTETS, Language.JA, prompt="新しいパスワード")
    async with open_door({"taro": [own]}) as door:
        reply = await door.ask(ask_as("taro"))
        assert reply.attributes[1:] == ((24, STATE_OCTETS), (76, bytes(4)), (18, "新しいパスワード".encode()))


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
    """The attribute that is left out may be the one that restricts the customer."""
    right: dict[str, object] = {"Session-Timeout": 60}
    with capture_logs() as lines:
        async with open_door({"taro": [Accept(right | broken), Accept(right)]}) as door:
            peer, asked = door.gateway(), ask_as("taro")
            assert await door.silent(peer, asked.octets)
            assert (door.server.in_flight, len(door.duplicates)) == (0, 0)
            assert (await door.ask(asked, peer)).attributes[1:] == ((27, b"\0\0\0<"),), "once it is put right"
    (line,) = [line for line in lines if line["event"] == "dropped"]
    (name,) = broken
    assert line["reason"].startswith(f"a customer's reply attribute cannot be encoded: {name}: ")
    assert (line["client"], line["source"]) == ("client 0", "127.0.0.1")


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


# The customer's own name (RFC 2865 section 5.1).


def known(customer: str = "taro", attributes: dict[str, object] | None = None) -> Accept:
    """An acceptance of this customer, as the evaluator gives it."""
    return Accept(attributes, AuditRow(1, "login.accepted", "vpn", customer, None, "192.0.2.1", "right code"))


def names(reply: Reply) -> list[bytes]:
    return [value for type_, value in reply.attributes if type_ == USER_NAME]


@pytest.mark.parametrize(
    ("setting", "exact", "alias"),
    [(None, [], [b"taro"]), ("when-different", [], [b"taro"]), ("always", [b"taro"], [b"taro"]), ("never", [], [])],
)
@in_loop
async def test_an_acceptance_names_the_customer_as_they_are_stored(
    setting: str | None, exact: list[bytes], alias: list[bytes]
) -> None:
    settings = settings_of({} if setting is None else {"return_user_name": setting})
    async with open_door({"taro": [known()], "no": [NO], "ask": [ASK]}, settings) as door:
        assert names(await door.ask(ask_as("taro"))) == exact
        for typed in (" taro", "ｔａｒｏ", "taro　"):
            reply = await door.ask(ask_as(typed))
            assert (reply.name, names(reply)) == (ACCEPT, alias)
        assert names(await door.ask(ask_as(" no"))) == names(await door.ask(ask_as(" ask"))) == []


@in_loop
async def test_the_name_is_in_the_clients_charset() -> None:
    async with open_door({"太郎": [known("太郎")]}, settings_of({"charset": "cp932"})) as door:
        assert names(await door.ask(crafted(user("太郎".encode("cp932")), password("x")))) == []
        assert names(await door.ask(crafted(user(" 太郎".encode("cp932")), password("x")))) == ["太郎".encode("cp932")]


@in_loop
async def test_a_user_name_of_the_settings_or_of_the_customer_wins_and_is_the_only_one() -> None:
    settings = settings_of(
        {"reply_attributes": {"User-Name": "shared", "Filter-Id": "a"}, "return_user_name": "always"}
    )
    verdicts: dict[str, list[Verdict]] = {"taro": [known()], "jiro": [known("jiro", {"User-Name": "jiro@branch"})]}
    async with open_door(verdicts, settings) as door:
        assert (await door.ask(ask_as(" taro"))).attributes[1:] == ((1, b"shared"), (11, b"a"))
        assert (await door.ask(ask_as(" jiro"))).attributes[1:] == ((11, b"a"), (1, b"jiro@branch"))


@pytest.mark.parametrize("octets", [1, 100, 212, 213, 253])
@in_loop
async def test_a_name_counts_for_the_longest_reply_and_gives_way_after_the_texts(octets: int) -> None:
    name = "n" * octets
    settings = settings_of({"reply_max": 256, "return_user_name": "always", "reply_messages": {"accept": "x" * 200}})
    async with open_door({name: [known(name)]}, settings) as door:
        peer = door.gateway()
        peer.send(ask_as(name).octets)
        reply = await door.octets(peer)
        assert len(reply) <= 256
        assert (name.encode() in reply) is (38 + 2 + octets <= 256)
        assert (b"x" * 200 in reply) is (38 + 2 + octets + 202 <= 256 or 38 + 2 + octets > 256)


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


@pytest.mark.parametrize("reason", ["password-expired", "account-disabled"])
@pytest.mark.parametrize("explains", [True, False])
@in_loop
async def test_what_is_wrong_with_an_account_elsewhere_is_told_to_clients_that_ask_for_it(
    reason: str, explains: bool
) -> None:
    refused = Reject(reason, Language.EN)
    settings = settings_of({"explain_password_problems": explains, "language": "en"})
    async with open_door({"taro": [refused], "jiro": [NO]}, settings) as door:
        usual = TEXTS[Language.EN, Text.REJECT]
        expected = PROBLEM_TEXTS[Language.EN, reason] if explains else usual
        assert (await door.ask(ask_as("taro"))).attributes[1:] == ((18, expected.encode()),)
        assert (await door.ask(ask_as("jiro"))).attributes[1][1].decode() == TEXTS[NO.language, Text.REJECT]
