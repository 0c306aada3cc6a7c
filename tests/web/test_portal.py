"""The customers' pages over plain HTTP: each journey, what may go wrong in it, and what the store holds afterwards."""

from __future__ import annotations

import base64
import html
import re
import threading
from collections.abc import Iterator

import pyotp
import pytest

from otp_core.store.queries import customer_line, token_line
from tests.sekisho import STAFF, Customer
from tests.web.portal import Portal, PortalClient, next_code, portal


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with portal(tmp_path_factory.mktemp("portal"), login="[throttle]\nfree_failures = 100\n") as opened:
        yield opened


def use_of(bank: Portal, one: Customer) -> tuple[str, str | None]:
    with bank.sekisho.store.read() as connection:
        line = customer_line(connection, one.contract_id)
    assert line is not None
    return line.otp_use, line.tokens[0].token_id if line.tokens else None


def token_state(bank: Portal, token_id: str) -> str:
    with bank.sekisho.store.read() as connection:
        line = token_line(connection, token_id)
    assert line is not None
    return line.state


def spare(bank: Portal) -> Customer:
    """A token that belongs to no customer."""
    return bank.sekisho.customer(enrolled=False)


def enrol(client: PortalClient, token: Customer, code: str) -> str:
    return client.post("/enrol/token", token_id=token.token_id, code=code, go="enrol").path


def test_after_enrolment_the_next_login_needs_a_code(bank: Portal) -> None:
    one, client = bank.sekisho.customer(enrolled=False), PortalClient(bank)
    assert bank.sekisho.login(one.contract_id, one.password) == "Access-Accept"
    assert client.sign_in(one).path == "/enrol/token"
    code = one.code()
    assert enrol(client, one, code) == "/enrol/done"
    assert client.at is not None and "The enrolment is complete" in client.at.text
    assert use_of(bank, one) == ("active", one.token_id)
    state = bank.sekisho.login(one.contract_id, one.password).split()[1]
    assert bank.sekisho.login(one.contract_id, code, state=state) != "Access-Accept"  # it was spent
    state = bank.sekisho.login(one.contract_id, one.password).split()[1]
    assert bank.sekisho.login(one.contract_id, next_code(one, code), state=state) == "Access-Accept"
    rows = bank.sekisho.audit(one.contract_id)
    assert {row.event for row in rows} >= {"pages.entered", "otp.enrolled"}
    assert all(row.source == "127.0.0.1" for row in rows if row.actor == "web")


def test_token_id_and_code_are_taken_in_any_width_and_grouping(bank: Portal) -> None:
    one, client = bank.sekisho.customer(enrolled=False), PortalClient(bank)
    client.sign_in(one)
    wide = {ord("0") + n: ord("０") + n for n in range(10)} | {ord("A") + n: ord("ａ") + n for n in range(26)}
    token_id = f" {one.token_id[:4]}-{one.token_id[4:8]} {one.token_id[8:]} ".translate(wide)
    code = one.code().translate(wide)
    answer = client.post("/enrol/token", token_id=token_id, code=f"{code[:3]}　{code[3:]} ", go="enrol")
    assert answer.path == "/enrol/done", answer.wrong


def test_an_unknown_token_a_strangers_token_and_a_wrong_code_get_the_same_answer(bank: Portal) -> None:
    one, other = bank.sekisho.customer(enrolled=False), bank.sekisho.customer()
    said = set()
    for token_id, code in (("VSMT99999999", "123456"), (other.token_id, other.code(1)), (one.token_id, "918273")):
        client = PortalClient(bank)
        client.sign_in(one)
        answer = client.post("/enrol/token", token_id=token_id, code=code, go="enrol")
        assert answer.path == "/enrol/token"
        assert f'value="{token_id}"' in answer.text and code not in answer.text
        said.add((answer.title, answer.wrong))
    assert len(said) == 1 and next(iter(said))[0].startswith("Error: ")


def test_a_wrong_password_and_an_unknown_contract_id_get_the_same_answer(bank: Portal) -> None:
    one = bank.sekisho.customer()
    said = set()
    for contract_id, password in ((one.contract_id, "wrong-password"), ("nobody-at-all", one.password)):
        client = PortalClient(bank)
        answer = client.post("/enrol", contract_id=contract_id, password=password)
        assert answer.path == "/enrol" and password not in answer.text
        said.add((answer.title, answer.wrong, answer.text.replace(contract_id, "")))
    assert len(said) == 1
    (row,) = bank.sekisho.audit(event="pages.refused")[-1:]
    assert row.customer is not None and row.customer.startswith("name:")


def test_wrong_passwords_never_lock_a_customer(bank: Portal) -> None:
    one, stranger = bank.sekisho.customer(), PortalClient(bank)
    for _ in range(6):
        stranger.post("/suspend", contract_id=one.contract_id, password="guess")
    with bank.sekisho.store.read() as connection:
        line = customer_line(connection, one.contract_id)
    assert line is not None and line.locked_at is None and line.failures == 0


