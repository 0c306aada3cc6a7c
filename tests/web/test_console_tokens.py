"""What staff does with tokens on the console: found by two codes, made for a customer who is present,
retired."""

from __future__ import annotations

import base64
import html
import os
import re
import time
from collections.abc import Iterator
from urllib.parse import quote

import pyotp
import pytest

from admin_web.rendering import qr_code
from admin_web.settings import WebSettings
from otp_core.accounts import StaffSessionLimits
from otp_core.model import OtpUse, Role, TokenSpec
from otp_core.store.find import keys_of, keys_of_tokens
from otp_core.store.queries import token_line
from otp_core.store.schema import reservation
from tests.sekisho import STAFF, Customer
from tests.web.console import Console, ConsoleClient, console


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with console(tmp_path_factory.mktemp("console"), other="[login]\ntokens_per_customer = 2") as running:
        yield running


@pytest.fixture(scope="module")
def operator(bank: Console) -> ConsoleClient:
    return bank.client(Role.OPERATOR)


def looked_for(client: ConsoleClient, **fields: str) -> str:
    """The page with the answer of a search, once this person may look again."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        client.get("/tokens/find")
        page = client.post("/tokens/find", **{"reason": "found in a drawer", **fields})
        while "is being looked through" in page.text:
            page = client.get("/tokens/find")
        if "Wait some seconds" not in page.text:
            return page.text
        time.sleep(0.5)
    raise AssertionError(page.text)


def test_a_token_in_staffs_hands_is_found_by_two_codes_and_that_is_recorded(
    bank: Console, operator: ConsoleClient
) -> None:
    one = Customer("nobody", "", "VSMT77000001", os.urandom(20))
    bank.sekisho.desk.tokens.import_rows([(one.token_id, one.seed, TokenSpec())], STAFF)
    first, second = one.code(), one.code(1)
    page = looked_for(operator, first=first, second=second)
    assert "VSMT 7700 0001" in page and first not in page and second not in page
    assert "VSMT 7700 0001" not in bank.client(Role.SUPERVISOR).get("/tokens/find").text, "the asker's own answer"
    (row,) = bank.sekisho.audit(event="token.found")
    assert (row.actor, row.token) == ("operator", one.token_id) and row.reason.endswith("found in a drawer")
    assert "No available token shows these two codes" in looked_for(operator, first=second, second=first)
    assert "Enter two codes that follow one another" in looked_for(operator, first="12", second="12")
    assert "Write the reason" in looked_for(operator, first=first, second=second, reason=" ")


def test_one_person_does_not_look_as_fast_as_they_can(bank: Console, operator: ConsoleClient) -> None:
    looked_for(operator, first="123456", second="654321")
    operator.get("/tokens/find")
    page = operator.post("/tokens/find", first="123456", second="654321", reason="again", beginning="VSMT")
    assert "Wait some seconds" in page.text and 'value="again"' in page.text and 'value="VSMT"' in page.text
    assert not re.search(r'value="(123456|654321)"', page.text)


WHY = {"reason": "came without an app", "identity": "document", "ticket": ""}
RECORDED = "came without an app; identity: document"


def place(bank: Console, one: Customer) -> str:
    with bank.sekisho.store.read() as connection:
        return f"/customers/{keys_of(connection, [one.contract_id])[one.contract_id]}"


def made(bank: Console, client: ConsoleClient, one: Customer, act: str) -> tuple[str, Customer]:
    """The page with the QR code, and what the customer has then. The picture is the one that the seed in the store has
    as an authenticator app reads it."""
    path = f"{place(bank, one)}/{act}/new"
    client.get(path)
    page = client.post(path, **WHY)
    (token_id,) = re.findall(r'<dd class="id">(SKSO [0-9]{4} [0-9]{4})</dd>', page.text)
    token_id = token_id.replace(" ", "")
    with bank.sekisho.store.work() as work:
        record = work.token(token_id)
    assert record is not None and record.seed is not None
    seed = bank.sekisho.store.sealer.unseal(record.seed, token_id)
    uri = pyotp.TOTP(base64.b32encode(seed).decode()).provisioning_uri(name=token_id, issuer_name=WebSettings().issuer)
    assert qr_code(uri) in html.unescape(page.text)
    return page.text, Customer(one.contract_id, one.password, token_id, seed)


def state_of(bank: Console, token_id: str) -> str:
    with bank.sekisho.store.read() as connection:
        line = token_line(connection, token_id)
    assert line is not None
    return line.state


def test_a_token_is_made_for_a_customer_who_is_present_and_bound_by_its_code(
    bank: Console, operator: ConsoleClient
) -> None:
    one = bank.sekisho.customer(enrolled=False)
    page, new = made(bank, operator, one, "enrol")
    path = f"{place(bank, one)}/enrol/code"
    assert 'src="data:image/svg+xml' in page and operator.get(path).headers["Cache-Control"] == "no-store"
    assert "cannot be shown again" in operator.get(path).text and "data:image" not in operator.get(path).text
    wrong = operator.post(path, code=new.code(20))
    assert "Has the app read the QR code?" in wrong.text and "data:image" not in wrong.text
    done = operator.post(path, code=new.code())
    assert f"Enrolled with token {new.token_id}" in done.text
    assert bank.sekisho.desk.customers.login_record(one.contract_id).otp_use == OtpUse.ACTIVE
    issued, enrolled = bank.sekisho.audit(event="token.issued")[-1], bank.sekisho.audit(event="otp.enrolled")[-1]
    assert (issued.actor, issued.token, issued.reason) == ("operator", new.token_id, RECORDED)
    assert (enrolled.actor, enrolled.customer, enrolled.token) == ("operator", one.contract_id, new.token_id)
    assert operator.get(path).path == place(bank, one), "and nothing of it is left in the session"
    secret = base64.b32encode(new.seed).decode()
    assert secret not in bank.sekisho.log_text() and secret not in repr(bank.sekisho.audit())
    assert "otpauth" not in bank.sekisho.log_text()


def test_the_new_token_is_this_customers_alone_and_no_other_sessions(bank: Console, operator: ConsoleClient) -> None:
    one, other = bank.sekisho.customer(enrolled=False), bank.sekisho.customer(enrolled=False)
    _, new = made(bank, operator, one, "enrol")
    supervisor = bank.client(Role.SUPERVISOR)
    assert supervisor.get(f"{place(bank, one)}/enrol/code").path == place(bank, one)
    assert operator.get(f"{place(bank, other)}/enrol/code").path == place(bank, other)
    supervisor.get(f"{place(bank, other)}/enrol")
    taken = supervisor.post(f"{place(bank, other)}/enrol", **WHY, token_id=new.token_id, code=new.code())
    assert "was not accepted" in taken.text and state_of(bank, new.token_id) == "available"
    _, second = made(bank, operator, one, "enrol")
    assert (state_of(bank, new.token_id), state_of(bank, second.token_id)) == ("retired", "available")


def test_a_device_is_changed_to_a_token_that_is_made_on_the_spot_and_one_more_is_added(
    bank: Console, operator: ConsoleClient
) -> None:
    one = bank.sekisho.customer()
    _, new = made(bank, operator, one, "change-device")
    path = place(bank, one)
    page = operator.post(f"{path}/change-device/code", old_code=one.code(), code=new.code())
    assert f"Device changed to token {new.token_id}" in page.text and state_of(bank, one.token_id) == "retired"
    _, more = made(bank, operator, one, "add-token")
    page = operator.post(f"{path}/add-token/code", own_code=new.code(1), code=more.code())
    assert f"Token {more.token_id} was added" in page.text
    operator.get(f"{path}/add-token/new")
    assert operator.at is not None and operator.at.path == path, "there is room for two"


def test_without_reason_or_for_an_account_of_staff_no_token_is_made(bank: Console, operator: ConsoleClient) -> None:
    one, before = bank.sekisho.customer(enrolled=False), len(bank.sekisho.audit(event="token.issued"))
    path = f"{place(bank, one)}/enrol/new"
    operator.get(path)
    assert "Write the reason" in operator.post(path, **{**WHY, "reason": " "}).text
    path = f"{place(bank, bank.accounts[Role.SUPERVISOR])}/change-device/new"
    operator.get(path)
    assert "only an administrator may act on it" in operator.post(path, **WHY).text
    assert len(bank.sekisho.audit(event="token.issued")) == before


def test_a_token_that_nobody_enrolled_in_time_is_retired(bank: Console, operator: ConsoleClient) -> None:
    """By the console's own sweep: there may be no customers' pages."""
    one = bank.sekisho.customer(enrolled=False)
    _, new = made(bank, operator, one, "enrol")
    limits = StaffSessionLimits(900, 28_800)
    bank.sekisho.desk.staff_sessions.expire(limits)
    assert state_of(bank, new.token_id) == "available"
    with bank.sekisho.store.work() as work:
        work.connection.execute(reservation.update().values(expires_at=1))
    bank.sekisho.desk.staff_sessions.expire(limits)
    assert state_of(bank, new.token_id) == "retired"
    operator.get(f"{place(bank, one)}/enrol/code")
    assert "counts as a failure" in operator.post(f"{place(bank, one)}/enrol/code", code=new.code()).text


def token_place(bank: Console, one: Customer) -> str:
    with bank.sekisho.store.read() as connection:
        return f"/tokens/{keys_of_tokens(connection, [one.token_id])[one.token_id]}"


def test_a_token_is_retired_on_its_page_with_a_reason_and_once(bank: Console, operator: ConsoleClient) -> None:
    one = bank.sekisho.customer(enrolled=False)
    path = token_place(bank, one)
    assert f'href="{path}"' in operator.get(f"/tokens?from={one.token_id}").text
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in one.token_id)
    for typed in (one.token_id, one.token_id.lower(), f"{one.token_id[:4]}-{one.token_id[4:]}", wide):
        assert operator.get(f"/?q={quote(typed)}").path == path, "the search leads to a token that no customer has"
    assert f'href="{path}">{one.token_id}' in operator.get(f"/audit?token={one.token_id}").text
    assert "Nobody holds it" in operator.get(path).text
    assert "retire" not in bank.client(Role.AUDITOR).get(path).text
    operator.get(f"{path}/retire")
    assert "Write the reason" in operator.post(f"{path}/retire", reason=" ", ticket="4711").text
    assert state_of(bank, one.token_id) == "available"
    page = operator.post(f"{path}/retire", reason="broken on delivery", ticket="4711")
    assert "The token was retired" in page.text and "Retired: it is never accepted again" in page.text
    (row,) = [row for row in bank.sekisho.audit(event="token.retired") if row.token == one.token_id]
    assert (row.actor, row.reason) == ("operator", "broken on delivery; ticket 4711")
    assert operator.get(f"{path}/retire").path == path and f"{path}/retire" not in operator.get(path).text


def test_a_token_that_a_customer_holds_leads_to_them_and_is_not_retired(bank: Console, operator: ConsoleClient) -> None:
    one = bank.sekisho.customer()
    path, fresh = token_place(bank, one), bank.sekisho.customer(enrolled=False)
    page = operator.get(path)
    assert f'href="{place(bank, one)}"' in page.text and f"{path}/retire" not in page.text
    assert f'href="{path}"' in operator.get(place(bank, one)).text
    operator.get(f"{token_place(bank, fresh)}/retire")
    bank.sekisho.desk.enrolment.enrol(fresh.contract_id, fresh.token_id, fresh.code(), STAFF)
    page = operator.post(f"{token_place(bank, fresh)}/retire", reason="too late")
    assert "Not possible now" in page.text and state_of(bank, fresh.token_id) == "bound"
    assert operator.get("/tokens/1").status == 404
