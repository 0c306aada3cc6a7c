"""What staff does for a customer on the console, without JavaScript: find, act with reason, be told, be recorded."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from otp_core.model import OtpUse, Role
from otp_core.reference import RANGE_US, reference_of
from otp_core.store.find import keys_of
from otp_core.store.staff import confirm_staff_session
from tests.sekisho import SECRET, STAFF, Customer
from tests.web.console import Console, ConsoleClient, console
from tests.web.portal import next_code

WHY = {"reason": "phone left in a taxi", "identity": "document", "ticket": "4711"}
RECORDED = "phone left in a taxi; identity: document; ticket 4711"


@dataclass
class Counter:
    """A console, with an operator and a supervisor who have signed in."""

    console: Console
    operator: ConsoleClient
    supervisor: ConsoleClient

    def key(self, one: Customer) -> int:
        with self.console.sekisho.store.read() as connection:
            return keys_of(connection, [one.contract_id])[one.contract_id]

    def act(self, one: Customer, name: str, **fields: str) -> str:
        """The page that follows an act of the operator, on its own page."""
        path = f"/customers/{self.key(one)}/{name}"
        self.operator.get(path)
        return self.operator.post(path, **{**WHY, **fields}).text

    def use(self, one: Customer) -> OtpUse:
        return OtpUse(self.console.sekisho.desk.customers.login_record(one.contract_id).otp_use)


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    with console(tmp_path_factory.mktemp("console"), other="[login]\ntokens_per_customer = 2") as running:
        yield Counter(running, running.client(Role.OPERATOR), running.client(Role.SUPERVISOR))


def somebody(at: Counter, *, enrolled: bool = True) -> Customer:
    return at.console.sekisho.customer(enrolled=enrolled)


# Find


def test_a_customer_is_found_by_whatever_identifies_them(at: Counter) -> None:
    desk, one = at.console.sekisho.desk, somebody(at)
    desk.customers.add("hanako-77", STAFF, name="信金 花子", email="hanako@example.jp")
    time.sleep(2 * RANGE_US / 1e6)  # what is done at the same moment has the same reference
    receipt = desk.enrolment.suspend(one.contract_id, None, STAFF)
    desk.enrolment.resume(one.contract_id, STAFF)
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in one.token_id)
    of_one = (one.contract_id, one.token_id, one.token_id.lower(), wide, f"{one.token_id[:4]} {one.token_id[4:]}")
    for typed in (*of_one, reference_of(receipt.reference), reference_of(receipt.reference).lower()):
        page = at.operator.get(f"/?q={quoted(typed)}")
        assert f"<h1>{one.contract_id}</h1>" in page.text, typed
    for typed in ("hanako-7", "信金 花子", "信金", "hanako@example.jp", "hanako@"):
        assert "<h1>hanako-77 信金 花子</h1>" in at.operator.get(f"/?q={quoted(typed)}").text, typed
    for typed in ("%", "_", "' OR 1=1 --", "x" * 500, "\x00", "nobody"):
        assert "Nobody was found" in at.operator.get(f"/?q={quoted(typed)}").text, typed


def test_what_is_found_twice_is_a_list_and_markup_stays_text(at: Counter) -> None:
    desk = at.console.sekisho.desk
    for number in (1, 2):
        desk.customers.add(f"twin-{number}", STAFF, name="<script>alert(1)</script>")
    page = at.operator.get("/?q=twin")
    assert page.text.count('<a href="/customers/') == 2
    assert "<script>alert" not in page.text and "&lt;script&gt;" in page.text


def test_the_first_page_shows_refused_logins_and_who_was_locked_today(at: Counter) -> None:
    one = somebody(at)
    at.console.sekisho.desk.customers.lock(one.contract_id, STAFF)
    assert at.console.sekisho.login(one.contract_id, "wrong") == "Access-Reject"
    page = at.operator.get("/").text
    link = f'<a href="/customers/{at.key(one)}">{one.contract_id}</a>'
    refused, locked = page.split("Locked today")
    assert link in refused and link in locked


# Why


def refused(page: str) -> str:
    """The part of a customer's page about refused logins; empty if there is none."""
    found = re.search(r'<table class="refused">.*?</table>', page, re.S)
    return "" if found is None else found[0]


