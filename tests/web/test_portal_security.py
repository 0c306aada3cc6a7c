"""The web door under attack: forged forms, headers, sizes, slow clients, ended sessions, what is logged. And what a
crash leaves behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from admin_web.portal.pages import JOURNEYS, PAGES
from otp_core.store.queries import customer_line
from otp_core.store.sessions import session_lines
from tests.sekisho import STAFF
from tests.web.portal import Portal, PortalClient, next_code, portal


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with portal(tmp_path_factory.mktemp("hostile"), login="[throttle]\nfree_failures = 100\n") as opened:
        yield opened


def use_of(bank: Portal, contract_id: str) -> tuple[str, str | None]:
    with bank.sekisho.store.read() as connection:
        line = customer_line(connection, contract_id)
    assert line is not None
    return line.otp_use, line.tokens[0].token_id if line.tokens else None


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "cross-site, same-origin"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
    ],
)
@pytest.mark.parametrize("path", ["/enrol", "/suspend/code", "/enrol/token-id", "/session", "/leave", "/nowhere"])
def test_a_form_of_another_origin_is_refused(bank: Portal, path: str, headers: dict[str, str]) -> None:
    answer = PortalClient(bank).ask("POST", path, {"contract_id": "taro", "password": "x"}, **headers)
    assert answer.status == 403 and "Set-Cookie" not in answer.headers


def test_every_answer_carries_the_headers(bank: Portal) -> None:
    for path in ("/", "/enrol", "/nowhere", "/language/en", "/static/x/portal.css", "/suspend/code"):
        answer = PortalClient(bank).ask("GET", path, None)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "aiohttp" not in answer.headers["Server"]
        if "static" not in path:
            assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("back", "leads_to"),
    [
        ("/", "/"),
        ("/enrol", "/enrol"),
        ("/enrol/token-id", "/enrol/token-id"),
        ("/enrol/", "/enrol/"),
        ("//evil.example", "/"),
        ("/enrol//evil", "/"),
        ("https://evil.example", "/"),
        ("/" + "a" * 4000 + "!", "/"),
        ("/" + "a/" * 2000 + "!", "/"),
    ],
)
def test_after_a_choice_of_language_only_our_own_path_is_gone_back_to_and_that_is_quickly_decided(
    bank: Portal, back: str, leads_to: str
) -> None:
    """A path of 4,000 letters takes no longer than the connection may last."""
    answer = PortalClient(bank).ask("GET", f"/language/en?to={back}", None)
    assert (answer.status, answer.headers["Location"]) == (303, leads_to)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("PUT", "/enrol", 405), ("GET", "/static/x/../app.py", 404), ("POST", "/", 405)],
)
@pytest.mark.parametrize(("language", "word"), [("ja", "お手続き一覧"), ("en", "All procedures")])
def test_errors_are_pages_in_the_customers_language(
    bank: Portal, method: str, path: str, status: int, language: str, word: str
) -> None:
    client = PortalClient(bank, language=language)
    answer = client.ask(method, path, {} if method != "GET" else None)
    assert answer.status == status and word in answer.text


def test_too_much_is_refused(bank: Portal) -> None:
    client = PortalClient(bank)
    assert client.ask("POST", "/enrol", {"contract_id": "a" * 20_000, "password": "b"}).status == 413
    assert client.ask("POST", "/enrol", {"contract_id": "a", "password": "b" * 1025}).status == 413
    assert client.ask("POST", "/enrol", {str(number): "" for number in range(21)}).status == 413
    marks = f"contract_id=a{chr(0x300) * 8000}&password=b".encode()
    head = f"POST /enrol HTTP/1.1\r\nHost: localhost\r\nOrigin: {bank.origin}\r\nContent-Length: {len(marks)}\r\n"
    answer = send(bank, head.encode() + b"Content-Type: " + FORM + b"\r\n\r\n" + marks)
    assert b" 413 " in answer, "normalising it would have taken a quarter of a second"
    assert client.ask("GET", "/" + "a" * 10_000, None).status == 400
    assert client.ask("GET", "/", None, X_Long="a" * 20_000).status == 400
    assert client.get("/").status == 200


FORM = b"application/x-www-form-urlencoded"


FORMS = [*(f"/{journey}" for journey in JOURNEYS), *PAGES, "/session", "/leave"]
"""Every page that takes a form."""


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (b"Content-Type: multipart/form-data; boundary=x\r\n", b"--x\r\nno part"),
        (b"Content-Type: multipart/form-data\r\n", b"--x\r\n"),
        (b"Content-Type: " + FORM + b"; charset=utf-99\r\n", b"contract_id=a&password=b"),
        (b"Content-Type: " + FORM + b"; charset=zlib\r\n", b"contract_id=a&password=b"),
        (b"Content-Type: " + FORM + b"\r\n", b"contract_id=\xff\xfe&password=\xc0\x80"),
        (b"Content-Type: " + FORM + b"\r\n", b"contract_id=%ed%a0%80&password=%ff"),
        (b"Content-Type: " + FORM + b"\r\nContent-Encoding: gzip\r\n", b"contract_id=a&password=b"),
    ],
)
def test_a_malformed_form_is_a_client_error_and_no_traceback(bank: Portal, fields: bytes, body: bytes) -> None:
    """At every page that takes a form, signed in and not."""
    one, signed_in = bank.sekisho.customer(), {}
    for journey in JOURNEYS:
        client = PortalClient(bank)
        client.sign_in(one, journey)
        signed_in[journey] = f"Cookie: session={client.cookies['session']}\r\n"
    for path, cookie in [(path, "") for path in FORMS] + [
        (path, signed_in.get(path.split("/")[1], signed_in["suspend"])) for path in FORMS
    ]:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: {bank.origin}\r\n{cookie}"
        octets = f"{head}Content-Length: {len(body)}\r\n".encode() + fields + b"\r\n" + body
        answer = send(bank, octets)
        assert answer.split()[1] in (b"303", b"400"), (path, answer)
    assert "could not be made" not in bank.log() and "Traceback" not in bank.log()
    assert use_of(bank, one.contract_id) == ("active", one.token_id)


def test_what_is_not_http_is_answered_and_logged_without_its_content(bank: Portal) -> None:
    answer = send(bank, b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: session=unmistakable-cookie-7\x7f\r\n\r\n")
    assert answer.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    assert b"aiohttp" not in answer and b"unmistakable" not in answer and b"nosniff" in answer
    bank.sekisho.wait_for_log("a request could not be read")
    assert "unmistakable-cookie-7" not in bank.log() and "Traceback" not in bank.log()


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b""])
def test_a_version_that_is_not_spoken_here_is_answered_with_400(bank: Portal, version: bytes) -> None:
    assert send(bank, b"GET /enrol " + version + b"\r\nHost: localhost\r\n\r\n").split()[1] == b"400"


def test_a_file_is_kept_under_its_own_version_alone(bank: Portal) -> None:
    client = PortalClient(bank)
    (path,) = set(re.findall(r'href="(/static/[^"]+\.css)"', client.get("/enrol").text))
    assert "immutable" in client.get(path).headers["Cache-Control"]
    other = path.replace(path.split("/")[2], "0123456789ab")
    assert client.get(other).headers["Cache-Control"] == "no-cache", "it may be that of the next update"


def test_a_form_that_breaks_off_leaves_no_traceback(bank: Portal) -> None:
    with socket.create_connection(("127.0.0.1", bank.port), timeout=60) as connection:
        head = f"POST /resync HTTP/1.1\r\nHost: localhost\r\nOrigin: {bank.origin}\r\nContent-Length: 100\r\n\r\na="
        connection.sendall(head.encode())
        time.sleep(0.2)
    end = time.monotonic() + 10
    while "path=/resync" not in bank.log() and time.monotonic() < end:
        time.sleep(0.1)
    assert "path=/resync" in bank.log() and "Traceback" not in bank.log()


def test_too_many_connections_do_not_fill_the_log(tmp_path: Path) -> None:
    with portal(tmp_path, more="max_connections = 10") as opened, contextlib.ExitStack() as held:
        for _ in range(40):
            held.enter_context(socket.create_connection(("127.0.0.1", opened.port), timeout=60))
        time.sleep(0.5)
        assert opened.log().count("too many connections") == 1


def test_connections_that_come_all_at_once_go_without_a_fault(tmp_path: Path) -> None:
    with portal(tmp_path, more="max_connections = 10") as opened, contextlib.ExitStack() as held:
        (web,) = opened.sekisho.pids("web")
        os.kill(web, signal.SIGSTOP)
        try:
            for _ in range(40):
                held.enter_context(socket.create_connection(("127.0.0.1", opened.port), timeout=60))
        finally:
            os.kill(web, signal.SIGCONT)
        opened.sekisho.wait_for_log("too many connections")
        assert PortalClient(opened).get("/enrol").status == 200
        assert opened.sekisho.traceback() == ""


def send(bank: Portal, octets: bytes) -> bytes:
    """The start of the server's answer to these octets."""
    with socket.create_connection(("127.0.0.1", bank.port), timeout=60) as connection:
        connection.sendall(octets)
        return connection.recv(65536)


