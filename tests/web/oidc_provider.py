"""An OpenID provider as a program of its own: discovery, keys, authorization with PKCE, tokens that it really signs.

    python -m tests.web.oidc_provider PORT [CERTIFICATE KEY]

It signs with cryptography alone, so that it shares no code with what verifies. What it is to lie about is posted to
/control as JSON: ``{"lie": "nonce", "claims": {…}}``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import html
import json
import secrets
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import encode_basic_auth, web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

CLIENT, SECRET = "sekisho console", "a secret: with/odd+characters"
Claims = dict[str, Any]


def encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def number(value: int, octets: int | None = None) -> str:
    return encoded(value.to_bytes(octets or (value.bit_length() + 7) // 8, "big"))


RSA, OTHER_RSA = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def signed_by_rsa(text: bytes, key: rsa.RSAPrivateKey = RSA) -> bytes:
    return key.sign(text, padding.PKCS1v15(), hashes.SHA256())


def signed_by_ec(text: bytes) -> bytes:
    r, s = decode_dss_signature(EC.sign(text, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def signed_as_hs256(text: bytes) -> bytes:
    """The confusion of algorithms: the public key as the shared secret."""
    public = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hmac.digest(public, text, "sha256")


SIGNED: dict[str, Callable[[bytes], bytes]] = {
    "RS256": signed_by_rsa,
    "PS256": lambda text: RSA.sign(text, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
    "ES256": signed_by_ec,
    "EdDSA": ED.sign,
    "HS256": signed_as_hs256,
    "none": lambda _: b"",
}
KID = {"RS256": "r", "PS256": "r", "ES256": "e", "EdDSA": "d", "HS256": "r", "none": "r"}


def keys() -> list[Claims]:
    public, point = RSA.public_key().public_numbers(), EC.public_key().public_numbers()
    raw = ED.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return [
        {"kty": "RSA", "kid": "r", "use": "sig", "n": number(public.n), "e": number(public.e)},
        {"kty": "EC", "kid": "e", "crv": "P-256", "x": number(point.x, 32), "y": number(point.y, 32)},
        {"kty": "OKP", "kid": "d", "crv": "Ed25519", "x": encoded(raw)},
        {"kty": "oct", "kid": "o", "k": encoded(b"x" * 32)},
        {"kty": "RSA", "kid": "enc", "use": "enc", "n": number(public.n), "e": number(public.e)},
    ]


def token(claims: Claims, algorithm: str, *, lie: str = "") -> str:
    header = {"alg": algorithm, "kid": "unheard-of" if lie == "unknown-key" else KID[algorithm]}
    text = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    sign = (lambda octets: signed_by_rsa(octets, OTHER_RSA)) if lie == "other-key" else SIGNED[algorithm]
    return f"{text}.{encoded(sign(text.encode()))}"


@dataclass
class Granted:
    """What a code stands for."""

    query: dict[str, str]
    subject: str
    auth_time: int


@dataclass
class Provider:
    issuer: str
    lie: str = ""
    algorithm: str = "RS256"
    claims: Claims = field(default_factory=dict)
    granted: dict[str, Granted] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Paths, in order."""

    async def control(self, request: web.Request) -> web.Response:
        """Changes what it does from now on; what it was asked so far."""
        wanted = await request.json()
        self.lie = wanted.get("lie", "")
        self.algorithm = wanted.get("algorithm", "RS256")
        self.claims = wanted.get("claims", {})
        asked, self.asked = self.asked, []
        return web.json_response(asked)

    async def metadata(self, request: web.Request) -> web.Response:
        await self._noted(request)
        found = {
            "issuer": "https://elsewhere.example" if self.lie == "metadata-issuer" else self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?tenant=1",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": {"plain-keys": "http://192.0.2.1/keys", "no-host": "https://a..b/keys"}.get(
                self.lie, f"{self.issuer}/keys"
            ),
            "id_token_signing_alg_values_supported": list(SIGNED),
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        return web.json_response(found)

    async def keys(self, request: web.Request) -> web.StreamResponse:
        await self._noted(request)
        if self.lie == "huge-keys":
            return web.json_response({"keys": [{**keys()[0], "pad": "x" * 1000}] * 2000})
        if self.lie == "many-keys":
            return web.json_response({"keys": [{"kty": "RSA"}] * 200})
        if self.lie == "redirected-keys":
            raise web.HTTPFound(f"{self.issuer}/other-keys")
        if self.lie == "html-keys":
            return web.Response(text="<html>", content_type="text/html")
        if self.lie == "nested-keys":
            return web.Response(text='{"keys":' + "[" * 100_000, content_type="application/json")
        if self.lie == "private-keys":
            private = RSA.private_numbers()
            return web.json_response({"keys": [{**keys()[0], "d": number(private.d)}]})
        return web.json_response({"keys": [] if self.lie == "no-keys" else keys()})

    async def authorize(self, request: web.Request) -> web.Response:
        """The page that asks who one is; who is signed in here already goes straight back."""
        await self._noted(request)
        subject, _, at = request.cookies.get("op", "").partition("~")
        if subject and request.query.get("prompt") != "login":
            return self._back(dict(request.query), subject, int(at))
        here = html.escape(str(request.rel_url))
        page = (
            '<!DOCTYPE html><html lang="en"><title>Provider</title>'
            f'<form method="post" action="{here}">'
            '<label>Who are you? <input name="sub"></label><button name="how" value="in">Sign in</button>'
            '<button name="how" value="no">Turn back</button></form></html>'
        )
        return web.Response(text=page, content_type="text/html")

    async def signed_in(self, request: web.Request) -> web.Response:
        form = await request.post()
        subject, query = str(form["sub"]), dict(request.query)
        if form.get("how") == "no":
            fields = {"error": "access_denied", "state": query["state"], "iss": self.issuer}
            raise web.HTTPFound(f"{query['redirect_uri']}?{urlencode(fields)}")
        response = self._back(query, subject, int(time.time()))
        response.set_cookie("op", f"{subject}~{int(time.time())}")
        return response

    def _back(self, query: dict[str, str], subject: str, auth_time: int) -> web.Response:
        assert query["response_type"] == "code" and query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.granted[code] = Granted(query, subject, auth_time)
        fields = {"code": code, "state": query["state"], "iss": self.issuer}
        if self.lie == "mix-up":
            fields["iss"] = "https://honest.example"
        if self.lie == "no-iss":
            del fields["iss"]
        if self.lie == "state":
            fields["state"] = "x" + fields["state"]
        return web.Response(status=302, headers={"Location": f"{query['redirect_uri']}?{urlencode(fields)}"})

    async def token(self, request: web.Request) -> web.StreamResponse:
        await self._noted(request)
        if request.headers.get("Authorization") != encode_basic_auth(_quoted(CLIENT), _quoted(SECRET)):
            return web.json_response({"error": "invalid_client"}, status=401)
        form = await request.post()
        code = str(form["code"])
        granted = self.granted.get(code) if self.lie == "forgetful" else self.granted.pop(code, None)
        challenge = encoded(hashlib.sha256(str(form["code_verifier"]).encode()).digest())
        if granted is None or (challenge, form["redirect_uri"]) != (
            granted.query["code_challenge"],
            granted.query["redirect_uri"],
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        if self.lie == "huge-token":
            return web.json_response({"id_token": "x" * 1_000_000})
        access_token = secrets.token_urlsafe(16)
        answer = {"access_token": access_token, "token_type": "Bearer", "expires_in": 60}
        if self.lie != "no-id-token":
            answer["id_token"] = self._id_token(granted, access_token)
        return web.json_response(answer)

    def _id_token(self, granted: Granted, access_token: str) -> str:
        now = int(time.time())
        half = (hashlib.sha512 if self.algorithm == "EdDSA" else hashlib.sha256)(access_token.encode()).digest()
        claims: Claims = {
            "iss": self.issuer,
            "sub": granted.subject,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": granted.query["nonce"],
            "auth_time": granted.auth_time,
            "at_hash": encoded(half[: len(half) // 2]),
            "preferred_username": f"{granted.subject}@bank.example",
        }
        changed = {**claims, **self.claims}
        return token({k: v for k, v in changed.items() if v is not None}, self.algorithm, lie=self.lie)

    async def _noted(self, request: web.Request) -> None:
        self.asked.append(request.path)
        if self.lie == "slow":
            await asyncio.sleep(60)


def _quoted(text: str) -> str:
    return urlencode({"": text})[1:]


def application(issuer: str) -> web.Application:
    provider, app = Provider(issuer), web.Application()
    app.router.add_post("/control", provider.control)
    app.router.add_get("/.well-known/openid-configuration", provider.metadata)
    app.router.add_get("/keys", provider.keys)
    app.router.add_get("/authorize", provider.authorize)
    app.router.add_post("/authorize", provider.signed_in)
    app.router.add_post("/token", provider.token)
    return app


def main() -> None:
    port, context = int(sys.argv[1]), None
    if len(sys.argv) > 2:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
    issuer = f"{'http' if context is None else 'https'}://localhost:{port}"
    web.run_app(
        application(issuer),
        host="127.0.0.1",
        port=port,
        ssl_context=context,
        print=lambda _: print("ready", flush=True),
        handle_signals=True,
    )


if __name__ == "__main__":
    main()
