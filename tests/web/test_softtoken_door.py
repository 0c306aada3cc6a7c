"""The soft token's origin over plain HTTP: who gets a token, how many, and the headers of every answer."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import re
import secrets
import signal
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from admin_web.softtoken.door import SoftTokenDoor
from admin_web.softtoken.files import app_files
from admin_web.softtoken.settings import Bank
from otp_core.settings import ConfigProblems
from sekisho.settings import load
from tests.web.softtoken import SoftTokenServer


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes


def ask(
    url: str, method: str = "GET", *, data: bytes | None = None, context: ssl.SSLContext | None = None, **more: str
) -> Answer:
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    request = urllib.request.Request(url, method=method, headers=headers, data=data)  # noqa: S310  ours
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:  # noqa: S310
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftTokenServer]:
    more = 'tokens_per_address = 3\ntokens_per_hour = 7\ntrusted_proxies = ["127.0.0.0/8"]'
    one = SoftTokenServer(tmp_path_factory.mktemp("server"), more)
    one.start()
    yield one
    one.kill()


def test_a_token_is_issued_once_and_never_kept_on_the_way(server: SoftTokenServer) -> None:
    answer = ask(f"{server.origin}/token", "POST", Origin=server.origin, X_Forwarded_For="198.51.100.7")
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    told = json.loads(answer.body)
    assert base64.b64decode(told["seed"]) == server.seed(told["token_id"])
    [row] = [row for row in server.audit(event="token.issued") if row.token == told["token_id"]]
    assert (row.actor, row.source) == ("soft token", "198.51.100.7")
    assert told["seed"] not in server.log_text()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_another_page_gets_no_token(server: SoftTokenServer, headers: dict[str, Any]) -> None:
    before = len(server.issued())
    assert ask(f"{server.origin}/token", "POST", **headers).status == 403
    if "Sec_Fetch_Site" in headers:
        assert ask(f"{server.origin}/token", "POST", **headers, Origin=server.origin).status == 403
    assert len(server.issued()) == before


def test_an_address_and_all_of_them_together_get_so_many_an_hour(tmp_path: Path) -> None:
    more = 'tokens_per_address = 2\ntokens_per_hour = 5\ntrusted_proxies = ["127.0.0.1"]'
    server = SoftTokenServer(tmp_path, more)
    server.start()
    try:

        def post(source: str) -> int:
            answer = ask(f"{server.origin}/token", "POST", Sec_Fetch_Site="same-origin", X_Forwarded_For=source)
            assert answer.status == 200 or answer.headers["Retry-After"] == "3600"
            return answer.status

        assert [post("192.0.2.1") for _ in range(3)] == [200, 200, 429]
        one_network = ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"]
        assert [post(source) for source in one_network] == [200, 200, 429]
        assert [post("192.0.2.2"), post("192.0.2.3")] == [200, 429]
        rows = len(server.audit())
        assert post("192.0.2.1") == 429
        assert len(server.audit()) == rows, "a flood does not fill the audit trail"
        server.stop()
        server.start()
        assert post("192.0.2.1") == 429, "a restart forgets nothing"
    finally:
        server.kill()


def test_the_quota_is_one_for_all_workers(tmp_path: Path) -> None:
    server = SoftTokenServer(tmp_path, "tokens_per_address = 5")
    server.workers = 2
    server.write_config()
    server.start()
    try:
        asked = [ask(f"{server.origin}/token", "POST", Sec_Fetch_Site="same-origin").status for _ in range(9)]
        assert (asked.count(200), asked.count(429)) == (5, 4)
    finally:
        server.kill()


def versioned(server: SoftTokenServer, name: str) -> str:
    """The path of a script or style, as the page has it."""
    [path] = re.findall(rf'"(/v/[0-9a-f]{{16}}/{re.escape(name)})"', ask(server.origin).body.decode())
    return str(path)


@pytest.mark.parametrize("path", ["/", "main.js", "/sw.js", "/time", "/nowhere", "/v/0/main.js", "/../../etc/passwd"])
def test_every_answer_carries_the_headers(server: SoftTokenServer, path: str) -> None:
    headers = ask(server.origin + (path if path.startswith("/") else versioned(server, path))).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in headers  # which is for https alone
    caching = {"/": "no-cache", "/sw.js": "no-cache", "main.js": "public, max-age=31536000, immutable"}
    assert headers["Cache-Control"] == caching.get(path, "no-store")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/token", 405), ("POST", "/", 405), ("GET", "/x", 404)])
def test_what_is_not_there_says_little(server: SoftTokenServer, method: str, path: str, status: int) -> None:
    answer = ask(server.origin + path, method, Sec_Fetch_Site="same-origin")
    assert answer.status == status
    assert len(answer.body) < 100 and b"Traceback" not in answer.body


def test_a_large_request_is_refused(server: SoftTokenServer) -> None:
    data = b"x" * 100_000
    assert ask(f"{server.origin}/token", "POST", Sec_Fetch_Site="same-origin", data=data).status == 413
    assert ask(server.origin, X_Long="x" * 10_000).status == 400


def test_a_file_that_did_not_change_is_not_sent_again(server: SoftTokenServer) -> None:
    main = server.origin + versioned(server, "main.js")
    again = ask(main, If_None_Match=ask(main).headers["ETag"])
    assert (again.status, again.body) == (304, b"")


HEADERS = (("Content-Security-Policy", "default-src 'none'"),)


def test_the_worker_knows_the_digest_of_every_file() -> None:
    files = app_files(Bank(), HEADERS)
    worker = files["/sw.js"].content.decode()
    assert not re.search("@[A-Z]+@", worker)
    digests = json.loads(worker.split("const DIGESTS = ")[1].split(";")[0])
    assert digests == {
        path: hashlib.sha256(file.content).hexdigest() for path, file in files.items() if path != "/sw.js"
    }


def test_every_change_of_a_file_or_a_header_is_a_new_version() -> None:
    def version(bank: Bank, headers: tuple[tuple[str, str], ...]) -> str:
        [found] = {path.split("/")[2] for path in app_files(bank, headers) if path.startswith("/v/")}
        return found

    other_policy = (("Content-Security-Policy", "default-src 'self'"),)
    assert len({version(Bank(), HEADERS), version(Bank("信金"), HEADERS), version(Bank(), other_policy)}) == 3
    assert version(Bank(), HEADERS) == version(Bank(), HEADERS)


def test_a_page_asks_for_files_of_its_own_version_alone() -> None:
    files = app_files(Bank(), HEADERS)
    page = files["/"].content.decode()
    asked = re.findall(r'(?:src|href)="(/[^"?]+)"', page)
    assert set(asked) <= files.keys()
    assert [path for path in asked if path.endswith((".js", ".css")) and not path.startswith("/v/")] == ["/boot.js"]
    for path, file in files.items():
        if path.startswith("/v/") and path.endswith(".js"):
            imported = re.findall(r'from "([^"]+)"', file.content.decode())
            assert all(re.fullmatch(r"\./\w+\.js", name) for name in imported), path


def test_https_from_files_with_hsts_and_a_certificate_renewed_without_a_restart(tmp_path: Path) -> None:
    certify(tmp_path, "first")
    server = SoftTokenServer(tmp_path, 'tls_certificate = "tls.pem"\ntls_key = "tls.key"')
    server.config.write_text(server.config.read_text().replace("http://localhost", "https://localhost"))
    server.start()
    try:
        url = server.origin.replace("http:", "https:")
        answer = ask(url, context=trusting(tmp_path))
        assert answer.status == 200 and "max-age" in answer.headers["Strict-Transport-Security"]
        certify(tmp_path, "second")
        with pytest.raises(urllib.error.URLError):
            ask(url, context=trusting(tmp_path))
        assert server.process
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_log("reloaded")
        assert ask(url, context=trusting(tmp_path)).status == 200
    finally:
        server.kill()


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "tls.pem"))


def certify(folder: Path, name: str) -> None:
    """A self-signed certificate for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "tls.key").write_bytes(private)