def test_neither_strangers_nor_one_customer_take_the_sessions_of_those_who_sign_in(tmp_path: Path) -> None:
    with portal(tmp_path, more="max_sessions = 10") as opened:
        one, other, said = opened.sekisho.customer(), opened.sekisho.customer(), set()
        signed_in = PortalClient(opened)
        signed_in.sign_in(one, "suspend")
        for _ in range(12):
            answer = PortalClient(opened).post("/enrol", contract_id="stranger", password="")
            said.add((answer.status, answer.wrong))
            assert PortalClient(opened).sign_in(other, "suspend").path == "/suspend/code"
        assert said == {(200, "Enter your login password.")}
        assert PortalClient(opened).sign_in(opened.sekisho.customer(), "suspend").path == "/suspend/code"
        assert signed_in.get("/suspend/code").path == "/suspend/code"
        with opened.sekisho.store.read() as connection:
            assert len(session_lines(connection)) == 7, "one, five of the other, and the last"


def test_a_mistake_is_shown_once_and_leaves_no_session(bank: Portal) -> None:
    client = PortalClient(bank)
    answer = client.post("/resync", contract_id="＜taro＞é", password="")
    assert answer.wrong == "Enter your login password." and 'value="&lt;taro&gt;é"' in answer.text
    assert client.cookies == {}
    again = client.get("/resync")
    assert again.wrong == "" and "taro" not in again.text