def wrong_code(at: Counter, one: Customer) -> None:
    sekisho = at.console.sekisho
    state = sekisho.login(one.contract_id, one.password).split()[1]
    sekisho.login(one.contract_id, one.code(-7), state=state)


def test_a_refused_login_says_why_and_offers_the_act_that_helps(at: Counter) -> None:
    one = somebody(at)
    place = f"/customers/{at.key(one)}"
    assert refused(at.operator.get(place).text) == ""
    wrong_code(at, one)
    found = refused(at.operator.get(place).text)
    assert "wrong code" in found and "gateway" in found
    assert "Compare the token ID that the app shows" in found
    assert f'href="{place}/resync">Correct the token' in found
    assert "unlock" not in found
    at.console.sekisho.desk.customers.lock(one.contract_id, STAFF)
    at.console.sekisho.login(one.contract_id, one.password)
    found = refused(at.operator.get(place).text)
    assert found.count("<tr>") == 3, "the heading, the lock and the code"
    assert found.count(f'href="{place}/unlock">Unlock') == 2, "nothing else helps before"
    assert "Unlocked" in at.act(one, "unlock")
    found = refused(at.operator.get(place).text)
    assert f"{place}/unlock" not in found and "Nothing any more." in found


def test_what_a_role_may_not_do_is_told_and_not_offered(at: Counter) -> None:
    one, auditor = somebody(at), at.console.client(Role.AUDITOR)
    wrong_code(at, one)
    found = refused(auditor.get(f"/customers/{at.key(one)}").text)
    assert "Correct the token" in found and "href" not in found


def test_a_customer_who_has_logged_in_since_needs_nothing(at: Counter) -> None:
    one, sekisho = somebody(at), at.console.sekisho
    wrong_code(at, one)
    state = sekisho.login(one.contract_id, one.password).split()[1]
    assert sekisho.login(one.contract_id, one.code(), state=state) == "Access-Accept"
    found = refused(at.operator.get(f"/customers/{at.key(one)}").text)
    assert "Nothing: the customer has logged in since." in found and "href" not in found


def test_of_many_refused_logins_the_last_three_are_told(at: Counter) -> None:
    one = somebody(at)
    for number in range(4):
        at.console.sekisho.login(one.contract_id, f"wrong {number}")
    found = refused(at.operator.get(f"/customers/{at.key(one)}").text)
    assert found.count("Wrong passwords lock nobody") == 3


# Act


def test_nobody_writes_into_a_reason_that_it_was_approved_or_how_the_identity_was_checked(at: Counter) -> None:
    one = somebody(at)
    page = at.act(one, "report-lost", reason="\u200b \u3164")
    assert at.use(one) is OtpUse.ACTIVE and "Reported lost" not in page, "nobody could see a reason"
    at.act(one, "report-lost", reason="lost; approved by supervisor；identity: written", ticket="1; approved by kato")
    (row,) = at.console.sekisho.audit(one.contract_id, "otp.reported-lost")
    said = "lost, approved by supervisor,identity: written; identity: document; ticket 1, approved by kato"
    assert row.reason == said


