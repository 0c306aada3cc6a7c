"""A table of packets that no correct client sends: name, octets, source, and what must come of each.

S: silence, and the reason it is counted under. R: Access-Reject. A: Access-Accept. C: Access-Challenge.
Held against the codec in test_packet_hostile.py and against a whole server in tests/journeys/test_radius_hostile.py.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import dataclass

from otp_core.radius.codec import DropReason
from tests.radius import craft
from tests.radius.craft import (
    AUTHENTICATOR,
    CALLING_STATION_ID,
    CHAP_CHALLENGE,
    CHAP_PASSWORD,
    EAP_MESSAGE,
    MESSAGE_AUTHENTICATOR,
    NAS_IDENTIFIER,
    NAS_IP,
    NAS_PORT,
    PROXY_STATE,
    REPLY_MESSAGE,
    SECRET,
    SIGNED,
    STATE,
    STATUS,
    USER_NAME,
    USER_PASSWORD,
    VENDOR_SPECIFIC,
    attribute,
    hidden,
    packet,
    password,
    user,
    vendor,
)

NAME, PASSWORD = "taro1", "himitsu-no-aikotoba"
"""A customer without a token: the password alone is right."""

TOKEN_NAME = "taro2"
"""One with an active token, and the same password."""

STRICT, LENIENT, OPEN, ASKS, STRANGER = (f"127.0.0.{number}" for number in range(1, 6))
"""Clients by address. STRICT: mode password, Message-Authenticator required. LENIENT: may leave it out. OPEN: may send
Proxy-State without it as well. ASKS: mode challenge, strict. STRANGER: no client at all."""

UNKNOWN_CLIENT = "no client has this address: is it missing in [[radius.clients]]?"


@dataclass(frozen=True, slots=True)
class Case:
    """``reason``: why it is dropped (S only). ``core``: refused by the core, not by the codec (R only)."""

    name: str
    octets: bytes
    expected: str
    reason: str = ""
    core: bool = False
    source: str = STRICT


def _case(
    expected: str,
    name: str,
    *attributes: bytes,
    source: str = STRICT,
    reason: DropReason | str = "",
    core: bool = False,
    tail: bytes = b"",
    code: int = craft.REQUEST,
    length: int | None = None,
) -> Case:
    octets = packet(*attributes, code=code, length=length, authenticator=AUTHENTICATOR) + tail
    return Case(name, octets, expected, str(reason), core, source)


_LOGIN = (user(NAME), password(PASSWORD))


def _framing() -> Iterator[Case]:
    whole = packet(SIGNED, *_LOGIN)
    for octets in range(20):
        yield Case(f"a datagram of {octets} octets", whole[:octets], "S", DropReason.TOO_SHORT)
    for length in (0, 1, 19, len(whole) + 1, 4096, 4097, 32768, 65535):
        yield _case("S", f"Length {length}", SIGNED, *_LOGIN, length=length, reason=DropReason.BAD_LENGTH)
    yield Case("cut off in the last attribute", whole[:-1], "S", DropReason.BAD_LENGTH)
    yield Case("cut off behind the header", whole[:20], "S", DropReason.BAD_LENGTH)
    large = [attribute(224, bytes(253)) for _ in range(15)]
    fill = 4096 - len(packet(SIGNED, *_LOGIN, *large))
    yield _case("A", "4096 octets", SIGNED, *_LOGIN, *large, attribute(224, bytes(fill - 2)))
    yield _case(
        "S", "4097 octets", SIGNED, *_LOGIN, *large, attribute(224, bytes(fill - 1)), reason=DropReason.BAD_LENGTH
    )
    yield _case("A", "one octet of padding behind Length", SIGNED, *_LOGIN, tail=b"\0")
    yield _case("A", "padding that looks like an attribute", SIGNED, *_LOGIN, tail=attribute(USER_NAME, b"root"))
    yield _case("A", "padding that looks like a broken attribute", SIGNED, *_LOGIN, tail=b"\0\0\0")
    yield _case("A", "8000 octets of padding", SIGNED, *_LOGIN, tail=b"\xff" * 8000)
    yield _case("R", "Length ends before the password", SIGNED, *_LOGIN, length=len(packet(SIGNED, user(NAME))))
    yield _case(
        "S", "Length ends inside the password", SIGNED, *_LOGIN, length=len(whole) - 1, reason=DropReason.BAD_ATTRIBUTE
    )
    yield _case("S", "header only", reason=DropReason.NO_MESSAGE_AUTHENTICATOR)
    yield _case("R", "header only, where that may be", source=LENIENT)


def _attributes() -> Iterator[Case]:
    bad = {
        "an attribute of length 0": attribute(NAS_IDENTIFIER, length=0),
        "an attribute of length 1": attribute(NAS_IDENTIFIER, length=1),
        "an attribute of length 0 with octets": attribute(NAS_IDENTIFIER, b"abc", length=0),
        "an attribute of length 1 with octets": attribute(NAS_IDENTIFIER, b"abc", length=1),
        "an attribute that overruns by one octet": attribute(NAS_IDENTIFIER, b"abc", length=6),
        "an attribute that overruns by far": attribute(NAS_IDENTIFIER, b"abc", length=255),
        "a stray octet": b"\x20",
        "a stray zero": b"\0",
        "type 0": attribute(0),
        "type 0 with a value": attribute(0, b"abc"),
        "type 0 of length 0": attribute(0, length=0),
        "four zeros, as some pad": bytes(4),
        "a Message-Authenticator that overruns": attribute(MESSAGE_AUTHENTICATOR, bytes(15), length=18),
        "a User-Password that overruns": attribute(USER_PASSWORD, bytes(15), length=18),
        "a Proxy-State that overruns": attribute(PROXY_STATE, b"", length=3),
    }
    for name, octets in bad.items():
        yield _case("S", f"{name} at the end", SIGNED, *_LOGIN, octets, reason=DropReason.BAD_ATTRIBUTE)
    for name in ("an attribute of length 0", "an attribute of length 1", "type 0", "four zeros, as some pad"):
        yield _case("S", f"{name} in front", bad[name], SIGNED, *_LOGIN, reason=DropReason.BAD_ATTRIBUTE)
        yield _case("S", f"{name} in front, unsigned", bad[name], *_LOGIN, source=OPEN, reason=DropReason.BAD_ATTRIBUTE)
    room = 200 - 3
    yield _case("A", "200 attributes", SIGNED, *_LOGIN, *[attribute(224)] * room)
    yield _case(
        "S", "201 attributes", SIGNED, *_LOGIN, *[attribute(224)] * (room + 1), reason=DropReason.TOO_MANY_ATTRIBUTES
    )
    yield _case("S", "2038 empty attributes", *[attribute(224)] * 2038, reason=DropReason.TOO_MANY_ATTRIBUTES)
    yield _case("A", "197 empty Proxy-States", SIGNED, *_LOGIN, *[attribute(PROXY_STATE)] * room)
    yield _case("A", "15 full Proxy-States", SIGNED, *_LOGIN, *[attribute(PROXY_STATE, bytes(range(253)))] * 15)


def _opaque() -> Iterator[Case]:
    """What a packet may hold without being wrong: never an error."""
    harmless = {
        "an empty NAS-Identifier": attribute(NAS_IDENTIFIER),
        "an empty Calling-Station-Id": attribute(CALLING_STATION_ID),
        "a Calling-Station-Id that is no text": attribute(CALLING_STATION_ID, b"\xff\xfe\0\x1b[2J"),
        "a NAS-Port of three octets": attribute(NAS_PORT, bytes(3)),
        "a NAS-Port of 253 octets": attribute(NAS_PORT, bytes(253)),
        "an empty NAS-Port": attribute(NAS_PORT),
        "a NAS-IP-Address of five octets": attribute(NAS_IP, bytes(5)),
        "an empty NAS-IP-Address": attribute(NAS_IP),
        "somebody else's NAS-IP-Address": attribute(NAS_IP, bytes((127, 0, 0, 5))),
        "an empty Vendor-Specific": attribute(VENDOR_SPECIFIC),
        "a Vendor-Specific of three octets": attribute(VENDOR_SPECIFIC, bytes(3)),
        "a Vendor-Specific with a vendor alone": attribute(VENDOR_SPECIFIC, b"\0\0\0\x09"),
        "a Vendor-Specific with half a header": attribute(VENDOR_SPECIFIC, b"\0\0\0\x09\x01"),
        "a Vendor-Specific of inner length 0": attribute(VENDOR_SPECIFIC, b"\0\0\0\x09\x01\0abc"),
        "a Vendor-Specific whose value overruns": attribute(VENDOR_SPECIFIC, b"\0\0\0\x09\x01\xffabc"),
        "a Vendor-Specific of a vendor that is none": vendor(0xFFFFFFFF, 255, b"x"),
        "a Reply-Message": attribute(REPLY_MESSAGE, b"Welcome"),
        "an unknown attribute": attribute(200, b"?"),
        "an unknown empty attribute": attribute(255),
        "an extended attribute without its type": attribute(241),
        "an extended attribute": attribute(241, b"\x01abc"),
        "a long extended attribute that goes on nowhere": attribute(245, b"\x01\x80"),
        "a CHAP-Challenge alone": attribute(CHAP_CHALLENGE, bytes(16)),
        "an Error-Cause": attribute(101, b"\xff"),
    }
    for name, octets in harmless.items():
        yield _case("A", name, SIGNED, *_LOGIN, octets)


def _codes() -> Iterator[Case]:
    for code in (0, 2, 3, 4, 5, 6, 11, 13, 40, 41, 42, 43, 44, 45, 50, 128, 255):
        yield _case("S", f"code {code}", SIGNED, *_LOGIN, code=code, reason=DropReason.WRONG_CODE)
    wrong = bytes((MESSAGE_AUTHENTICATOR, 18)) + b"x" * 16
    yield _case("A", "Status-Server", SIGNED, code=STATUS)
    yield _case("A", "Status-Server with a login in it", SIGNED, *_LOGIN, code=STATUS)
    yield _case("A", "Status-Server with Proxy-State", SIGNED, attribute(PROXY_STATE, b"1"), code=STATUS)
    yield _case("S", "Status-Server without signature", code=STATUS, reason=DropReason.NO_MESSAGE_AUTHENTICATOR)
    yield _case(
        "S",
        "Status-Server without signature, from one who may leave it out",
        code=STATUS,
        source=OPEN,
        reason=DropReason.NO_MESSAGE_AUTHENTICATOR,
    )
    yield _case(
        "S", "Status-Server with a wrong signature", wrong, code=STATUS, reason=DropReason.WRONG_MESSAGE_AUTHENTICATOR
    )


def _flipped(octets: bytes, at: int) -> bytes:
    return octets[:at] + bytes((octets[at] ^ 1,)) + octets[at + 1 :]


def _signatures() -> Iterator[Case]:
    whole = packet(SIGNED, *_LOGIN)
    wrong = bytes((MESSAGE_AUTHENTICATOR, 18)) + b"x" * 16
    two, size = DropReason.BAD_MESSAGE_AUTHENTICATOR, MESSAGE_AUTHENTICATOR
    yield Case("a stranger", whole, "S", UNKNOWN_CLIENT, source=STRANGER)
    yield Case("a stranger's noise", b"\xff" * 40, "S", UNKNOWN_CLIENT, source=STRANGER)
    yield Case("a stranger's empty datagram", b"", "S", UNKNOWN_CLIENT, source=STRANGER)
    yield _case("A", "signed in front", SIGNED, *_LOGIN)
    yield _case("A", "signed in the middle", _LOGIN[0], SIGNED, _LOGIN[1])
    yield _case("A", "signed at the end", *_LOGIN, SIGNED)
    yield _case("S", "unsigned", *_LOGIN, reason=DropReason.NO_MESSAGE_AUTHENTICATOR)
    yield _case("A", "unsigned, from one who may leave it out", *_LOGIN, source=LENIENT)
    yield _case("S", "a signature of anything", wrong, *_LOGIN, reason=DropReason.WRONG_MESSAGE_AUTHENTICATOR)
    yield _case(
        "S",
        "a signature of zeros",
        attribute(size, bytes(16)),
        user(),
        password("x"),
        attribute(size, b""),
        reason=two,
    )
    yield Case(
        "a signature of sixteen zeros",
        packet(*_LOGIN, SIGNED)[:-16] + bytes(16),
        "S",
        DropReason.WRONG_MESSAGE_AUTHENTICATOR,
    )
    yield _case(
        "S",
        "a wrong signature from one who may leave it out",
        wrong,
        *_LOGIN,
        source=OPEN,
        reason=DropReason.WRONG_MESSAGE_AUTHENTICATOR,
    )
    for octets in (0, 1, 15, 17, 32, 253):
        yield _case("S", f"a signature of {octets} octets", attribute(size, bytes(octets)), *_LOGIN, reason=two)
    yield _case("S", "two signatures, the first one right", SIGNED, wrong, *_LOGIN, reason=two)
    yield _case("S", "two signatures, the second one right", wrong, SIGNED, *_LOGIN, reason=two)
    yield _case("S", "two signatures from one who needs none", wrong, wrong, *_LOGIN, source=OPEN, reason=two)
    yield Case(
        "signed with another secret",
        packet(SIGNED, *_LOGIN, secret=b"another secret altogether"),
        "S",
        DropReason.WRONG_MESSAGE_AUTHENTICATOR,
    )
    yield Case(
        "signed with no secret", packet(SIGNED, *_LOGIN, secret=b""), "S", DropReason.WRONG_MESSAGE_AUTHENTICATOR
    )
    places = {"identifier": 1, "authenticator": 4, "authenticator's end": 19, "signature": 22, "User-Name": 41}
    for name, at in {**places, "User-Password": len(whole) - 1}.items():
        yield Case(f"one bit of the {name} changed", _flipped(whole, at), "S", DropReason.WRONG_MESSAGE_AUTHENTICATOR)
    yield Case("the padding signed as well", _signed_with_padding(), "S", DropReason.WRONG_MESSAGE_AUTHENTICATOR)


def _signed_with_padding() -> bytes:
    octets = packet(bytes((MESSAGE_AUTHENTICATOR, 18)) + bytes(16), *_LOGIN) + b"padding"
    blank = octets[:22] + bytes(16) + octets[38:]
    return blank[:22] + hmac.new(SECRET, blank, "md5").digest() + blank[38:]


def _proxies_and_eap() -> Iterator[Case]:
    state, eap = attribute(PROXY_STATE, b"1"), attribute(EAP_MESSAGE, b"\x02\x01\x00\x09\x01taro")
    yield _case("A", "Proxy-State, signed", SIGNED, *_LOGIN, state)
    yield _case("A", "Proxy-State, signed, from one who may leave it out", SIGNED, *_LOGIN, state, source=LENIENT)
    yield _case("S", "Proxy-State, unsigned", *_LOGIN, state, source=LENIENT, reason=DropReason.PROXY_STATE_UNPROTECTED)
    yield _case(
        "S",
        "an empty Proxy-State in front, unsigned",
        attribute(PROXY_STATE),
        *_LOGIN,
        source=LENIENT,
        reason=DropReason.PROXY_STATE_UNPROTECTED,
    )
    yield _case(
        "S", "Proxy-State, unsigned, from a strict one", *_LOGIN, state, reason=DropReason.NO_MESSAGE_AUTHENTICATOR
    )
    yield _case("A", "Proxy-State, unsigned, where that is allowed", *_LOGIN, state, source=OPEN)
    yield _case("R", "EAP", SIGNED, user(NAME), eap)
    yield _case("R", "an empty EAP-Message", SIGNED, user(NAME), attribute(EAP_MESSAGE))
    yield _case("S", "EAP, unsigned", user(NAME), eap, source=OPEN, reason=DropReason.EAP_UNPROTECTED)
    yield _case("S", "EAP with a password", SIGNED, *_LOGIN, eap, reason=DropReason.EAP_UNPROTECTED)
    yield _case("S", "EAP with a password, unsigned", *_LOGIN, eap, source=OPEN, reason=DropReason.EAP_UNPROTECTED)
    yield _case("R", "EAP with CHAP", SIGNED, user(NAME), eap, attribute(CHAP_PASSWORD, bytes(17)))


def _credentials() -> Iterator[Case]:
    for octets in (0, 1, 15, 17, 24, 31, 127, 129, 144, 240, 253):
        yield _case("R", f"a User-Password of {octets} octets", SIGNED, user(NAME), attribute(2, bytes(octets)))
    yield _case("A", "a User-Password of 128 octets", SIGNED, user(NAME), password(PASSWORD.ljust(128, "\0")))
    yield _case("R", "a User-Password of 16 octets of nothing", SIGNED, user(NAME), password(b""), core=True)
    yield _case("R", "a password with a NUL in it", SIGNED, user(NAME), password(f"{PASSWORD}\0x"), core=True)
    yield _case("R", "a password with a NUL before it", SIGNED, user(NAME), password(f"\0{PASSWORD}"), core=True)
    yield _case("R", "half of the password", SIGNED, user(NAME), password(PASSWORD[:9]), core=True)
    yield _case("R", "a wrong password of 128 octets", SIGNED, user(NAME), password("x" * 128), core=True)
    yield _case("R", "no User-Name", SIGNED, password(PASSWORD))
    yield _case("R", "an empty User-Name", SIGNED, user(b""), password(PASSWORD))
    yield _case("R", "nothing but a signature", SIGNED)
    yield _case("R", "no password", SIGNED, user(NAME))
    yield _case("R", "a State and no password", SIGNED, user(NAME), attribute(STATE, bytes(16)))
    yield _case("R", "two User-Names", SIGNED, user(NAME), *_LOGIN)
    for type_, name in ((CALLING_STATION_ID, "Calling-Station-Ids"), (32, "NAS-Identifiers")):
        yield _case("R", f"two {name}", SIGNED, *_LOGIN, attribute(type_, b"a"), attribute(type_, b"b"))
    yield _case("R", "two User-Names, one of them empty", SIGNED, user(b""), *_LOGIN)
    yield _case("R", "two User-Passwords", SIGNED, *_LOGIN, password(PASSWORD))
    yield _case("R", "two User-Passwords, the first one empty", SIGNED, attribute(USER_PASSWORD), *_LOGIN)
    chap = attribute(CHAP_PASSWORD, bytes(17))
    yield _case("R", "CHAP", SIGNED, user(NAME), chap)
    yield _case("R", "CHAP with its challenge", SIGNED, user(NAME), chap, attribute(CHAP_CHALLENGE, bytes(16)))
    yield _case("R", "PAP and CHAP", SIGNED, *_LOGIN, chap)
    yield _case("R", "CHAP and PAP", SIGNED, chap, *_LOGIN)
    yield _case("R", "an empty CHAP-Password and PAP", SIGNED, *_LOGIN, attribute(CHAP_PASSWORD))
    yield _case("R", "MS-CHAPv2", SIGNED, user(NAME), vendor(311, 11, bytes(16)), vendor(311, 25, bytes(50)))
    other = hidden(PASSWORD.encode(), secret=b"another secret altogether")
    yield _case("R", "a password under another secret", SIGNED, user(NAME), attribute(2, other), core=True)


def _texts() -> Iterator[Case]:
    for name, octets in {
        "a lone continuation octet": b"\x80abc",
        "a cut code point": "密".encode()[:2],
        "an overlong NUL": b"\xc0\x80",
        "a surrogate": b"\xed\xa0\x80",
        "beyond Unicode": b"\xf4\x90\x80\x80",
        "Latin-1": b"caf\xe9",
    }.items():
        yield _case("R", f"a password with {name}", SIGNED, user(NAME), password(octets), core=True)
        yield _case("R", f"a User-Name with {name}", SIGNED, user(octets), password(PASSWORD), core=True)
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in NAME)
    yield _case("A", "a full-width User-Name", SIGNED, user(wide), password(PASSWORD))
    yield _case("A", "a User-Name with white space around it", SIGNED, user(f" {NAME}\r\n"), password(PASSWORD))
    for name in (
        f"{NAME}\0",
        f"{NAME}\0root",
        f"{NAME}@realm",
        "nobody",
        "root' OR '1'='1",
        '"]}',
        "\\u0000",
        "%s%n{0}",
        "../../etc/passwd",
        "\x1b[2J\x07",
        "a\nready pid=1",
        "\u202e\ufeff\u200b",
        "\ufdfa" * 84,
        "x" * 253,
    ):
        yield _case("R", f"the User-Name {name[:20]!r}", SIGNED, user(name), password(PASSWORD), core=True)


def _states() -> Iterator[Case]:
    for octets in (0, 1, 15, 16, 17, 253):
        for source, what in ((ASKS, "mode challenge"), (STRICT, "mode password")):
            yield _case(
                "R",
                f"a forged State of {octets} octets, {what}",
                SIGNED,
                user(TOKEN_NAME),
                password("123456"),
                attribute(STATE, bytes(octets)),
                source=source,
                core=True,
            )
    yield _case("R", "two States", SIGNED, user(TOKEN_NAME), password("1"), *[attribute(STATE, b"x")] * 2, source=ASKS)
    yield _case("C", "the password first", SIGNED, user(TOKEN_NAME), password(PASSWORD), source=ASKS)
    yield _case(
        "C",
        "the password first, amid noise",
        attribute(PROXY_STATE, b"\0"),
        password(PASSWORD),
        attribute(255),
        user(TOKEN_NAME),
        attribute(VENDOR_SPECIFIC),
        SIGNED,
        source=ASKS,
    )
    yield _case("R", "a wrong password first", SIGNED, user(TOKEN_NAME), password("x"), source=ASKS, core=True)


def _all() -> Iterator[Case]:
    for part in (
        _framing, _attributes, _opaque, _codes, _signatures, _proxies_and_eap, _credentials, _texts, _states,
    ):  # fmt: skip
        yield from part()


CASES = tuple(_all())
assert len({case.name for case in CASES}) == len(CASES)
