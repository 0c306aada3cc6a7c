"""Messages as RFC 5424 has them, whatever a row holds; read back here by the grammar of its section 6."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_core.audit import Event, id_at
from otp_core.store.queries import AuditLine
from otp_core.syslog.message import MOST_OCTETS, Sender, framed, message
from tests.examples import examples
from tests.syslog import PAGE

SENDER = Sender(10, "gate1", 32473)
AT = id_at(1_806_485_400_123) + (456 << 10)

HEADER = re.compile(
    r"<(\d{1,3})>1 (-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([\x21-\x7e]{1,255}) ([\x21-\x7e]{1,48}) "
    r"([\x21-\x7e]{1,128}) ([\x21-\x7e]{1,32}) "
    r"\[([^ =\]\"]{1,32})((?: \w+=\"(?:[^\"\\\]]|\\[\"\\\]])*\")+)\] \ufeff(.*)",
    re.DOTALL,
)


def read(octets: bytes) -> tuple[dict[str, str], re.Match[str]]:
    """The structured data, and the whole message."""
    match = HEADER.fullmatch(octets.decode())
    assert match, octets
    pairs = re.findall(r" (\w+)=\"((?:[^\"\\\]]|\\[\"\\\]])*)\"", match[8])
    return {name: re.sub(r"\\([\"\\\]])", r"\1", value) for name, value in pairs}, match


def test_the_messages_of_an_ordinary_row() -> None:
    row = AuditLine(AT, "login.rejected", "vpn", "1234567", None, "10.1.2.3", "wrong-code")
    assert message(row, SENDER).decode() == (
        f'<84>1 2027-03-31T09:30:00.123456Z gate1 sekisho - login.rejected [sekisho@32473 id="{AT}" '
        'event="login.rejected" actor="vpn" customer="1234567" source="10.1.2.3" reason="wrong-code"] '
        "\ufefflogin.rejected by vpn for 1234567: wrong-code"
    )
    assert framed(b"<84>1 -") == b"7 <84>1 -"


def test_the_documents_message_is_made_of_a_row() -> None:
    (shown,) = re.findall(r"^    (<\d+>1 .*)$", PAGE.read_text(), re.MULTILINE)
    head, text = shown.split("] ")
    found, _ = read(f"{head}] \ufeff{text}".encode())
    row = AuditLine(*(found.get(name) for name in AuditLine._fields))  # type: ignore[arg-type]
    assert message(row._replace(id=int(found["id"])), SENDER).decode().replace("\ufeff", "") == shown


def test_what_would_end_a_value_or_a_line_does_not() -> None:
    row = AuditLine(AT, "act.refused", 'a"b', "c]d", "e\\", "\r\nf\0", "理由]")
    found, match = read(message(row, SENDER))
    assert found == {
        "id": str(AT), "event": "act.refused", "actor": 'a"b', "customer": "c]d", "token": "e\\",
        "source": "\ufffd\ufffdf\ufffd", "reason": "理由]",
    }  # fmt: skip
    assert match[1] == "84"


@given(st.integers(-(2**63), 2**63 - 1), *[st.text(max_size=700)] * 6, st.sampled_from([1, 40]))
@settings(max_examples=examples(200), deadline=None)
def test_every_row_makes_a_message_that_can_be_read_and_is_not_too_long(
    id_: int, event: str, actor: str, customer: str, token: str, source: str, reason: str, times: int
) -> None:
    row = AuditLine(id_, event, actor, customer * times, token, source, reason * times, "web1")
    octets = message(row, SENDER)
    assert len(octets) <= MOST_OCTETS
    found, _ = read(octets)
    assert set(found) == set(AuditLine._fields) and found["id"] == str(id_)


@pytest.mark.parametrize("event", Event)
def test_every_event_fits_into_the_message_id(event: Event) -> None:
    _, match = read(message(AuditLine(AT, event, "a", None, None, "", ""), SENDER))
    assert match[6] == event and int(match[1]) in (84, 86)
