"""The provisioning protocol of the open tool ``vipaccess`` (PyPI python-vipaccess): POST /prov makes a token of ours
for it, POST /otpCheck answers its self-check. Off unless ``soft_token.vip_access`` is set.

The tool sends no key that would make its request known again. One that is written into its address, as a password
(``https://provision:KEY@…/prov``), comes as Basic authentication: in a header, and so in no log of a proxy.

The tool's keys are in its source, so what it calls encryption hides nothing: TLS does. Its self-check spends no code,
and is answered only until the token is enrolled, so many times an hour: nobody can try codes of a customer's token.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus

import structlog
from aiohttp import BasicAuth, web
from aiohttp.hdrs import AUTHORIZATION
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from admin_web.http.security import SOURCE, form_of
from admin_web.softtoken.issuing import key_of
from admin_web.softtoken.settings import SoftTokenSettings
from otp_core.accounts import Desk, IssuanceRequest, Principal, PrincipalKind, Quota, Refusal, Refused
from otp_core.clock import ClockWrong
from otp_core.model import StoreUnavailable, TokenSpec
from otp_core.otp import normalise_token_id
from otp_core.store.retry import retry_while_busy

PROVISION, CHECK = "/prov", "/otpCheck"
PATHS = frozenset({PROVISION, CHECK})
MOST_OCTETS = 4096
"""Of a request for a token; the tool's has a thousand."""

CHECKS_PER_HOUR, _MOST_CHECKED, _HOUR_MS = 30, 10_000, 3_600_000
ACTOR = "vipaccess"
_TOKEN_ENCRYPTION_KEY = bytes.fromhex("01ad9bc682a3aa93a9a3239a86d6ccd9")
"""In the source of the tool (and of the apps that it is made after): it hides nothing."""

_REQUEST = re.compile(rb"<GetSharedSecret [^<>]{1,400}>")
_ALGORITHM = re.compile(rb'<OtpAlgorithm type="HMAC-SHA1-TRUNC-6DIGITS" ?/>')
_MODEL = re.compile(rb"<TokenModel>\w{3,4}</TokenModel>")
_NAMESPACE = "http://www.verisign.com/2006/08/vipservice"
_EXPIRY = "2099-12-31T00:00:00.000Z"
"""The tool shows one; tokens here have none."""

_REPLY = """<?xml version="1.0" encoding="UTF-8"?>
<GetSharedSecretResponse RequestId="1" Version="2.0" xmlns="{namespace}">
  <Status><ReasonCode>0000</ReasonCode><StatusMessage>Success</StatusMessage></Status>
  <SecretContainer Version="1.0">
    <EncryptionMethod><PBESalt>{salt}</PBESalt><PBEIterationCount>50</PBEIterationCount><IV>{iv}</IV></EncryptionMethod>
    <Device><Secret type="HOTP" Id="{token_id}">
      <Issuer>OU = ID Protection Center</Issuer>
      <Usage otp="true">
        <AI type="HMAC-SHA1-TRUNC-6DIGITS"/><TimeStep>30</TimeStep><Time>0</Time><ClockDrift>4</ClockDrift>
      </Usage>
      <FriendlyName>OU = ID Protection Center</FriendlyName>
      <Data><Cipher>{cipher}</Cipher><Digest algorithm="HMAC-SHA1">{digest}</Digest></Data>
      <Expiry>{expiry}</Expiry>
    </Secret></Device>
  </SecretContainer>
  <UTCTimestamp>{now}</UTCTimestamp>
</GetSharedSecretResponse>
"""
_REFUSAL = """<?xml version="1.0" encoding="UTF-8"?>
<GetSharedSecretResponse RequestId="1" Version="2.0" xmlns="{namespace}">
  <Status><ReasonCode>{code}</ReasonCode><StatusMessage>{message}</StatusMessage></Status>
</GetSharedSecretResponse>
"""
_log = structlog.get_logger("soft_token")