def test_suspended_means_password_only(bank: Portal) -> None:
    one, client = bank.sekisho.customer(), PortalClient(bank)
    assert client.sign_in(one, "suspend").path == "/suspend/code"
    assert client.post("/suspend/code", code="000000").path == "/suspend/code"
    assert use_of(bank, one)[0] == "active"
    used = one.code()
    assert client.post("/suspend/code", code=used).path == "/suspend/done"
    assert bank.sekisho.login(one.contract_id, one.password) == "Access-Accept"
    assert PortalClient(bank).sign_in(one, "suspend").path == "/stop/not-in-use"
    again = PortalClient(bank)
    again.sign_in(one)
    assert enrol(again, one, one.next_code(used)) == "/enrol/done"  # with the token of before


def test_a_change_of_device_takes_the_old_code_first_and_then_happens_at_once(bank: Portal) -> None:
    one, new, client = bank.sekisho.customer(), spare(bank), PortalClient(bank)
    assert client.sign_in(one).path == "/enrol/old-code"
    assert client.get("/enrol/token-id").path == "/enrol/old-code"  # no way around it
    old_code = one.code()
    assert client.post("/enrol/old-code", code=old_code).path == "/enrol/token"
    state = bank.sekisho.login(one.contract_id, one.password).split()[1]
    assert bank.sekisho.login(one.contract_id, old_code, state=state) != "Access-Accept"  # spent at its own step
    state = bank.sekisho.login(one.contract_id, one.password).split()[1]
    assert bank.sekisho.login(one.contract_id, next_code(one, old_code), state=state) == "Access-Accept"  # still good
    assert enrol(client, new, new.code()) == "/enrol/done"
    assert client.at is not None and "The old token does not work any more" in client.at.text
    assert use_of(bank, one) == ("active", new.token_id)
    assert token_state(bank, one.token_id) == "retired"


def test_a_proof_is_valid_in_its_own_session_only(bank: Portal) -> None:
    one, new = bank.sekisho.customer(), spare(bank)
    first, second = PortalClient(bank), PortalClient(bank)
    first.sign_in(one)
    first.post("/enrol/old-code", code=one.code())
    assert second.sign_in(one).path == "/enrol/old-code"
    second.post("/enrol/old-code", code=one.code())  # used: refused
    assert second.get("/enrol/token-id").path == "/enrol/old-code"
    assert use_of(bank, one) == ("active", one.token_id)
    assert enrol(first, new, new.code()) == "/enrol/done"


def test_a_reissue_permit_takes_the_place_of_the_old_code(bank: Portal) -> None:
    one, new, client = bank.sekisho.customer(), spare(bank), PortalClient(bank)
    bank.sekisho.desk.enrolment.report_lost(one.contract_id, STAFF)
    assert PortalClient(bank).sign_in(one).path == "/stop/lost"
    permit = bank.sekisho.desk.enrolment.permit_reissue(one.contract_id, STAFF).text
    assert client.sign_in(one).path == "/enrol/permit"
    assert client.post("/enrol/permit", permit="AAAA-AAAA-AAAA").path == "/enrol/permit"
    assert client.post("/enrol/permit", permit=permit.lower().replace("-", " ")).path == "/enrol/token"
    assert enrol(client, new, new.code()) == "/enrol/done"
    assert use_of(bank, one) == ("active", new.token_id)
    assert permit not in bank.log()


def test_two_codes_in_a_row_set_the_time_right(bank: Portal) -> None:
    one, client = bank.sekisho.customer(), PortalClient(bank)
    assert client.sign_in(one, "resync").path == "/resync/codes"
    assert client.post("/resync/codes", first="111111", second="111111").path == "/resync/codes"
    answer = client.post("/resync/codes", first=one.code(40), second=one.code(41))
    assert answer.path == "/resync/done", answer.wrong
    assert PortalClient(bank).sign_in(spare(bank), "resync").path == "/stop/not-in-use"


def test_too_many_wrong_codes_lock_and_the_page_names_the_contact(bank: Portal) -> None:
    one, client = bank.sekisho.customer(), PortalClient(bank)
    client.sign_in(one, "suspend")
    for _ in range(9):
        assert client.post("/suspend/code", code="000000").path == "/suspend/code"
    answer = client.post("/suspend/code", code="000000")
    assert answer.path == "/stop/locked" and "the counter of your branch" in answer.text
    assert PortalClient(bank).sign_in(one).path == "/stop/locked"


