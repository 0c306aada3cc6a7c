"""Properties of the codec for arbitrary octets (hypothesis): reading raises only Unreadable and Unservable."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.radius.codec import (
    Attribute,
    AttributeType,
    NotAReply,
    Packet,
    PacketCode,
    Unreadable,
    Unservable,
    encode_attributes,
    encoded_size,
    hide_password,
    reveal_password,
    text_attributes,
)
from otp_core.radius.replies import read_reply, write_reply
from otp_core.radius.requests import read_credentials, read_request, verify_request, write_access_request
from tests import radius_peer
from tests.examples import examples
from tests.radius import craft
from tests.radius.craft import SIGNED, packet

SECRETS = st.binary(min_size=1, max_size=80)
AUTHENTICATORS = st.binary(min_size=16, max_size=16)
VALUES = st.one_of(st.binary(max_size=253), st.sampled_from([b"", bytes(16), bytes(253)]))
TYPES = st.one_of(st.integers(1, 255), st.sampled_from([int(type_) for type_ in AttributeType]))
ATTRIBUTES = st.lists(st.tuples(TYPES, VALUES), max_size=14)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=1500)


@st.composite
def nearly_packets(draw: st.DrawFn) -> bytes:
    """A header, then attributes whose length octets may be wrong."""
    body = b"".join(
        craft.attribute(type_, value, length=draw(st.none() | st.integers(0, 255)))
        for type_, value in draw(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=6))
    )
    length = draw(st.none() | st.integers(0, 0xFFFF))
    signed = draw(st.lists(st.just(SIGNED), max_size=2))
    code = draw(st.sampled_from([1, 12, 2, 0, 255]))
    tail = draw(st.binary(max_size=30))
    return packet(*signed, body, code=code, length=length, authenticator=draw(AUTHENTICATORS)) + tail


def through_the_codec(datagram: bytes, secret: bytes, required: bool, limit: bool) -> Packet | None:
    """The whole receive path. None for a packet that is dropped or refused; other exceptions fail the test."""
    try:
        request = read_request(datagram)
        verify_request(request, secret, required=required, limit_proxy_state=limit)
        read_credentials(request, secret)
    except (Unreadable, Unservable):
        return None
    return request


@given(st.one_of(st.binary(max_size=300), nearly_packets()), SECRETS, st.booleans(), st.booleans())
@settings(max_examples=examples(600), deadline=None)
def test_any_octets_are_dropped_refused_or_read(datagram: bytes, secret: bytes, required: bool, limit: bool) -> None:
    through_the_codec(datagram, secret, required, limit)


@given(st.one_of(st.binary(min_size=20, max_size=300), nearly_packets()))
@settings(max_examples=examples(600), deadline=None)
def test_what_is_read_is_what_was_sent(datagram: bytes) -> None:
    try:
        request = read_request(datagram)
    except Unreadable:
        return
    length = int.from_bytes(datagram[2:4], "big")
    assert request.octets == datagram[:length]
    assert request.octets[:4] == bytes((request.code, request.identifier)) + length.to_bytes(2, "big")
    assert request.octets[4:20] == request.authenticator
    assert encode_attributes(request.attributes) == request.octets[20:]
    assert len(request.attributes) <= 200
    assert 0 not in {type_ for type_, _ in request.attributes}


@given(st.one_of(st.binary(max_size=300), nearly_packets()), SECRETS)
@settings(max_examples=examples(300), deadline=None)
def test_no_packet_passes_without_the_secret(datagram: bytes, secret: bytes) -> None:
    """A client that must sign gets no reply without the secret."""
    assert through_the_codec(datagram, b"not " + secret, required=True, limit=True) is None


@given(ATTRIBUTES, AUTHENTICATORS, SECRETS, st.integers(0, 255), st.data())
@settings(max_examples=examples(300), deadline=None)
def test_a_signed_packet_is_read_and_one_changed_bit_is_not(
    attributes: list[Attribute], authenticator: bytes, secret: bytes, identifier: int, data: st.DataObject
) -> None:
    others = [craft.attribute(type_, value) for type_, value in attributes if type_ not in (79, 80)]
    at = data.draw(st.integers(0, len(others)))
    octets = packet(
        *others[:at], SIGNED, *others[at:], authenticator=authenticator, secret=secret, identifier=identifier
    )
    request = read_request(octets)
    verify_request(request, secret, required=True, limit_proxy_state=True)
    assert [item for item in request.attributes if item[0] != 80] == craft.attributes_of(packet(*others))
    bit = data.draw(st.integers(0, len(octets) * 8 - 1))
    changed = bytearray(octets)
    changed[bit // 8] ^= 1 << bit % 8
    assert through_the_codec(bytes(changed), secret, required=True, limit=True) is None


@given(st.binary(max_size=128), SECRETS, AUTHENTICATORS)
@settings(max_examples=examples(200), deadline=None)
def test_a_password_comes_out_as_it_went_in(clear: bytes, secret: bytes, authenticator: bytes) -> None:
    """Except NULs at its end, which are padding (RFC 2865 section 5.2)."""
    assert reveal_password(craft.hidden(clear, secret=secret, authenticator=authenticator), secret, authenticator) == (
        clear.rstrip(b"\0")
    )


@given(st.binary(max_size=128), SECRETS, AUTHENTICATORS)
@settings(max_examples=examples(200), deadline=None)
def test_a_password_is_hidden_as_the_rfc_has_it(clear: bytes, secret: bytes, authenticator: bytes) -> None:
    assert hide_password(clear, secret, authenticator) == craft.hidden(
        clear, secret=secret, authenticator=authenticator
    )


@given(
    st.sampled_from([PacketCode.ACCESS_ACCEPT, PacketCode.ACCESS_REJECT]),
    ATTRIBUTES,
    SECRETS,
    AUTHENTICATORS,
    st.data(),
)
@settings(max_examples=examples(200), deadline=None)
def test_a_client_reads_the_reply_to_its_request_and_no_changed_one(
    code: PacketCode, attributes: list[Attribute], secret: bytes, authenticator: bytes, data: st.DataObject
) -> None:
    attributes = [item for item in attributes if item[0] not in (33, 80)]
    request = write_access_request("taro", "x", secret, identifier=7, authenticator=authenticator)
    octets = write_reply(read_request(request.octets), code, attributes, secret)
    reply = read_reply(request, octets)
    assert (reply.code, reply.attributes[1:]) == (code, attributes)
    bit = data.draw(st.integers(0, len(octets) * 8 - 1))
    changed = bytearray(octets)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NotAReply):
        read_reply(request, bytes(changed))


@given(
    st.sampled_from([PacketCode.ACCESS_ACCEPT, PacketCode.ACCESS_REJECT, PacketCode.ACCESS_CHALLENGE]),
    ATTRIBUTES,
    st.lists(VALUES, max_size=10),
    SECRETS,
    AUTHENTICATORS,
)
@settings(max_examples=examples(300), deadline=None)
def test_every_reply_verifies_at_an_independent_peer(
    code: PacketCode, attributes: list[Attribute], states: list[bytes], secret: bytes, authenticator: bytes
) -> None:
    attributes = [item for item in attributes if item[0] not in (33, 80)]
    asked = packet(
        SIGNED, *[craft.attribute(33, state) for state in states], authenticator=authenticator, secret=secret
    )
    try:
        octets = write_reply(read_request(asked), code, attributes, secret)
    except ValueError:
        assert 38 + encoded_size(attributes) + sum(len(state) + 2 for state in states) > 4096
        return
    assert octets[0] == code
    reply = radius_peer.read_reply(radius_peer.Packet(asked, secret), octets)
    assert list(reply.attributes[1:]) == attributes + [(33, state) for state in states]


@given(TEXTS)
@settings(max_examples=examples(300), deadline=None)
def test_a_split_text_is_whole_again_when_joined(text: str) -> None:
    parts = [value for _, value in text_attributes(AttributeType.REPLY_MESSAGE, text)]
    assert "".join(part.decode() for part in parts) == text
    assert all(1 <= len(part) <= 253 for part in parts)
    assert all(len(part) > 253 - 4 for part in parts[:-1]), "no more attributes than it takes"
