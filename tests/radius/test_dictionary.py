"""Reply attributes by name: exactly these octets, or a refusal that says what would be right."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.radius.dictionary import CannotEncode, Dictionary, standard_dictionary
from tests.examples import examples

STANDARD = Dictionary()

LOCAL = """
ATTRIBUTE Local-Integer64 230 integer64
ATTRIBUTE Local-Byte 231 byte
ATTRIBUTE Local-Short 232 short
ATTRIBUTE Local-Signed 233 signed
ATTRIBUTE Local-Date 234 date
ATTRIBUTE Local-Ether 235 ether
ATTRIBUTE Local-Octets 236 octets
ATTRIBUTE Local-Encrypted 237 string encrypt=2
ATTRIBUTE Local-Tagged 238 string has_tag
ATTRIBUTE Local-Both 239 string has_tag,encrypt=2
ATTRIBUTE Local-Large 300 string
ATTRIBUTE Local-Zero 0 string
ATTRIBUTE Local-TLV 240 tlv
ATTRIBUTE Local-TLV-Part 240.1 integer
ATTRIBUTE User-Password 2 string
VALUE Local-Byte Seven 7
VALUE Local-Octets Word 0x1234
VENDOR Wide 429 format=2,2
BEGIN-VENDOR Wide
ATTRIBUTE Wide-Text 1 string
END-VENDOR Wide
VENDOR Plain 65000
BEGIN-VENDOR Plain
ATTRIBUTE Plain-Number 9 integer
ATTRIBUTE Plain-Octets 10 octets
ATTRIBUTE Plain-Large 300 string
ATTRIBUTE Plain-TLV 11 tlv
ATTRIBUTE Plain-TLV-Part 11.1 string
VALUE Plain-Number Two 2
END-VENDOR Plain
VENDOR Beyond 4294967296
BEGIN-VENDOR Beyond
ATTRIBUTE Beyond-Text 1 string
END-VENDOR Beyond
"""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Dictionary:
    path = tmp_path_factory.mktemp("dictionary") / "dictionary.local"
    path.write_text(LOCAL)
    return Dictionary([path])


@pytest.mark.parametrize(
    ("name", "value", "type_", "octets"),
    [
        ("Filter-Id", "inside", 11, b"inside"),
        ("Filter-Id", "内線", 11, "内線".encode()),
        ("Filter-Id", "0x41", 11, b"0x41"),
        ("Filter-Id", "123", 11, b"123"),
        ("Class", "text", 25, b"text"),
        ("Class", "0x00ff41", 25, b"\0\xffA"),
        ("Class", "0xABcd", 25, b"\xab\xcd"),
        ("Class", "12345", 25, b"12345"),
        ("Class", "65", 25, b"65"),
        ("Class", "0X41", 25, b"0X41"),
        ("Class", "x0x41", 25, b"x0x41"),
        ("Session-Timeout", 3600, 27, b"\0\0\x0e\x10"),
        ("Session-Timeout", "3600", 27, b"\0\0\x0e\x10"),
        ("Session-Timeout", 0, 27, bytes(4)),
        ("Session-Timeout", 0xFFFFFFFF, 27, b"\xff" * 4),
        ("Service-Type", "Login-User", 6, b"\0\0\0\1"),
        ("Service-Type", "Administrative-User", 6, b"\0\0\0\6"),
        ("Service-Type", 6, 6, b"\0\0\0\6"),
        ("Service-Type", "6", 6, b"\0\0\0\6"),
        ("Termination-Action", "Default", 29, bytes(4)),
        ("Framed-IP-Address", "10.1.2.3", 8, b"\x0a\1\2\3"),
        ("Login-IPv6-Host", "2001:db8::1", 98, bytes.fromhex("20010db8" + "0" * 23 + "1")),
        ("Tunnel-Type", "VLAN", 64, b"\0\0\0\x0d"),
        ("Tunnel-Type:1", "VLAN", 64, b"\1\0\0\x0d"),
        ("Tunnel-Type:31", 13, 64, b"\x1f\0\0\x0d"),
        ("Tunnel-Medium-Type:1", "IEEE-802", 65, b"\1\0\0\6"),
        ("Tunnel-Private-Group-Id:1", "42", 81, b"\00142"),
        ("Tunnel-Private-Group-Id", "42", 81, b"42"),
        ("Tunnel-Private-Group-Id:2", "営業", 81, b"\2" + "営業".encode()),
        ("Tunnel-Preference:3", 2**24 - 1, 83, b"\3\xff\xff\xff"),
        ("Framed-IPv6-Prefix", "2001:db8::/32", 97, bytes.fromhex("002020010db8" + "0" * 24)),
    ],
)
def test_standard_attributes_are_these_octets(name: str, value: object, type_: int, octets: bytes) -> None:
    assert STANDARD.encode(name, value) == (type_, octets)


@pytest.mark.parametrize(
    ("name", "value", "octets"),
    [
        ("Cisco-AVPair", "shell:priv-lvl=15", b"\0\0\0\x09" + b"\x01\x13" + b"shell:priv-lvl=15"),
        ("MS-Primary-DNS-Server", "10.0.0.53", b"\0\0\x01\x37" + b"\x1c\x06" + b"\x0a\0\0\x35"),
        ("ASA-Group-Policy", "vpn", b"\0\0\x0c\x04" + b"\x19\x05" + b"vpn"),
        ("F5-LTM-User-Role", 0, b"\0\0\x0d\x2f" + b"\x01\x06" + bytes(4)),
        ("Fortinet-Group-Name", "部", b"\0\0\x30\x44" + b"\x01\x05" + "部".encode()),
        ("PaloAlto-Admin-Role", "superuser", b"\0\0\x63\x75" + b"\x01\x0b" + b"superuser"),
        ("Juniper-Local-User-Name", "x", b"\0\0\x0a\x4c" + b"\x01\x03" + b"x"),
    ],
)
def test_vendors_attributes_are_wrapped_as_rfc2865_5_26_has_it(name: str, value: object, octets: bytes) -> None:
    """Type 26: vendor's number in four octets, its type, its length with these two octets, the value."""
    assert STANDARD.encode(name, value) == (26, octets)


