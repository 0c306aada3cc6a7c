"""The settings: sections, names, units, limits and defaults. Values only; reads no file and no environment itself.

What a field says here is what the example file and the README's table say; load.py fills it and words the problems.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from otp_core.first_factor.hashes import Cost
from otp_core.model import Language, Mode
from otp_core.settings.notices import Notices
from otp_core.settings.pam import Pam
from otp_core.settings.section import Section, count, seconds, yes_or_no
from otp_core.settings.soft_token import SoftToken
from otp_core.settings.values import (
    Address,
    AttributeName,
    AttributeValue,
    ClientName,
    Listen,
    Network,
    Secret,
    StoreUrl,
)
from otp_core.settings.web import Web

Answer = Literal["password", "reject"]
Prompt = Literal["no-echo", "echo", "none"]
Charset = Literal["utf-8", "latin-1", "cp932"]


class Store(Section):
    """Where everything is remembered."""

    url: StoreUrl = Field(
        repr=False,
        description="The database: sqlite:////ABSOLUTE/FILE, or sqlite:///FILE relative to the working folder.",
    )
    master_key_file: Path = Field(
        description="The file with the key that seals the seeds. A relative path is looked for in the secrets folder "
        "if there is one, otherwise beside this file."
    )


class Login(Section):
    """The house's rules, the same at every door."""

    lock_after: int = count(
        10, 1, 100, "Wrong codes in a row until the customer is locked (NIST SP 800-63B: at most 100; PCI DSS 4: 10)."
    )
    code_window: int = count(1, 0, 10, "Steps of 30 s accepted on each side of the expected one (RFC 6238 §5.2).")
    max_drift: int = count(10, 0, 100, "Steps by which a token's clock may be learnt to be off; then: resynchronise.")
    hotp_look_ahead: int = count(10, 0, 100, "Counters ahead that are tried for a counter token (RFC 4226 §7.4).")
    resync_window: int = count(200, 1, 10_000, "Steps on each side that a resynchronisation searches.")
    resync_look_ahead: int = count(1000, 1, 10_000, "Counters ahead that a resynchronisation searches.")
    challenge_seconds: int = count(120, 1, 3600, "Seconds in which a challenge has to be answered.")
    challenge_tries: int = count(3, 1, 10, "Codes that may be tried in one challenge.")
    one_customer_per_token: bool = yes_or_no(True, "A token belongs to at most one customer.")
    reissue_permit_hours: int = count(72, 1, 720, "Hours in which a permit to enrol a new token has to be used.")


class Password(Section):
    """How the login passwords that are kept here are hashed: argon2id (RFC 9106)."""

    memory_kib: int = count(19_456, 128, 4_194_304, "Memory for one hash, in KiB.")
    time_cost: int = count(2, 1, 100, "Passes over that memory.")
    parallelism: int = count(1, 1, 16, "Lanes of one hash.")
    hash_threads: int = count(0, 0, 256, "Threads that hash (0: one a core).")
    max_waiting: int = count(256, 1, 100_000, "Passwords that may wait for a thread; further logins hear nothing.")

    @model_validator(mode="after")
    def _can_be_hashed(self) -> Self:
        Cost(self.memory_kib, self.time_cost, self.parallelism)  # which knows the limits, and says them
        return self


class Throttle(Section):
    """Growing delays after wrong codes and wrong passwords; they end by themselves."""

    free_failures: int = count(3, 0, 100, "Wrong codes in a row that cost no delay.")
    first_delay: float = seconds(1.0, 0, 3600, "Seconds of the first delay after a wrong code; each next one doubles.")
    max_delay: float = seconds(30.0, 0, 3600, "Seconds of the longest delay after a wrong code.")
    password_free_failures: int = count(3, 0, 100, "Wrong passwords in a row that cost no delay.")
    password_first_delay: float = seconds(0.25, 0, 3600, "Seconds of the first delay after a wrong password.")
    password_max_delay: float = seconds(4.0, 0, 3600, "Seconds of the longest delay after a wrong password.")
    max_tracked: int = count(100_000, 1, 10_000_000, "Customers and stations whose wrong passwords are remembered.")

    @field_validator("max_delay", "password_max_delay")
    @classmethod
    def _not_below_the_first(cls, longest: float, info: ValidationInfo) -> float:
        first = str(info.field_name).replace("max", "first")
        if longest < info.data.get(first, 0):
            raise ValueError(f"is less than {first}, {info.data[first]}; write at least that")
        return longest


def _reply_text(description: str) -> Any:
    return Field(default=None, min_length=1, max_length=1000, description=description)


class ReplyMessages(Section):
    """The Reply-Message of each answer, where the text of the client's language does not suit."""

    challenge: str | None = _reply_text("Text that asks for the code.")
    challenge_again: str | None = _reply_text("Text that asks again after a wrong code.")
    reject: str | None = _reply_text("Text of a refusal.")
    accept: str | None = _reply_text("Text of an acceptance (none by default).")


class Client(Section):
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
    secret_file: Path | None = Field(
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
    join_seconds: int = count(
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


class Radius(Section):
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
    dictionary: tuple[Path, ...] = Field(
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
    clients: tuple[Client, ...] = Field(default=(), description="The gateways that may ask.")

    @field_validator("clients")
    @classmethod
    def _as_in_radius(cls, clients: tuple[Client, ...], info: ValidationInfo) -> tuple[Client, ...]:
        """What a client leaves out, it takes from the section."""
        return tuple(_completed(client, info.data) for client in clients)


def _completed(client: Client, radius: dict[str, Any]) -> Client:
    taken: dict[str, Any] = {
        name: radius[name]
        for name in ("reject_delay", "prompt")
        if name in radius and name not in client.model_fields_set
    }
    if "reply_messages" in radius:
        texts = radius["reply_messages"].model_dump(exclude_none=True)
        taken["reply_messages"] = ReplyMessages(**texts | client.reply_messages.model_dump(exclude_none=True))
    return client.model_copy(update=taken)


class Log(Section):
    """What the server says of itself, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important lines that are written."
    )
    format: Literal["text", "json"] = Field(default="text", description="Lines for people, or one JSON object a line.")


class Settings(BaseSettings):
    """The settings of Sekisho, all of them. A door whose section is left out stays shut."""

    model_config = SettingsConfigDict(
        env_prefix="SEKISHO_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
    )

    store: Store
    login: Login = Field(default_factory=Login)
    password: Password = Field(default_factory=Password)
    throttle: Throttle = Field(default_factory=Throttle)
    radius: Radius = Field(default_factory=Radius)
    web: Web | None = None
    soft_token: SoftToken | None = None
    pam: Pam | None = None
    notices: Notices | None = None
    log: Log = Field(default_factory=Log)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment arrives from outside, through ``load``: nothing is read behind the caller's back."""
        return (init_settings,)
