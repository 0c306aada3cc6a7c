"""The mails themselves: what stands in them, in both languages, and what never does."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta, timezone
from email import message_from_bytes
from email.headerregistry import Address
from email.policy import SMTP, default

import pytest

from otp_core.audit import NOTICED, id_at
from otp_core.model import Language
from otp_core.notices.templates import MailIdentity, masked, render
from otp_core.reference import reference_of
from otp_core.settings.notices import mail_address
from otp_core.store.outbox import Waiting

TOKYO = timezone(timedelta(hours=9), "JST")
HEAD = MailIdentity(mail_address("見本信用金庫 <no-reply@bank.example>"), None, "コールセンター 0120-000-000", TOKYO)
AT = 1_800_000_000_000  # 2027-01-15 17:00 in Tokyo


def notice(event: str = "otp.enrolled", language: str | None = "ja", email: str = "taro@example.jp") -> Waiting:
    return Waiting(id_at(AT), "taro1234", event, "VSMT12345678", email, language, "pending", 0, 0, None)


@pytest.mark.parametrize("language", list(Language))
@pytest.mark.parametrize("event", sorted(NOTICED))
def test_every_notice_exists_in_every_language_and_arrives_as_it_was_written(event: str, language: Language) -> None:
    sent = render(notice(event, language.value), HEAD)
    read = message_from_bytes(sent.as_bytes(policy=SMTP), policy=default)
    assert read["Subject"] == sent["Subject"]
    assert read.get_content().splitlines() == sent.get_content().splitlines()
    assert read["Content-Language"] == language
    assert max(map(len, sent.as_bytes(policy=SMTP).split(b"\r\n"))) <= 998


def test_a_notice_says_what_when_whose_and_whom_to_call() -> None:
    text = render(notice(), HEAD).get_content()
    for word in (
        "利用登録を受け付けました",
        "****1234",
        "********5678",
        "2027年01月15日 17:00",
        reference_of(id_at(AT)),
    ):
        assert word in text
    assert "コールセンター 0120-000-000" in text
    assert "taro1234" not in text
    assert "VSMT12345678" not in text


@pytest.mark.parametrize(
    ("day", "japanese", "english"),
    [
        (date(2027, 3, 31), "2027年03月31日までに、", "by 31 Mar 2027."),
        (date(2027, 1, 15), "お早めに、", "soon."),
        (None, "お早めに、", "soon."),
    ],
)
def test_a_change_is_asked_for_by_the_day_unless_that_is_over(day: date | None, japanese: str, english: str) -> None:
    head = replace(HEAD, leave_by={} if day is None else {"vip": day, "eg": date(2030, 1, 1)})
    for language, text in (("ja", japanese), ("en", english)):
        asked = notice("otp.change-asked", language)._replace(verifier="vip")
        assert text in render(asked, head).get_content()


def test_who_has_no_language_gets_the_banks() -> None:
    assert "契約者ＩＤ" in render(notice(language=None), HEAD).get_content()


def test_it_is_an_automatic_mail_with_a_name_that_stays_the_same() -> None:
    one, again = render(notice(), HEAD), render(notice(), HEAD)
    assert one["Message-ID"] == again["Message-ID"] == f"<{id_at(AT)}.notice@bank.example>"
    assert one["Auto-Submitted"] == "auto-generated"
    assert one["Reply-To"] is None
    head = MailIdentity(HEAD.sender, Address("desk", addr_spec="desk@bank.example"), "", TOKYO)
    assert render(notice(), head)["Reply-To"] == "desk <desk@bank.example>"


@pytest.mark.parametrize("email", ["taro@example.jp\r\nBcc: all@example.jp", "taro", "a b@c.jp", "", "@", "x@y@z"])
def test_an_address_that_is_none_gets_nothing_and_smuggles_nothing(email: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        render(notice(email=email), HEAD)


@pytest.mark.parametrize(
    ("text", "shown"), [("abcd", "****"), ("abcde", "*bcde"), ("", ""), ("VSMT12345678", "*" * 8 + "5678")]
)
def test_of_an_id_the_end_is_shown(text: str, shown: str) -> None:
    assert masked(text) == shown