@pytest.mark.parametrize(
    ("name", "value", "octets"),
    [
        ("Local-Integer64", "12345678901234", (12345678901234).to_bytes(8, "big")),
        ("Local-Byte", 255, b"\xff"),
        ("Local-Byte", "Seven", b"\7"),
        ("Local-Short", "65535", b"\xff\xff"),
        ("Local-Signed", -2, b"\xff\xff\xff\xfe"),
        ("Local-Signed", "-2", b"\xff\xff\xff\xfe"),
        ("Local-Date", 1, b"\0\0\0\1"),
        ("Local-Date", "1700000000", (1_700_000_000).to_bytes(4, "big")),
        ("Local-Ether", "00:11:22:aa:BB:cc", bytes.fromhex("001122aabbcc")),
        ("Local-Octets", "Word", b"Word"),
        ("Local-Tagged", "x", b"x"),
        ("Local-Tagged:31", "x", b"\x1fx"),
        ("Plain-Number", "Two", b"\0\0\xfd\xe8\x09\x06\0\0\0\2"),
        ("Plain-Octets", "0x30783431", b"\0\0\xfd\xe8\x0a\x060x41"),
    ],
)
def test_further_dictionaries_bring_every_type_of_value(
    local: Dictionary, name: str, value: object, octets: bytes
) -> None:
    assert local.encode(name, value)[1] == octets


def test_a_further_dictionary_leaves_the_standard_one_in_force(local: Dictionary) -> None:
    assert local.encode("Filter-Id", "x") == (11, b"x")


