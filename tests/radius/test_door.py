"""Problems in the settings that the door reports before it opens, and the check of customers' reply attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from radius_server.door import RadiusDoor
from tests.fakes_radius import settings_of


def problems(*clients: dict[str, Any], **radius: Any) -> list[tuple[str, str]]:
    return [(problem.key, problem.message) for problem in RadiusDoor(settings_of(*clients, **radius)).problems()]


def test_sound_settings_have_no_problems() -> None:
    assert problems({"reply_attributes": {"Filter-Id": "a", "Cisco-AVPair": ["x", "y"], "Service-Type": 6}}) == []


def test_every_attribute_that_cannot_be_encoded_is_told_with_its_client() -> None:
    first = {"name": "vpn", "network": "10.0.0.1", "reply_attributes": {"Filter-ID": "a", "Session-Timeout": "soon"}}
    second = {"name": "wifi", "network": "10.0.0.2", "reply_attributes": {"Class": "0x1"}}
    assert problems(first, second) == [
        ("radius.clients[0].reply_attributes", "vpn: Filter-ID: not in the dictionary; did you mean Filter-Id?"),
        ("radius.clients[0].reply_attributes", "vpn: Session-Timeout: 'soon'; write a number"),
        (
            "radius.clients[1].reply_attributes",
            "wifi: Class: '0x1'; write text, or 0x and pairs of hexadecimal digits",
        ),
    ]


def test_attributes_that_do_not_fit_into_a_reply_are_told() -> None:
    """Otherwise no login of this client would be answered: texts are shortened to reply_max, attributes never are."""
    said = {"Cisco-AVPair": ["x" * 240] * 4}
    assert problems({"reply_attributes": said}) == [
        (
            "radius.clients[0].reply_attributes",
            "client 0: together they make a reply of 1030 octets; reply_max is 1024",
        )
    ]
    assert problems({"reply_attributes": said, "reply_max": 1030}) == []


def test_a_dictionary_that_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    ((key, message),) = problems({"reply_attributes": {"Filter-Id": "a"}}, dictionary=[str(tmp_path / "nowhere")])
    assert key == "radius.dictionary"
    assert message.startswith("cannot read the dictionary: ")
    assert "nowhere" in message


def test_a_further_dictionarys_attributes_may_be_set(tmp_path: Path) -> None:
    (tmp_path / "local").write_text("ATTRIBUTE Local-Text 230 string\n")
    said = {"reply_attributes": {"Local-Text": "x"}}
    assert problems(said, dictionary=[str(tmp_path / "local")]) == []
    assert len(problems(said)) == 1


# Customers' reply attributes, before they are stored


def checked(attributes: dict[str, object], *clients: dict[str, Any], **radius: Any) -> list[str]:
    return list(RadiusDoor(settings_of(*clients, **radius)).attribute_check()(attributes))


def test_a_customers_attributes_that_can_be_sent_are_no_problem() -> None:
    assert checked({"Filter-Id": ["gold", "night"], "Session-Timeout": "600", "Cisco-AVPair": "x"}, {}) == []


def test_every_attribute_of_a_customer_that_cannot_be_sent_is_told_without_what_was_written() -> None:
    """A password in the wrong column of an imported file looks like an attribute's name or value."""
    slipped = {"hunter2": "geheim", "Session-Timeout": "geheim", "Class": "0xgeheim", "Filter-Id": "x" * 254}
    said = checked({**slipped, "NAS-IP-Address": "geheim", "Filter-id": 1}, {})
    assert said == [
        "attribute 1: not in the dictionary; add its file with radius.dictionary",
        "Session-Timeout: write a number",
        "Class: write text, or 0x and pairs of hexadecimal digits",
        "Filter-Id: 254 octets; it holds 1 to 253",
        "NAS-IP-Address: its value is no ipaddr",
        "attribute 6: not in the dictionary; did you mean Filter-Id?",
    ]


def test_a_customers_attributes_must_fit_beside_those_of_each_client() -> None:
    narrow = {"name": "narrow", "network": "10.0.0.2", "reply_attributes": {"Class": "x" * 200}, "reply_max": 500}
    assert checked({"Filter-Id": "y" * 253}, {"network": "10.0.0.1"}, narrow) == []
    assert checked({"Filter-Id": ["y" * 253, "z" * 10]}, {"network": "10.0.0.1"}, narrow) == [
        "make a reply of 507 octets to narrow; its reply_max is 500"
    ]


def test_a_customers_attributes_cannot_be_checked_by_a_dictionary_that_cannot_be_read(tmp_path: Path) -> None:
    (said,) = checked({"Filter-Id": "gold"}, {}, dictionary=[str(tmp_path / "nowhere")])
    assert said.startswith("cannot read the dictionary: ")
