"""The OpenID provider over HTTP: its metadata, its keys, and the exchange of a code. Every answer is bounded in time
and size; no redirect is followed, no proxy of the environment is used. What an answer means, tokens.py says.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlsplit

import aiohttp

from admin_web.console.oidc.settings import OidcSettings, is_safe_url
from admin_web.console.oidc.tokens import KEY_OF_ALGORITHM
from admin_web.console.passkeys import WrongAnswer

KNOWN_SECONDS = 3600.0
"""For so long metadata and keys are not asked for again."""
NEW_KEY_SECONDS = 30.0
"""Between two looks for a key that is not known yet: tokens with invented keys make no more."""
SILENT_SECONDS = 5.0
"""A provider that did not answer is not asked again for so long."""

_PRIVATE = "d"
"""What of a key that signs is secret, of every kind that counts (RFC 7518 sections 6.2.2 and 6.3.2, RFC 8037)."""
_MOST_OCTETS = 262_144
_MOST_KEYS = 100
_MOST_CONNECTIONS = 16
_ERROR = re.compile(r"[a-z_]{1,40}")


class ProviderSilent(Exception):
    """The provider cannot be asked, or answers what no provider answers. The text is for whoever looks after the
    server."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What has to be known of a provider (OpenID Connect Discovery 1.0). ``says_issuer``: its answers name their issuer
    (RFC 9207). ``secret_in_form``: it takes the client's secret only there. ``pkce``: it says that it knows S256."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    says_issuer: bool
    secret_in_form: bool
    pkce: bool
    end_session_endpoint: str | None = None
    """Where people sign out there; None: the provider has no such page, or none that can be trusted."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a code was exchanged for."""

    id_token: str = field(repr=False)
    access_token: str = field(repr=False)


