"""Retransmissions at the server: silence or the same reply, and one attempt (RFC 5080 section 2.2.2)."""

from __future__ import annotations

from otp_core.model import Accept, Silence
from tests.fakes_radius import ASK, NO, ask_as, in_loop, open_door, settings_of
from tests.radius_peer import ACCEPT, REJECT


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
    """Not even a client that never changes its authenticators gets the reply to another request."""
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
