"""One station, whatever the gateway, the host or the browser writes for it."""

from __future__ import annotations

import string
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_core.station import readable, station_of

MAX_OCTETS, MAX_TEXT = 253, 64
"""Of an attribute's value (RFC 2865 section 5), and of a text that is kept."""

SAME = {
    "198.51.100.7": [
        "198.51.100.7", "198.51.100.7:40000", "198.51.100.7:1", "198.51.100.7#40000", "198.51.100.7 40000",
        "198.51.100.7/40000", "198.51.100.7;1", "198.51.100.7-40000", " 198.51.100.7", "198.51.100.7   ",
        "198.51.100.7\0", "198.51.100.7\0\0\0", "\t198.51.100.7\r\n", "198.051.100.007", "１９８.51.100.7",
        "::ffff:198.51.100.7", "[::ffff:198.51.100.7]", "[::ffff:198.51.100.7]:443", "::FFFF:C633:6407",
        "::ffff:198.51.100.7%eth0", "64:ff9b::198.51.100.7", "64:ff9b::c633:6407",
    ],
    "2001:db8:1:2::/64": [
        "2001:db8:1:2::5", "2001:DB8:1:2::5", "2001:0db8:0001:0002:0000:0000:0000:0005", "2001:db8:1:2:aaaa:bbbb::1",
        "[2001:db8:1:2::5]", "[2001:db8:1:2::5]:443", "2001:db8:1:2::5.443", "2001:db8:1:2::5#443",
        "2001:db8:1:2::5%eth0", "[2001:db8:1:2::5%eth0]:443", "2001:db8:1:2::5\0", " 2001:db8:1:2::5 ",
    ],
    "mac aabbccddeeff": [
        "aa:bb:cc:dd:ee:ff", "AA:BB:CC:DD:EE:FF", "AA-BB-CC-DD-EE-FF", "aabb.ccdd.eeff", "AABBCC-DDEEFF",
        "aabbccddeeff", "aa.bb.cc.dd.ee.ff", "aa bb cc dd ee ff", "aabb:ccdd:eeff", "aabb-ccdd-eeff",
        "AA-BB-CC-DD-EE-FF:Lobby", "aa:bb:cc:dd:ee:ff:Lobby WLAN", "aabbccddeeff:x", " AA-BB-CC-DD-EE-FF\0",
    ],
    "0901234567": [
        "0901234567", "090-123-4567", "090 123 4567", "(090) 123-4567", "090.123.4567", "090-1234567",
        "０９０－１２３－４５６７",
    ],
    "81901234567": ["+81901234567", "+81 90 123 4567", "+81-90-123-4567", "81901234567", "+81 (90) 1234567"],
    "mac 090123456789": ["0901-2345-6789", "0901 23456789", "090123456789"],
    "1-2-3": ["1-2-3", " 1-2-3 "],
    "a desk in osaka": ["A desk in Osaka", " a  desk\tin Osaka ", "A DESK IN OSAKA\0\0", "Ａ desk in Osaka"],
    "": ["", " ", "\0", " \0\t ", "\u3000"],
}  # fmt: skip
APART = [
    "198.51.100.7", "198.51.100.8", "198.51.10.07", "256.1.1.1", "2001:db8::1", "2001:db8:0:1::1", "::1", "fe80::1",
    "aa:bb:cc:dd:ee:ff", "aa:bb:cc:dd:ee:fe", "0312345678", "0312345679", "03-1234-567", "12-3", "1-23",
    "1/23", "taro's phone", "198.51.100.7x",
]  # fmt: skip


@pytest.mark.parametrize(("station", "text"), [(one, text) for one, texts in SAME.items() for text in texts])
def test_one_station_in_every_spelling(station: str, text: str) -> None:
    assert station_of(text) == station


def test_different_stations_stay_apart() -> None:
    assert len({station_of(text) for text in APART}) == len(APART)


@given(st.text(max_size=400))
def test_any_text_is_bounded_and_its_form_is_final(text: str) -> None:
    found = station_of(text)
    assert len(found) <= MAX_TEXT
    assert found.isprintable() and found == found.strip()
    if not found.startswith("mac ") and not found.endswith("/64"):
        assert station_of(found) == found
    assert len(readable(text)) <= MAX_TEXT


def test_a_long_text_is_kept_up_to_its_64th_character() -> None:
    assert station_of("a" * 65) == readable("a" * 65) == "a" * 64


def test_what_only_looks_like_an_address_stays_a_text_with_all_that_it_has() -> None:
    assert station_of("198.51.100.255:80") == "198.51.100.255"
    assert station_of("198.51.100.256:80") == "198.51.100.256:80"


def test_a_text_that_is_cut_at_a_blank_ends_before_it() -> None:
    assert station_of("a" * 63 + " bc") == "a" * 63


def test_what_stands_behind_253_characters_is_not_looked_at() -> None:
    assert [station_of(" " * blanks + "ab") for blanks in (251, 252, 253)] == ["ab", "a", ""]
    assert readable(" " * 252 + "ab") == "a"


@pytest.mark.parametrize("character", [*map(chr, range(33)), "\x7f", "\x85", "\xa0", "\u3000", "\ufeff"])
def test_blanks_and_controls_round_a_station_are_no_part_of_it(character: str) -> None:
    for text in ("lobby", "Xanadu", "!"):
        assert readable(character + text + character) == text
        assert station_of(character + text + character) == text.casefold()


@given(st.text(min_size=MAX_OCTETS), st.text())
def test_what_is_longer_than_an_attribute_is_not_looked_at(text: str, more: str) -> None:
    assert station_of(text + more) == station_of(text)


@given(st.ip_addresses(v=4), st.integers(0, 65535), st.text(" \0\t", max_size=5))
def test_no_port_and_no_padding_makes_another_ipv4_station(address: IPv4Address, port: int, padding: str) -> None:
    for text in (f"{address}", f"{address}:{port}", f"::ffff:{address}", f"[::ffff:{address}]:{port}"):
        assert station_of(padding + text + padding) == str(address)


@given(st.ip_addresses(v=6, network="2000::/3"), st.integers(0, 65535), st.integers(0, 2**64 - 1))
def test_no_port_and_no_other_host_makes_another_ipv6_station(address: IPv6Address, port: int, host: int) -> None:
    network = IPv6Network((address, 64), strict=False)
    other = IPv6Address(int(network.network_address) | host)
    for text in (f"{other}", f"[{other}]:{port}", other.exploded, f"{other}%1", f"{other}".upper()):
        assert station_of(text) == str(network)


@given(st.text(string.digits, min_size=7, max_size=15), st.lists(st.sampled_from(["", "-", " ", "."]), min_size=15))
def test_no_spelling_makes_another_telephone(number: str, between: list[str]) -> None:
    spelled = "".join(digit + mark for digit, mark in zip(number, between, strict=False))
    if station_of(spelled) != station_of(number):  # four groups of three digits may be an address
        assert spelled.rstrip("-. ").count(".") == 3


@given(st.binary(min_size=6, max_size=6), st.sampled_from(":-."), st.text(string.ascii_letters, max_size=20))
def test_no_spelling_makes_another_mac_station(address: bytes, between: str, ssid: str) -> None:
    plain = address.hex()
    for text in (address.hex(between), address.hex(between).upper(), address.hex(between, 2), plain, plain.upper()):
        assert station_of(text) == f"mac {plain}"
    assert station_of(f"{address.hex('-')}:{ssid}") == f"mac {plain}"