# Settings


def test_without_its_section_the_door_stays_closed(tmp_path: Path) -> None:
    from tests.sekisho import Sekisho

    one = Sekisho(tmp_path)
    assert one.settings.soft_token is None
    assert SoftTokenDoor(one.settings.soft_token).problems() == []


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ('tls_certificate = "a.pem"', "needs both tls_certificate and tls_key"),
        ('tls_certificate = "a.pem"\ntls_key = "a.key"', "a.pem is not a file"),
        ('public_origin = "https://portal.example"', "needs an origin of its own"),
        ('public_origin = "http://token.example"', "open to eavesdroppers"),
        ("unclaimed_days = 0", "too small"),
    ],
)
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, section: str, said: str) -> None:
    file = tmp_path / "s.toml"
    store = f'[store]\nurl = "sqlite:///{tmp_path}/s.db"\nmaster_key_file = "{tmp_path}/k"\n'
    file.write_text(f'{store}[web]\npublic_origin = "https://portal.example"\n[soft_token]\n{section}\n')
    try:
        problems = [str(one) for one in SoftTokenDoor(load(file, environment={}).settings.soft_token).problems()]
    except ConfigProblems as error:
        problems = [str(error)]
    assert any(said in problem for problem in problems), problems


# Names


def test_a_trusted_proxy_hands_over_whatever_name_it_serves(server: SoftTokenServer) -> None:
    assert ask(f"{server.origin}/", Host="upstream").status == 200


