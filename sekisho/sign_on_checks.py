"""Checks of ``[console.oidc]``: files that cannot be used, and what is weaker than it looks. It asks no provider: that
is `sekisho doctor`'s.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

from otp_core.settings.repeated import Remark
from otp_core.settings.sources import UnusableFile, read_private

if TYPE_CHECKING:
    from admin_web.console.oidc.settings import OidcSettings
    from sekisho.settings import Settings

_AT = ("console", "oidc")


def problems(settings: Settings) -> Iterator[Remark]:
    """What cannot be used."""
    section = _section(settings)
    if section is None:
        return
    try:
        if not read_private(section.client_secret_file).strip():
            yield (
                (*_AT, "client_secret_file"),
                f"{section.client_secret_file} is empty: write the client's secret into it",
            )
    except UnusableFile as error:
        yield (*_AT, "client_secret_file"), str(error)
    if section.ca_file is not None:
        try:
            ssl.create_default_context(cafile=section.ca_file)
        except (OSError, ssl.SSLError):
            yield (*_AT, "ca_file"), f"{section.ca_file} holds no certificates in PEM form"


def risks(settings: Settings) -> Iterator[Remark]:
    """What works, but is weaker than it looks."""
    section = _section(settings)
    if section is None:
        return
    if section.issuer.startswith("http:"):
        yield (*_AT, "issuer"), "is asked without TLS: good enough to try it on this machine, and nowhere else"
    if section.roles_claim is None:
        text = (
            "is left out: the role kept here counts alone, and what the provider takes away from somebody takes no "
            "role away here"
        )
        yield (*_AT, "roles_claim"), text


def _section(settings: Settings) -> OidcSettings | None:
    return None if settings.console is None else settings.console.oidc
