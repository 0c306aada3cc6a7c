"""Attributes of an upstream on their way to a client: picked by name, in order, keys hidden anew at each hop."""

from __future__ import annotations

import contextlib
import os
import struct
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrad.packet import Packet as PyradPacket

from otp_core.radius.codec import Attribute, Packet
from otp_core.radius.dictionary import CannotEncode, Dictionary
from otp_core.radius.relayed import AllowList, write
from otp_core.radius.salted import NotHidden, hide, reveal

STANDARD = Dictionary()
THERE, HERE = b"secret of the upstream", b"secret of the client"
ASKED, ANSWERED = bytes(range(16)), bytes(range(16, 32))
CLASS, FILTER_ID, REPLY_MESSAGE, VENDOR_SPECIFIC, PROXY_STATE, TUNNEL_PASSWORD = 25, 11, 18, 26, 33, 69


def vendor(number: int, *parts: tuple[int, bytes]) -> Attribute:
    inner = b"".join(bytes((type_, len(value) + 2)) + value for type_, value in parts)
    return VENDOR_SPECIFIC, struct.pack("!I", number) + inner


def relayed(names: list[str], *attributes: Attribute) -> list[Attribute]:
    octets = b"".join(bytes((type_, len(value) + 2)) + value for type_, value in attributes)
    reply = Packet(bytes(20) + octets, list(attributes), None)
    salts = count(0x8001)
    picked = AllowList.named(names, STANDARD).pick(reply, THERE, ASKED)
    return write(picked, HERE, ANSWERED, lambda: next(salts).to_bytes(2, "big"))


def test_order_repeats_and_empty_values_stay_and_nothing_else_passes() -> None:
    cisco = [vendor(9, (1, b"one")), vendor(9, (1, b"two"))]
    found = relayed(
        ["Class", "Cisco-AVPair"],
        (CLASS, b"b"), cisco[0], (REPLY_MESSAGE, b"no"), (CLASS, b""), (PROXY_STATE, b"ours"), (CLASS, b"b"), cisco[1],
        (FILTER_ID, b"no"), vendor(9, (2, b"no")), vendor(10, (1, b"no")),
    )  # fmt: skip
    assert found == [(CLASS, b"b"), cisco[0], (CLASS, b""), (CLASS, b"b"), cisco[1]]


def test_of_several_in_one_vendor_specific_each_allowed_one_passes() -> None:
    found = relayed(["Cisco-AVPair"], vendor(9, (1, b"one"), (2, b"no"), (1, b"")))
    assert found == [vendor(9, (1, b"one")), vendor(9, (1, b""))]


@pytest.mark.parametrize(
    "octets", [b"", b"\0\0\0", b"\0\0\0\x09", b"\0\0\0\x09\1", b"\0\0\0\x09\1\1", b"\0\0\0\x09\1\x09x"]
)
def test_a_vendor_specific_that_is_none_passes_nothing(octets: bytes) -> None:
    assert relayed(["Cisco-AVPair"], (VENDOR_SPECIFIC, octets)) == []


def test_keys_are_opened_and_hidden_anew_with_other_salts_and_tags_stay() -> None:
    key, password = os.urandom(32), b"through the tunnel"
    there = [hide(one, THERE, ASKED, b"\x90\1") for one in (key, key, password)]
    found = relayed(
        ["MS-MPPE-Send-Key", "MS-MPPE-Recv-Key", "Tunnel-Password"],
        vendor(311, (16, there[0])), vendor(311, (17, there[1])), (TUNNEL_PASSWORD, b"\3" + there[2]),
    )  # fmt: skip
    send, recv, tunnel = (value for _, value in found)
    assert send[:5] == struct.pack("!IB", 311, 16) and recv[:5] == struct.pack("!IB", 311, 17)
    assert reveal(send[6:], HERE, ANSWERED) == reveal(recv[6:], HERE, ANSWERED) == key
    assert (tunnel[:1], reveal(tunnel[1:], HERE, ANSWERED)) == (b"\3", password)
    assert len({send[6:8], recv[6:8], tunnel[1:3]}) == 3, "a salt for each"
    assert key not in b"".join(value for _, value in found)


def test_a_key_of_another_secret_is_not_passed_on() -> None:
    wrong = 0
    for _ in range(50):
        hidden = hide(os.urandom(16), b"another secret", ASKED, os.urandom(2))
        try:
            reveal(hidden, THERE, ASKED)
        except NotHidden:
            wrong += 1
    assert wrong > 30, "its length is read out of noise"


@given(st.binary(max_size=200), st.binary(min_size=1, max_size=40), st.binary(min_size=2, max_size=2))
def test_what_is_hidden_opens_again_and_pyrad_opens_it_too(value: bytes, secret: bytes, salt: bytes) -> None:
    hidden = hide(value, secret, ASKED, salt)
    assert hidden[0] & 0x80 and (len(hidden) - 2) % 16 == 0
    assert reveal(hidden, secret, ASKED) == value
    peer = PyradPacket(code=2, secret=secret, authenticator=ASKED)
    assert peer.SaltDecrypt(hidden) == value
    assert reveal(peer.SaltCrypt(value), secret, ASKED) == value


@given(st.binary(max_size=300))
def test_whatever_comes_it_opens_or_is_not_hidden(octets: bytes) -> None:
    with contextlib.suppress(NotHidden):
        assert len(reveal(octets, THERE, ASKED)) < max(1, len(octets))


def test_a_name_that_no_dictionary_has_cannot_be_relayed() -> None:
    with pytest.raises(CannotEncode, match="not in the dictionary"):
        AllowList.named(["No-Such"], STANDARD)
