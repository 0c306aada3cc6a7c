"""Any field of any form, query, header or cookie may hold anything: an answer, never a 5xx, never a traceback."""

from __future__ import annotations

import contextlib
import socket
import urllib.parse
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from admin_web.portal.pages import JOURNEYS, PAGES
from tests.sekisho import STAFF, Customer, Sekisho
from tests.web.portal import Portal, PortalClient, portal
from tests.web.softtoken import SoftTokenServer

FIELDS = [
    *("contract_id", "password", "code", "key", "go", "kind", "token_id", "permit", "accept", "version"),
    *("first", "second", "to", "whose", "lang"),
]
KNOWN = [
    *(
        "",
        " ",
        "é",
        "\0",
        "%",
        "&=&",
        "\r\nX: y",
        "-1",
        "NaN",
        "1e9",
        "0x10",
        "null",
        "true",
        "[]",
        "../..",
        "☃",
        "\u202e",
    ),
    *("١٢٣٤٥٦", "²²²²²²", "𝟏𝟐𝟑𝟒𝟓𝟔", "①②③④⑤⑥", "１２３４５６", "123456", "000000", "1" * 1024, "1" * 1025, "\udcff"),
    *("a" + "\u0300" * 900, "\ufdfa" * 300, "ß" * 200, "ﾞ" * 100, "VSMT00000000", "own", "app", "back", "again", "yes"),
]
TEXTS = st.sampled_from(KNOWN) | st.text(max_size=40)
FORMS = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), TEXTS, max_size=6)
OCTETS = st.binary(max_size=60).map(lambda octets: bytes(one for one in octets if one not in b"\r\n\0"))
HEADER_NAMES = [
    *("Cookie", "Accept-Language", "If-None-Match", "X-Forwarded-For", "Forwarded", "Content-Type", "Range", "Expect"),
    *("Accept-Encoding", "If-Modified-Since", "Authorization", "Upgrade", "Connection", "Transfer-Encoding", "Host"),
    "Sec-Fetch-Site",
]
HEADER_VALUES = [
    *(b"session=\xc3\xa9", b'session="\\', b"session=" + b"A" * 43, b"notice=e30", b"notice=\xff", b"language=x"),
    *(b'W/"', b'"x', b"*", b"chunked", b"100-continue", b"bytes=0-9", b"text/html; charset=x", b"same-origin"),
]
HEADERS = st.lists(st.tuples(st.sampled_from(HEADER_NAMES), OCTETS | st.sampled_from(HEADER_VALUES)), max_size=4)
PATHS = st.sampled_from(
    [
        "/",
        "/lost",
        "/expired",
        "/session",
        "/leave",
        "/language/ja",
        "/language/x",
        "/static/x/portal.css",
        "/favicon.ico",
    ]
    + [f"/{journey}" for journey in JOURNEYS]
    + list(PAGES)
) | st.text(max_size=20).map(lambda text: "/" + urllib.parse.quote(text.encode("utf-8", "replace")))
METHODS = st.sampled_from(["GET", "POST", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "é".encode().decode("latin-1")])


Request = tuple[str, str, list[tuple[str, bytes]], bytes]
"""Method, target, headers and body."""


