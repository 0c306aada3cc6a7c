"""One request to the provider: what it is for, and what its answer has to bring back. The browser keeps it, sealed.

Nothing is kept here of a request that nobody comes back from, so strangers use nothing up. That an answer is good once,
the store sees to (``use_sign_on``).
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from urllib.parse import urlencode

from aiohttp import web

from admin_web.console.oidc.provider import Metadata
from admin_web.console.oidc.settings import OidcSettings
from otp_core.sealing import KeyProblem, Sealer

FLOW_SECONDS = 600
"""For so long the provider's answer is waited for."""

_SEALED_FOR = b"single sign-on"
_LONGEST_COOKIE = 3000
_RANDOM_BYTES = 32


class Purpose(StrEnum):
    """What the provider is asked for."""

    SIGN_IN = "sign-in"
    CONFIRM = "confirm"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Flow:
    """``back``: the page of ours to go to afterwards. ``asked_at``: ms since the epoch. ``session``: digest of the
    session that it belongs to, in hex; empty for a sign-in. ``issuer``: who was asked."""

    purpose: Purpose
    issuer: str
    back: str
    asked_at: int
    session: str = ""
    state: str = field(default_factory=lambda: secrets.token_urlsafe(_RANDOM_BYTES), repr=False)
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(_RANDOM_BYTES), repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(_RANDOM_BYTES), repr=False)

    @property
    def fresh(self) -> bool:
        """Whether the person has to sign in at the provider anew."""
        return self.purpose is not Purpose.SIGN_IN


class FlowCookie:
    """Keeps a flow in the browser. It goes along when the provider sends the browser back, hence Lax; the session's own
    cookie does not."""

    def __init__(self, sealer: Sealer, *, secure: bool) -> None:
        self._sealer, self._secure = sealer, secure
        self._name = "__Host-console-oidc" if secure else "console-oidc"
        self._digest = sealer.session_digest(_SEALED_FOR)

    def set(self, response: web.StreamResponse, flow: Flow) -> None:
        """Send the browser a flow, in the place of the one that it had."""
        sealed = self._sealer.seal_data(json.dumps(asdict(flow)).encode(), self._digest)
        value = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
        response.set_cookie(
            self._name, value, max_age=FLOW_SECONDS, httponly=True, secure=self._secure, samesite="Lax", path="/"
        )

    def delete(self, response: web.StreamResponse) -> None:
        """Make the browser forget its flow."""
        response.del_cookie(self._name, httponly=True, secure=self._secure, samesite="Lax", path="/")

    def flow(self, request: web.Request, now: int) -> Flow | None:
        """The browser's flow; None if it has none, or it is too old. ``now``: ms since the epoch."""
        value = request.cookies.get(self._name, "")
        if not value or len(value) > _LONGEST_COOKIE or not value.isascii():
            return None
        try:
            sealed = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
            found = json.loads(self._sealer.unseal_data(sealed, self._digest))
        except (ValueError, KeyProblem):
            return None
        flow = Flow(**{**found, "purpose": Purpose(found["purpose"])})
        return flow if 0 <= now - flow.asked_at <= FLOW_SECONDS * 1000 else None


def address_to_leave(metadata: Metadata, section: OidcSettings, afterwards: str) -> str | None:
    """Where the browser ends the provider's session (OpenID Connect RP-Initiated Logout 1.0 section 2), to come back to
    ``afterwards``; None where the provider has no such page.

    No id_token_hint: the ID token would have to be kept as long as the session, and says more of somebody than anything
    else here. The provider asks the person instead whether it is they who leave."""
    if metadata.end_session_endpoint is None:
        return None
    fields = {"client_id": section.client_id, "post_logout_redirect_uri": afterwards}
    joint = "&" if "?" in metadata.end_session_endpoint else "?"
    return f"{metadata.end_session_endpoint}{joint}{urlencode(fields)}"


def address_to_ask(metadata: Metadata, section: OidcSettings, redirect_uri: str, flow: Flow) -> str:
    """Where the browser asks for a code (OpenID Connect Core 1.0 section 3.1.2.1, RFC 7636 section 4.3)."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(flow.verifier.encode()).digest()).decode().rstrip("=")
    fields = {
        "response_type": "code",
        "client_id": section.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(section.scopes),
        "state": flow.state,
        "nonce": flow.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    if flow.fresh:
        fields |= {"prompt": "login", "max_age": "0"}
    if section.acr_values:
        fields["acr_values"] = " ".join(section.acr_values)
    joint = "&" if "?" in metadata.authorization_endpoint else "?"
    return f"{metadata.authorization_endpoint}{joint}{urlencode(fields)}"