def test_reported_lost_and_permitted_by_two_people(at: Counter) -> None:
    one = somebody(at)
    assert "never accepted again, even if it is found" in at.operator.get(f"/customers/{at.key(one)}/report-lost").text
    page = at.act(one, "report-lost")
    assert "Reported lost" in page and "logins are refused until a new one is enrolled" in page
    (row,) = at.console.sekisho.audit(one.contract_id, "otp.reported-lost")
    assert (row.actor, row.source, row.reason) == ("operator", "127.0.0.1", RECORDED)
    assert "another person has to approve it" in at.act(one, "permit-reissue")
    assert at.use(one) is OtpUse.LOST
    request = re.findall(r'href="(/approvals/[0-9]+)"', at.operator.get("/approvals").text)[0]
    assert "Carry it out" not in at.operator.get(request).text and "You asked for this" in at.operator.get(request).text
    first = at.supervisor.get("/").text
    assert "Requests that wait for approval: 1" in first and '<b class="badge">1</b>' in first
    assert "badge" not in at.operator.get("/").text
    at.supervisor.get(request)
    assert "Approved." in at.supervisor.post(f"{request}/approve", reason="called back").text
    approved = at.supervisor.get(request).text
    assert "Carry it out" not in approved and f"{request}/approve" not in approved
    assert "can be taken back" in approved and f"{request}/refuse" in approved
    assert f"{request}/refuse" not in at.operator.get(request).text
    at.operator.get(request)
    permit = at.operator.post(f"{request}/carry-out")
    (text,) = re.findall(r'<p class="id permit" data-once>([^<]+)</p>', permit.text)
    assert text not in at.operator.get(permit.path).text, "a permit is shown once"
    assert at.use(one) is OtpUse.REISSUE_PERMITTED
    (row,) = at.console.sekisho.audit(one.contract_id, "otp.reissue-permitted")
    assert reference_of(row.id)[:4] in at.operator.get(request).text, "what came of it"
    assert (row.actor, row.reason) == ("operator", f"{RECORDED}; approved by supervisor")
    sekisho = at.console.sekisho
    assert text not in sekisho.log_text() and text not in repr(sekisho.audit())
    new = somebody(at, enrolled=False)
    sekisho.desk.enrolment.change_by_permit(one.contract_id, text, new.token_id, new.code(), STAFF)


def test_what_a_command_does_needs_nobody_and_is_shown_as_what_it_is(at: Counter) -> None:
    one = somebody(at)
    at.act(one, "report-lost")
    assert one.contract_id not in at.supervisor.get("/approvals").text
    program = [sys.executable, "-m", "sekisho", "--config", str(at.console.sekisho.config)]
    words = ["permit-reissue", one.contract_id, "--reason", "ticket 4711"]
    subprocess.run([*program, *words], check=True, capture_output=True)
    page = at.supervisor.get("/approvals").text
    assert "Done by command lately" in page and one.contract_id in page and "ticket 4711" in page
    assert one.contract_id not in at.supervisor.get("/approvals?before=1").text


def test_an_approval_is_taken_back_on_the_page_of_the_request(at: Counter) -> None:
    one = somebody(at)
    at.act(one, "report-lost")
    at.act(one, "permit-reissue")
    request = re.findall(r'href="(/approvals/[0-9]+)"', at.operator.get("/approvals").text)[0]
    at.supervisor.get(request)
    at.supervisor.post(f"{request}/approve", reason="called back")
    assert "Refused." in at.supervisor.post(f"{request}/refuse", refusal="it was the wrong customer").text
    assert f"{request}/refuse" not in at.supervisor.get(request).text
    at.operator.get(request)
    assert "permit" not in at.operator.post(f"{request}/carry-out").path
    assert at.use(one) is OtpUse.LOST


