"""The client's side of the codec: what it sends, where it stops, and what it says of a packet that is no reply."""

from __future__ import annotations

from hashlib import md5

import pytest

from otp_core.radius.codec import Attribute, AttributeType, CannotAsk, NotAReply, PacketCode
from otp_core.radius.replies import read_reply, write_reply
from otp_core.radius.requests import SignedRequest, read_request, write_access_request, write_status_server

SECRET, AUTHENTICATOR = b"0123456789abcdef", bytes(range(16))
STATE: Attribute = (AttributeType.STATE, b"state")


def asked(name: str = "taro", password: str = "pw") -> SignedRequest:
    return write_access_request(name, password, SECRET, identifier=7, authenticator=AUTHENTICATOR)


def status() -> SignedRequest:
    return write_status_server(SECRET, identifier=7, authenticator=AUTHENTICATOR)


def reply_to(request: SignedRequest, code: PacketCode, *attributes: Attribute, secret: bytes = SECRET) -> bytes:
    return write_reply(read_request(request.octets), code, attributes, secret)


_HEAD = b"\x02\x07\x00\x14"
UNSIGNED = _HEAD + md5(_HEAD + AUTHENTICATOR + SECRET).digest()  # noqa: S324
"""An acceptance with no attribute, and a right Response Authenticator."""


def test_what_was_not_given_is_not_sent() -> None:
    assert [type_ for type_, _ in read_request(asked().octets).attributes] == [80, 1, 2]
    assert [type_ for type_, _ in read_request(status().octets).attributes] == [80]


@pytest.mark.parametrize(("name", "password"), [(1, 0), (253, 128)])
def test_the_longest_and_the_shortest_are_sent(name: int, password: int) -> None:
    assert len(asked("n" * name, "p" * password).octets) > 20


@pytest.mark.parametrize(("name", "password"), [(0, 1), (254, 1), (1, 129)])
def test_what_radius_cannot_carry_is_said_before_anything_is_sent(name: int, password: int) -> None:
    with pytest.raises(CannotAsk) as refused:
        asked("n" * name, "p" * password)
    assert str(refused.value) == "RADIUS carries a name of 1 to 253 octets and a password of at most 128"


@pytest.mark.parametrize(
    ("datagram", "text"),
    [
        (b"\x05" + reply_to(asked(), PacketCode.ACCESS_ACCEPT)[1:], "a packet of another code"),
        (b"\x02\x07\x00", "a packet that cannot be read: "),
        (reply_to(asked(), PacketCode.ACCESS_ACCEPT)[:1] + b"\x08" + bytes(18), "a packet that cannot be read: "),
        (b"\x02\x08\x00\x14" + bytes(16), "a reply to another request"),
        (b"\x02\x07\x00\x14" + bytes(16), "a reply with a wrong signature: is the shared secret right?"),
        (UNSIGNED, "a reply without Message-Authenticator: is the server up to date?"),
        (
            reply_to(asked(), PacketCode.ACCESS_ACCEPT, secret=b"another secret!!"),
            "a reply with a wrong signature: is the shared secret right?",
        ),
        (
            reply_to(asked(), PacketCode.ACCESS_CHALLENGE),
            "an Access-Challenge that does not answer the request",
        ),
    ],
)
def test_each_packet_that_is_no_reply_is_refused_with_what_is_wrong(datagram: bytes, text: str) -> None:
    with pytest.raises(NotAReply) as refused:
        read_reply(asked(), datagram)
    assert str(refused.value).startswith(text)
    assert str(refused.value) == text or text.endswith(": ")


def test_each_reply_is_read() -> None:
    assert read_reply(asked(), reply_to(asked(), PacketCode.ACCESS_REJECT)).code == PacketCode.ACCESS_REJECT
    challenge = read_reply(asked(), reply_to(asked(), PacketCode.ACCESS_CHALLENGE, STATE))
    assert challenge.values(AttributeType.STATE) == [b"state"]
    assert read_reply(status(), reply_to(status(), PacketCode.ACCESS_ACCEPT)).code == PacketCode.ACCESS_ACCEPT


@pytest.mark.parametrize("code", [PacketCode.ACCESS_REJECT, PacketCode.ACCESS_CHALLENGE])
def test_a_status_server_is_answered_by_an_acceptance_only(code: PacketCode) -> None:
    with pytest.raises(NotAReply, match="does not answer the request"):
        read_reply(status(), reply_to(status(), code, STATE))
