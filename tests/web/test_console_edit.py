"""What is known of a customer, changed on the console: by whom, what is refused, and what is recorded."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from otp_core.accounts import Details
from otp_core.model import Role
from otp_core.store.find import keys_of
from tests.sekisho import STAFF
from tests.web.console import Console, ConsoleClient, console

WHY = {"reason": "form of 2 April", "identity": "written", "ticket": "12"}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with console(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture(scope="module")
def operator(bank: Console) -> ConsoleClient:
    return bank.client(Role.OPERATOR)


def somebody(bank: Console, contract_id: str) -> str:
    """Their page."""
    add = bank.sekisho.desk.customers.add
    add(contract_id, STAFF, name="山田 花子", email="old@example.jp", attributes={"Filter-Id": "gold"})
    return page_of(bank, contract_id)


def page_of(bank: Console, contract_id: str) -> str:
    with bank.sekisho.store.read() as connection:
        return f"/customers/{keys_of(connection, [contract_id])[contract_id]}"


def fields(client: ConsoleClient) -> dict[str, str]:
    """What the form at which the client is has in it."""
    assert client.at is not None
    text = client.at.text
    found = dict(re.findall(r'<input id="(name|reading|email)"[^>]* value="([^"]*)"', text))
    found["attributes"] = re.findall(r'<textarea id="attributes"[^>]*>(.*?)</textarea>', text, re.S)[0]
    found["language"] = "".join(re.findall(r'<option value="(..)"[^>]* selected>', text))
    found["seen"] = re.findall(r'name="seen" value="([^"]*)"', text)[0]
    return {name: html.unescape(value) for name, value in found.items()}


def edit(client: ConsoleClient, page: str, **changed: str) -> str:
    """The page that follows."""
    client.get(f"{page}/edit")
    return client.post(f"{page}/edit", **{**fields(client), **WHY, **changed}).text


def test_what_is_changed_is_known_found_and_recorded_by_the_names_of_its_fields(
    bank: Console, operator: ConsoleClient
) -> None:
    page = somebody(bank, "edit-1")
    done = edit(operator, page, name="髙田　花子", reading="ﾀｶﾀﾞ ﾊﾅｺ", email="new@example.jp", language="en")
    assert "Changed. Reference number" in done and "<h1>edit-1 髙田　花子</h1>" in done
    after = Details("髙田　花子", "ﾀｶﾀﾞ ﾊﾅｺ", "new@example.jp", "en", '{"Filter-Id": "gold"}')
    assert bank.sekisho.desk.customers.details("edit-1") == after
    row = bank.sekisho.audit()[-1]
    assert (row.event, row.actor, row.customer) == ("customer.edited", "operator", "edit-1")
    assert row.reason == "name, reading, email, language; form of 2 April; identity: written; ticket 12"
    for typed, wanted in (("高田 花", True), ("たかだ", True), ("new@", True), ("山田 花子", False), ("old@", False)):
        text = operator.get(f"/?q={quote(typed)}").text
        assert ("<h1>edit-1" in text) is wanted, typed


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "x" * 201, None),
        ("name", "a\x00b", "no line break or tab"),
        ("email", "nobody", "That is no e-mail address"),
        ("email", "mallory,hanako@example.jp", "That is no e-mail address"),
        ("email", "<hanako@example.jp>", "That is no e-mail address"),
        ("language", "fr", "Choose a language"),
        ("attributes", "gold", "The reply attributes cannot be sent"),
        ("attributes", "No-Such-Attribute=1", "The reply attributes cannot be sent"),
        ("attributes", "[" * 1500, "The reply attributes cannot be sent"),
        ("reason", " ", "Write the reason"),
        ("identity", "guessed", "Choose how you have checked"),
        ("name", "山田 花子", "Nothing was changed"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_changed(
    bank: Console, operator: ConsoleClient, field: str, value: str, said: str | None
) -> None:
    contract_id = f"edit-{abs(hash((field, value))) % 10**9}"
    page = somebody(bank, contract_id)
    before = bank.sekisho.desk.customers.details(contract_id)
    text = edit(operator, page, **{field: value})
    if said is None:  # no browser sends more than the field takes: it is cut
        assert bank.sekisho.desk.customers.details(contract_id).name == "x" * 200
        return
    assert html.escape(said) in text
    assert bank.sekisho.desk.customers.details(contract_id) == before
    if field != "identity":
        assert f'value="{WHY["ticket"]}"' in text, "what was filled in stays"


def test_who_was_faster_is_not_written_over(bank: Console, operator: ConsoleClient) -> None:
    page = somebody(bank, "edit-raced")
    operator.get(f"{page}/edit")
    seen, desk = fields(operator), bank.sekisho.desk.customers
    before = desk.details("edit-raced")
    desk.edit("edit-raced", before, before._replace(email="first@example.jp"), STAFF)
    text = operator.post(f"{page}/edit", **{**seen, **WHY, "name": "Second"}).text
    assert "Somebody else has changed this customer" in text and fields(operator)["email"] == "first@example.jp"
    assert desk.details("edit-raced") == before._replace(email="first@example.jp")


def test_attributes_that_are_taken_away_are_gone(bank: Console, operator: ConsoleClient) -> None:
    page = somebody(bank, "edit-bare")
    assert "Changed." in edit(operator, page, attributes="", email="")
    assert bank.sekisho.desk.customers.details("edit-bare") == Details("山田 花子", None, None, None, None)


def test_an_account_of_staff_is_edited_by_an_administrator_alone(bank: Console, operator: ConsoleClient) -> None:
    page = page_of(bank, bank.accounts[Role.SUPERVISOR].contract_id)
    assert "only an administrator may act on it" in edit(operator, page, email="mine@example.jp")
    assert "Changed." in edit(bank.client(Role.ADMINISTRATOR), page, email="theirs@example.jp")


def test_the_page_is_for_those_who_may(bank: Console) -> None:
    page = somebody(bank, "edit-watched")
    auditor = bank.client(Role.AUDITOR)
    assert "/edit" not in auditor.get(page).text
    assert auditor.get(f"{page}/edit").status == 403