def test_suspend_resume_enrol_change_unlock_resync_and_end_sessions(at: Counter) -> None:
    one, new, newer = somebody(at), somebody(at, enrolled=False), somebody(at, enrolled=False)
    assert "Suspended: the password alone is enough" in at.act(one, "suspend")
    assert "Resumed:" in at.act(one, "resume")
    at.console.sekisho.desk.customers.lock(one.contract_id, STAFF)
    assert "every login is refused" in at.operator.get(f"/customers/{at.key(one)}").text
    assert "Unlocked" in at.act(one, "unlock")
    assert "corrected" in at.act(one, "resync", first=one.code(30), second=one.code(31))
    other = somebody(at)
    page = at.act(other, "change-device", old_code=other.code(), token_id=new.token_id, code=new.code())
    assert f"Device changed to token {new.token_id}" in page
    fresh = somebody(at, enrolled=False)
    page = at.act(fresh, "enrol", token_id=f"{newer.token_id[:4]} {newer.token_id[4:]}", code=newer.code())
    assert f"Enrolled with token {newer.token_id}" in page
    actors = {row.actor for row in at.console.sekisho.audit() if RECORDED in row.reason}
    assert actors == {"operator"}


def test_exactly_what_is_possible_now_is_offered(at: Counter) -> None:
    one, fresh = somebody(at), somebody(at, enrolled=False)
    assert offered(at, one) == {"suspend", "change-device", "add-token", "report-lost", "resync"}
    assert offered(at, fresh) == {"enrol"}
    path = f"/customers/{at.key(fresh)}"
    assert at.operator.get(f"{path}/report-lost").text.count(f"<h1>{fresh.contract_id}</h1>") == 1
    at.console.sekisho.desk.customers.lock(fresh.contract_id, STAFF)
    assert offered(at, fresh) == {"enrol", "unlock"}
    auditor = at.console.client(Role.AUDITOR)
    assert 'class="buttons"' not in auditor.get(path).text


def test_of_several_tokens_the_one_that_was_chosen_is_meant(at: Counter) -> None:
    one, second = somebody(at), somebody(at, enrolled=False)
    page = at.act(one, "add-token", own_code=one.code(), token_id=second.token_id, code=second.code())
    assert f"Token {second.token_id} was added" in page and "add-token" not in offered(at, one)
    assert "Choose which" in at.act(one, "report-lost")
    assert "Choose which" in at.act(one, "report-lost", which=somebody(at).token_id), "and no other customer's"
    assert "Reported lost" in at.act(one, "report-lost", which=one.token_id)
    assert at.use(one) is OtpUse.ACTIVE and offered(at, one) >= {"add-token"}
    (row,) = at.console.sekisho.audit(one.contract_id, "otp.one-reported-lost")
    assert (row.token, row.actor) == (one.token_id, "operator")
    third = somebody(at, enrolled=False)
    used = next_code(second, second.code())
    at.act(one, "add-token", own_code=used, token_id=third.token_id, code=third.code())
    assert f"Token {second.token_id} was taken away" in at.act(one, "remove-token", which=second.token_id)


@pytest.mark.parametrize(("missing", "said"), [("reason", "Write the reason"), ("identity", "Choose how")])
def test_without_reason_or_identity_nothing_is_done_and_the_rest_is_kept(at: Counter, missing: str, said: str) -> None:
    one = somebody(at)
    page = at.act(one, "report-lost", **{missing: " "})
    assert said in page and at.use(one) is OtpUse.ACTIVE
    kept = {"reason": 'value="phone left in a taxi"', "identity": 'value="document" checked', "ticket": 'value="4711"'}
    assert all(text in page for name, text in kept.items() if name != missing)
    assert not at.console.sekisho.audit(one.contract_id, "act")


def test_a_wrong_code_is_counted_and_is_not_shown_again(at: Counter) -> None:
    one, new = somebody(at), somebody(at, enrolled=False)
    wrong = f"{(int(one.code()) + 1) % 10**6:06d}"
    page = at.act(one, "change-device", old_code=wrong, token_id=new.token_id, code=new.code())
    assert "not accepted" in page and wrong not in page and f'value="{new.token_id}"' in page
    assert at.console.sekisho.desk.customers.login_record(one.contract_id).failures == 1
    assert "1 of 10" in at.operator.get(f"/customers/{at.key(one)}").text


