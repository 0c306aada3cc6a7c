"""The codec against the RFCs: their examples, signatures of replies, splitting of texts. No sockets, no customers."""

from __future__ import annotations

import hmac
from contextlib import nullcontext
from hashlib import md5

import pytest

from otp_core.radius.codec import (
    AttributeType,
    DropReason,
    PacketCode,
    Unreadable,
    Unservable,
    encoded_size,
    reveal_password,
    text_attributes,
)
from otp_core.radius.replies import write_reply
from otp_core.radius.requests import Credentials, read_credentials, read_request, verify_request
from tests.radius import craft
from tests.radius.craft import SECRET, SIGNED, attribute, packet, password, user, vendor
from tests.radius_peer import Packet, read_reply

RFC_SECRET = b"xyzzy5461"

TELNET_REQUEST = """
    01 00 00 38 0f 40 3f 94 73 97 80 57 bd 83 d5 cb
    98 f4 22 7a 01 06 6e 65 6d 6f 02 12 0d be 70 8d
    93 d4 13 ce 31 96 e4 3f 78 2a 0a ee 04 06 c0 a8
    01 10 05 06 00 00 00 03
"""
TELNET_ACCEPT = """
    02 00 00 26 86 fe 22 0e 76 24 ba 2a 10 05 f6 bf
    9b 55 e0 b2 06 06 00 00 00 01 0f 06 00 00 00 00
    0e 06 c0 a8 01 03
"""
"""RFC 2865 section 7.1, User Telnet to Specified Host."""

CHAP_REQUEST = """
    01 01 00 47 2a ee 86 f0 8d 0d 55 96 9c a5 97 8e
    0d 33 67 a2 01 08 66 6c 6f 70 73 79 03 13 16 e9
    75 57 c3 16 18 58 95 f2 93 ff 63 44 07 72 75 04
    06 c0 a8 01 10 05 06 00 00 00 14 06 06 00 00 00
    02 07 06 00 00 00 01
"""
"""Section 7.2, Framed User Authenticating with CHAP."""

CHALLENGE_REQUEST = """
    01 02 00 39 f3 a4 7a 1f 6a 6d 76 71 0b 94 7a b9
    30 41 a0 39 01 07 6d 6f 70 73 79 02 12 33 65 75
    73 77 82 89 b5 70 88 5e 15 08 48 25 c5 04 06 c0
    a8 01 10 05 06 00 00 00 07
"""
CHALLENGE = """
    0b 02 00 4e 36 f3 c8 76 4a e8 c7 11 57 40 3c 0c
    71 ff 9c 45 12 30 43 68 61 6c 6c 65 6e 67 65 20
    33 32 37 36 39 34 33 30 2e 20 20 45 6e 74 65 72
    20 72 65 73 70 6f 6e 73 65 20 61 74 20 70 72 6f
    6d 70 74 2e 18 0a 33 32 37 36 39 34 33 30
"""
CHALLENGE_ANSWER = """
    01 03 00 43 b1 22 55 6d 42 8a 13 d0 d6 25 38 07
    c4 57 ec f0 01 07 6d 6f 70 73 79 02 12 69 2c 1f
    20 5f c0 81 b9 19 b9 51 95 f5 61 a5 81 04 06 c0
    a8 01 10 05 06 00 00 00 07 18 0a 33 32 37 36 39
    34 33 30
"""
CHALLENGE_REJECT = "03 03 00 14 a4 2f 4f ca 45 91 6c 4e 09 c8 34 0f 9e 74 6a a0"
"""Section 7.3, User with Challenge-Response card. The text gives the second State the length 10 in hexadecimal, where
the octets are ten: 0a."""

STATUS_REQUEST = """
    0c da 00 26 8a 54 f4 68 6f b3 94 c5 28 66 e3 02
    18 5d 06 23 50 12 5a 66 5e 2e 1e 84 11 f3 e2 43
    82 20 97 c8 4f a3
"""
STATUS_ACCEPT = "02 da 00 14 ef 0d 55 2a 4b f2 d6 93 ec 2b 6f e8 b5 41 1d 66"
"""RFC 5997 section 6.1, Minimal Query to Authentication Port."""


