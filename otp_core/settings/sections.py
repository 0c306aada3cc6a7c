"""The core's own sections: store, login, password, throttle, audit, metrics, log. Names, units, limits and
defaults; reads no file.

The table in docs/settings.md is made from the descriptions here, and config/sekisho.toml is tested against them. The
doors' sections are defined in the doors' packages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from otp_core.first_factor.hashes import Cost
from otp_core.settings.renamed import FormerName
from otp_core.settings.section import ExistingPath, OwnPath, SecretPath, Section, count, seconds, yes_or_no
from otp_core.settings.values import Address, Listen, StoreUrl
from otp_core.store.postgresql.address import EXAMPLE, SOCKET_EXAMPLE, is_postgresql, lacks_ca, parse, with_files


class StoreSettings(Section):
    """The database and the key that seals its secrets."""

    url: StoreUrl = Field(
        repr=False,
        description="The database: sqlite:////ABSOLUTE/FILE, or sqlite:///FILE relative to the working folder; or a "
        f"PostgreSQL: {EXAMPLE}, or {SOCKET_EXAMPLE}.",
    )
    password_file: SecretPath | None = Field(
        None,
        description="PostgreSQL: the file that holds the user's password alone. Without one, PGPASSFILE, a client "
        "certificate (sslcert and sslkey in the URL) or the socket's peer has to do.",
    )
    ca_file: ExistingPath | None = Field(
        None,
        description="PostgreSQL: the certificates (PEM) by which its server is known. Needed unless the URL names a "
        "socket, or an sslmode that verifies nothing.",
    )
    master_key_file: SecretPath = Field(
        description="The file with the key that seals the seeds. A relative path is looked for in the secrets folder "
        "if there is one, otherwise beside this file."
    )

    state_dir: OwnPath = Field(
        Path("/var/lib/sekisho"),
        description="PostgreSQL: the folder in which this node keeps how far it knows the store, and what was done "
        "here: by it a recovery to an earlier moment is noticed; and its counts of wrong passwords. Of a store in a "
        "file all of it lies beside that.",
    )

    @model_validator(mode="after")
    def _fits_the_engine(self) -> Self:
        named = [name for name in ("password_file", "ca_file") if getattr(self, name) is not None]
        if not is_postgresql(self.url):
            if named:
                raise ValueError(f"{named[0]} belongs to a PostgreSQL store, and url names a file: remove one of them")
            return self
        if lacks_ca(parse(self.address)):
            raise ValueError(
                "ca_file is missing: it names the certificates by which the database's server is known; or write an "
                "sslmode into url"
            )
        return self

    @property
    def address(self) -> str:
        """The URL with the files that stand beside it: what the store is opened by. It holds no secret."""
        return with_files(self.url, self.password_file, self.ca_file) if is_postgresql(self.url) else self.url


class LoginSettings(Section):
    """The rules of a login, the same at every door."""

    lock_after: int = count(
        10, 1, 100, "Wrong codes in a row until the customer is locked (NIST SP 800-63B: at most 100; PCI DSS 4: 10)."
    )
    code_window: int = count(1, 0, 10, "Time steps accepted on each side of the expected one (RFC 6238 §5.2).")
    max_drift: int = count(
        10, 0, 100, "Steps up to which the drift of a token's clock is followed; beyond: resynchronise."
    )
    hotp_look_ahead: int = count(10, 0, 100, "Counters ahead that are tried for a HOTP token (RFC 4226 §7.4).")
    resync_window: int = count(200, 1, 10_000, "Steps on each side that a resynchronisation searches.")
    resync_look_ahead: int = count(1000, 1, 10_000, "Counters ahead that a resynchronisation searches.")
    challenge_seconds: int = count(120, 1, 3600, "Seconds until a challenge expires.")
    challenge_tries: int = count(3, 1, 10, "Codes that may be tried in one challenge.")
    tokens_per_customer: int = count(
        1, 1, 5, "Active tokens that a customer may have; those that they have already count on if it is lowered."
    )
    one_customer_per_token: bool = yes_or_no(True, "A token belongs to at most one customer.")
    reissue_permit_hours: int = count(72, 1, 720, "Hours until a permit to enrol a new token expires.")


class PasswordSettings(Section):
    """How the login passwords that are kept here are hashed: argon2id (RFC 9106)."""

    memory_kib: int = count(19_456, 128, 4_194_304, "Memory for one hash, in KiB.")
    time_cost: int = count(2, 1, 100, "Passes over that memory.")
    parallelism: int = count(1, 1, 16, "Lanes of one hash.")
    hash_threads: int = count(0, 0, 256, "Threads that hash (0: one a core).")
    max_waiting: int = count(256, 1, 100_000, "Passwords that may wait for a thread; further logins get no answer.")

    @model_validator(mode="after")
    def _can_be_hashed(self) -> Self:
        Cost(self.memory_kib, self.time_cost, self.parallelism)  # raises ValueError with the limit that is broken
        return self


class ThrottleSettings(Section):
    """Growing delays after wrong codes and wrong passwords. They end by themselves."""

    free_failures: int = count(3, 0, 100, "Wrong codes in a row that cost no delay.")
    first_delay: float = seconds(
        1.0, 0, 3600, "Seconds of the first delay after a wrong code; each further one is twice as long."
    )
    max_delay: float = seconds(30.0, 0, 3600, "Seconds of the longest delay after a wrong code.")
    password_free_failures: int = count(3, 0, 100, "Wrong passwords in a row that cost no delay.")
    password_first_delay: float = seconds(0.25, 0, 3600, "Seconds of the first delay after a wrong password.")
    password_max_delay: float = seconds(4.0, 0, 3600, "Seconds of the longest delay after a wrong password.")
    password_max_tracked: Annotated[int, FormerName("max_tracked")] = count(
        100_000, 1, 10_000_000, "Customers and calling stations whose wrong passwords are counted."
    )

    station_free_failures: int = count(
        30,
        1,
        100_000,
        "Wrong passwords from one calling station, for any customer, that cost it no delay (RADIUS with "
        "Calling-Station-Id, PAM; the pages: web.address_free_failures). Raise it where a gateway sends one for all.",
    )

    @field_validator("max_delay", "password_max_delay")
    @classmethod
    def _not_below_the_first(cls, longest: float, info: ValidationInfo) -> float:
        first = str(info.field_name).replace("max", "first")
        if longest < info.data.get(first, 0):
            raise ValueError(f"is less than {first}, {info.data[first]}; write at least that")
        return longest


class AuditSettings(Section):
    """The seals of the audit trail: without this section there are none."""

    seal_key_file: SecretPath = Field(
        description="The file with the Ed25519 key that signs the seals, made by `sekisho init`. A relative path is "
        "looked for in the secrets folder if there is one, otherwise beside this file."
    )
    seal_copy: OwnPath | None = Field(
        default=None,
        description="A file outside the store that each seal is appended to, so that a trail whose end was cut off is "
        "missed (left out: none). Best on another machine, or append-only.",
    )


class MetricsSettings(Section):
    """Figures for programs that watch."""

    listen: Listen = Field(
        default=Address("127.0.0.1", 9180),
        description="TCP address and port of /metrics, /healthz and /readyz, for internal networks only: whoever "
        "reaches it reads the figures, and nobody is asked for a password. Port 0: any free one.",
        json_schema_extra={"default": "127.0.0.1:9180", "examples": ["127.0.0.1:9180"]},
    )


class LogSettings(Section):
    """The server's log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important lines that are written."
    )
    format: Literal["text", "json"] = Field(default="text", description="Lines for people, or one JSON object a line.")
    verdicts: Literal["all", "refused", "none"] = Field(
        default="refused",
        description="A line for each verdict at every door: all, only what was refused, or none (docs/radius.md).",
    )