def test_a_form_that_is_sent_twice_is_carried_out_once(at: Counter) -> None:
    one = somebody(at)
    path = f"/customers/{at.key(one)}/suspend"
    at.operator.get(path)
    fields = {**WHY, "key": at.operator.key(path)}
    answers = [at.operator.ask("POST", path, fields) for _ in range(2)]
    assert [answer.headers["Location"] for answer in answers] == [path.rpartition("/")[0]] * 2
    assert len(at.console.sekisho.audit(one.contract_id, "otp.suspended")) == 1
    assert "Nothing was done twice" in at.operator.get("/").text


def test_an_account_of_staff_is_acted_on_by_an_administrator_alone_and_by_nobody_on_their_own(at: Counter) -> None:
    """Or an operator who permits a reissue for an administrator's account becomes one."""
    account = at.console.accounts[Role.ADMINISTRATOR]
    page = at.act(account, "report-lost")
    assert "only an administrator may act on it" in page and at.use(account) is OtpUse.ACTIVE
    administrator = at.console.client(Role.ADMINISTRATOR)
    path = f"/customers/{at.key(account)}/report-lost"
    administrator.get(path)
    assert "nobody on their own" in administrator.post(path, **WHY).text and at.use(account) is OtpUse.ACTIVE
    auditors = at.console.accounts[Role.AUDITOR]
    path = f"/customers/{at.key(auditors)}/suspend"
    administrator.get(path)
    assert "Suspended" in administrator.post(path, **WHY).text


def test_a_dangerous_act_wants_passkey_or_code_from_the_last_five_minutes(at: Counter) -> None:
    one = somebody(at)
    client, sekisho = at.operator, at.console.sekisho
    path = f"/customers/{at.key(one)}/suspend"
    client.get(path)
    key = client.key(path)
    record = sekisho.desk.staff.named("operator")
    assert record is not None
    sessions = [session.key for session in sekisho.desk.staff_sessions.of(record)]
    with sekisho.store.work() as work:
        for session in sessions:
            confirm_staff_session(work.connection, session, int((time.time() - 301) * 1000))
    answer = client.ask("POST", path, {**WHY, "key": key})
    assert (answer.status, answer.headers["Location"]) == (303, f"/confirm?to={path}")
    assert at.use(one) is OtpUse.ACTIVE
    assert client.get(path).path == f"/confirm?to={path}"
    assert client.get(f"/customers/{at.key(one)}/report-lost").status == 200, "what only protects can wait for nobody"
    client.get(f"/confirm?to={path}")
    mine = at.console.accounts[Role.OPERATOR]
    wrong = client.post(f"/confirm?to={path}", password=mine.password, code="000000")
    assert "That was not accepted" in wrong.text
    right = client.post(f"/confirm?to={path}", password=mine.password, code=at.console.code(Role.OPERATOR))
    assert right.path == path and right.title.startswith("Suspend")
    assert f'value="{WHY["reason"]}"' in right.text, "what was typed is there again"
    assert f'value="{WHY["reason"]}"' not in client.get(path).text, "once"


# Lists


def test_audit_and_tokens_are_read_in_pages_that_the_url_names(at: Counter) -> None:
    at.console.sekisho.crowd(120)
    page, seen = at.operator.get("/audit?event=otp.enrolled"), 0
    for _ in range(10):
        seen += page.text.count(">enrolled</td>")
        further = re.findall(r'href="(/audit\?[^"]*before=[0-9]+)"', page.text)
        if not further:
            break
        page = at.operator.get(further[0].replace("&amp;", "&"))
    assert seen == len(at.console.sekisho.audit(event="otp.enrolled"))
    first = at.operator.get("/tokens?state=bound")
    (after,) = re.findall(r'href="(/tokens\?[^"]*after=[^"]+)"', first.text)
    second = at.operator.get(after.replace("&amp;", "&"))
    assert first.text.count('data-label="Token ID" class="id">') == 50 and not ids(first.text) & ids(second.text)
    assert at.operator.get("/audit?customer=%25").status == 200


