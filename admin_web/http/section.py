"""What every settings section of an HTTP site has: address, origin, TLS by files, trusted proxies. Values only."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from otp_core.settings.section import ExistingPath, ExistingSecretPath, Section
from otp_core.settings.values import Listen, Network, Origin


class HttpSection(Section):
    """An HTTP listener: with TLS by itself, or behind a proxy that terminates TLS.

    A site's section declares ``listen`` and ``public_origin`` again, with its own default and description.
    """

    tls_certificate: ExistingPath | None = Field(
        default=None,
        description="PEM file with the certificate chain, where no proxy speaks TLS; read again on SIGHUP.",
    )
    tls_key: ExistingSecretPath | None = Field(
        default=None,
        description="PEM file with its private key. A relative path is looked for in the secrets folder if there is "
        "one, otherwise beside this file.",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        default=(),
        description="Proxies whose X-Forwarded-For is believed, as addresses or networks: the last hop that is none of "
        "them is the browser's address. Forwarded (RFC 7239) is never read.",
    )
    listen: Listen
    public_origin: Origin

    @model_validator(mode="after")
    def _both_tls_files(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("needs both tls_certificate and tls_key, or neither of them")
        return self