def encoded(form: dict[str, str]) -> bytes:
    return urllib.parse.urlencode(form, encoding="utf-8", errors="surrogateescape").encode()


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A request that a stranger may send."""
    query = draw(FORMS)
    target = draw(PATHS) + ("?" + encoded(query).decode() if query else "")
    return draw(METHODS), target[:4000], draw(HEADERS), draw(FORMS.map(encoded) | st.binary(max_size=80))


def octets_of(origin: str, request: Request) -> bytes:
    method, target, headers, body = request
    head = [f"{method} {target} HTTP/1.1".encode("latin-1"), f"Origin: {origin}".encode(), b"Connection: close"]
    names = {name.lower() for name, _ in headers}
    head += [name.encode() + b": " + value for name, value in headers]
    if "host" not in names:
        head.append(b"Host: localhost")
    if method == "POST" and "content-type" not in names:
        head.append(b"Content-Type: application/x-www-form-urlencoded")
    if "transfer-encoding" not in names:
        head.append(b"Content-Length: %d" % len(body))
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    return b"\r\n".join(head) + b"\r\n\r\n" + (chunk if "transfer-encoding" in names else body)


def statuses(port: int, octets: list[bytes]) -> list[int]:
    """The status of each answer; all are asked at once. 0: the connection ended without one."""
    found = []
    with contextlib.ExitStack() as held:
        connections = []
        for one in octets:
            connection = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            with contextlib.suppress(OSError):
                connection.sendall(one)
            connections.append(connection)
        for connection in connections:
            answer = b""
            with contextlib.suppress(ConnectionError):
                answer = connection.recv(100)
            found.append(int(answer.split()[1]) if answer.startswith(b"HTTP/") else 0)
    return found


def log_since(sekisho: Sekisho, port: int, since: int) -> str:
    """What the server has logged, up to a request that is sent now: the log is written beside the loop."""
    last = f"/seen-{since}"
    statuses(port, [f"GET {last} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()])
    return sekisho.wait_for_log(last, since=since)[since:]


def is_calm(log: str) -> bool:
    return "Traceback" not in log and "could not be made" not in log and "Error handling request" not in log


LOOSE = "max_connections = 500\naddress_free_failures = 100000\n"
NO_DELAY = "[throttle]\nfree_failures = 100\npassword_free_failures = 100\n[login]\nlock_after = 100\n"
MANY = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with portal(tmp_path_factory.mktemp("fuzz"), terms=True, more=LOOSE, login=NO_DELAY) as opened:
        yield opened


@MANY
@given(batch=st.lists(requests(), min_size=20, max_size=40))
def test_whatever_a_stranger_sends_is_answered(bank: Portal, batch: list[Request]) -> None:
    since = len(bank.log())
    found = statuses(bank.port, [octets_of(bank.origin, one) for one in batch])
    assert all(status < 500 for status in found), [
        one for one, status in zip(batch, found, strict=True) if status >= 500
    ]
    assert found.count(0) < len(found) / 2, "most are answered"
    assert is_calm(log_since(bank.sekisho, bank.port, since))


def arrive(bank: Portal, page: str) -> PortalClient:
    """A customer who is at this page, signed in."""
    active = page in ("/enrol/old-code", "/suspend/code", "/resync/codes", "/enrol/permit")
    one: Customer = bank.sekisho.customer(enrolled=active)
    if page == "/enrol/permit":
        bank.sekisho.desk.enrolment.report_lost(one.contract_id, STAFF)
        bank.sekisho.desk.enrolment.permit_reissue(one.contract_id, STAFF)
    client = PortalClient(bank)
    client.sign_in(one, page.split("/")[1])
    if page in ("/enrol/token", "/enrol/app"):
        version = client.at.text.split('name="version" value="')[1].split('"')[0] if client.at else ""
        client.post("/enrol/terms", version=version, accept="yes")
    if page == "/enrol/app":
        client.post("/enrol/token", go="app")
    assert client.at is not None and client.at.path == page, client.at
    return client


STAGES = [
    *("/enrol/old-code", "/enrol/permit", "/enrol/terms", "/enrol/token", "/enrol/app"),
    *("/suspend/code", "/resync/codes"),
]


@pytest.mark.parametrize("page", STAGES)
def test_whatever_a_customer_sends_is_answered(bank: Portal, page: str) -> None:
    client, since = arrive(bank, page), len(bank.log())

    @MANY
    @given(forms=st.lists(st.tuples(st.booleans(), FORMS), min_size=3, max_size=6))
    def send(forms: list[tuple[bool, dict[str, str]]]) -> None:
        for with_key, form in forms:
            at = client.get(page)  # or wherever the last form has led
            if with_key and 'name="key"' in at.text:
                form = {**form, "key": at.key}
            head = [("Cookie", f"session={client.cookies['session']}".encode())]
            octets = octets_of(bank.origin, ("POST", at.path, head, encoded(form)))
            assert statuses(bank.port, [octets])[0] in (303, 413), (at.path, form)

    send()
    for value in KNOWN:
        at = client.get(page)
        key = at.key if 'name="key"' in at.text else ""
        for form in ({"key": value}, {**dict.fromkeys(FIELDS, value), "key": key}):
            head = [("Cookie", f"session={client.cookies['session']}".encode())]
            octets = octets_of(bank.origin, ("POST", at.path, head, encoded(form)))
            assert statuses(bank.port, [octets])[0] in (303, 413), (at.path, value)
    assert is_calm(log_since(bank.sekisho, bank.port, since))


def test_a_path_ends_no_line_of_the_log_and_turns_none_round(bank: Portal) -> None:
    since = len(bank.log())
    for path in ("/%0aFORGED", "/%0d%0aFORGED", "/%c2%85FORGED", "/%e2%80%a8FORGED", "/%e2%80%aeFORGED", "/%1b[2J"):
        PortalClient(bank).ask("GET", path, None)
    said = log_since(bank.sekisho, bank.port, since)
    assert said.count("FORGED") == 5 and all(line.startswith("20") for line in said.splitlines()), said
    assert said.replace("\n", "").isprintable()


@MANY
@given(batch=st.lists(requests(), min_size=20, max_size=40))
def test_whatever_is_sent_to_the_soft_token_is_answered(token_server: SoftTokenServer, batch: list[Request]) -> None:
    since = len(token_server.log_text())
    port = int(token_server.origin.rpartition(":")[2])
    paths = ("/token", "/time", "/", "/sw.js")
    mixed = [(one[0], paths[at % 4] if at % 3 else one[1], *one[2:]) for at, one in enumerate(batch)]
    found = statuses(port, [octets_of(token_server.origin, one) for one in mixed])
    assert all(status < 500 for status in found)
    assert is_calm(log_since(token_server, port, since))


@pytest.fixture(scope="module")
def token_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftTokenServer]:
    one = SoftTokenServer(tmp_path_factory.mktemp("fuzz_token"))
    one.start()
    yield one
    one.kill()
