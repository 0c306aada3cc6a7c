"""What `sekisho doctor` says about the single sign-on of the console's staff: the redirect URI to register, and whether
the provider answers as the settings expect. Nobody is signed in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from otp_core.checks import CheckResult, CheckState

if TYPE_CHECKING:
    from admin_web.console.oidc.provider import Metadata
    from admin_web.console.oidc.settings import OidcSettings
    from sekisho.settings import Settings

_CHECK = "single sign-on"


def examine_sign_on(settings: Settings) -> Iterator[CheckResult]:
    """The provider of [console.oidc], if there is one."""
    if settings.console is None or settings.console.oidc is None:
        return
    from admin_web.console.oidc.provider import ProviderSilent
    from admin_web.console.oidc.settings import AFTERWARDS_PATH, RETURN_PATH

    section = settings.console.oidc
    try:
        metadata, keys = asyncio.run(_asked(section))
    except ProviderSilent as cause:
        text = f"{cause}; until then nobody signs in by it, and every other way is open"
        yield CheckResult(CheckState.FAIL, _CHECK, text)
    else:
        yield CheckResult(CheckState.OK, _CHECK, f"{section.issuer} answers, with {keys} keys")
        if metadata.end_session_endpoint is not None:
            afterwards = f"{settings.console.public_origin}{AFTERWARDS_PATH}"
            text = f"the post-logout redirect URI to register, to the letter: {afterwards}"
            yield CheckResult(CheckState.OK, _CHECK, text)
        if not metadata.pkce:
            text = f"{section.issuer} does not say that it knows PKCE (S256): allow it for the client there"
            yield CheckResult(CheckState.WARN, _CHECK, text)
    uri = f"{settings.console.public_origin}{RETURN_PATH}"
    yield CheckResult(CheckState.OK, _CHECK, f"the redirect URI to register, to the letter: {uri}")


async def _asked(section: OidcSettings) -> tuple[Metadata, int]:
    """What the provider says of itself, and how many keys it has. Raises ProviderSilent."""
    from admin_web.console.oidc.asking import client_secret
    from admin_web.console.oidc.provider import Provider

    provider = Provider(section, client_secret(section), time.monotonic)
    try:
        return await provider.metadata(), len(await provider.keys())
    finally:
        await provider.close()
