"""A strict stand-in for VIP User Services: a real HTTP server with mutual TLS, written from what is known of it.

It checks each request against the order of fields that the schema has, computes codes from seeds of its own, uses each
code up, and can be slow, down, wrong, locked, or lie. No product code is used.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import os
import re
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import pyotp
import pytest
from aiohttp import web

from tests.ldap.certificates import Authority

UNFINISHED_TLS = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""For tests that give up a call while the server is at it."""
NS = "https://schemas.symantec.com/vip/2011/04/vipuserservices"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_FIELDS = {
    "CreateUser": ["requestId", "userId"],
    "AddCredential": ["requestId", "userId", "credentialDetail", "otpAuthData?"],
    "RemoveCredential": ["requestId", "userId", "credentialId", "credentialType"],
    "AuthenticateCredentials": ["requestId", "credentials", "otpAuthData"],
    "GetUserInfo": ["requestId", "userId"],
}
_SERVICE = {
    "CreateUser": "ManagementService",
    "AddCredential": "ManagementService",
    "RemoveCredential": "ManagementService",
    "AuthenticateCredentials": "AuthenticationService",
    "GetUserInfo": "QueryService",
}
_INSIDE = {
    "credentialDetail": ["credentialId", "credentialType"],
    "credentials": ["credentialId", "credentialType"],
    "otpAuthData": ["otp"],
}


