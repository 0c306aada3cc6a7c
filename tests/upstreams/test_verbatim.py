"""A gateway's request as it is, for another server; and the State that says which server gave it."""

from __future__ import annotations

import os

import pytest

from otp_core.radius.codec import CannotAsk
from otp_core.radius.requests import read_request, verify_request
from otp_core.upstreams.verbatim import Handed, mark, unmark
from tests.radius.craft import attributes_of
from tests.radius_peer import access_request

HERE, THERE = b"between-gateway-and-us", b"between-us-and-the-old-server"


def handed(more: list[tuple[int, bytes]], *, marked: bool = False) -> list[tuple[int, bytes]]:
    packet = access_request("taro", "geheim", secret=HERE.decode(), more=more)
    request = read_request(packet.octets)
    signed = Handed(request, HERE, THERE, b"our-own.", marked).write(7, os.urandom(16))
    verify_request(read_request(signed.octets), THERE, required=True, limit_proxy_state=True)
    return attributes_of(signed.octets)


def test_everything_goes_along_in_its_order_and_our_proxy_state_last() -> None:
    more = [(32, b"vpn"), (33, b"one"), (26, b"\0\0\1\x37\x0b\x04ab"), (33, b"two"), (250, b"")]
    found = [one for one in handed(more) if one[0] not in (1, 2, 80)]
    assert found == [*more, (33, b"our-own.")]


def test_chap_gets_the_challenge_that_was_in_the_header() -> None:
    found = handed([(3, b"\1" + bytes(16))])
    (challenge,) = [value for type_, value in found if type_ == 60]
    assert len(challenge) == 16
    assert [value for type_, value in handed([(3, bytes(17)), (60, b"own")]) if type_ == 60] == [b"own"]


def test_a_state_is_put_in_its_place() -> None:
    found = handed([(24, mark(b"the old one's", 1)), (32, b"vpn")], marked=True)
    assert [one for one in found if one[0] in (24, 32)] == [(24, b"the old one's"), (32, b"vpn")]


def test_two_states_stay_two() -> None:
    """The old server may refuse them; it is asked what the gateway has asked."""
    two = [(24, b"one"), (24, b"two")]
    assert [one for one in handed(two) if one[0] == 24] == two


def test_a_password_of_no_whole_blocks_cannot_be_handed_on() -> None:
    packet = access_request("taro", "geheim", secret=HERE.decode(), more=[(2, b"short")])
    with pytest.raises(CannotAsk):
        Handed(read_request(packet.octets), HERE, THERE, b"own").write(7, bytes(16))


def test_a_request_that_grows_too_long_cannot_be_handed_on() -> None:
    packet = access_request("taro", "geheim", secret=HERE.decode(), more=[(33, bytes(250))] * 15)
    request = read_request(packet.octets)
    grown = Handed(request, HERE, THERE, bytes(253))
    with pytest.raises(CannotAsk, match="longer than RADIUS allows"):
        grown.write(7, bytes(16))


def test_a_state_says_which_server_gave_it() -> None:
    assert unmark(mark(b"state", 1)) == (b"state", 1)
    assert unmark(b"x") == (b"x", None)
    with pytest.raises(ValueError, match="too long"):
        mark(bytes(253), 0)
