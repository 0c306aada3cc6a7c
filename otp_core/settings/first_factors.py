"""The sections ``[[upstreams]]`` and ``[[first_factors]]``: servers elsewhere that check a password. Names, units,
limits and defaults, and which keys go together. Values only; opens no file and no socket.

What can only be judged beside other sections (an unknown name, a cycle) is found in the program's checks.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from otp_core.settings import ldap
from otp_core.settings.addresses import Address
from otp_core.settings.section import (
    ExistingPath,
    ExistingSecretPath,
    KeysOfType,
    ReadSecretPath,
    Section,
    count,
    fit_type,
    seconds,
    yes_or_no,
)
from otp_core.settings.values import AskedServer, AttributeName, ClientName, Secret

LOCAL = "local"
"""The first factor that needs no section: the hashes kept in the store."""

FactorType = Literal["local", "radius", "ldap", "pam", "none"]
FirstFactorName = Annotated[str, Field(min_length=1, max_length=64)]


def first_factor_key(who: str) -> Any:
    """The field ``first_factor`` of a client, a profile or the pages. ``who``: whose passwords are meant."""
    return Field(
        default=LOCAL,
        min_length=1,
        max_length=64,
        description=f"Who checks the passwords of {who}: the name of one of [[first_factors]], or local, the hashes "
        "that are kept here.",
    )


def read_source(text: str) -> str:
    """The address to send from, in its shortest form. Raises ValueError."""
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError(f'{text[:60]!r} is not an IP address: write "192.0.2.1"') from None


class UpstreamSettings(Section):
    """RADIUS servers that are asked, with one secret; the first that answers decides."""

    model_config = ConfigDict(
        json_schema_extra={
            "required": ["name", "servers"],
            "oneOf": [{"required": ["secret"]}, {"required": ["secret_file"]}],
        }
    )

    name: ClientName = Field(description="Its name in [[first_factors]], logs and metrics.")
    servers: tuple[AskedServer, ...] = Field(
        min_length=1,
        max_length=16,
        description="Its servers in order of preference, as IP address and port; IPv6 in brackets.",
        json_schema_extra={"examples": [["192.0.2.10:1812", "192.0.2.11:1812"]]},
    )
    secret: Secret = Field(
        repr=False, description="The secret that is shared with them, 16 octets or more. Either this or secret_file."
    )
    secret_file: ReadSecretPath | None = Field(
        default=None,
        description="The file that holds that secret (one line end after it is dropped). A relative path is looked for "
        "in the secrets folder if there is one, otherwise beside this file.",
    )
    source: Annotated[str, AfterValidator(read_source)] | None = Field(
        default=None, description="The address to send from (left out: as the routing table says)."
    )
    timeout: float = seconds(2.0, 0.1, 30, "Seconds for one try.")
    tries: int = count(
        3,
        1,
        10,
        "Tries for one login, all servers together: the second one goes to the next server. The client's "
        "request_seconds end them in any case.",
    )
    dead_seconds: float = seconds(
        30.0, 0.1, 3600, "Seconds for which a server that did not answer is asked only after the others."
    )
    status_server: bool = yes_or_no(
        True,
        "Send Status-Server (RFC 5997): at the start, when nothing was heard for a while, and until a dead server "
        "answers. Any valid reply revives a server.",
    )
    require_message_authenticator: bool = yes_or_no(
        True, "Ignore replies without Message-Authenticator. False: replies can be forged (CVE-2024-3596)."
    )
    relay_attributes: tuple[AttributeName, ...] = Field(
        default=(),
        max_length=100,
        description="Attributes of its Access-Accepts that clients with relay = true get, by their dictionary names.",
    )
    challenges: Literal["relay", "refuse"] = Field(
        default="relay",
        description="Questions of its own (an Access-Challenge: a new PIN, a next code): pass them on, or refuse the "
        "login.",
    )

    @field_validator("servers")
    @classmethod
    def _each_server_once(cls, servers: tuple[Address, ...]) -> tuple[Address, ...]:
        if len(set(servers)) != len(servers):
            raise ValueError("names a server twice")
        return servers

    @field_validator("source")
    @classmethod
    def _of_the_servers_version(cls, source: str | None, info: ValidationInfo) -> str | None:
        for server in info.data.get("servers", ()):
            if source is not None and (":" in source) != (":" in server.host):
                raise ValueError(f"{source} cannot send to {server}: one is IPv4, the other IPv6")
        return source

    @field_validator("relay_attributes")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("names an attribute twice")
        if tagged := [name for name in names if ":" in name]:
            raise ValueError(f'{tagged[0]}: attributes are relayed with whatever tag they have: write "Tunnel-Type"')
        return names


_SERVICE = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

_KEYS_OF_TYPE: KeysOfType = {
    "local": (frozenset(), frozenset()),
    "radius": (frozenset({"upstream"}), frozenset()),
    "ldap": (
        frozenset({"urls"}),
        ldap.OPTIONAL_KEYS,
    ),
    "pam": (frozenset({"service"}), frozenset({"timeout", "connections", "max_waiting"})),
    "none": (frozenset(), frozenset()),
}
"""For each type: the keys that it needs, and those that it may have, beside name and type."""


def pam_service(name: str) -> str:
    """Check the name of a PAM service. Raises ValueError."""
    if not _SERVICE.fullmatch(name):
        raise ValueError('is no file in /etc/pam.d: letters, digits, dots and hyphens, up to 64, such as "sekisho"')
    return name


class FirstFactorSettings(Section):
    """A first factor: who says whether a login password is right."""

    name: ClientName = Field(description="Its name, for first_factor of clients, profiles and pages.")
    type: FactorType = Field(
        default="local",
        description="Who is asked: the hashes in the store (local), RADIUS servers, a directory (ldap), the PAM stack "
        "of this machine (pam), or nobody, so that the code alone decides (none).",
    )
    upstream: str | None = Field(default=None, description="Type radius: the name of one of [[upstreams]].")
    service: Annotated[str, AfterValidator(pam_service)] | None = Field(
        default=None, description="Type pam: the service that is asked, a file in /etc/pam.d."
    )
    urls: Annotated[tuple[str, ...], AfterValidator(ldap.read_urls)] = Field(
        default=(),
        max_length=16,
        description="Type ldap: the directory's servers in order of preference: ldaps://HOST, or ldap://HOST with "
        "start_tls or to this machine. The certificate has to name HOST.",
    )
    start_tls: bool = yes_or_no(
        False,
        "Type ldap: begin TLS on a plain connection. Nothing else is sent before the certificate is verified.",
    )
    allow_plain_text: bool = yes_or_no(
        False, "Type ldap: let ldap:// without start_tls carry passwords in clear to another machine."
    )
    ca_file: ExistingPath | None = Field(
        default=None,
        description="Type ldap: CA certificates to check the servers' certificates with (left out: the system's).",
    )
    bind_dn: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Type ldap: the account that searches for customers, and may do nothing else (left out: nobody in "
        "particular).",
    )
    bind_password_file: ExistingSecretPath | None = Field(
        default=None,
        description="Type ldap: the file that holds this account's password (one line end after it is dropped). A "
        "relative path is looked for in the secrets folder if there is one, otherwise beside this file.",
    )
    base: Annotated[str, AfterValidator(ldap.read_dn)] | None = Field(
        default=None, min_length=1, max_length=1000, description="Type ldap: the DN below which customers are searched."
    )
    filter: Annotated[str, AfterValidator(ldap.read_filter)] = Field(
        default="(|(sAMAccountName={user})(userPrincipalName={user}))",
        min_length=1,
        max_length=2000,
        description="Type ldap: the search (RFC 4515); {user} is the name as it came, without DOMAIN\\, as a value "
        "that cannot change the filter. Two hits are refused.",
    )
    dn_template: Annotated[str, AfterValidator(ldap.read_template)] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Type ldap: what customers are bound as, in place of a search: a DN, or {user}@bank.example; "
        "{user} is the name without DOMAIN\\ and @realm.",
    )
    customer_attribute: Annotated[str, AfterValidator(ldap.read_attribute)] | None = Field(
        default=None,
        max_length=64,
        description="Type ldap: the attribute of an account that holds the contract ID, such as sAMAccountName (left "
        "out: the name as it came, without DOMAIN\\ and @realm).",
    )
    domains: Annotated[tuple[str, ...], AfterValidator(ldap.read_domains)] = Field(
        default=(),
        max_length=16,
        description="Type ldap: what may stand before a backslash in a name (left out: anything); with anything else "
        "it is nobody's name.",
    )
    groups: Annotated[tuple[str, ...], AfterValidator(ldap.read_dns)] = Field(
        default=(),
        max_length=100,
        description="Type ldap: the DNs of groups of which the customer has to be in one, also through other groups "
        "(left out: anybody who is found).",
    )
    group_base: Annotated[str, AfterValidator(ldap.read_dn)] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Type ldap: the DN below which groups are, where the server is no Active Directory (left out: "
        "base).",
    )
    timeout: float = seconds(
        2.0,
        0.1,
        30,
        "Type ldap: seconds for one server to answer, with all it is asked about a login. Type pam: for the stack; a "
        "process that takes longer is killed.",
    )
    dead_seconds: float = seconds(
        30.0, 0.1, 3600, "Type ldap: seconds for which a server that did not answer is asked only after the others."
    )
    connections: int = count(
        8, 1, 256, "Types ldap and pam: logins that each process asks about at once; pam has a child process for each."
    )
    max_waiting: int = count(
        256,
        1,
        100_000,
        "Types ldap and pam: logins that may wait for that in each process; further ones get no answer.",
    )

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        fit_type(self, self.type, _KEYS_OF_TYPE)
        if self.name == LOCAL and self.type != LOCAL:
            raise ValueError("the name local belongs to the hashes that are kept here: choose another")
        if self.type == "ldap":
            ldap.check_together(self)
        return self