def octets(text: str) -> bytes:
    return bytes.fromhex(text)


def signed(text: bytes) -> bytes:
    """RFC 2865 section 3, Response Authenticator."""
    return md5(text, usedforsecurity=False).digest()


def asked(text: str) -> Credentials:
    request = read_request(octets(text))
    verify_request(request, RFC_SECRET, required=False, limit_proxy_state=True)
    return read_credentials(request, RFC_SECRET)


def test_rfc2865_7_1_user_name_and_password_are_read() -> None:
    request = read_request(octets(TELNET_REQUEST))
    assert (request.code, request.identifier, request.octets) == (1, 0, octets(TELNET_REQUEST))
    assert request.authenticator == octets("0f 40 3f 94 73 97 80 57 bd 83 d5 cb 98 f4 22 7a")
    assert [type_ for type_, _ in request.attributes] == [1, 2, 4, 5]
    assert (request.values(AttributeType.USER_NAME), request.message_authenticator_at) == ([b"nemo"], None)
    assert asked(TELNET_REQUEST) == Credentials(b"nemo", b"arctangent", None, b"")


def test_rfc2865_7_2_chap_is_refused_by_its_name() -> None:
    with pytest.raises(Unservable, match="CHAP is not served here"):
        asked(CHAP_REQUEST)


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (attribute(3, bytes(17)), "CHAP"),
        (attribute(79, bytes.fromhex("02 01 00 09 01 74 61 72 6f")), "EAP"),
        (vendor(311, 25, bytes(50)), "MS-CHAP"),
    ],
)
def test_what_is_not_served_is_refused_by_its_name(method: bytes, name: str) -> None:
    """CHAP: RFC 2865 section 5.3; EAP: RFC 3579 section 3.1; MS-CHAP2-Response of vendor 311: RFC 2548 section 2.3."""
    with pytest.raises(Unservable, match=f"^{name} is not served here: let the client use PAP$"):
        read_credentials(read_request(packet(SIGNED, user(), method)), SECRET)


def test_another_vendors_attribute_is_no_ms_chap() -> None:
    with pytest.raises(Unservable, match="no User-Password"):
        read_credentials(read_request(packet(SIGNED, user(), vendor(9, 25, bytes(50)))), SECRET)


@pytest.mark.parametrize(("octets", "served"), [(0, False), (16, True), (24, False), (128, True), (144, False)])
def test_rfc2865_5_2_a_hidden_password_has_16_to_128_octets(octets: int, served: bool) -> None:
    request = read_request(packet(SIGNED, user(), attribute(2, bytes(octets))))
    with nullcontext() if served else pytest.raises(Unservable, match="16 to 128 octets in blocks of 16"):
        read_credentials(request, SECRET)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (user(), "two User-Names"),
        (password("x"), "two User-Passwords"),
        (attribute(24, b"1") * 2, "two States"),
        (attribute(31, b"192.0.2.1") + attribute(31, b"192.0.2.2"), "two Calling-Station-Ids"),
        (attribute(32, b"one") + attribute(32, b"two"), "two NAS-Identifiers"),
    ],
)
def test_rfc2865_5_44_what_may_stand_once_and_stands_twice_is_named(more: bytes, said: str) -> None:
    with pytest.raises(Unservable, match=f"^{said}$"):
        read_credentials(read_request(packet(user(), password("x"), more)), SECRET)


def test_rfc2865_7_3_both_rounds_are_read() -> None:
    assert asked(CHALLENGE_REQUEST) == Credentials(b"mopsy", b"challenge", None, b"")
    assert asked(CHALLENGE_ANSWER) == Credentials(b"mopsy", b"99101462", b"32769430", b"")


def test_rfc2865_7_3_as_printed_overruns_and_is_dropped() -> None:
    with pytest.raises(Unreadable) as caught:
        read_request(octets(CHALLENGE_ANSWER.replace("18 0a", "18 10")))
    assert caught.value.reason is DropReason.BAD_ATTRIBUTE
    assert str(caught.value) == DropReason.BAD_ATTRIBUTE.value