class Provider:
    """One provider, of a process. Made in the running loop. ``secret``: the client's; ``clock``: seconds, monotonic.
    Raises ProviderSilent if the CA file cannot be used."""

    def __init__(self, section: OidcSettings, secret: str, clock: Callable[[], float]) -> None:
        self.section, self._secret, self._clock = section, secret, clock
        self._lock = asyncio.Lock()
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, list[dict[str, Any]]] | None = None
        self._silent: tuple[float, str] | None = None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_MOST_CONNECTIONS, ssl=_trust(section)),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "Sekisho"},
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def metadata(self) -> Metadata:
        """Raises ProviderSilent."""
        async with self._lock:
            if self._metadata is None or self._clock() - self._metadata[0] > KNOWN_SECONDS:
                url = f"{self.section.issuer.rstrip('/')}/.well-known/openid-configuration"
                found = read_metadata(await self._known(url), self.section.issuer)
                self._metadata = self._clock(), found
            return self._metadata[1]

    async def keys(self, *, anew: bool = False) -> Sequence[Mapping[str, Any]]:
        """The provider's keys. ``anew``: one is missing; asked for again unless that was just done. Raises
        ProviderSilent."""
        url = (await self.metadata()).jwks_uri
        async with self._lock:
            age = float("inf") if self._keys is None else self._clock() - self._keys[0]
            if self._keys is None or age > (NEW_KEY_SECONDS if anew else KNOWN_SECONDS):
                self._keys = self._clock(), read_keys(await self._known(url))
            return self._keys[1]

    async def exchange(self, code: str, verifier: str, redirect_uri: str) -> Tokens:
        """The tokens for a code (RFC 6749 section 4.1.3, RFC 7636 section 4.5). It is sent once. Raises WrongAnswer if
        the provider refuses it, ProviderSilent."""
        metadata = await self.metadata()
        client, fields = self.section.client_id, {"grant_type": "authorization_code", "code": code}
        fields |= {"redirect_uri": redirect_uri, "code_verifier": verifier, "client_id": client}
        headers = {}
        if metadata.secret_in_form:
            fields["client_secret"] = self._secret
        else:
            pair = f"{quote_plus(client)}:{quote_plus(self._secret)}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        status, answer = await self._asked("POST", metadata.token_endpoint, data=fields, headers=headers)
        if status != 200:
            error = answer.get("error")
            said = error if isinstance(error, str) and _ERROR.fullmatch(error) else f"HTTP status {status}"
            if said == "invalid_grant":
                raise WrongAnswer("the provider does not take the code: used before, expired or not its own")
            raise ProviderSilent(
                f"{metadata.token_endpoint} refuses the console ({said}): are client_id, secret and redirect URI right?"
            )
        return _tokens(answer)

    async def _known(self, url: str) -> dict[str, Any]:
        """The JSON object at an address that changes seldom; not asked for where it was just not there."""
        if self._silent is not None and self._clock() - self._silent[0] < SILENT_SECONDS:
            raise ProviderSilent(self._silent[1])
        try:
            status, answer = await self._asked("GET", url)
            if status != 200:
                raise ProviderSilent(f"{url} answers with HTTP status {status}")
        except ProviderSilent as cause:
            self._silent = self._clock(), str(cause)
            raise
        self._silent = None
        return answer

    async def _asked(self, method: str, url: str, **more: Any) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of an answer; of an error without one, an empty object. Raises ProviderSilent."""
        if self._session.closed:
            raise ProviderSilent("the settings were read again meanwhile: try once more")
        try:
            async with asyncio.timeout(self.section.timeout):
                async with self._session.request(method, url, allow_redirects=False, **more) as response:
                    octets = await _octets(response, url)
                    status = response.status
        except TimeoutError:
            raise ProviderSilent(f"{url} gives no answer within {self.section.timeout:g} s") from None
        except aiohttp.ClientConnectorCertificateError:
            raise ProviderSilent(
                f"{url} has a certificate that is not trusted: see ca_file, and the host's name"
            ) from None
        except aiohttp.ClientError as error:
            raise ProviderSilent(f"{url} cannot be asked: {type(error).__name__}") from None
        try:
            answer = json.loads(octets)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict):
            return status, answer
        if status == 200:
            raise ProviderSilent(f"{url} answers with something that is no JSON object")
        return status, {}


def read_metadata(found: Mapping[str, Any], issuer: str) -> Metadata:
    """Raises ProviderSilent for metadata of another issuer, or that cannot be used."""
    if found.get("issuer") != issuer:
        said = str(found.get("issuer"))
        shown = repr(said[:200]) if said.isprintable() else "something else"
        raise ProviderSilent(
            f"the provider calls itself {shown}, and the settings say {issuer!r}: it has to be the same to the letter"
        )
    plain_here = urlsplit(issuer).scheme == "http"
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        if not isinstance(found.get(name), str) or not is_safe_url(found[name], plain_here=plain_here):
            raise ProviderSilent(f"the provider's {name} is no https address")
    algorithms = found.get("id_token_signing_alg_values_supported")
    if isinstance(algorithms, list) and not KEY_OF_ALGORITHM.keys() & {str(one) for one in algorithms}:
        raise ProviderSilent(f"the provider signs by none of {', '.join(KEY_OF_ALGORITHM)}")
    methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    challenges, end_session = found.get("code_challenge_methods_supported"), found.get("end_session_endpoint")
    return Metadata(
        found["authorization_endpoint"],
        found["token_endpoint"],
        found["jwks_uri"],
        found.get("authorization_response_iss_parameter_supported") is True,
        isinstance(methods, list) and "client_secret_basic" not in methods and "client_secret_post" in methods,
        isinstance(challenges, list) and "S256" in challenges,
        end_session if isinstance(end_session, str) and is_safe_url(end_session, plain_here=plain_here) else None,
    )


def read_keys(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The keys of a JWK Set (RFC 7517 section 5). Raises ProviderSilent for what is none."""
    keys = found.get("keys")
    if not isinstance(keys, list) or len(keys) > _MOST_KEYS:
        raise ProviderSilent(f"the provider's keys are no list of at most {_MOST_KEYS}")
    found_keys = [key for key in keys if isinstance(key, dict)]
    if any(_PRIVATE in key for key in found_keys):
        raise ProviderSilent("the provider publishes a private key: tell who looks after it")
    return found_keys


def _tokens(answer: Mapping[str, Any]) -> Tokens:
    id_token, access_token = answer.get("id_token"), answer.get("access_token")
    if not isinstance(id_token, str):
        raise WrongAnswer("the provider gives no ID token")
    return Tokens(id_token, access_token if isinstance(access_token, str) else "")


async def _octets(response: aiohttp.ClientResponse, url: str) -> bytes:
    """All of an answer. Raises ProviderSilent for one that is too long or compressed."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        response.close()
        raise ProviderSilent(f"{url} compresses its answer, which nobody has asked for")
    received = bytearray()
    async for chunk in response.content.iter_chunked(16_384):
        received += chunk
        if len(received) > _MOST_OCTETS:
            response.close()
            raise ProviderSilent(f"{url} answers with more than {_MOST_OCTETS} octets")
    return bytes(received)


def _trust(section: OidcSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=section.ca_file)
    except (OSError, ssl.SSLError):
        raise ProviderSilent(f"ca_file {section.ca_file} holds no certificates in PEM form") from None
