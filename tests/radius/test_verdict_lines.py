"""What the RADIUS door logs: a line for each refusal, drops by the minute, and in words what to check."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from otp_core.model import Accept, AuditRow, Language, Reject, Verdict
from radius_server.counters import Counters
from tests.fakes_radius import ASK, NO, ask_as, crafted, in_loop, open_door, settings_of
from tests.radius import craft
from tests.radius.craft import CALLING_STATION_ID, NAS_IDENTIFIER, NAS_IP, SECRET, SIGNED, attribute, password, user
from tests.radius_peer import REJECT, Packet

Line = MutableMapping[str, Any]
ROW = AuditRow(4711, "login.rejected", "client 0", "taro", "VSMT00000001", "203.0.113.7", "wrong code")
UNSIGNED = {"require_message_authenticator": False}


def verdicts(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line["event"] == "verdict"]


@in_loop
async def test_a_refusal_has_a_line_with_its_gateway_and_audit_row() -> None:
    with capture_logs() as lines:
        async with open_door({"taro": [Reject("wrong-code", Language.JA, ROW)]}) as door:
            station = attribute(CALLING_STATION_ID, b"203.0.113.7")
            await door.ask(crafted(user(), password("x"), attribute(NAS_IDENTIFIER, "営業店".encode()), station))
            await door.ask(crafted(user(), password("x"), attribute(NAS_IP, bytes((192, 0, 2, 9)))))
            await door.ask(crafted(user(), password("x"), attribute(95, bytes(15) + b"\1")))
            await door.ask(crafted(user(), password("x"), attribute(NAS_IP, b"abc")))
    first, *others = verdicts(lines)
    assert {name: first[name] for name in ("door", "client", "nas", "source", "customer", "token")} == {
        "door": "radius",
        "client": "client 0",
        "nas": "営業店",
        "source": "203.0.113.7",
        "customer": "taro",
        "token": "VSMT00000001",
    }
    assert (first["verdict"], first["reason"], first["round"], first["id"]) == ("rejected", "wrong code", 1, 4711)
    assert 0 <= first["ms"] < 60_000
    assert [line.get("nas") for line in others] == ["192.0.2.9", "::1", None]


@in_loop
async def test_acceptances_and_challenges_have_one_only_where_all_are_wanted() -> None:
    told: dict[str, list[Verdict]] = {"taro": [Accept()], "ask": [ASK], "no": [NO]}
    for wanted, said in (("refused", ["rejected"]), ("all", ["accepted", "challenged", "rejected"]), ("none", [])):
        with capture_logs() as lines:
            async with open_door(told, verdicts_logged=wanted) as door:  # type: ignore[arg-type]
                for name in told:
                    await door.ask(ask_as(name))
        assert [line["verdict"] for line in verdicts(lines)] == said


@in_loop
async def test_a_password_hidden_with_another_secret_is_told_in_words() -> None:
    """Without Message-Authenticator nothing else tells it from a wrong password."""
    for charset in ("utf-8", "latin-1", "cp932"):
        with capture_logs() as lines:
            async with open_door({"taro": [NO]}, settings_of({**UNSIGNED, "charset": charset})) as door:
                garbled = craft.packet(user(), password("himitsu-no-aikotoba", secret=b"another-secret-entirely"))
                await door.ask(Packet(garbled, SECRET))
        (line,) = verdicts(lines)
        assert "wrong secret likely" in line["reason"]
        assert line["customer"].startswith("name:")


@in_loop
async def test_a_wrong_password_alone_is_no_sign_of_a_wrong_secret() -> None:
    with capture_logs() as lines:
        async with open_door({"taro": [NO]}, settings_of(UNSIGNED)) as door:
            await door.ask(Packet(craft.packet(user(), password("ひみつ wrong")), SECRET))
            await door.ask(Packet(craft.packet(SIGNED, user(), password("tab\t"), identifier=9), SECRET))
            await door.ask(Packet(craft.packet(SIGNED, user(), password(b"\xff\xfe"), identifier=8), SECRET))
    assert all("secret" not in line["reason"] for line in verdicts(lines))
    assert len(verdicts(lines)) == 3


@in_loop
async def test_a_wrong_message_authenticator_names_the_client_and_what_to_check() -> None:
    with capture_logs() as lines:
        async with open_door() as door:
            forged = craft.packet(SIGNED, user(), password("x"), secret=b"another-secret-entirely")
            assert await door.silent(door.gateway(), forged)
    (line,) = [line for line in lines if line["event"] == "dropped"]
    assert line["reason"] == "wrong Message-Authenticator: wrong secret likely"
    assert (line["door"], line["client"], line["source"]) == ("radius", "client 0", "127.0.0.1")


@pytest.mark.parametrize("name", ["himitsu-no-aikotoba", "ひみつ"])
@in_loop
async def test_a_name_that_nobody_has_looked_up_is_not_in_the_log(name: str) -> None:
    with capture_logs() as lines:
        async with open_door({name: [NO]}, settings_of({"realm": "reject"}), verdicts_logged="all") as door:
            for typed in (f"BANK\\{name}".encode(), name.encode(), name.encode("cp932")):
                assert (await door.ask(crafted(user(typed), password("x")))).name == REJECT
            assert (await door.ask(crafted(user(name)))).name == REJECT
    assert name not in str(lines)
    assert [line["customer"][:5] for line in verdicts(lines)] == ["name:"] * 4


# Drops, by the minute.


def test_drops_are_reported_by_cause_and_only_where_there_were_some() -> None:
    counters = Counters(lambda: 0.0)
    counters.report_drops()
    with capture_logs() as lines:
        for number in range(5):
            counters.dropped("under 20 octets", source=f"192.0.2.{number}")
        counters.dropped("too many requests in flight", client="vpn")
        lines.clear()
        counters.report_drops()
        counters.report_drops()
    (line,) = lines
    assert line["event"] == "dropped in the last minute"
    assert line["drops"] == {"under 20 octets": 5, "too many requests in flight": 1}


def test_a_thousand_causes_are_one_line_of_bounded_length() -> None:
    """A customer's reply attribute that cannot be encoded names the attribute."""
    counters = Counters(lambda: 0.0)
    with capture_logs() as lines:
        for number in range(1000):
            counters.dropped(f"cause {number}", client="vpn")
        lines.clear()
        counters.report_drops()
    (line,) = lines
    assert len(line["drops"]) == 51
    assert sum(line["drops"].values()) == 1000
    assert line["drops"]["other causes"] == 950
