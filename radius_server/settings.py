"""The section ``[radius]``: names, units, limits and defaults, and what is risky in it. Values only; reads no file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from otp_core.model import Language, Mode
from otp_core.settings.renamed import FormerName
from otp_core.settings.repeated import Remark, entries, repeated, tables
from otp_core.settings.section import ExistingPath, ReadSecretPath, Section, count, seconds, yes_or_no
from otp_core.settings.sources import SourceMap
from otp_core.settings.values import (
    Address,
    AttributeName,
    AttributeValue,
    ClientName,
    Listen,
    Network,
    Secret,
    read_address,
    read_network,
)

Answer = Literal["password", "reject"]
Prompt = Literal["no-echo", "echo", "none"]
Charset = Literal["utf-8", "latin-1", "cp932"]
_WIDE = {4: 8, 6: 32}


def _reply_text(description: str) -> Any:
    return Field(default=None, min_length=1, max_length=1000, description=description)


class ReplyMessages(Section):
    """The Reply-Message of each answer, where the text of the client's language does not suit."""

    challenge: str | None = _reply_text("Text that asks for the code.")
    challenge_again: str | None = _reply_text("Text that asks again after a wrong code.")
    reject: str | None = _reply_text("Text of a refusal.")
    accept: str | None = _reply_text("Text of an acceptance (none by default).")


class ClientSettings(Section):
    """A gateway that may ask: known by its source address, trusted by its shared secret."""

    model_config = ConfigDict(
        json_schema_extra={
            "required": ["name", "network"],
            "oneOf": [{"required": ["secret"]}, {"required": ["secret_file"]}],
        }
    )

    name: ClientName = Field(description="What logs, metrics and audit rows call it.")
    network: Network = Field(description="Its source address or network; of several that fit, the longest prefix wins.")
    secret: Secret = Field(repr=False, description="The shared secret, 16 octets or more. Either this or secret_file.")
    secret_file: ReadSecretPath | None = Field(
        default=None,
        description="The file that holds the shared secret (one line end after it is dropped). A relative path is "
        "looked for in the secrets folder if there is one, otherwise beside this file.",
    )
    mode: Mode = Field(
        default=Mode.CHALLENGE,
        description="What its first User-Password is: the password (challenge), password and code (append), either of "
        "these (auto), the code alone (code), or the password alone, no code ever (password).",
    )
    require_message_authenticator: bool = yes_or_no(
        True, "Drop requests without Message-Authenticator. False puts this client at risk (CVE-2024-3596)."
    )
    limit_proxy_state: bool = yes_or_no(
        True, "Where Message-Authenticator may be missing: still drop requests that carry Proxy-State without it."
    )
    without_token: Answer = Field(
        default="password", description="A customer who never enrolled, or suspended: password only, or reject."
    )
    without_password: Literal["code", "reject"] = Field(
        default="reject",
        description="A customer whose password is not kept here, where the mode asks for one: code alone, or reject.",
    )
    suspended: Answer | None = Field(default=None, description="Suspended, if it is to differ from without_token.")
    lost: Answer | None = Field(default=None, description="Token reported lost (left out: reject).")
    charset: Charset = Field(default="utf-8", description="How the octets of its passwords are read.")
    language: Language = Field(default=Language.JA, description="The language of its Reply-Messages.")
    repeated_login_seconds: Annotated[int, FormerName("join_seconds")] = count(
        0, 0, 60, "Seconds in which the same login, sent anew, joins the first verdict (0: never; weakens 'once')."
    )
    reject_delay: float = seconds(1.0, 0, 10, "Seconds until an Access-Reject leaves (left out: as in [radius]).")
    reply_max: int = count(1024, 256, 4096, "Octets of the longest reply it can read (pam_radius_auth: 1024).")
    prompt: Prompt = Field(
        default="no-echo", description="The Prompt attribute of a challenge (left out: as in [radius])."
    )
    reply_messages: ReplyMessages = Field(
        default_factory=ReplyMessages, description="Its own texts (left out: those of [radius.reply_messages])."
    )
    reply_attributes: dict[AttributeName, AttributeValue] = Field(
        default_factory=dict,
        repr=False,
        description="Attributes of its Access-Accepts by their dictionary names: text, a whole number, or a list.",
    )