@dataclass
class Credential:
    """A VIP Access credential. ``state``: enabled, locked, disabled, inactive."""

    credential_id: str
    seed: bytes = field(default_factory=lambda: os.urandom(20), repr=False)
    state: str = "enabled"
    used: int = -1

    def code(self, steps_away: int = 0) -> str:
        """What the app shows now."""
        return pyotp.TOTP(base64.b32encode(self.seed).decode()).at(time.time() + 30 * steps_away)

    def spend(self, otp: str) -> bool:
        now = int(time.time() // 30)
        for step in range(now - 2, now + 3):
            if step > self.used and pyotp.TOTP(base64.b32encode(self.seed).decode()).at(step * 30) == otp:
                self.used = step
                return True
        return False


@dataclass
class Vip:
    """The service's state, and how it behaves. ``answers``: by call, what is answered in its place (octets, or a
    status); ``delay``: seconds before every answer; ``accepts_all``: business continuity."""

    url: str = ""
    versions: tuple[str, ...] = ("1_10",)
    credentials: dict[str, Credential] = field(default_factory=dict)
    users: dict[str, set[str]] = field(default_factory=dict)
    answers: dict[str, Callable[[str], web.Response]] = field(default_factory=dict)
    delay: float = 0.0
    accepts_all: bool = False
    lies_about: str = ""
    declaration: str = '<?xml version="1.0" encoding="UTF-8"?>'
    calls: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    port: int = 0

    def credential(self, credential_id: str) -> Credential:
        one = Credential(credential_id)
        self.credentials[credential_id] = one
        return one

    def called(self) -> list[str]:
        return [name for name, _ in self.calls]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        service, _, version = request.match_info["service"].partition("_")
        if version not in self.versions:
            return web.Response(status=404, text="not here")
        octets = await request.read()
        name, call = self._read(request, octets, service)
        request_id = call.findtext(f"{{{NS}}}requestId") or ""
        self.calls.append((name, version))
        if self.delay:
            await asyncio.sleep(self.delay)
        if name in self.answers:
            return self.answers[name](request_id)
        return self.reply(name, request_id, *self._carry_out(name, call))

    def reply(self, name: str, request_id: str, status: str, detail: str = "", more: str = "") -> web.Response:
        """A reply as VIP writes it."""
        said = f"<detail>{detail}</detail><detailMessage>words</detailMessage>" if detail else ""
        text = (
            f'{self.declaration}<S:Envelope xmlns:S="{SOAP}"><S:Body><{name}Response xmlns="{NS}">'
            f"<requestId>{request_id}</requestId><status>{status}</status><statusMessage>words</statusMessage>"
            f"{said}{more}</{name}Response></S:Body></S:Envelope>"
        )
        return web.Response(body=text.encode(), content_type="text/xml", charset="utf-8")

    def _read(self, request: web.Request, octets: bytes, service: str) -> tuple[str, ElementTree.Element]:
        """The call. What the real service would not take is a fault that the test sees."""
        assert request.headers.get("SOAPAction") == '""', self._fault("SOAPAction")
        assert request.content_type == "text/xml", self._fault("Content-Type")
        body = ElementTree.fromstring(octets).find(f"{{{SOAP}}}Body")  # noqa: S314  ours
        assert body is not None and len(body) == 1, self._fault("no body")
        call = body[0]
        name = call.tag.removeprefix(f"{{{NS}}}").removesuffix("Request")
        assert name in _FIELDS and call.tag == f"{{{NS}}}{name}Request", self._fault(f"call {call.tag}")
        assert _SERVICE[name] == service, self._fault(f"{name} at {service}")
        self._check_fields(call, _FIELDS[name])
        request_id = call.findtext(f"{{{NS}}}requestId") or ""
        assert re.fullmatch(r"[0-9A-Za-z_]{4,40}", request_id), self._fault("requestId")
        otp = call.findtext(f".//{{{NS}}}otp")
        assert otp is None or 6 <= len(otp) <= 10, self._fault("otp")
        user = call.findtext(f"{{{NS}}}userId")
        assert user is None or 1 <= len(user) <= 128, self._fault("userId")
        return name, call

    def _check_fields(self, element: ElementTree.Element, wanted: list[str]) -> None:
        found = [child.tag.removeprefix(f"{{{NS}}}") for child in element]
        needed = [one for one in wanted if not one.endswith("?")]
        known = [one.rstrip("?") for one in wanted]
        assert [one for one in known if one in found] == found, self._fault(f"fields {found}")
        assert all(one in found for one in needed), self._fault(f"fields {found}")
        for child in element:
            inner = _INSIDE.get(child.tag.removeprefix(f"{{{NS}}}"))
            if inner is not None:
                self._check_fields(child, inner)

    def _fault(self, what: str) -> str:
        self.faults.append(what)
        return what

    def _carry_out(self, name: str, call: ElementTree.Element) -> tuple[str, ...]:
        user = (call.findtext(f"{{{NS}}}userId") or "").lower()
        credential_id = call.findtext(f".//{{{NS}}}credentialId") or ""
        otp = call.findtext(f".//{{{NS}}}otp")
        credential, bound = self.credentials.get(credential_id), self.users.get(user)
        if name == "CreateUser":
            if bound is not None:
                return ("6002",)
            self.users[user] = set()
            return ("0000",)
        if name == "AuthenticateCredentials":
            return self._authenticate(credential, otp or "")
        if bound is None:
            return ("6003",)
        if name == "GetUserInfo":
            details = "".join(
                f"<credentialBindingDetail><credentialId>{one}</credentialId>"
                "<credentialType>STANDARD_OTP</credentialType></credentialBindingDetail>"
                for one in sorted(bound)
            )
            return ("0000", "", f"<userId>{user}</userId>{details}")
        if credential is None:
            return ("6004",)
        if name == "RemoveCredential":
            if credential_id not in bound:
                return ("6007",)
            bound.discard(credential_id)
            return ("0000",)
        if credential_id in bound:
            return ("6018",)  # some code of which nothing is known
        if otp is not None and (said := self._authenticate(credential, otp))[0] != "0000":
            return said
        bound.add(credential_id)
        return ("0000",)

    def _authenticate(self, credential: Credential | None, otp: str) -> tuple[str, ...]:
        if credential is None:
            return ("6009", "49F2")
        if (detail := {"locked": "4994", "disabled": "4993", "inactive": "4996"}.get(credential.state)) is not None:
            return ("6009", detail)
        if not otp.isdigit():
            return ("6009",)
        if not self.accepts_all and not credential.spend(otp):
            return ("6009", "49B5")
        about = self.lies_about or credential.credential_id
        return ("0000", "", f"<credentialId>{about}</credentialId><credentialType>STANDARD_OTP</credentialType>")


@dataclass
class Running:
    """The stub, its files, and the thread that it runs in."""

    vip: Vip
    folder: Path
    certificate: Path
    key: Path
    ca_file: Path

    def section(self, **more: str) -> str:
        """As [[verifiers]]; values as TOML has them."""
        lines = {
            "url": f'"{self.vip.url}"',
            "certificate": f'"{self.certificate}"',
            "key": f'"{self.key}"',
            "ca_file": f'"{self.ca_file}"',
            **more,
        }
        text = "".join(f"{key} = {value}\n" for key, value in lines.items())
        return f'[[verifiers]]\nname = "vip"\ntype = "vip"\n{text}'


@contextmanager
def running_vip(folder: Path) -> Iterator[Running]:
    """Started, with a client certificate that it takes."""
    authority = Authority(folder, "vip-ca")
    server, server_key = authority.issue("vip-server", "localhost")
    certificate, key = authority.issue("bank", "bank.example")
    key.chmod(0o600)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server, server_key)
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    vip = Vip()
    started, loop = threading.Event(), asyncio.new_event_loop()

    async def serve() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/vipuserservices/{service}", vip.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        assert runner.addresses
        vip.port = runner.addresses[0][1]
        vip.url = f"https://localhost:{vip.port}/vipuserservices"
        started.set()
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(serve())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield Running(vip, folder, certificate, key, authority.file)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        with warnings.catch_warnings():
            # Connections that were given up in the middle of TLS: asyncio of Python 3.11 leaves them to the collector.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        assert not vip.faults, vip.faults
