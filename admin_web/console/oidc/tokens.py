"""ID tokens: whether one is the provider's, for this console and this request, and fresh; what it says of somebody.
Pure: no socket, no clock, no store.

The arithmetic of signatures is PyJWT's. Which algorithms count, which key verifies, and every claim is decided here
(OpenID Connect Core 1.0 section 3.1.3.7; RFC 8725).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any

from jwt import PyJWK, PyJWS
from jwt.exceptions import PyJWTError

from admin_web.console.passkeys import WrongAnswer
from otp_core.model import Role

LEEWAY_SECONDS = 30
"""By how much the provider's clock may differ from ours."""

LONGEST_TOKEN = 16_384
"""Characters of an ID token."""

KEY_OF_ALGORITHM = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""The algorithms that count, with type and curve of the key of each (RFC 7518, RFC 8037). None of them verifies with
anything but a public key, so a published key is never taken for a shared secret."""

_HASH_OF_ALGORITHM = {"EdDSA": hashlib.sha512}
"""For at_hash; the others' is SHA-256."""

_LONGEST_SUBJECT, _LONGEST_CALLED, _MOST_ROLES = 255, 100, 1000
_ROLES = tuple(Role)
_FAR = 1e12
"""Seconds: no moment of a token is beyond."""
_JWS = PyJWS(options={"enforce_minimum_key_length": True})


class NoRole(WrongAnswer):
    """The provider gives somebody no role here."""


class UnknownKey(WrongAnswer):
    """The provider's keys, as far as they are known, have none for this token."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an ID token has to fit. ``asked_at`` and ``now``: seconds since the epoch. ``fresh``: the person has to have
    signed in for this request. ``acr_values``: one of these, if there are any."""

    issuer: str
    client_id: str
    nonce: str = field(repr=False)
    access_token: str = field(repr=False)
    asked_at: float
    now: float
    fresh: bool = False
    acr_values: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """Of whom a token speaks. ``called``: for people to read. ``fresh``: they have signed in for this request."""

    subject: str
    called: str
    fresh: bool
    claims: Mapping[str, Any] = field(repr=False)


def identity_in(token: str, keys: Sequence[Mapping[str, Any]], expected: Expected) -> Identity:
    """Of whom an ID token speaks. ``keys``: the provider's (RFC 7517). Raises WrongAnswer."""
    header = _header(token)
    algorithm = str(header.get("alg"))
    if algorithm not in KEY_OF_ALGORITHM:
        raise WrongAnswer(f"the token is not signed by an algorithm that counts ({', '.join(KEY_OF_ALGORITHM)})")
    if "crit" in header:
        raise WrongAnswer("the token's header demands what is not known here (crit)")
    key = _key(header, algorithm, keys)
    try:
        payload = _JWS.decode(token, key, algorithms=[algorithm])
    except (PyJWTError, ValueError, TypeError):
        raise WrongAnswer("the token's signature is wrong") from None
    claims = _object(payload, "the token's claims")
    fresh = _check_claims(claims, algorithm, expected)
    return Identity(_subject(claims), _called(claims), fresh, claims)


def role_in(claims: Mapping[str, Any], claim: str | None, roles: Mapping[str, Role]) -> Role | None:
    """The most that the provider lets somebody do: of several values, the one that may do more counts. None where the
    settings name no claim. Raises NoRole if it gives them none."""
    if claim is None:
        return None
    found = [roles[value] for value in _values(claims, claim) if value in roles]
    if not found:
        raise NoRole("the roles claim gives no role here")
    return max(found, key=_ROLES.index)


def _values(claims: Mapping[str, Any], claim: str) -> Iterator[str]:
    """The texts of a claim: of this very name, or inside others where the name has dots."""
    found: Any = claims
    for name in [claim] if claim in claims else claim.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    listed = found if isinstance(found, list) else [found]
    yield from (value for value in listed[:_MOST_ROLES] if isinstance(value, str))


def _header(token: str) -> dict[str, Any]:
    if len(token) > LONGEST_TOKEN:
        raise WrongAnswer(f"the token has more than {LONGEST_TOKEN} characters")
    first, _, rest = token.partition(".")
    if rest.count(".") != 1:
        raise WrongAnswer("the token is no signed token of three parts")
    try:
        octets = base64.urlsafe_b64decode(first + "=" * (-len(first) % 4))
    except ValueError:
        raise WrongAnswer("the token's header is not base64") from None
    return _object(octets, "the token's header")


