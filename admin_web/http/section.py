"""What every section of an HTTP listener has: TLS by files, and the proxies that are believed. Values only."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from otp_core.settings.section import ExistingPath, ExistingSecretPath, Section
from otp_core.settings.values import Network


class HttpSection(Section):
    """Something that speaks HTTP: by itself with TLS, or behind a proxy that does."""

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
        "them is the browser's address.",
    )

    @model_validator(mode="after")
    def _both_tls_files(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("needs both tls_certificate and tls_key, or neither of them")
        return self
