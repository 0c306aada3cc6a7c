"""The server at its bounds: requests in flight, open challenges, Status-Server, floods from unknown sources."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from structlog.testing import capture_logs

from otp_core.model import Accept
from radius_server.process.access import Limits
from tests.fakes_radius import FEW, Door, ask_as, in_loop, open_door, settings_of
from tests.radius import craft
from tests.radius.craft import PROXY_STATE, SECRET, SIGNED, attribute
from tests.radius_peer import ACCEPT, Packet, status_server
from tests.sekisho import SECRET as SECRET_TEXT

# Overload.


@pytest.mark.parametrize("mode", ["challenge", "append", "code", "password"])
@in_loop
async def test_over_the_bound_new_first_packets_are_dropped_and_second_rounds_keep_their_place(mode: str) -> None:
    """In every mode: an upstream may have asked, too."""
    async with open_door({}, settings_of({"mode": mode}), limits=FEW) as door:
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
    async with open_door({"yes": [Accept()]}, limits=FEW) as door:
        for _ in range(2):
            assert await door.silent(door.gateway(), ask_as("stuck").octets, wait=0.02)
        peer, asked = door.gateway(), ask_as("yes")
        assert await door.silent(peer, asked.octets)
        door.authenticator.release(Accept())
        assert (await door.ask(asked, peer)).name == ACCEPT


@in_loop
async def test_over_the_bound_a_copy_of_an_answered_request_is_still_answered() -> None:
    """A retransmission is nothing new: it costs no work, and its customer has been let in already."""
    async with open_door({"yes": [Accept()]}, limits=FEW) as door:
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
    assert 1 <= len([line for line in lines if line.get("reason") == cause]) <= 100


@in_loop
async def test_one_source_is_named_once_and_then_with_how_often() -> None:
    with capture_logs() as lines:
        async with open_door() as door:
            peer = door.gateway()
            assert await door.silent(peer, *[b"?"] * 50, wait=0.05)
            assert door.counts["dropped: under 20 octets"] == 50
    (line,) = [line for line in lines if line["event"] == "dropped"]
    assert (line["reason"], line["source"]) == ("under 20 octets", "127.0.0.1")


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
