"""The packet builder against RFC 2865's example and against pyrad, which it does not use."""

import io

import pytest
from pyrad.dictionary import Dictionary
from pyrad.packet import AccessChallenge, AuthPacket

from benchmarks import packets

SECRET = b"xyzzy5461"


def request(password: bytes = b"123456", state: bytes | None = None) -> bytes:
    return packets.access_request(
        b"c0000001",
        password,
        identifier=77,
        authenticator=bytes(range(16)),
        secret=SECRET,
        nas=b"\x7f\0\0\2",
        state=state,
    )


def as_pyrad(octets: bytes) -> AuthPacket:
    return AuthPacket(packet=octets, secret=SECRET, dict=Dictionary(io.StringIO("")))


def test_hides_the_password_as_in_rfc_2865_section_7_1() -> None:
    authenticator = bytes.fromhex("0f403f9473978057bd83d5cb98f4227a")
    hidden = packets.hide_password(b"arctangent", SECRET, authenticator)
    assert hidden.hex() == "0dbe708d93d413ce3196e43f782a0aee"


@pytest.mark.parametrize("password", [b"", b"123456", b"x" * 16, b"correct horse 0000001123456", b"y" * 128])
def test_pyrad_reads_what_was_built(password: bytes) -> None:
    seen = as_pyrad(request(password, state=b"\x01\x02"))
    assert seen.verify_message_authenticator()
    assert seen[1] == [b"c0000001"]
    assert seen[24] == [b"\x01\x02"]
    assert seen.PwDecrypt(seen[2][0]).encode() == password


def test_message_authenticator_comes_first() -> None:
    assert request()[20:22] == b"\x50\x12"


def test_reads_a_reply_that_pyrad_signed() -> None:
    asked = request()
    challenge = as_pyrad(asked).CreateReply()
    challenge.code = AccessChallenge
    challenge[24] = [b"the state"]
    assert packets.read_reply(challenge.ReplyPacket(), asked, SECRET) == packets.Reply(AccessChallenge, b"the state")


@pytest.mark.parametrize("octet", [0, 1, 3, 4, 19, 20, 21, 37])
def test_a_reply_with_one_wrong_octet_is_bad(octet: int) -> None:
    asked = request()
    reply = bytearray(as_pyrad(asked).CreateReply().ReplyPacket())
    reply[octet] ^= 1
    with pytest.raises(packets.BadReply):
        packets.read_reply(bytes(reply), asked, SECRET)


def test_identifiers_go_round_the_sockets_first() -> None:
    assert [packets.identifier_of(place, 4) for place in (0, 3, 4, 1023, 1024)] == [0, 0, 1, 255, 0]