def test_the_qr_code_is_shown_once_and_no_other_customer_can_enrol_its_token(bank: Portal) -> None:
    one, client = bank.sekisho.customer(enrolled=False), PortalClient(bank)
    client.sign_in(one)
    page = client.post("/enrol/token", go="app")
    assert page.path == "/enrol/app" and "data:image/svg+xml" in page.text
    found = re.search(r'href="(otpauth://[^"]+)"', page.text)
    assert found
    totp = pyotp.parse_uri(html.unescape(found[1]))
    assert isinstance(totp, pyotp.TOTP)
    shown = re.search(r'id="secret">([^<]+)<', page.text)
    assert shown and shown[1].replace(" ", "") == totp.secret
    again = client.get("/enrol/app")
    assert totp.secret not in again.text and "data:image" not in again.text and "otpauth" not in again.text
    for file in bank.sekisho.folder.glob("s.db*"):
        assert totp.secret.encode() not in file.read_bytes()
        assert base64.b32decode(totp.secret) not in file.read_bytes()
    stranger, token_id = PortalClient(bank), str(totp.name)
    stranger.sign_in(bank.sekisho.customer(enrolled=False))
    taken = stranger.post("/enrol/token", token_id=token_id, code=totp.now(), go="enrol")
    assert taken.path == "/enrol/token"
    assert client.post("/enrol/app", code="000000", go="enrol").path == "/enrol/app"
    done = client.post("/enrol/app", code=totp.now(), go="enrol")
    assert done.path == "/enrol/done", done.wrong
    assert use_of(bank, one) == ("active", token_id)
    assert totp.secret not in bank.log()


def test_a_token_that_was_never_confirmed_is_retired_with_the_session(bank: Portal) -> None:
    client = PortalClient(bank)
    client.sign_in(bank.sekisho.customer(enrolled=False))
    ids = []
    for _ in range(2):
        client.post("/enrol/token", go="app")
        ids.append(str([row.token for row in bank.sekisho.audit(event="token.issued")][-1]))
        client.post("/enrol/app", go="back")
    assert [token_state(bank, one) for one in ids] == ["retired", "available"]
    client.post("/leave")
    assert token_state(bank, ids[1]) == "retired"
    assert client.get("/enrol/token").path == "/enrol"


def test_a_double_click_acts_once_and_both_see_the_confirmation(bank: Portal) -> None:
    one, client = bank.sekisho.customer(enrolled=False), PortalClient(bank)
    client.sign_in(one)
    assert client.at is not None
    fields = {"token_id": one.token_id, "code": one.code(), "go": "enrol", "key": client.at.key}
    twins = [PortalClient(bank, dict(client.cookies)) for _ in range(3)]
    answers = []
    clicks = [threading.Thread(target=lambda v=v: answers.append(v.post("/enrol/token", **fields))) for v in twins]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()
    assert [answer.path for answer in answers] == ["/enrol/done"] * 3
    assert len(bank.sekisho.audit(one.contract_id, "otp.enrolled")) == 1
    with bank.sekisho.store.read() as connection:
        line = customer_line(connection, one.contract_id)
    assert line is not None and line.failures == 0


def test_back_reload_and_a_second_tab_lead_to_where_the_customer_stands(bank: Portal) -> None:
    one, client = bank.sekisho.customer(), PortalClient(bank)
    first = client.sign_in(one)
    client.post("/enrol/old-code", code=one.code())
    assert client.get("/enrol/old-code").path == "/enrol/token"  # back
    answer = client.post("/enrol/old-code", code=one.code(1), key=first.key)  # sent from the page of before
    assert answer.path == "/enrol/token" and "sent already, or was opened in another tab" in answer.text
    assert "sent already" not in client.get("/enrol/token").text  # said once


def test_a_session_is_invalid_after_the_next_sign_in_or_its_end(bank: Portal) -> None:
    one, client = bank.sekisho.customer(), PortalClient(bank)
    client.sign_in(one)
    before = dict(client.cookies)
    client.sign_in(one)
    assert before["session"] != client.cookies["session"]
    assert PortalClient(bank, before).get("/enrol/old-code").path == "/expired"
    ended = dict(client.cookies)
    client.post("/leave")
    assert PortalClient(bank, ended).get("/enrol/old-code").path == "/expired"
    assert bank.sekisho.desk.sessions.end_of(one.contract_id, STAFF) == 0


def test_the_terms_are_accepted_before_a_token_is_bound(tmp_path_factory: pytest.TempPathFactory) -> None:
    with portal(tmp_path_factory.mktemp("terms"), terms=True) as opened:
        one = opened.sekisho.customer(enrolled=False)
        client = PortalClient(opened)
        page = client.sign_in(one)
        assert page.path == "/enrol/terms" and "Article 2." in page.text
        assert client.post("/enrol/terms", version="2026-04").path == "/enrol/terms"
        assert client.post("/enrol/terms", version="2025-01", accept="yes").path == "/enrol/terms"
        assert client.post("/enrol/terms", version="2026-04", accept="yes").path == "/enrol/token"
        assert [row.reason for row in opened.sekisho.audit(one.contract_id, "terms.accepted")] == ["version 2026-04"]
        assert PortalClient(opened).sign_in(one).path == "/enrol/token"  # once for each version
