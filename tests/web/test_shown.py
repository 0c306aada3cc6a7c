"""What a customer reads on the pages: dates, numbers, the bank's contact, each error once, and the right headings."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser

from admin_web.contact import contact_markup
from admin_web.portal.messages import MESSAGES
from otp_core.dates import moment_text
from otp_core.model import Language
from otp_core.settings.values import zone
from tests.sekisho import STAFF
from tests.web.browser import browser_page
from tests.web.portal import Answer, Portal, PortalClient, portal

CONTACT = "せきしょコールセンター 0120-123-456（平日 9:00〜17:00、土日祝を除く）"
LINES = f'contact = "{CONTACT}"\ntime_zone = "Pacific/Auckland"\n'
AT = datetime(2026, 11, 29, 4, 38, tzinfo=UTC).timestamp()


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    free = "[throttle]\nfree_failures = 100\n"
    with portal(tmp_path_factory.mktemp("shown"), more=LINES, login=free) as opened:
        yield opened


def said(answer: Answer) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", answer.text))


@pytest.mark.parametrize(
    ("name", "language", "text"),
    [
        ("Asia/Tokyo", "ja", "2026年11月29日 13:38"),
        ("Asia/Tokyo", "en", "29 Nov 2026, 13:38 JST"),
        ("UTC", "ja", "2026年11月29日 04:38 (UTC)"),
        ("UTC", "en", "29 Nov 2026, 04:38 UTC"),
    ],
)
def test_a_moment_is_written_as_its_readers_do(name: str, language: str, text: str) -> None:
    assert moment_text(AT, zone(name), Language(language)) == text


def test_japans_time_needs_no_time_zone_data_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otp_core.settings.values.ZoneInfo", lambda name: ZoneInfo(f"no/{name}"))
    assert datetime.fromtimestamp(AT, zone("Asia/Tokyo")).utcoffset() == timedelta(hours=9)
    with pytest.raises(ValueError, match="install tzdata"):
        zone("Europe/Paris")


def test_the_confirmation_tells_the_time_of_the_banks_zone_and_not_of_the_server(bank: Portal) -> None:
    one, client = bank.sekisho.customer(), PortalClient(bank, language="ja")
    client.sign_in(one, "suspend")
    done = client.post("/suspend/code", code=one.code())
    found = re.search(r"<dd>(\d{4}年\d\d月\d\d日 \d\d:\d\d) \(NZ[SD]T\)</dd>", done.text)
    assert found, done.text
    there = datetime.strptime(found[1], "%Y年%m月%d日 %H:%M").replace(tzinfo=ZoneInfo("Pacific/Auckland"))
    assert abs(datetime.now(UTC) - there) < timedelta(minutes=10)


def test_a_mail_and_a_page_name_one_moment_alike() -> None:
    assert moment_text(AT, timezone(timedelta(hours=9), "JST"), Language.JA) == moment_text(
        AT, zone("Asia/Tokyo"), Language.JA
    )


@pytest.mark.parametrize(
    ("contact", "links"),
    [
        (CONTACT, ["0120123456"]),
        ("０３（１２３４）５６７８", ["0312345678"]),
        ("(03) 1234-5678 or 0120 123 456", ["0312345678", "0120123456"]),
        ("Call +81 (0)3-1234-5678, 9:00 - 17:00", ["+81312345678"]),
        ("0120‑123‑456／090ー1234ー5678", ["0120123456", "09012345678"]),
        ("the counter of your branch", []),
        ("03-1234-56789 2026-04-01 09:00-17:00", []),
    ],
)
def test_telephone_numbers_in_a_contact_can_be_tapped(contact: str, links: list[str]) -> None:
    markup = contact_markup(contact)
    assert re.findall(r'href="tel:([^"]*)"', markup) == links
    assert html.unescape(re.sub(r"<[^>]+>", "", markup)) == contact


def test_a_contact_is_text_and_no_markup() -> None:
    assert "<b" not in contact_markup('<b>0120-123-456</b> "&"')


def test_no_line_breaks_inside_a_number_or_inside_the_hours(chromium: Browser, bank: Portal) -> None:
    for width in range(320, 400, 8):
        with browser_page(chromium, viewport={"width": width, "height": 640}) as page:
            page.goto(f"{bank.origin}/lost")
            wholes = page.locator(".whole").all()
            assert [one.inner_text() for one in wholes] == ["0120-123-456", "9:00〜17:00"]
            for one in wholes:
                assert one.evaluate("e => e.getClientRects().length") == 1


@pytest.mark.parametrize("language", ["ja", "en"])
def test_what_to_do_about_a_lost_token_stands_under_its_own_heading(bank: Portal, language: str) -> None:
    text = said(PortalClient(bank, language=language).get("/lost"))
    assert ("お手続きの流れ" if language == "ja" else "The steps") in text
    assert "このあとのログインについて" not in text and "What happens next" not in text


def test_of_a_token_that_is_gone_nothing_is_said_after_its_reissue(bank: Portal) -> None:
    one, new = bank.sekisho.customer(), bank.sekisho.customer(enrolled=False)
    bank.sekisho.desk.enrolment.report_lost(one.contract_id, STAFF)
    permit = bank.sekisho.desk.enrolment.permit_reissue(one.contract_id, STAFF).text
    client = PortalClient(bank, language="ja")
    client.sign_in(one)
    page = client.post("/enrol/permit", permit=permit)
    done = client.post("/enrol/token", token_id=new.token_id, code=new.code(), go="enrol")
    assert done.path == "/enrol/done"
    for answer in (page, done):
        assert "旧トークンは" not in said(answer) and "アンインストール" not in said(answer)


@pytest.mark.parametrize("language", ["ja", "en"])
def test_each_error_stands_once(bank: Portal, language: str) -> None:
    one, client = bank.sekisho.customer(), PortalClient(bank, language=language)
    wrong = [client.post("/suspend", contract_id=one.contract_id, password="no")]
    client.sign_in(one, "suspend")
    wrong += [client.post("/suspend/code", code=code) for code in ("", "12", "000000")]
    for answer in wrong:
        assert said(answer).count(answer.wrong) == 1, answer.wrong
        assert 'id="problem"' in answer.text and re.search(r'aria-describedby="[^"]*\bproblem"', answer.text)


def test_a_wrong_code_tells_the_rule_and_never_how_many_tries_are_left(bank: Portal) -> None:
    one, client = bank.sekisho.customer(), PortalClient(bank, language="ja")
    client.sign_in(one, "suspend")
    told = {client.post("/suspend/code", code="000000").wrong for _ in range(4)}
    assert len(told) == 1 and "所定の回数" in next(iter(told))


def test_numbers_in_japanese_sentences_are_full_width(bank: Portal) -> None:
    one, client = bank.sekisho.customer(), PortalClient(bank, language="ja")
    assert "１０分間操作がないと" in said(client.sign_in(one, "suspend"))
    assert re.search("あと約(?:１０|９)分で", said(client.get("/session")))
    assert "10 minutes" in said(PortalClient(bank, client.cookies).get("/suspend/code"))


def test_who_has_to_wait_is_not_told_to_check_the_entries() -> None:
    for name in ("too-many-here", "too-soon"):
        assert MESSAGES[name].heading == "Please wait"