class VipAccess:
    """The two handlers. ``now``: milliseconds since the epoch."""

    def __init__(self, desk: Desk, settings: Callable[[], SoftTokenSettings], now: Callable[[], int]) -> None:
        self._desk, self._settings, self._now = desk, settings, now
        self._checked: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """By token ID: when its hour began, and how often it was looked at since."""

    async def provision(self, request: web.Request) -> web.Response:
        """A new token, so many an hour; the same key gets the same one again. Without a key, two people who ask in one
        second send the same octets, from one address perhaps: each gets a token of its own."""
        self._must_be_on()
        asked = await request.read()
        if len(asked) > MOST_OCTETS or not (_REQUEST.search(asked) and _MODEL.search(asked)):
            return _refused("4E00", "Malformed request", HTTPStatus.BAD_REQUEST)
        if not _ALGORITHM.search(asked):
            return _refused("4E0D", "Unsupported token model", HTTPStatus.OK)
        settings, source = self._settings(), request[SOURCE]
        quota = Quota(settings.tokens_per_address, settings.tokens_per_hour)
        principal = Principal(ACTOR, PrincipalKind.ANONYMOUS, source)
        try:
            wanted = IssuanceRequest(_key(request))
            issued = await retry_while_busy(lambda: self._desk.issuance.issue_unclaimed(principal, quota, wanted))
        except web.HTTPBadRequest:
            return _refused("4E00", "Malformed key", HTTPStatus.BAD_REQUEST)
        except Refused as refused:
            if refused.refusal is Refusal.REQUEST_USED_UP:
                return _refused("4E0F", "This key has had its token", HTTPStatus.GONE)
            return _refused("4E0F", "Too many tokens: try again in an hour", HTTPStatus.TOO_MANY_REQUESTS)
        except (StoreUnavailable, ClockWrong) as cause:
            _log.error("no new token", source=source, cause=str(cause))
            return _refused("4E05", "No token can be made now", HTTPStatus.SERVICE_UNAVAILABLE)
        return _xml(_reply(issued.token_id, issued.seed, self._now()), HTTPStatus.OK)

    async def check(self, request: web.Request) -> web.Response:
        """Whether a code is right, in the words that the tool looks for. It is not spent."""
        self._must_be_on()
        form = await form_of(request)
        token_id = normalise_token_id(form.get("cred", "")[:64])
        code = "".join(form.get(f"cr{at}", "")[:1] for at in range(1, TokenSpec().digits + 1))
        right = self._may_look(token_id) and await self._is_right(token_id, code)
        text = "Your VIP Credential is working correctly" if right else "Your VIP credential needs to be sync"
        return web.Response(text=f"<!DOCTYPE html><title>Check</title><p>{text}</p>", content_type="text/html")

    def _must_be_on(self) -> None:
        if not self._settings().vip_access:
            raise web.HTTPNotFound

    async def _is_right(self, token_id: str, code: str) -> bool:
        try:
            return await retry_while_busy(lambda: self._desk.issuance.is_code_of_unclaimed(token_id, code))
        except (StoreUnavailable, ClockWrong):
            raise web.HTTPServiceUnavailable(headers={"Retry-After": "10"}) from None

    def _may_look(self, token_id: str) -> bool:
        """Whether this token was looked at seldom enough. What is remembered is bounded: the one that was looked at
        longest ago is forgotten first."""
        now = self._now()
        began, looks = self._checked.pop(token_id, (now, 0))
        if now >= began + _HOUR_MS:
            began, looks = now, 0
        self._checked[token_id] = (began, looks + 1)
        if len(self._checked) > _MOST_CHECKED:
            self._checked.popitem(last=False)
        return looks < CHECKS_PER_HOUR


def _key(request: web.Request) -> bytes | None:
    """Raises HTTPBadRequest for one that is none."""
    header = request.headers.get(AUTHORIZATION)
    if header is None:
        return None
    try:
        return key_of(BasicAuth.decode(header).password)
    except ValueError:
        raise web.HTTPBadRequest from None


def _reply(token_id: str, seed: bytes, now: int) -> str:
    iv, salt, padding = os.urandom(16), os.urandom(12), 16 - len(seed) % 16
    encryptor = Cipher(AES(_TOKEN_ENCRYPTION_KEY), CBC(iv)).encryptor()
    cipher = encryptor.update(seed + bytes((padding,)) * padding) + encryptor.finalize()
    return _REPLY.format(
        namespace=_NAMESPACE,
        salt=_base64(salt),
        iv=_base64(iv),
        token_id=token_id,
        cipher=_base64(cipher),
        digest=_base64(hmac.digest(salt, cipher, "sha1")),
        expiry=_EXPIRY,
        now=now // 1000,
    )


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _refused(code: str, message: str, status: HTTPStatus) -> web.Response:
    return _xml(_REFUSAL.format(namespace=_NAMESPACE, code=code, message=message), status)


def _xml(text: str, status: HTTPStatus) -> web.Response:
    return web.Response(text=text, content_type="text/xml", status=status, headers={"Cache-Control": "no-store"})
