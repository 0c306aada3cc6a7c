"""The settings of the PAM door and of its profiles: names, units, limits and defaults. Values only."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from otp_core.model import Language
from otp_core.settings.section import Section, count, seconds, yes_or_no
from otp_core.settings.values import ClientName, Day, Network

Answer = Literal["password", "reject"]
Asks = Literal["auto", "challenge", "append", "together", "code", "password"]
Word = Literal["login", "code", "code_again", "both", "unavailable", "enrol"]


class PamSocket(Section):
    """The socket that PAM modules of this machine speak to: the same for the door and for the agent."""

    socket: Path = Field(default=Path("/run/sekisho/pam.sock"), description="The Unix socket.")
    open: bool = yes_or_no(
        False,
        "Let every user of this machine speak to it (0666 in place of 0600), for screen lockers; each for their own "
        "login only.",
    )
    max_conversations: int = count(
        256, 1, 100_000, "Logins at once; further ones are told that it is not possible now."
    )
    max_per_user: int = count(8, 1, 10_000, "Of these, for one user of this machine other than root.")
    typing_seconds: int = count(300, 1, 3600, "Seconds in which a person has to answer a prompt.")
    answer_seconds: float = seconds(20.0, 1, 100, "Seconds for a verdict; after that, the login is not possible now.")
    drain_seconds: float = seconds(5.0, 0, 60, "Seconds for the verdicts under way when it stops.")


class HostProfile(Section):
    """What a host's logins of one kind are asked."""

    name: ClientName = Field(description="What the module's option profile= says, and audit rows show as pam:NAME.")
    services: tuple[str, ...] = Field(
        default=(), description="PAM services that it is for where the module names no profile: sshd, sudo."
    )
    mode: Asks = Field(
        default="auto",
        description="What is asked: the password, then the code (challenge), or both in one answer if they come so "
        "(auto); password and code in one answer only (append); both before either is checked (together); the code "
        "alone, after another module has checked the password (code); no code ever (password).",
    )
    language: Language = Field(default=Language.JA, description="The language of its prompts until the user is known.")
    echo_code: bool = yes_or_no(
        False, "Show the code as it is typed. sshd's password method cannot answer such a prompt."
    )
    exempt_users: tuple[str, ...] = Field(default=(), description="Users of this machine who need no code.")
    exempt_groups: tuple[str, ...] = Field(default=(), description="Groups of this machine whose members need no code.")
    exempt: Literal["password", "ignore"] = Field(
        default="password",
        description="Who is exempt: the password is enough (in mode code: nothing is asked), or the module steps aside "
        "and the rest of the stack decides (ignore).",
    )
    networks: tuple[Network, ...] = Field(
        default=(), description="Where remote logins may come from (none given: anywhere). Local ones always may."
    )
    password_networks: tuple[Network, ...] = Field(
        default=(), description="From there the password is enough (in mode code: nothing is asked)."
    )
    reject_delay: float = seconds(2.0, 0, 10, "Seconds from an answer to its refusal, as the host keeps them.")
    texts_ja: dict[Word, str] = Field(
        default_factory=dict,
        description="Japanese texts in place of the usual ones: login, code, code_again, both, unavailable, enrol.",
    )
    texts_en: dict[Word, str] = Field(default_factory=dict, description="The same in English.")

    @field_validator("texts_ja", "texts_en")
    @classmethod
    def _can_be_shown(cls, texts: dict[str, str]) -> dict[str, str]:
        for word, text in texts.items():
            if not text or not text.isprintable() or len(text.encode()) > 1024:
                raise ValueError(f"{word} needs 1 to 1024 octets of printable text, without line ends")
        return texts


class PamProfile(HostProfile):
    """A profile where the store is."""

    without_token: Answer = Field(
        default="password", description="A customer who never enrolled, or suspended: no code, or reject."
    )
    without_password: Literal["code", "reject"] = Field(
        default="reject",
        description="A customer whose password is not kept here, where the mode asks for one: code alone, or reject.",
    )
    suspended: Answer | None = Field(default=None, description="Suspended, if it is to differ from without_token.")
    lost: Answer | None = Field(default=None, description="Token reported lost (left out: reject).")
    enrol_until: Day | None = Field(
        default=None,
        description="The last day on which who never enrolled comes in without a code, and is told so; then: reject.",
    )


class Pam(PamSocket):
    """The door for PAM modules on this machine."""

    profiles: tuple[PamProfile, ...] = Field(
        default=(),
        description="What is asked of whom. One named default is for whatever no other is for; without it, the "
        "defaults are.",
    )


class AgentProfile(HostProfile):
    """A profile where the store is elsewhere: who may come in without a code, the server's client table says."""

    offline: Literal["refuse", "codes"] = Field(
        default="refuse",
        description="When no server answers: refuse, or take codes from the cache that the store has handed out "
        "(mode code only).",
    )

    @field_validator("offline")
    @classmethod
    def _only_codes(cls, offline: str, info: ValidationInfo) -> str:
        if offline == "codes" and info.data.get("mode") != "code":
            raise ValueError('needs mode = "code": passwords cannot be checked without a server')
        return offline
