"""The server over its life: new settings while requests are in flight, and faults of our own."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from otp_core.authentication.queue import OnVerdict
from otp_core.model import Accept, Attempt
from tests.fakes_radius import FEW, YES, FakeAuthenticator, ask_as, in_loop, open_door, settings_of
from tests.radius_peer import ACCEPT, access_request

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
        async with open_door(limits=FEW, authenticator=BrokenAuthenticator(YES)) as door:
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
