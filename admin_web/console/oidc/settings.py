"""The settings of staff's single sign-on, ``[console.oidc]``: names, units, limits and defaults. Values only."""

from __future__ import annotations

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from otp_core.model import Role
from otp_core.settings.addresses import can_be_looked_up
from otp_core.settings.section import ExistingPath, ExistingSecretPath, Section, seconds

RETURN_PATH = "/sign-in/oidc/return"
"""Where the provider sends browsers back to, below the console's public_origin."""

AFTERWARDS_PATH = "/sign-in/oidc/left"
"""The same after somebody has signed out there."""

_HERE = ("localhost", "127.0.0.1", "::1")
_LONGEST_VALUE = 200


def is_safe_url(url: str, *, plain_here: bool = True) -> bool:
    """Whether a provider may be asked at this address: https, or http on this machine, without a name and password in
    it and without a fragment."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return (
        len(url) <= 2000
        and url.isascii()
        and url.isprintable()
        and " " not in url
        and bool(parts.hostname)
        and can_be_looked_up(parts.hostname or "")
        and port != 0
        and parts.username is None
        and not parts.fragment
        and (parts.scheme == "https" or (plain_here and parts.scheme == "http" and parts.hostname in _HERE))
    )


def read_issuer(text: str) -> str:
    """An issuer as the provider writes it, to the letter (OpenID Connect Core 1.0, section 2). Raises ValueError."""
    if not is_safe_url(text) or urlsplit(text).query:
        raise ValueError(
            "is no issuer that can be trusted: write the https:// address that the provider gives as its issuer, to "
            'the letter, "https://login.example.jp/realms/bank" (http is for localhost only)'
        )
    return text


def read_values(roles: dict[str, Role]) -> dict[str, Role]:
    """Raises ValueError for a value that nobody could have."""
    for value in roles:
        if not 1 <= len(value) <= _LONGEST_VALUE or not value.isprintable():
            raise ValueError(f"holds a value that is empty, unprintable or longer than {_LONGEST_VALUE} characters")
    return roles


def read_words(words: tuple[str, ...]) -> tuple[str, ...]:
    """Check what is put into one text with spaces between (RFC 6749 section 3.3). Raises ValueError."""
    for one in words:
        if not 1 <= len(one) <= _LONGEST_VALUE or not one.isascii() or not one.isprintable() or set(one) & set(' "\\'):
            raise ValueError(
                f"holds a value that is none: up to {_LONGEST_VALUE} ASCII characters, without spaces and quotes"
            )
    return words


class OidcSettings(Section):
    """Single sign-on of staff at an OpenID provider. Without this section: none."""

    issuer: Annotated[str, AfterValidator(read_issuer)] = Field(
        max_length=500,
        description="The provider's issuer, to the letter; what else has to be known of it is read from "
        "ISSUER/.well-known/openid-configuration. Register the redirect URI PUBLIC_ORIGIN/sign-in/oidc/return there.",
        json_schema_extra={"examples": ["https://login.example.jp/realms/bank"]},
    )
    client_id: str = Field(
        min_length=1, max_length=200, description="The name under which the provider knows the console."
    )
    client_secret_file: ExistingSecretPath = Field(
        description="File with the secret that the provider has given the console; read again on SIGHUP. A relative "
        "path is looked for in the secrets folder if there is one, otherwise beside this file."
    )
    ca_file: ExistingPath | None = Field(
        default=None, description="CA certificates to check the provider's certificate with (left out: the system's)."
    )
    scopes: Annotated[tuple[str, ...], AfterValidator(read_words)] = Field(
        default=("openid", "profile"),
        max_length=20,
        description="What the provider is asked for; openid has to be among it.",
    )
    roles_claim: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="The claim of the ID token that says what somebody may do: a text or a list of texts. "
        "`realm_access.roles` is looked for inside, too. Left out: the role kept here counts alone.",
        json_schema_extra={"examples": ["groups"]},
    )
    roles: Annotated[dict[str, Role], AfterValidator(read_values)] = Field(
        default_factory=dict,
        max_length=100,
        description="Values of that claim, and which role each gives. The session gets the least of that and of the "
        "role kept here; who has none of them is not let in.",
        json_schema_extra={"examples": [{"sekisho-counter": "operator"}]},
    )
    acr_values: Annotated[tuple[str, ...], AfterValidator(read_words)] = Field(
        default=(),
        max_length=20,
        description="Ways to sign in at the provider (its `acr`) of which one is demanded; left out: any.",
    )
    timeout: float = seconds(5.0, 0.5, 30, "Seconds until a provider that does not answer is given up.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if "openid" not in self.scopes:
            raise ValueError('scopes needs "openid": without it the provider gives no ID token')
        if (self.roles_claim is None) != (not self.roles):
            raise ValueError("roles_claim and roles go together: give both, or neither")
        return self