def test_rfc5997_6_1_the_signature_of_a_status_server_is_verified() -> None:
    request = read_request(octets(STATUS_REQUEST))
    assert (request.code, request.identifier, request.message_authenticator_at) == (PacketCode.STATUS_SERVER, 218, 22)
    verify_request(request, RFC_SECRET, required=True, limit_proxy_state=True)
    with pytest.raises(Unreadable) as caught:
        verify_request(request, b"xyzzy5462", required=True, limit_proxy_state=True)
    assert caught.value.reason is DropReason.WRONG_MESSAGE_AUTHENTICATOR


@pytest.mark.parametrize(
    ("request_text", "reply_text"),
    [
        (TELNET_REQUEST, TELNET_ACCEPT),
        (CHALLENGE_REQUEST, CHALLENGE),
        (CHALLENGE_ANSWER, CHALLENGE_REJECT),
        (STATUS_REQUEST, STATUS_ACCEPT),
    ],
)
def test_replies_have_the_examples_code_identifier_and_attributes(request_text: str, reply_text: str) -> None:
    """Our replies equal those of the RFCs, except for Message-Authenticator in front and the Response Authenticator."""
    theirs = octets(reply_text)
    assert signed(theirs[:4] + octets(request_text)[4:20] + theirs[20:] + RFC_SECRET) == theirs[4:20]
    request = read_request(octets(request_text))
    ours = write_reply(request, PacketCode(theirs[0]), craft.attributes_of(theirs), RFC_SECRET)
    assert (ours[:2], ours[38:]) == (theirs[:2], theirs[20:])
    read_reply(Packet(request.octets, RFC_SECRET), ours)


def test_an_empty_reply_is_these_octets() -> None:
    """Worked out by hand: header, Message-Authenticator (RFC 3579 section 3.2), Response Authenticator."""
    request = read_request(packet(user(), password("x"), identifier=200))
    head, blank = bytes((3, 200, 0, 38)), bytes((80, 18)) + bytes(16)
    mac = hmac.new(SECRET, head + craft.AUTHENTICATOR + blank, "md5").digest()
    body = bytes((80, 18)) + mac
    expected = head + signed(head + craft.AUTHENTICATOR + body + SECRET) + body
    assert write_reply(request, PacketCode.ACCESS_REJECT, [], SECRET) == expected


@pytest.mark.parametrize("code", [PacketCode.ACCESS_ACCEPT, PacketCode.ACCESS_REJECT, PacketCode.ACCESS_CHALLENGE])
def test_proxy_states_come_back_unchanged_in_order_and_last(code: PacketCode) -> None:
    states = [b"", b"\0\xff", b"first", b"x" * 253, b"first"]
    mixed = [one for state in states for one in (attribute(33, state), attribute(44, b"between"))]
    request = read_request(packet(SIGNED, user(), password("x"), *mixed))
    reply = write_reply(request, code, [(int(AttributeType.REPLY_MESSAGE), b"hello")], SECRET)
    assert [type_ for type_, _ in craft.attributes_of(reply)] == [80, 18, 33, 33, 33, 33, 33]
    assert [value for type_, value in craft.attributes_of(reply) if type_ == 33] == states


def test_message_authenticator_is_the_first_attribute_of_every_reply() -> None:
    for signed in ([SIGNED], []):
        request = read_request(packet(*signed, user(), password("x"), attribute(33, b"1")))
        for code in (PacketCode.ACCESS_ACCEPT, PacketCode.ACCESS_REJECT, PacketCode.ACCESS_CHALLENGE):
            reply = write_reply(request, code, [(18, b"a"), (26, b"b")], SECRET)
            assert craft.attributes_of(reply)[0][0] == AttributeType.MESSAGE_AUTHENTICATOR
            read_reply(Packet(request.octets, SECRET), reply)