def test_a_list_stands_for_the_attribute_several_times_in_order() -> None:
    said = {"Filter-Id": ["b", "a"], "Class": "c", "Cisco-AVPair": ("d",)}
    assert STANDARD.encode_all(said) == [(11, b"b"), (11, b"a"), (25, b"c"), (26, b"\0\0\0\x09\1\3d")]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("Filter-ID", "x", "Filter-ID: not in the dictionary; did you mean Filter-Id?"),
        ("Zzzzzzz", "x", "Zzzzzzz: not in the dictionary; add its file with radius.dictionary"),
        ("State", "x", "State: the server writes this attribute itself"),
        ("Proxy-State", "x", "the server writes this attribute itself"),
        ("Reply-Message", "x", "the server writes this attribute itself"),
        ("Message-Authenticator", "x", "the server writes this attribute itself"),
        ("Prompt", 1, "the server writes this attribute itself"),
        ("EAP-Message", "x", "the server writes this attribute itself"),
        ("User-Password", "x", "the server writes this attribute itself"),
        ("Local-Encrypted", "x", "encrypted attributes are not supported"),
        ("Local-Both:1", "x", "encrypted attributes are not supported"),
        ("Filter-Id:1", "x", "Filter-Id:1: this attribute has no tags (RFC 2868): write Filter-Id"),
        ("State:1", "x", "the server writes this attribute itself"),
        ("Tunnel-Type:0", "VLAN", "a tag is a number from 1 to 31: write Tunnel-Type:1"),
        ("Tunnel-Type:32", "VLAN", "a tag is a number from 1 to 31"),
        ("Tunnel-Type:", "VLAN", "a tag is a number from 1 to 31"),
        ("Tunnel-Type:x", "VLAN", "a tag is a number from 1 to 31"),
        ("Tunnel-Type:1", "vlan", "write a number or one of ESP, GRE, L2TP, PPTP, VLAN"),
        ("Tunnel-Type:1", 2**24, "less than 16,777,216"),
        ("Tunnel-Private-Group-Id", "\x01x", "would be read as a tag: write Tunnel-Private-Group-Id:1"),
        ("Tunnel-Private-Group-Id:1", "", "Tunnel-Private-Group-Id:1: 0 octets"),
        ("Tunnel-Private-Group-Id:1", "x" * 253, "254 octets; it holds 1 to 253"),
        ("Tunnel-Typ:1", "VLAN", "not in the dictionary; did you mean Tunnel-Type?"),
        ("Local-Large", "x", "Local-Large: its number is 300; one octet holds 1 to 255"),
        ("Local-Zero", "x", "Local-Zero: its number is 0; one octet holds 1 to 255"),
        ("Plain-Large", "x", "Plain-Large: its number is 300; one octet holds 1 to 255"),
        ("Local-TLV", "x", "Local-TLV: attributes within attributes are not supported"),
        ("Local-TLV-Part", 1, "Local-TLV-Part: attributes within attributes are not supported"),
        ("Plain-TLV-Part", "x", "Plain-TLV-Part: attributes within attributes are not supported"),
        ("Local-Octets", "0x" + "00" * 254, "Local-Octets: 254 octets; it holds 1 to 253"),
        ("Plain-Octets", "x" * 300, "Plain-Octets: 300 octets; it holds 1 to 247"),
        ("Beyond-Text", "x", "Beyond-Text: the number of its vendor, Beyond, does not fit into four octets"),
        ("Wide-Text", "x", "Wide-Text: not in the dictionary"),
        ("Session-Timeout", "soon", "Session-Timeout: 'soon'; write a number"),
        ("Session-Timeout", -1, "Session-Timeout: -1 is no integer"),
        ("Session-Timeout", 2**32, "Session-Timeout: 4294967296 is no integer"),
        ("Service-Type", "login-user", "write a number or one of Administrative-User,"),
        ("Local-Byte", 256, "Local-Byte: 256 is no byte"),
        ("Framed-IP-Address", "10.1.2", "Framed-IP-Address: '10.1.2' is no ipaddr"),
        ("Framed-IP-Address", "2001:db8::1", "is no ipaddr"),
        ("Framed-IPv6-Prefix", "10.0.0.0/8", "is no ipv6prefix"),
        ("Class", "0x123", "Class: '0x123'; write text, or 0x and pairs of hexadecimal digits"),
        ("Class", "0xzz", "write text, or 0x and pairs of hexadecimal digits"),
        ("Class", 5, "Class: 5; write text, or 0x and pairs of hexadecimal digits"),
        ("Filter-Id", 5, "Filter-Id: 5 is no string"),
        ("Filter-Id", "", "Filter-Id: 0 octets; it holds 1 to 253"),
        ("Class", "0x", "Class: 0 octets; it holds 1 to 253"),
        ("Filter-Id", "\udc80", "Filter-Id: '\\udc80' is no string"),
        ("Class", "\udc80", "Class: '\\udc80'"),
        ("Filter-Id", None, "Filter-Id: None; write text or a whole number"),
        ("Session-Timeout", None, "Session-Timeout: None; write text or a whole number"),
        ("Session-Timeout", 3.7, "Session-Timeout: 3.7; write text or a whole number"),
        ("Session-Timeout", True, "Session-Timeout: True; write text or a whole number"),
        ("Filter-Id", {"a": 1}, "Filter-Id: {'a': 1}; write text or a whole number"),
        ("Filter-Id", [["a"]], "Filter-Id: ['a']; write text or a whole number"),
    ],
)
def test_what_cannot_be_encoded_is_refused_with_the_right_form(
    local: Dictionary, name: str, value: object, said: str
) -> None:
    with pytest.raises(CannotEncode, match=re.escape(said)) as refused:
        local.encode_all({name: value})
    assert refused.value.form and (repr(value) not in refused.value.form), "the form repeats nothing"