class RadiusSettings(Section):
    """The RADIUS door."""

    listen: tuple[Listen, ...] = Field(
        default=(Address("0.0.0.0", 1812), Address("::", 1812)),  # noqa: S104  clients are told apart by address
        description="UDP addresses and ports; IPv6 in brackets. Port 0: any free one.",
        json_schema_extra={"default": ["0.0.0.0:1812", "[::]:1812"]},
    )
    workers: int = count(
        1,
        0,
        256,
        "Processes (0: one a core). With SQLite two give up to a third more logins than one, each at more cost.",
    )
    dictionary: tuple[ExistingPath, ...] = Field(
        default=(), description="Further dictionary files for reply_attributes. Relative paths start beside this file."
    )
    duplicate_seconds: int = count(30, 1, 300, "Seconds for which a reply is kept and sent again (RFC 5080 §2.2.2).")
    duplicate_entries: int = count(100_000, 1, 10_000_000, "Replies that are kept.")
    max_in_flight: int = count(4096, 1, 1_000_000, "Requests at work at once; further first packets are dropped.")
    max_open_challenges: int = count(100_000, 1, 10_000_000, "Challenges waiting for an answer at once.")
    request_seconds: float = seconds(5.0, 0.1, 60, "Seconds for a verdict; after that, silence.")
    drain_seconds: float = seconds(5.0, 0, 60, "Seconds for the requests at work when the server stops.")
    reject_delay: float = seconds(1.0, 0, 10, "Seconds until an Access-Reject leaves; delays nobody else.")
    status_rate: int = count(20, 0, 10_000, "Status-Server answers per second and client (0: none).")
    prompt: Prompt = Field(default="no-echo", description="The Prompt attribute of a challenge, for every client.")
    reply_messages: ReplyMessages = Field(
        default_factory=ReplyMessages, description="Texts for every client that has none of its own."
    )
    clients: tuple[ClientSettings, ...] = Field(default=(), description="The gateways that may ask.")

    @field_validator("clients")
    @classmethod
    def _as_in_radius(cls, clients: tuple[ClientSettings, ...], info: ValidationInfo) -> tuple[ClientSettings, ...]:
        """What a client leaves out, it takes from the section."""
        return tuple(_completed(client, info.data) for client in clients)


def _completed(client: ClientSettings, radius: dict[str, Any]) -> ClientSettings:
    taken: dict[str, Any] = {
        name: radius[name]
        for name in ("reject_delay", "prompt")
        if name in radius and name not in client.model_fields_set
    }
    if "reply_messages" in radius:
        texts = radius["reply_messages"].model_dump(exclude_none=True)
        taken["reply_messages"] = ReplyMessages(**texts | client.reply_messages.model_dump(exclude_none=True))
    return client.model_copy(update=taken)


def given_twice(values: dict[str, Any], sources: SourceMap) -> Iterator[Remark]:
    """Networks, client names and listen addresses that an earlier entry has already. ``values``: the file's, not
    checked yet; entries that do not parse are passed over, because their own problem is reported elsewhere."""
    radius = values.get("radius")
    if not isinstance(radius, dict):
        return
    clients = tables(radius.get("clients"), ("radius", "clients"))
    listen = entries(radius.get("listen"), ("radius", "listen"))
    yield from repeated([((*location, "name"), client.get("name")) for location, client in clients], str, sources)
    networks = [((*location, "network"), client.get("network")) for location, client in clients]
    yield from repeated(networks, read_network, sources)
    yield from repeated([entry for entry in listen if not str(entry[1]).endswith(":0")], read_address, sources)


def risks(radius: RadiusSettings) -> Iterator[Remark]:
    """What works, but is weaker than it looks."""
    for index, client in enumerate(radius.clients):
        for key, message in _client_risks(client):
            yield ("radius", "clients", index, key), message


def _client_risks(client: ClientSettings) -> Iterator[tuple[str, str]]:
    if not client.require_message_authenticator:
        yield (
            "require_message_authenticator",
            f"{client.name} is at risk: replies to it can be forged (CVE-2024-3596); "
            "turn Message-Authenticator on there and write true",
        )
    if not client.limit_proxy_state:
        yield (
            "limit_proxy_state",
            f"{client.name} is at risk: Proxy-State without Message-Authenticator is how replies are forged "
            "(CVE-2024-3596); write true",
        )
    if client.repeated_login_seconds:
        yield (
            "repeated_login_seconds",
            f"a code can be used more than once through {client.name} for {client.repeated_login_seconds} s; write 0 "
            "unless that gateway sends one login twice",
        )
    if client.network.prefixlen <= _WIDE[client.network.version]:
        yield "network", f"{client.network} is very wide: every address in it may guess at the secret of {client.name}"
