"""Who gets into the console, and who does not: password and code, the one-time link, sessions, throttles, log."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from otp_core.model import Role
from tests.sekisho import STAFF
from tests.web.console import Console, console


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with console(tmp_path_factory.mktemp("console")) as running:
        yield running


def test_password_and_code_sign_in_and_the_session_ends_on_request(bank: Console) -> None:
    client = bank.client(Role.AUDITOR)
    assert client.get("/me").text.count("auditor") >= 2
    cookie = client.cookies["console"]
    assert client.post("/leave").title.startswith("Sign in")
    client.cookies["console"] = cookie
    assert client.get("/me").title.startswith("Sign in"), "the session has ended in the store, not in the cookie alone"


def test_a_code_signs_in_once(bank: Console) -> None:
    account = bank.accounts[Role.OPERATOR]
    client = bank.client(Role.OPERATOR)
    other = bank.client()
    other.post("/sign-in", name="operator", how="code")
    answer = other.post("/sign-in/code", password=account.password, code=bank.used_code(Role.OPERATOR))
    assert "was not accepted" in answer.wrong and "console" not in other.cookies
    assert client.get("/").status == 200


@pytest.mark.parametrize("name", ["operator", "nobody-of-this-name", "disabled"])
def test_wrong_known_unknown_and_disabled_are_answered_alike(bank: Console, name: str) -> None:
    if name == "disabled":
        bank.sekisho.desk.staff.add("disabled", Role.OPERATOR, STAFF)
        bank.sekisho.desk.staff.disable("disabled", STAFF)
    client = bank.client()
    client.post("/sign-in", name=name, how="code")
    begun = time.monotonic()
    answer = client.post("/sign-in/code", password="wrong", code="000000")
    assert time.monotonic() - begun >= 1.0
    assert answer.wrong.startswith("Password or code was not accepted.") and "console" not in client.cookies
    asked = client.get("/sign-in/passkey").text
    assert "allowCredentials" in asked and "&#34;id&#34;" in asked, "an unknown name is asked for a passkey, too"


def test_a_password_alone_is_never_enough(bank: Console) -> None:
    """Neither with an account that was never enrolled nor with one that is suspended."""
    new = bank.sekisho.customer("himitsu-desu", enrolled=False)
    bank.sekisho.desk.staff.add("fresh", Role.OPERATOR, STAFF, account=new.contract_id)
    suspended = bank.sekisho.customer("himitsu-desu")
    bank.sekisho.desk.enrolment.suspend(suspended.contract_id, None, STAFF)
    bank.sekisho.desk.staff.add("suspended", Role.OPERATOR, STAFF, account=suspended.contract_id)
    for name, code in (("fresh", ""), ("fresh", new.code()), ("suspended", ""), ("suspended", suspended.code())):
        client = bank.client()
        client.post("/sign-in", name=name, how="code")
        client.post("/sign-in/code", password="himitsu-desu", code=code)
        assert "console" not in client.cookies


def test_a_session_of_before_the_sign_in_is_not_the_one_behind_it(bank: Console) -> None:
    client = bank.client()
    client.cookies["console"] = "A" * 43
    client.sign_in_as(Role.SUPERVISOR)
    assert client.cookies["console"] != "A" * 43


def test_the_cookie_is_for_the_console_alone(bank: Console) -> None:
    client = bank.client()
    client.post("/sign-in", name="administrator", how="code")
    account = bank.accounts[Role.ADMINISTRATOR]
    answer = client.ask("POST", "/sign-in/code", {"password": account.password, "code": bank.code(Role.ADMINISTRATOR)})
    (cookie,) = [one for one in answer.headers.get_all("Set-Cookie") or [] if one.startswith("console=")]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie


def test_a_link_that_is_wrong_is_not_found_and_a_look_spends_nothing(bank: Console) -> None:
    link = bank.sekisho.desk.staff.add("newcomer", Role.OPERATOR, STAFF)
    client = bank.client()
    for _ in range(2):
        assert client.get(f"/welcome/{link.secret}").status == 200
    wrong = f"{link.secret[:-1]}{'A' if link.secret[-1] != 'A' else 'B'}"
    assert client.get(f"/welcome/{wrong}").status == 404
    assert client.ask("POST", f"/welcome/{wrong}", {"answer": "{}"}).status == 404
    assert client.get(f"/welcome/{link.secret}").status == 200
    bank.sekisho.desk.staff.reset("newcomer", STAFF)
    assert client.get(f"/welcome/{link.secret}").status == 404


def test_neither_link_nor_what_was_typed_is_in_the_log(bank: Console) -> None:
    link = bank.sekisho.desk.staff.add("secretive", Role.OPERATOR, STAFF)
    client = bank.client()
    client.get(f"/welcome/{link.secret}")
    client.ask("POST", f"/welcome/{link.secret}", {"answer": "no answer"})
    client.post("/sign-in", name="hunter2hunter2", how="code")
    client.post("/sign-in/code", password="a-password-typed", code="123456")
    log = bank.sekisho.wait_for_log("path=/sign-in/code")
    assert "path=/welcome/ " in log
    for secret in (link.secret, "a-password-typed", "hunter2hunter2"):
        assert secret not in log and secret not in repr(bank.sekisho.audit())


def test_who_is_not_signed_in_is_led_back_afterwards(bank: Console) -> None:
    client = bank.client()
    answer = client.ask("GET", "/me", None)
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?to=/me")
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example", "/%0d%0aX:%20y"):
        page = client.get(f"/sign-in?to={elsewhere}").text
        assert re.findall(r'action="/sign-in\?to=([^"]*)"', page) == ["/"]


def test_every_answer_has_the_strict_headers(bank: Console) -> None:
    client = bank.client()
    for path in ("/sign-in", "/sign-in?to=/me", "/no-such-page", "/static/x/passkey.js"):
        answer = client.ask("GET", path, None)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and answer.headers["X-Frame-Options"] == "DENY"


def test_under_another_name_nothing_is_served_but_the_way_to_the_right_one(bank: Console) -> None:
    """A page whose name was made to lead here (DNS rebinding) is of one origin with ours, to a browser."""
    client = bank.client()
    for host in (f"evil.example:{bank.port}", f"localhost.evil.example:{bank.port}"):
        for answer in (
            client.ask("GET", "/sign-in", None, Host=host),
            client.ask(
                "POST", "/sign-in", {"name": "operator", "how": "code"}, Host=host, Sec_Fetch_Site="same-origin"
            ),
        ):
            assert answer.status == 421 and "The console has another address" in answer.text
            assert f'href="{bank.origin}/"' in answer.text and "evil" not in answer.text
    assert "evil" not in bank.sekisho.wait_for_log("answered with 421: if this is your proxy")
    assert client.ask("GET", "/sign-in", None, Host="LOCALHOST:9443").status == 200  # a tunnel has another port
    assert client.ask("GET", "/sign-in", None, Host=f"127.0.0.1:{bank.port}").status == 200, "led elsewhere by nobody"