@pytest.mark.parametrize(("name", "most"), [("Filter-Id", 253), ("Class", 253), ("Cisco-AVPair", 247)])
def test_an_attribute_holds_253_octets_and_a_vendors_247(name: str, most: int) -> None:
    assert len(STANDARD.encode(name, "x" * most)[1]) == 253
    with pytest.raises(ValueError, match=f"^{name}: "):
        STANDARD.encode(name, "x" * (most + 1))


@pytest.mark.parametrize(
    "text", ["ATTRIBUTE X", "ATTRIBUTE X 1 nonsense", "$INCLUDE missing", "VALUE X Y Z W V", "VENDOR X"]
)
def test_a_dictionary_that_does_not_parse_is_told_with_its_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken"
    path.write_text(f"\n{text}\n")
    with pytest.raises(ValueError, match=r"cannot read the dictionary: .*(broken|missing)"):
        Dictionary([path])


def test_a_line_that_ends_too_early_is_told(tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_text("VENDOR X 1 format\n")
    with pytest.raises(ValueError, match="cannot read the dictionary: "):
        Dictionary([path])


def test_a_dictionary_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\0")
    for name in ("nowhere", "binary", ""):
        with pytest.raises(ValueError, match="cannot read the dictionary: "):
            Dictionary([tmp_path / name])


def test_every_attribute_of_the_standard_dictionary_can_be_set_or_is_refused_with_a_reason() -> None:
    text = standard_dictionary().read_text()
    names = re.findall(r"^ATTRIBUTE\s+(\S+)\s+\d+\s+(\S+)", text, re.MULTILINE)
    assert len(names) > 60
    sample: dict[str, Any] = {
        "string": "x", "octets": "0x00", "integer": 1, "ipaddr": "10.0.0.1", "ipv6addr": "::1", "ipv6prefix": "::/0",
        "ifid": "1:2:3:4", "date": 1,
    }  # fmt: skip
    for name, kind in names:
        if name in WRITTEN_BY_THE_SERVER:
            with pytest.raises(ValueError, match="the server writes this attribute itself"):
                STANDARD.encode(name, sample[kind])
            continue
        if STANDARD.place(name).encryption:
            with pytest.raises(ValueError, match="encrypted attributes are not supported"):
                STANDARD.encode(name, sample[kind])
            continue
        type_, octets = STANDARD.encode(name, sample[kind])
        assert 1 <= type_ <= 255
        assert 1 <= len(octets) <= 253


WRITTEN_BY_THE_SERVER = {
    "Reply-Message", "State", "Proxy-State", "Prompt", "EAP-Message", "Message-Authenticator",
}  # fmt: skip

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        "Tunnel-Type:1",
        "Tunnel-Private-Group-Id:1",
        "Filter-Id",
        "Class",
        "Session-Timeout",
        "Service-Type",
        "Framed-IP-Address",
        "Cisco-AVPair",
    ]
)


@given(st.dictionaries(NAMES | st.text(max_size=10), JSON, max_size=4))
@settings(max_examples=examples(400), deadline=None)
def test_whatever_a_customers_record_holds_it_is_octets_or_a_value_error(attributes: dict[str, object]) -> None:
    """A customer's attributes come from the store as JSON."""
    try:
        encoded = STANDARD.encode_all(json.loads(json.dumps(attributes)))
    except ValueError:
        return
    assert all(1 <= type_ <= 255 and 1 <= len(octets) <= 253 for type_, octets in encoded)