@pytest.mark.parametrize(
    "value",
    ["e30", "W10", "x", "W1tdLFtdXQ", "WyJub3doZXJlIiwgIngiXQ", "WyJ3cm9uZy1wYWlyIiwgMV0", "W" * 4000, "%%", "é"],
)
def test_a_made_up_notice_is_not_shown(bank: Portal, value: str) -> None:
    client = PortalClient(bank, {"notice": value.encode().decode("latin-1")})
    answer = client.get("/enrol")
    assert answer.status in (200, 400) and answer.wrong == ""


def test_a_connection_without_a_complete_request_is_closed(bank: Portal) -> None:
    held = []
    for start in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n"):
        connection = socket.create_connection(("127.0.0.1", bank.port), timeout=60)
        connection.sendall(start)
        held.append(connection)
    body = socket.create_connection(("127.0.0.1", bank.port), timeout=60)
    head = f"POST /enrol HTTP/1.1\r\nHost: localhost\r\nOrigin: {bank.origin}\r\nContent-Length: 100\r\n\r\na="
    body.sendall(head.encode())
    for connection in held:
        with connection, contextlib.suppress(ConnectionResetError):
            assert connection.recv(1000) == b""
    with body:
        assert b" 408 " in body.recv(1000)


def test_the_language_link_leads_nowhere_else(bank: Portal) -> None:
    long = ("/" + "a" * 4000 + "!", "/" + "a-" * 2000 + "!", "/" + "a/" * 1900 + "/evil.example", "//" + "a" * 4000)
    short = ("https://evil.example", "//evil.example", "/\\evil.example", "/%0d%0aX: y", "javascript:alert(1)")
    for to in (*short, *long):
        answer = PortalClient(bank).ask("GET", f"/language/en?to={to.replace(' ', '%20')}", None)
        assert answer.status == 303 and answer.headers["Location"] == "/"


