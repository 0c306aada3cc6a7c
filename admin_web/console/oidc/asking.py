"""Asks the provider of the settings about a person, and says what its answer is worth. No page and no session."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from admin_web.console.oidc.flow import Flow, address_to_ask, address_to_leave
from admin_web.console.oidc.provider import Metadata, Provider, ProviderSilent
from admin_web.console.oidc.settings import AFTERWARDS_PATH, RETURN_PATH, OidcSettings
from admin_web.console.oidc.tokens import Expected, Identity, UnknownKey, identity_in, role_in
from admin_web.console.passkeys import WrongAnswer
from admin_web.http.security import is_same_text
from otp_core.accounts import SignOnAnswer
from otp_core.settings.sources import UnusableFile, read_private

ANSWER_FIELDS = ("code", "state", "iss", "error")
"""What of a provider's answer is looked at (RFC 6749 section 4.1.2, RFC 9207)."""


class Denied(WrongAnswer):
    """The provider says that the person is not signed in: they have turned back, or may not."""


class Asking:
    """``section``: as the settings have it now, None without a provider; ``origin``: the console's; ``now``: seconds
    since the epoch."""

    def __init__(self, section: Callable[[], OidcSettings | None], origin: str, now: Callable[[], float]) -> None:
        self.section, self._now = section, now
        self._redirect_uri, self._afterwards = origin + RETURN_PATH, origin + AFTERWARDS_PATH
        self._provider: Provider | None = None

    async def address(self, flow: Flow) -> str:
        """Where the browser has to go. Raises ProviderSilent."""
        provider = await self._current()
        return address_to_ask(await provider.metadata(), provider.section, self._redirect_uri, flow)

    async def address_to_leave(self) -> str | None:
        """Where the browser ends the provider's session; None where that has no such page. Raises ProviderSilent."""
        provider = await self._current()
        return address_to_leave(await provider.metadata(), provider.section, self._afterwards)

    async def answer(self, fields: Mapping[str, str], flow: Flow) -> SignOnAnswer:
        """What the provider has answered, by what the browser brought back from it. The code is used up. Raises
        WrongAnswer, ProviderSilent."""
        if not is_same_text(fields.get("state", ""), flow.state):
            raise WrongAnswer("an answer to another request (state)")
        provider = await self._current()
        section, metadata = provider.section, await provider.metadata()
        _check_issuer(fields, flow, section.issuer, metadata)
        if "error" in fields:
            raise Denied("the provider has signed nobody in")
        tokens = await provider.exchange(fields.get("code", ""), flow.verifier, self._redirect_uri)
        expected = Expected(
            section.issuer,
            section.client_id,
            flow.nonce,
            tokens.access_token,
            asked_at=flow.asked_at / 1000,
            now=self._now(),
            fresh=flow.fresh,
            acr_values=section.acr_values,
        )
        found = await _identity(provider, tokens.id_token, expected)
        role = role_in(found.claims, section.roles_claim, section.roles)
        return SignOnAnswer(section.issuer, found.subject, flow.asked_at, found.fresh, found.called, role)

    async def close(self, _: object = None) -> None:
        """Close the connections."""
        if self._provider is not None:
            await self._provider.close()

    async def _current(self) -> Provider:
        """The provider of the settings as they are now. Raises ProviderSilent."""
        section = self.section()
        if section is None:
            raise ProviderSilent("the settings have no [console.oidc] any more")
        if self._provider is None or self._provider.section is not section:
            made = Provider(section, client_secret(section), time.monotonic)
            before, self._provider = self._provider, made
            if before is not None:
                await before.close()
        return self._provider


def client_secret(section: OidcSettings) -> str:
    """The secret in its file. Raises ProviderSilent for one that cannot be used."""
    try:
        secret = read_private(section.client_secret_file).decode().strip()
    except (UnusableFile, UnicodeDecodeError) as error:
        cause = "is no text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ProviderSilent(f"client_secret_file: {cause}") from None
    if not secret:
        raise ProviderSilent(f"client_secret_file {section.client_secret_file} is empty")
    return secret


def _check_issuer(fields: Mapping[str, str], flow: Flow, issuer: str, metadata: Metadata) -> None:
    """That the provider which answers is the one that was asked (RFC 9207). Raises WrongAnswer."""
    if flow.issuer != issuer:
        raise WrongAnswer("an answer to a request of before the settings named this provider")
    if "iss" not in fields and metadata.says_issuer:
        raise WrongAnswer("the answer does not say whose it is, which this provider always says (iss)")
    if fields.get("iss", issuer) != issuer:
        raise WrongAnswer("an answer of another provider (iss)")


async def _identity(provider: Provider, token: str, expected: Expected) -> Identity:
    """With the keys that are known, and once more with new ones. Raises WrongAnswer, ProviderSilent."""
    try:
        return identity_in(token, await provider.keys(), expected)
    except UnknownKey:
        return identity_in(token, await provider.keys(anew=True), expected)