@pytest.mark.parametrize(
    ("path", "name"),
    [
        *(
            (f"{path}{said}", name)
            for path in ("/audit?", "/audit/file?form=excel&")
            for said, name in (
                ("before=-1", "before"),
                ("before=99999999999999999999", "before"),
                ("until=yesterday", "until"),
                ("until=9999-99-99", "until"),
                ("until=0001-01-01", "until"),
                ("event=unknown", "event"),
                ("event=%25", "event"),
                ("event=otp.enrolled&event=", "event"),
                ("customer=%E2%80%8B", "customer"),
                ("customer=1%002", "customer"),
                ("token=---", "token"),
                ("actor=" + 129 * "x", "actor"),
                ("custmer=1234567", ""),
            )
        ),
        ("/audit/file?form=zip", "form"),
        ("/customers?use=zz", "use"),
        ("/customers?ues=locked", ""),
        ("/tokens?state=zz", "state"),
        ("/tokens?state=bound&verifier=elsewhere", "verifier"),
        ("/tokens?from=-", "from"),
        ("/approvals?before=x", "before"),
        ("/imports?before=x", "before"),
    ],
)
def test_a_filter_that_is_not_of_its_form_is_said_and_shows_and_takes_away_nothing(
    at: Counter, path: str, name: str
) -> None:
    answer = at.operator.ask("GET", path, None)
    assert answer.status == 400 and "<td" not in answer.text and "Content-Disposition" not in answer.headers
    assert (f"“{name}” is not of its form" if name else "this list does not have") in answer.text
    assert not [row for row in at.console.sekisho.audit() if "taken away" in row.reason]


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "correct code, [67] steps late"), ("ja", "正しいコードですが、[67] 回分遅れています")],
)
def test_how_a_wrong_code_missed_is_told_to_staff(at: Counter, language: str, words: str) -> None:
    one = somebody(at)
    state = at.console.sekisho.login(one.contract_id, one.password).split()[1]
    at.console.sekisho.login(one.contract_id, one.code(-7), state=state)
    client = at.operator
    client.language = language
    end = time.monotonic() + 20  # written every five seconds
    try:
        for path in (f"/customers/{at.key(one)}", f"/audit?customer={one.contract_id}"):
            while not (found := re.search(f"<small>{words}</small>", client.get(path).text)) and time.monotonic() < end:
                time.sleep(0.5)
            assert found
    finally:
        client.language = "en"


def test_the_clients_are_listed_without_their_secrets(at: Counter) -> None:
    one = somebody(at)
    assert at.console.sekisho.login(one.contract_id, "wrong") == "Access-Reject"
    radius = at.console.sekisho.radclient("User-Name=x,User-Password=y", "-t", "1", secret="another-secret-0123")
    assert "Received" not in radius
    end = time.monotonic() + 20  # the workers write every five seconds
    while "wrong Message-Authenticator" not in (page := at.operator.get("/clients").text) and time.monotonic() < end:
        time.sleep(0.5)
    assert "127.0.0.0/8" in page and ">gateway</a>" in page and SECRET not in page
    (row,) = re.findall(r">gateway</a>.*?</tr>", page)
    figures = re.findall(r'class="number">([0-9.]+)</td>', row)
    assert len(figures) == 3 and int(figures[2]) >= 1 and "never" not in row
    assert ">wrong Message-Authenticator: another secret, most likely</td>" in page


def quoted(text: str) -> str:
    return quote(text, safe="")


def ids(text: str) -> set[str]:
    return set(re.findall(r'class="id">(?:<a [^>]+>)?([A-Z0-9 ]+)<', text))


def offered(at: Counter, one: Customer) -> set[str]:
    path = f"/customers/{at.key(one)}"
    return set(re.findall(rf'href="{path}/([a-z-]+)"', at.operator.get(path).text)) - {"edit"}