def test_a_path_is_encoded_in_the_links_of_its_page(bank: Portal) -> None:
    answer = PortalClient(bank).ask("GET", "/nowhere%26to=%23x", None)
    assert answer.status == 404 and "?to=/nowhere%26to%3D%23x" in answer.text


def test_the_password_is_hidden_and_a_manager_may_fill_it_in(bank: Portal) -> None:
    for path in ("/enrol", "/suspend", "/resync"):
        field = re.search(r'<input id="password"[^>]*>', PortalClient(bank).get(path).text)
        assert field and 'type="password"' in field[0] and 'autocomplete="current-password"' in field[0]
        assert "maxlength" not in field[0] and "onpaste" not in field[0]


def test_what_a_customer_types_is_shown_as_text(bank: Portal) -> None:
    client = PortalClient(bank)
    answer = client.post("/enrol", contract_id='"><script>alert(1)</script>', password="x")
    assert "<script>" not in answer.text and "&lt;script&gt;" in answer.text


def test_no_secret_is_in_a_log_a_url_or_the_audit_trail(bank: Portal) -> None:
    one, client = bank.sekisho.customer(password="unmistakable-secret-93"), PortalClient(bank)
    client.post("/enrol?password=unmistakable-secret-93", contract_id=one.contract_id, password=one.password)
    client.sign_in(one, "suspend")
    code = one.code()
    client.post("/suspend/code", code=code)
    client.post("/enrol", contract_id=one.password, password="typed-into-the-wrong-field")
    written = bank.log() + "".join(str(row) for row in bank.sekisho.audit())
    for secret in (one.password, client.cookies["session"], "typed-into-the-wrong-field"):
        assert secret not in written
        for file in bank.sekisho.folder.glob("s.db*"):
            assert secret.encode() not in file.read_bytes()
    assert f"code={code}" not in written and f"'{code}'" not in written


def test_a_made_up_cookie_opens_no_session(bank: Portal) -> None:
    for value in ("", "x", "A" * 43, "é" * 43, "=" * 43, "A" * 5000):
        client = PortalClient(bank, {"session": value.encode().decode("latin-1")})
        assert client.ask("GET", "/suspend/code", None).status in (303, 400)


def test_a_session_that_was_revoked_is_over_at_once(bank: Portal) -> None:
    one, client = bank.sekisho.customer(), PortalClient(bank)
    client.sign_in(one, "suspend")
    assert bank.sekisho.desk.sessions.end_of(one.contract_id, STAFF) == 1
    answer = client.post("/suspend/code", code=one.code(), key="0")
    assert answer.path == "/expired" and "The session has ended" in answer.text
    assert use_of(bank, one.contract_id)[0] == "active"


def test_one_source_that_guesses_at_many_customers_is_slowed_down(tmp_path: Path) -> None:
    """Although it signs in to an account of its own between the guesses."""
    with portal(
        tmp_path, more="address_free_failures = 2", login="[throttle]\npassword_free_failures = 100\n"
    ) as opened:
        own, refused_at = opened.sekisho.customer(), None
        for number in range(9):
            said = PortalClient(opened).post("/enrol", contract_id=f"guess{number}", password="x").wrong
            if "Too many tries have come from your network" in said:
                refused_at = number
                break
            PortalClient(opened).sign_in(own, "suspend")
        assert refused_at is not None and opened.sekisho.audit(own.contract_id, "pages.entered")


def test_behind_a_trusted_proxy_the_browsers_own_address_counts(tmp_path: Path) -> None:
    with portal(tmp_path, more='trusted_proxies = ["127.0.0.0/8"]') as opened:
        one = opened.sekisho.customer()
        client = PortalClient(opened)
        fields = {"contract_id": one.contract_id, "password": one.password}
        client.ask("POST", "/suspend", fields, X_Forwarded_For="203.0.113.9, 198.51.100.7, 127.0.0.2")
        assert [row.source for row in opened.sekisho.audit(one.contract_id, "pages.entered")] == ["198.51.100.7"]


