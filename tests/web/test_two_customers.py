"""Whose journey a page shows, and what becomes of a form that another customer's tab sends."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.sekisho import STAFF, Customer
from tests.web.portal import Answer, Portal, PortalClient, portal


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with portal(tmp_path_factory.mktemp("two"), login="[throttle]\nfree_failures = 100\n") as opened:
        yield opened


def whose(answer: Answer) -> str:
    found = re.search(r'name="whose" value="([0-9a-f]{16})"', answer.text)
    assert found, answer.title
    return found[1]


def shown_as(answer: Answer, one: Customer) -> bool:
    return f"<b>{one.contract_id}</b>" in answer.text


def test_every_page_behind_the_sign_in_names_the_customer(bank: Portal) -> None:
    one, client = bank.sekisho.customer(), PortalClient(bank)
    pages = [client.sign_in(one), client.get("/session"), client.sign_in(one, "resync")]
    pages += [client.sign_in(one, "suspend"), client.post("/suspend/code", code=one.code())]
    pages += [client.sign_in(one, "resync")]
    bank.sekisho.desk.customers.lock(one.contract_id, STAFF)
    pages += [client.sign_in(one)]
    ends = ["/resync/codes", "/suspend/code", "/suspend/done", "/stop/not-in-use", "/stop/locked"]
    assert [page.path for page in pages] == ["/enrol/old-code", "/session", *ends]
    assert [page.path for page in pages if not shown_as(page, one)] == []
    assert "<b>" not in client.get("/lost").text


def test_a_form_of_another_customers_tab_is_refused_and_both_are_told_what_to_do(bank: Portal) -> None:
    one, other, first = bank.sekisho.customer(), bank.sekisho.customer(), PortalClient(bank)
    page = first.sign_in(one, "suspend")
    first.sign_in(other, "suspend")  # in another tab: the same cookies
    assert first.at is not None and whose(page) != whose(first.at)
    code = one.code()
    told = first.post("/suspend/code", code=code, key=page.key, whose=whose(page))
    assert told.path == "/other" and shown_as(told, other)
    assert one.contract_id not in told.text
    assert "If you are the customer with the contract ID" in told.text and "If you are another customer" in told.text
    assert "/suspend/code" in told.text and 'action="/leave"' in told.text
    assert code not in told.text
    for path in ("/leave", "/session"):  # that tab's footer, and its warning page
        assert first.post(path, whose=whose(page)).path == "/other"
    assert first.get("/suspend/code").path == "/suspend/code", "the other customer's session goes on"
    assert first.post("/leave", whose=whose(told)).path == "/"
    assert first.get("/suspend/code").path == "/suspend"
    assert bank.sekisho.audit(one.contract_id, "otp.suspended") == []


def test_two_tabs_of_one_customer_are_told_where_they_stand(bank: Portal) -> None:
    one, client = bank.sekisho.customer(), PortalClient(bank)
    before = client.sign_in(one, "suspend")
    client.sign_in(one, "suspend")
    again = client.post("/suspend/code", code=one.code(), key=before.key, whose=whose(before))
    assert again.path == "/suspend/code" and "sent already, or was opened in another tab" in again.text


@pytest.mark.parametrize("forged", ["", "0" * 16, "é", "x" * 1000])
def test_whatever_a_form_says_of_its_owner_nothing_is_done_for_another(bank: Portal, forged: str) -> None:
    one, client = bank.sekisho.customer(), PortalClient(bank)
    client.sign_in(one, "suspend")
    answer = client.post("/suspend/code", code=one.code(), key="", whose=forged)
    assert answer.path == ("/other" if forged else "/suspend/code")
    assert bank.sekisho.audit(one.contract_id, "otp.suspended") == []


def test_without_a_session_that_page_says_that_it_has_ended(bank: Portal) -> None:
    assert PortalClient(bank).get("/other").path == "/expired"


@pytest.mark.parametrize("path", ["/", "/enrol", "/suspend", "/resync", "/lost", "/enrol/token"])
@pytest.mark.parametrize("language", ["ja", "en"])
def test_a_link_hands_the_banks_language_over_and_it_stays(bank: Portal, path: str, language: str) -> None:
    client = PortalClient(bank, language="en" if language == "ja" else "ja")
    lang = f'<html lang="{language}">'
    assert lang in client.get(f"{path}?lang={language}").text
    assert lang in client.get("/suspend").text
    assert lang in client.get("/nowhere?lang=xx").text, "no language: the choice stays"


def test_the_choice_on_the_page_comes_after_the_link(bank: Portal) -> None:
    client = PortalClient(bank)
    client.get("/enrol?lang=ja")
    client.get("/language/en?to=/enrol")
    assert '<html lang="en">' in client.get("/enrol").text