def _object(octets: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(octets)
    except (ValueError, RecursionError):
        raise WrongAnswer(f"{what} are not JSON" if what.endswith("s") else f"{what} is not JSON") from None
    if not isinstance(found, dict):
        raise WrongAnswer(f"{what}: no JSON object")
    return found


def _key(header: Mapping[str, Any], algorithm: str, keys: Sequence[Mapping[str, Any]]) -> PyJWK:
    """The one key that the token can have been signed with. Raises UnknownKey."""
    fitting = [
        key for key in keys if _fits(key, algorithm) and ("kid" not in header or key.get("kid") == header["kid"])
    ]
    if len(fitting) != 1:
        raise UnknownKey("the provider has no key for this token, or several that it could be")
    try:
        return PyJWK(dict(fitting[0]), algorithm)
    except (PyJWTError, ValueError, TypeError, KeyError):
        raise UnknownKey("the provider's key for this token cannot be used") from None


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    kind, curve = KEY_OF_ALGORITHM[algorithm]
    return (
        key.get("kty") == kind
        and (curve is None or key.get("crv") == curve)
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    )


def _check_claims(claims: Mapping[str, Any], algorithm: str, expected: Expected) -> bool:
    """Whether the person has signed in for this request. Raises WrongAnswer."""
    if claims.get("iss") != expected.issuer:
        raise WrongAnswer("the token is of another issuer")
    _check_audience(claims, expected.client_id)
    now, asked_at = expected.now, expected.asked_at
    if _moment(claims, "exp") <= now - LEEWAY_SECONDS:
        raise WrongAnswer("the token has expired")
    if not asked_at - LEEWAY_SECONDS <= _moment(claims, "iat") <= now + LEEWAY_SECONDS:
        raise WrongAnswer("the token was not made for this request, or one of the clocks is wrong (iat)")
    if "nbf" in claims and _moment(claims, "nbf") > now + LEEWAY_SECONDS:
        raise WrongAnswer("the token is not good yet, or one of the clocks is wrong (nbf)")
    if not _is_same(claims.get("nonce"), expected.nonce):
        raise WrongAnswer("the token was made for another request (nonce)")
    if "at_hash" in claims and not _is_same(claims["at_hash"], _half_hash(algorithm, expected.access_token)):
        raise WrongAnswer("the token belongs to another access token (at_hash)")
    if expected.acr_values and claims.get("acr") not in expected.acr_values:
        raise WrongAnswer("the person has not signed in at the provider in a way that counts (acr)")
    return _is_fresh(claims, expected)


def _check_audience(claims: Mapping[str, Any], client_id: str) -> None:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if client_id not in audiences:
        raise WrongAnswer("the token is for another client (aud)")
    if len(audiences) > 1 and "azp" not in claims:
        raise WrongAnswer("the token is for several clients, and does not say who asked (azp)")
    if claims.get("azp", client_id) != client_id:
        raise WrongAnswer("another client has asked for the token (azp)")


def _is_fresh(claims: Mapping[str, Any], expected: Expected) -> bool:
    """Raises WrongAnswer if it has to be, and is not."""
    fresh = "auth_time" in claims and _moment(claims, "auth_time") >= expected.asked_at - LEEWAY_SECONDS
    if fresh and _moment(claims, "auth_time") > expected.now + LEEWAY_SECONDS:
        raise WrongAnswer("the person is to sign in only later, or one of the clocks is wrong (auth_time)")
    if expected.fresh and not fresh:
        raise WrongAnswer("the provider does not say that the person has signed in just now (auth_time)")
    return fresh


def _moment(claims: Mapping[str, Any], name: str) -> float:
    """A moment in seconds since the epoch. Raises WrongAnswer."""
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < _FAR:
        raise WrongAnswer(f"the token says no time in {name}")
    return found


def _is_same(one: object, other: str) -> bool:
    return isinstance(one, str) and compare_digest(one.encode("utf-8", "replace"), other.encode())


def _half_hash(algorithm: str, access_token: str) -> str:
    """OpenID Connect Core 1.0 section 3.1.3.6."""
    digest = _HASH_OF_ALGORITHM.get(algorithm, hashlib.sha256)(access_token.encode("utf-8", "replace")).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).decode().rstrip("=")


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
        raise WrongAnswer("the token names nobody (sub)")
    return subject


def _called(claims: Mapping[str, Any]) -> str:
    """What people call them; empty if the token does not say. Nobody is found by it."""
    for name in ("preferred_username", "email", "name"):
        found = claims.get(name)
        if isinstance(found, str) and (text := "".join(one for one in found if one.isprintable()).strip()):
            return text[:_LONGEST_CALLED]
    return ""