def test_with_tls_the_cookie_is_bound_to_this_host_and_https_is_asked_for(tmp_path: Path) -> None:
    subprocess.run(
        (
            "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost "
            f"-keyout {tmp_path}/a.key -out {tmp_path}/a.pem"
        ).split(),
        check=True,
        capture_output=True,
    )
    more = 'tls_certificate = "a.pem"\ntls_key = "a.key"'
    with portal(tmp_path, more=more, scheme="https") as opened:
        one = opened.sekisho.customer()
        context = ssl.create_default_context(cafile=str(tmp_path / "a.pem"))
        client = PortalClient(opened, tls=context)
        fields = {"contract_id": one.contract_id, "password": one.password}
        answer = client.ask("POST", "/suspend", fields)
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-session=") and "Secure" in cookie and "HttpOnly" in cookie
        assert "Path=/" in cookie and "SameSite" in cookie and "Domain" not in cookie
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")
        assert client.get("/suspend/code").path == "/suspend/code"


def test_killed_at_any_step_of_a_device_change_one_token_works_and_never_two(tmp_path: Path) -> None:
    with portal(tmp_path) as opened:
        sekisho = opened.sekisho
        one, new, client = sekisho.customer(), sekisho.customer(enrolled=False), PortalClient(opened)

        def die() -> None:
            assert sekisho.process is not None
            sekisho.process.send_signal(signal.SIGKILL)
            sekisho.process.wait(20)
            sekisho.process = None
            sekisho.start()

        client.sign_in(one)
        die()
        assert use_of(opened, one.contract_id) == ("active", one.token_id)
        used = one.code()
        assert client.post("/enrol/old-code", code=used).path == "/enrol/token"
        die()
        assert use_of(opened, one.contract_id) == ("active", one.token_id)
        state = sekisho.login(one.contract_id, one.password).split()[1]
        assert sekisho.login(one.contract_id, next_code(one, used), state=state) == "Access-Accept"
        assert client.get("/enrol/token").path == "/enrol/token"  # the session has outlived it
        die()
        code = new.code()
        assert client.post("/enrol/token", token_id=new.token_id, code=code, go="enrol").path == "/enrol/done"
        die()
        assert use_of(opened, one.contract_id) == ("active", new.token_id)
        state = sekisho.login(one.contract_id, one.password).split()[1]
        new.contract_id = one.contract_id
        assert sekisho.login(one.contract_id, next_code(new, code), state=state) == "Access-Accept"


def test_killed_while_the_new_token_is_bound_either_the_old_one_works_or_the_new_one(tmp_path: Path) -> None:
    """The form is sent and the server killed some moments later, at several such moments."""
    with portal(tmp_path) as opened:
        sekisho = opened.sekisho
        outcomes = set()
        for attempt in range(8):
            one, new, client = sekisho.customer(), sekisho.customer(enrolled=False), PortalClient(opened)
            client.sign_in(one)
            client.post("/enrol/old-code", code=one.code())
            assert client.at is not None
            body = f"token_id={new.token_id}&code={new.code()}&go=enrol&key={client.at.key}".encode()
            head = (
                f"POST /enrol/token HTTP/1.1\r\nHost: localhost\r\nOrigin: {opened.origin}\r\n"
                f"Cookie: session={client.cookies['session']}\r\nContent-Length: {len(body)}\r\n"
                "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
            )
            with socket.create_connection(("127.0.0.1", opened.port), timeout=60) as connection:
                connection.sendall(head.encode() + body)
                time.sleep(attempt * 0.003)
                assert sekisho.process is not None
                sekisho.process.send_signal(signal.SIGKILL)
                sekisho.process.wait(20)
                sekisho.process = None
            sekisho.start()
            use, token_id = use_of(opened, one.contract_id)
            assert use == "active" and token_id in (one.token_id, new.token_id)
            states = dict(states_of(opened, one.token_id, new.token_id))
            assert sorted(states.values()) == (
                ["available", "bound"] if token_id == one.token_id else ["bound", "retired"]
            )
            outcomes.add(token_id == new.token_id)
        assert outcomes


def states_of(bank: Portal, *token_ids: str) -> list[tuple[str, str]]:
    with bank.sekisho.store.work() as work:
        records = [work.token(one) for one in token_ids]
    return [(one.token_id, one.state) for one in records if one]
