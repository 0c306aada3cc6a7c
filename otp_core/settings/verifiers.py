"""The section ``[[verifiers]]``: services that know the codes of tokens whose seed nobody here has. Names, units,
limits and defaults, and which keys go together. Values only; opens no file and no socket.

What can only be judged beside other sections (an unknown upstream) is found in the program's checks.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from otp_core.settings.addresses import can_be_looked_up, shown
from otp_core.settings.section import ExistingPath, ExistingSecretPath, KeysOfType, Section, count, fit_type, seconds
from otp_core.settings.values import ClientName, Day

LOCAL = "local"
"""The verifier that needs no section: codes are computed from the seeds in the store."""

VerifierType = Literal["local", "vip", "radius"]

_PATTERN = re.compile(r"[A-Z0-9]{2,32}\*?")
_VERSION = re.compile(r"[0-9]{1,3}_[0-9]{1,3}")


def read_url(text: str) -> str:
    """An https:// address without anything behind its path. Raises ValueError."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = None, None
    if (
        parts is None
        or parts.scheme != "https"
        or not parts.hostname
        or port == 0
        or parts.username is not None
        or parts.query
        or parts.fragment
        or not text.isascii()
        or not text.isprintable()
        or " " in text
        or not can_be_looked_up(parts.hostname)
    ):
        raise ValueError(
            f'{shown(text)} is no address of VIP: write "https://userservices-auth.vip.symantec.com/vipuserservices"'
        )
    return text.rstrip("/")


def read_patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Each is a token ID, or how one begins with a * behind it; two letters or digits at least. Raises ValueError."""
    for one in patterns:
        if not _PATTERN.fullmatch(one):
            raise ValueError(
                f'{one[:40]!r} is no pattern of token IDs: write how they begin, two letters or more, and a *: "VSMT*"'
            )
    if len(set(patterns)) != len(patterns):
        raise ValueError("names a pattern twice")
    return patterns


def read_versions(versions: tuple[str, ...]) -> tuple[str, ...]:
    """Raises ValueError."""
    for one in versions:
        if not _VERSION.fullmatch(one):
            raise ValueError(f'{one[:20]!r} is no version of the API: write the end of its path, "1_10"')
    if len(set(versions)) != len(versions):
        raise ValueError("names a version twice")
    return versions


_KEYS_OF_TYPE: KeysOfType = {
    "local": (frozenset(), frozenset()),
    "vip": (
        frozenset({"url", "certificate", "key"}),
        frozenset({"ca_file", "patterns", "versions", "timeout", "connections", "max_waiting", "leave_by"}),
    ),
    "radius": (frozenset({"upstream"}), frozenset({"patterns", "leave_by"})),
}
"""For each type: the keys that it needs, and those that it may have, beside name and type."""


class VerifierSettings(Section):
    """A verifier: who knows the codes of the tokens that name it."""

    model_config = ConfigDict(json_schema_extra={"required": ["name", "type"]})

    name: ClientName = Field(description="Its name: that of token import --verifier, and in logs.")
    type: VerifierType = Field(
        default="local",
        description="Who is asked: nobody, because the seeds are kept here (local), VIP User Services (vip), or RADIUS "
        "servers that take the code alone as User-Password (radius).",
    )
    url: Annotated[str, AfterValidator(read_url)] | None = Field(
        default=None,
        max_length=500,
        description="Type vip: where VIP User Services are, without the service's own name.",
        json_schema_extra={"examples": ["https://userservices-auth.vip.symantec.com/vipuserservices"]},
    )
    certificate: ExistingPath | None = Field(
        default=None, description="Type vip: the file of the bank's VIP client certificate, PEM."
    )
    key: ExistingSecretPath | None = Field(
        default=None,
        description="Type vip: the file of its private key, PEM, without a passphrase. A relative path is looked for "
        "in the secrets folder if there is one, otherwise beside this file.",
    )
    ca_file: ExistingPath | None = Field(
        default=None,
        description="Type vip: CA certificates to check VIP's certificate with (left out: the system's). Name all that "
        "VIP may move to: its roots change.",
    )
    versions: Annotated[tuple[str, ...], AfterValidator(read_versions)] = Field(
        default=("1_10", "1_8", "1_6"),
        min_length=1,
        max_length=8,
        description="Type vip: versions of the API, as the paths end in, the newest first: the first that answers is "
        "used.",
    )
    timeout: float = seconds(
        4.0, 0.1, 30, "Type vip: seconds for VIP to answer one call. At a login the client's request_seconds end it."
    )
    connections: int = count(16, 1, 256, "Type vip: calls that each process makes at once.")
    max_waiting: int = count(
        256, 1, 10_000, "Type vip: codes that may wait for that in each process; further ones get no answer."
    )
    upstream: str | None = Field(
        default=None,
        description="Type radius: the name of one of [[upstreams]]. After a code was sent no other server is asked.",
    )
    patterns: Annotated[tuple[str, ...], AfterValidator(read_patterns)] = Field(
        default=(),
        max_length=64,
        description="Token IDs that a customer may enrol though they are not in the inventory: how they begin, and a "
        "*. They become tokens of this verifier.",
        json_schema_extra={"examples": [["VSMT*", "VSST*", "SYMC*", "SYDC*"]]},
    )

    leave_by: Day | None = Field(
        default=None,
        description="A day, 2027-03-31: from then on, logins with its tokens go on, and the Reply-Message asks the "
        "customer to change to a token of the bank's (reply_messages.change_token).",
    )

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        fit_type(self, self.type, _KEYS_OF_TYPE)
        if self.name == LOCAL and self.type != LOCAL:
            raise ValueError("the name local belongs to the seeds that are kept here: choose another")
        return self