@pytest.mark.parametrize("secret", [b"k" * 63, b"k" * 64, b"k" * 65, bytes(range(256))])
def test_secrets_of_any_length_sign_as_hmac_says(secret: bytes) -> None:
    """RFC 2104 section 2: a key longer than a block is hashed first."""
    octets = packet(SIGNED, user(), secret=secret)
    verify_request(read_request(octets), secret, required=True, limit_proxy_state=True)
    read_reply(Packet(octets, secret), write_reply(read_request(octets), PacketCode.ACCESS_ACCEPT, [], secret))


def test_a_reply_may_have_4096_octets_and_not_one_more() -> None:
    request = read_request(packet(user(), password("x")))
    full = [(26, bytes(253))] * 15
    left = 4096 - 38 - encoded_size(full)
    reply = write_reply(request, PacketCode.ACCESS_ACCEPT, [*full, (26, bytes(left - 2))], SECRET)
    assert len(reply) == 4096
    read_reply(Packet(request.octets, SECRET), reply)
    with pytest.raises(ValueError, match="a reply of 4097 octets: RADIUS allows 4096"):
        write_reply(request, PacketCode.ACCESS_ACCEPT, [*full, (26, bytes(left - 1))], SECRET)


@pytest.mark.parametrize("octets", [1, 15, 16, 17, 32, 127, 128])
def test_a_password_of_any_length_is_decrypted_block_by_block(octets: int) -> None:
    clear = bytes(at % 255 + 1 for at in range(octets))
    assert reveal_password(craft.hidden(clear), SECRET, craft.AUTHENTICATOR) == clear


def test_a_password_is_bytes_until_a_charset_reads_it() -> None:
    request = read_request(packet(SIGNED, user(b"\xff"), password(b"\x80\xff\0\xfe")))
    assert read_credentials(request, SECRET)[:2] == (b"\xff", b"\x80\xff\0\xfe")


def test_no_password_shows_where_credentials_are_printed() -> None:
    request = read_request(packet(user(), password("himitsu"), attribute(24, b"state")))
    shown = repr(read_credentials(request, SECRET))
    assert "taro" in shown
    assert "himitsu" not in shown
    assert "state" not in shown


def test_padding_behind_length_is_no_part_of_the_request() -> None:
    sound = packet(SIGNED, user(), password("x"))
    request = read_request(sound + b"padding")
    bare = read_request(sound)
    assert request.octets == bare.octets == sound
    assert (request.attributes, request.message_authenticator_at) == (bare.attributes, bare.message_authenticator_at)


@pytest.mark.parametrize("code", [code for code in range(256) if code not in (1, 12)])
def test_only_access_request_and_status_server_are_read(code: int) -> None:
    with pytest.raises(Unreadable) as caught:
        read_request(packet(SIGNED, user(), code=code))
    assert caught.value.reason is DropReason.WRONG_CODE


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("a", [1]),
        ("a" * 253, [253]),
        ("a" * 254, [253, 1]),
        ("あ" * 84, [252]),
        ("あ" * 85, [252, 3]),
        ("a" + "あ" * 84, [253]),
        ("aa" + "あ" * 84, [251, 3]),
        ("𠮷" * 64, [252, 4]),
        ("é" * 127, [252, 2]),
        ("a" * 506, [253, 253]),
    ],
)
def test_texts_are_split_between_code_points_at_253_octets(text: str, parts: list[int]) -> None:
    split = text_attributes(AttributeType.REPLY_MESSAGE, text)
    assert [len(value) for _, value in split] == parts
    assert "".join(value.decode() for _, value in split) == text
    assert {type_ for type_, _ in split} <= {18}


def test_the_size_of_attributes_counts_their_headers() -> None:
    assert encoded_size([]) == 0
    assert encoded_size([(18, b""), (18, b"abc")]) == 2 + 5


def test_values_are_all_of_one_type_in_their_order() -> None:
    request = read_request(packet(attribute(33, b"2"), user(), attribute(33, b"1")))
    assert request.values(AttributeType.PROXY_STATE) == [b"2", b"1"]
    assert request.values(AttributeType.STATE) == []
