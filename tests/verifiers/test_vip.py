"""The verifier of type vip against a strict server with mutual TLS: each answer is one finding, or silence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web

from otp_core.login.requests import CodeFinding
from otp_core.login.table import Finding
from otp_core.model import Attempt, BackendSilent, Overloaded
from otp_core.otp import Fit
from otp_core.verifier import CodeQuestion
from otp_core.verifier.vip.client import Plan, VipClient
from otp_core.verifier.vip.credentials import Credentials, context_of
from otp_core.verifier.vip.soap import MOST_OCTETS, NotUnderstood, read_reply
from otp_core.verifier.vip.statuses import OUTCOMES, Outcome, outcome_of
from otp_core.verifier.vip.verifier import VipVerifier
from tests.core.bank import CODE
from tests.ldap.certificates import Authority
from tests.verifiers.vip_stub import NS, SOAP, UNFINISHED_TLS, Credential, Running, Vip, running_vip

pytestmark = UNFINISHED_TLS
T = TypeVar("T")
TOKEN = "VSMT99887766"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_vip(tmp_path_factory.mktemp("vip")) as one:
        yield one


@pytest.fixture
def vip(server: Running) -> Vip:
    """As it is when it is new."""
    fresh, one = Vip(), server.vip
    for name in ("versions", "credentials", "users", "answers", "delay", "accepts_all", "lies_about", "declaration"):
        setattr(one, name, getattr(fresh, name))
    one.calls.clear()
    return one


def asked(
    server: Running,
    work: Callable[[VipVerifier], Coroutine[Any, Any, T]],
    *,
    files: Credentials | None = None,
    **plan: Any,
) -> T:
    async def scene() -> T:
        values = {"name": "vip", "url": server.vip.url, "versions": ("1_10", "1_8"), "timeout": 2.0, **plan}
        context = context_of(files or Credentials(server.certificate, server.key, server.ca_file))
        client = VipClient(Plan(**values), context)
        try:
            return await work(VipVerifier(client))
        finally:
            await client.close()

    return asyncio.run(asyncio.wait_for(scene(), 20))


def question(code: str, token_id: str = TOKEN) -> CodeQuestion:
    return CodeQuestion(token_id, code, "taro")


def silent(server: Running, code: str = "123456", **more: Any) -> str:
    with pytest.raises(BackendSilent) as caught:
        asked(server, lambda one: one.verify(question(code)), **more)
    assert code not in str(caught.value)
    return str(caught.value)


def test_a_code_is_right_once_and_a_wrong_one_is_wrong(server: Running, vip: Vip) -> None:
    app = vip.credential(TOKEN)
    code = app.code()

    async def scene(one: VipVerifier) -> list[CodeFinding]:
        return [await one.verify(question(text)) for text in (code, code, "000000" if code != "000000" else "000001")]

    assert asked(server, scene) == [
        CodeFinding(TOKEN, Fit.FITS),
        CodeFinding(TOKEN, Fit.WRONG),
        CodeFinding(TOKEN, Fit.WRONG),
    ]
    assert vip.calls == [("AuthenticateCredentials", "1_10")] * 3


def test_another_credentials_acceptance_lets_nobody_in(server: Running, vip: Vip) -> None:
    code = vip.credential(TOKEN).code()
    vip.lies_about = "VSMT00000001"
    assert "not about VSMT99887766" in silent(server, code)
    vip.lies_about = " "
    assert "not about VSMT99887766" in silent(server, vip.credential(TOKEN).code())


@pytest.mark.parametrize(
    ("state", "trouble"),
    [
        ("locked", Finding.TOKEN_LOCKED_THERE),
        ("disabled", Finding.TOKEN_DISABLED_THERE),
        ("inactive", Finding.TOKEN_DISABLED_THERE),
        ("unknown", Finding.TOKEN_UNKNOWN_THERE),
    ],
)
def test_what_is_wrong_with_a_token_there_is_no_wrong_code(
    server: Running, vip: Vip, state: str, trouble: Finding
) -> None:
    if state != "unknown":
        vip.credential(TOKEN).state = state
    found = asked(server, lambda one: one.verify(question("123456")))
    assert (found.trouble, found.fit is Fit.FITS) == (trouble, False)


def test_each_status_of_the_facts_has_one_meaning() -> None:
    expected = {
        ("0000", ""): Outcome.DONE,
        ("6001", ""): Outcome.UNCLEAR,
        ("6002", ""): Outcome.USER_EXISTS,
        ("6003", ""): Outcome.UNKNOWN_USER,
        ("6004", ""): Outcome.UNKNOWN_TOKEN,
        ("6005", ""): Outcome.UNCLEAR,
        ("6007", ""): Outcome.NOT_BOUND,
        ("6008", ""): Outcome.DISABLED,
        ("6009", ""): Outcome.WRONG_CODE,
        ("6009", "49B5"): Outcome.WRONG_CODE,
        ("6009", "49b5"): Outcome.WRONG_CODE,
        ("6009", "4994"): Outcome.LOCKED,
        ("6009", "4993"): Outcome.DISABLED,
        ("6009", "4996"): Outcome.DISABLED,
        ("6009", "49F2"): Outcome.UNKNOWN_TOKEN,
        ("6009", "4923"): Outcome.NEXT_CODE,
        ("6009", "9999"): Outcome.UNCLEAR,
        ("601B", ""): Outcome.LOCKED,
        ("601b", "49B5"): Outcome.LOCKED,
        ("", ""): Outcome.UNCLEAR,
        ("00000", ""): Outcome.UNCLEAR,
    }
    assert {pair: outcome_of(*pair) for pair in expected} == expected
    assert {outcome for outcome in Outcome if outcome is not Outcome.UNCLEAR} == set(OUTCOMES.values())


def _says(server: Running, text: str) -> Callable[[str], web.Response]:
    return lambda request_id: web.Response(body=text.replace("ID", request_id).encode(), content_type="text/xml")


_REPLY = (
    f'<e:Envelope xmlns:e="{SOAP}"><e:Body><AuthenticateCredentialsResponse xmlns="{NS}"><requestId>ID</requestId>'
    f"<status>0000</status><credentialId>{TOKEN}</credentialId></AuthenticateCredentialsResponse></e:Body></e:Envelope>"
)
_BOMB = '<!DOCTYPE a [<!ENTITY b "x">]>' + _REPLY.replace(TOKEN, "&b;")


@pytest.mark.parametrize("declaration", ["", '<?xml version="1.0"?>', "<?xml version='1.0' encoding='utf-8'?>"])
def test_xml_declarations_come_with_and_without_an_encoding(server: Running, vip: Vip, declaration: str) -> None:
    vip.answers["AuthenticateCredentials"] = _says(server, declaration + _REPLY)
    assert asked(server, lambda one: one.verify(question("123456"))).fit is Fit.FITS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_BOMB, "it has a document type"),
        (_REPLY.replace("0000", "6005"), "its status is 6005"),
        (_REPLY.replace("0000", "6001"), "its status is 6001"),
        (_REPLY.replace("<status>0000</status>", ""), "its status is missing"),
        (_REPLY.replace("ID<", "another<"), "belongs to another call"),
        (_REPLY.replace(f"<credentialId>{TOKEN}</credentialId>", ""), "not about VSMT99887766"),
        (_REPLY.replace(NS, "urn:other"), "it is no AuthenticateCredentialsResponse"),
        (_REPLY.replace("AuthenticateCredentialsR", "CreateUserR"), "it is no AuthenticateCredentialsResponse"),
        (_REPLY.replace(SOAP, "http://www.w3.org/2003/05/soap-envelope"), "it is no SOAP 1.1 envelope"),
        (f'<e:Envelope xmlns:e="{SOAP}"><e:Body><e:Fault/></e:Body></e:Envelope>', "it is a SOAP fault"),
        (_REPLY[:-5], "it is no XML"),
        ("", "it is no XML"),
        ("<?xml version='1.0' encoding='klingon'?>" + _REPLY, "its encoding is not known"),
        ("<a>" * 50 + "</a>" * 50, "nested deeper"),
        ("<a>" + "<b/>" * 6000 + "</a>", "more than 5,000 elements"),
        ("<a>" + "x" * MOST_OCTETS + "</a>", "longer than 262,144 octets"),
        ('{"status": "0000"}', "it is no XML"),
    ],
)
def test_what_is_no_clear_answer_is_silence(server: Running, vip: Vip, text: str, said: str) -> None:
    vip.answers["AuthenticateCredentials"] = _says(server, text)
    assert said in silent(server)


def test_a_huge_answer_is_not_read_to_its_end(server: Running, vip: Vip) -> None:
    vip.answers["AuthenticateCredentials"] = lambda _: web.Response(body=b"<a>" + b"x" * 8 * 1024 * 1024)
    assert "longer than" in silent(server)


def test_other_answers_of_the_web_are_silence(server: Running, vip: Vip) -> None:
    for response, said in [
        (web.Response(status=302, headers={"Location": "https://localhost/"}), "HTTP status 302"),
        (web.Response(status=503), "HTTP status 503"),
        (web.Response(body=b"x", headers={"Content-Encoding": "gzip"}), "compressed"),
    ]:
        vip.answers["AuthenticateCredentials"] = lambda _, response=response: response  # type: ignore[misc]
        assert said in silent(server)


def test_a_slow_answer_is_silence_within_the_time(server: Running, vip: Vip) -> None:
    vip.credential(TOKEN)
    vip.delay = 3.0
    assert "no answer in time" in silent(server, timeout=0.2)

    async def soon(one: VipVerifier) -> None:
        deadline = asyncio.get_running_loop().time() + 0.2
        attempt = Attempt("taro", "", CODE, "gateway", "192.0.2.1", deadline=deadline)
        with pytest.raises(BackendSilent, match="no answer in time"):
            await one.verify(question("123456")._replace(attempt=attempt))
        assert one.client.silent
        vip.delay = 0.0
        await one.verify(question("123456"))
        assert not one.client.silent

    asked(server, soon, timeout=30.0)


def test_no_more_codes_wait_than_may(server: Running, vip: Vip) -> None:
    vip.delay = 0.3

    async def crowd(one: VipVerifier) -> list[Any]:
        return await asyncio.gather(*(one.verify(question("123456")) for _ in range(5)), return_exceptions=True)

    found = asked(server, crowd, connections=1, max_waiting=1)
    assert sum(isinstance(one, Overloaded) for one in found) == 3
    assert vip.called().count("AuthenticateCredentials") == 2


def test_the_newest_version_that_is_there_is_used(server: Running, vip: Vip) -> None:
    vip.versions = ("1_8",)
    vip.credential(TOKEN)

    async def twice(one: VipVerifier) -> None:
        await one.verify(question("123456"))
        await one.verify(question("123456"))

    asked(server, twice)
    assert vip.calls == [("AuthenticateCredentials", "1_8")] * 2
    vip.versions = ("1_6",)
    assert "there is no AuthenticationService of 1_10, 1_8" in silent(server)


def test_nobody_is_told_anything_without_a_verified_certificate(server: Running, vip: Vip, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "other-ca")
    assert "no TLS with it" in silent(server, files=Credentials(server.certificate, server.key, stranger.file))
    certificate, key = stranger.issue("other-bank", "bank.example")
    assert "connection broke" in silent(server, files=Credentials(certificate, key, server.ca_file))
    another_name = server.vip.url.replace("localhost", "127.0.0.1")
    assert "no TLS with it" in silent(server, url=another_name)
    assert vip.calls == []


def test_a_service_that_is_down_is_silence(server: Running) -> None:
    assert "cannot be reached" in silent(server, url="https://localhost:9/vipuserservices")


def enrol(app: Credential, server: Running, code: str, customer: str = "taro") -> CodeFinding:
    return asked(server, lambda one: one.enrol(CodeQuestion(app.credential_id, code, customer)))


def test_enrolment_makes_user_and_binding_and_may_be_repeated(server: Running, vip: Vip) -> None:
    app = vip.credential(TOKEN)
    assert enrol(app, server, "000000" if app.code() != "000000" else "000001").fit is Fit.WRONG
    assert vip.users == {"taro": set()}
    assert enrol(app, server, app.code()).fit is Fit.FITS
    assert vip.users == {"taro": {TOKEN}}
    assert vip.called() == ["CreateUser", "AddCredential"] * 2
    # The act failed behind it: the same is asked once more, with a code that is not used up yet.
    assert enrol(app, server, app.code()).fit is Fit.WRONG
    assert enrol(app, server, app.code(1)).fit is Fit.FITS


def test_a_token_is_taken_away_and_given_back(server: Running, vip: Vip) -> None:
    app = vip.credential(TOKEN)
    enrol(app, server, app.code())

    async def scene(one: VipVerifier) -> None:
        await one.remove("taro", TOKEN)
        assert vip.users == {"taro": set()}
        await one.remove("taro", TOKEN)
        await one.remove("nobody", TOKEN)
        await one.add("taro", TOKEN)
        await one.add("taro", TOKEN)
        assert vip.users == {"taro": {TOKEN}}
        assert await one.is_bound("taro", TOKEN)
        assert not await one.is_bound("jiro", TOKEN)

    asked(server, scene)


def test_a_reply_is_read_by_its_namespace_only() -> None:
    octets = _REPLY.replace("<status>", '<status xmlns="urn:x">').encode()
    assert read_reply(octets, "AuthenticateCredentials").get("status") == ""
    with pytest.raises(NotUnderstood):
        read_reply(b"\xff\xfe\x00", "CreateUser")