def test_whoever_is_no_proxy_asks_under_the_name_of_the_origin_or_by_number(tmp_path: Path) -> None:
    """A monitor asks by number, which no name server leads elsewhere."""
    one = SoftTokenServer(tmp_path)
    one.start()
    try:
        for host, status in (("evil.example", 421), ("127.0.0.1:80", 200), ("[::1]", 200), ("LocalHost.:9443", 200)):
            answer = ask(f"{one.origin}/", Host=host)
            assert answer.status == status, host
        assert one.origin in ask(f"{one.origin}/token", "POST", data=b"", Host="evil.example").body.decode()
    finally:
        one.close()


# Keys and tickets


def post(server: SoftTokenServer, source: str, **form: str) -> Answer:
    data = urllib.parse.urlencode(form).encode()
    return ask(
        f"{server.origin}/token", "POST", data=data, Sec_Fetch_Site="same-origin", X_Forwarded_For=source,
        Content_Type="application/x-www-form-urlencoded",
    )  # fmt: skip


def test_the_same_key_is_answered_with_the_same_token(server: SoftTokenServer) -> None:
    key = secrets.token_urlsafe(16)
    before = len(server.issued())
    first, again = (post(server, "198.51.100.20", key=key) for _ in range(2))
    assert (first.status, again.status) == (200, 200)
    assert json.loads(again.body)["seed"] == json.loads(first.body)["seed"]
    assert len(server.issued()) == before + 1
    assert key not in server.log_text()


def test_the_same_key_from_elsewhere_is_answered_too(server: SoftTokenServer) -> None:
    """A phone changes its network while it waits for the answer."""
    key = secrets.token_urlsafe(16)
    first, again = (post(server, source, key=key) for source in ("198.51.101.21", "2001:db8:7::1"))
    assert json.loads(again.body)["token_id"] == json.loads(first.body)["token_id"]


@pytest.mark.parametrize("key", ["x", "0" * 20, "é" * 30, "A" * 90, "*" * 30])
def test_a_key_that_can_be_guessed_or_is_none_is_refused(server: SoftTokenServer, key: str) -> None:
    before = len(server.issued())
    assert post(server, "198.51.102.22", key=key).status == 400
    assert len(server.issued()) == before


def test_a_ticket_of_the_portal_has_a_quota_of_its_own(tmp_path: Path) -> None:
    server = SoftTokenServer(tmp_path, 'tokens_per_address = 1\ntokens_per_hour = 1\ntrusted_proxies = ["127.0.0.0/8"]')
    server.start()
    try:
        assert post(server, "192.0.2.1", key=secrets.token_urlsafe(16)).status == 200
        assert post(server, "192.0.2.1", key=secrets.token_urlsafe(16)).status == 429
        ticket = server.desk.issuance.ticket("taro")
        assert post(server, "192.0.2.1", key=secrets.token_urlsafe(16), ticket=ticket).status == 200
        assert post(server, "192.0.2.1", key=secrets.token_urlsafe(16), ticket=ticket).status == 429
        assert ticket not in server.log_text()
    finally:
        server.kill()
