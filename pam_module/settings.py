"""The settings of the PAM door and of its profiles: names, units, limits and defaults. Values only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from otp_core.model import Language
from otp_core.settings.first_factors import first_factor_key
from otp_core.settings.renamed import FormerName
from otp_core.settings.repeated import Remark, entries, repeated, tables
from otp_core.settings.section import Section, count, seconds, yes_or_no
from otp_core.settings.sources import SourceMap
from otp_core.settings.values import ClientName, Day, Network
from otp_core.settings.without_token import Answer, unchecked_logins, without_token_key
from pam_module.texts import TextName


class AskMode(StrEnum):
    """What a profile asks for, and in which order (``mode``)."""

    AUTO = "auto"
    CHALLENGE = "challenge"
    APPEND = "append"
    TOGETHER = "together"
    CODE = "code"
    PASSWORD = "password"


_LONGEST_SOCKET = 98
"""Octets: unix(7) has 108, and the socket is made under a longer name first."""


def _socket_path(path: Path) -> Path:
    if len(os.fsencode(path.absolute())) > _LONGEST_SOCKET:
        raise ValueError(
            f"is too long: a socket has at most {_LONGEST_SOCKET} octets here, as in /run/sekisho/pam.sock"
        )
    return path


class PamSocket(Section):
    """The socket for the PAM modules of this machine: the same settings for the door and for the agent."""

    socket: Annotated[Path, AfterValidator(_socket_path)] = Field(
        default=Path("/run/sekisho/pam.sock"), description="The Unix socket."
    )
    allow_all_users: Annotated[bool, FormerName("open")] = yes_or_no(
        False,
        "Let every user of this machine connect (0666 in place of 0600), for screen lockers; each for their own "
        "login only.",
    )
    max_conversations: int = count(256, 1, 100_000, "Logins at once; further ones are refused.")
    max_per_user: int = count(8, 1, 10_000, "Of these, for one user of this machine other than root.")
    prompt_seconds: Annotated[int, FormerName("typing_seconds")] = count(
        300, 1, 3600, "Seconds in which a person has to answer a prompt."
    )
    answer_seconds: float = seconds(20.0, 1, 100, "Seconds for a verdict; after that, the login counts as an outage.")
    drain_seconds: float = seconds(5.0, 0, 60, "Seconds for the verdicts under way when it stops.")


class HostProfile(Section):
    """What is asked at logins of one kind."""

    name: ClientName = Field(description="Its name: the module's option profile=NAME, and pam:NAME in audit rows.")
    services: tuple[str, ...] = Field(
        default=(), description="PAM services that use it if the module names no profile: sshd, sudo."
    )
    mode: AskMode = Field(
        default=AskMode.AUTO,
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
        description="For exempt users: the password is enough (in mode code: nothing is asked), or the module steps "
        "aside and the rest of the stack decides (ignore).",
    )
    networks: tuple[Network, ...] = Field(
        default=(), description="Where remote logins may come from (none given: anywhere). Local ones always may."
    )
    password_networks: tuple[Network, ...] = Field(
        default=(), description="From there the password is enough (in mode code: nothing is asked)."
    )
    reject_delay: float = seconds(2.0, 0, 10, "Seconds from an answer to its refusal, as the host keeps them.")
    texts_ja: dict[TextName, str] = Field(
        default_factory=dict,
        description="Japanese texts in place of the usual ones: login, code, code_again, both, unavailable, enrol.",
    )
    texts_en: dict[TextName, str] = Field(default_factory=dict, description="The same in English.")

    @field_validator("texts_ja", "texts_en")
    @classmethod
    def _can_be_shown(cls, texts: dict[TextName, str]) -> dict[TextName, str]:
        for name, text in texts.items():
            if not text or not text.isprintable() or len(text.encode()) > 1024:
                raise ValueError(f"{name} needs 1 to 1024 octets of printable text, without line ends")
        return texts


class PamProfile(HostProfile):
    """A profile on the machine that holds the store."""

    without_token: Answer = without_token_key("no code")
    first_factor: str = first_factor_key("its users, in every mode that asks for one")
    without_password: Literal["code", "reject"] = Field(
        default="reject",
        description="A customer whose password is not kept here, where the mode asks for one: code alone, or reject.",
    )
    suspended: Answer | None = Field(default=None, description="Suspended, if it is to differ from without_token.")
    lost: Answer | None = Field(default=None, description="Token reported lost (left out: reject).")
    enrol_until: Day | None = Field(
        default=None,
        description="The last day on which customers who never enrolled need no code, and are told to enrol; then: "
        "reject.",
    )


class PamSettings(PamSocket):
    """The door for PAM modules on this machine."""

    profiles: tuple[PamProfile, ...] = Field(
        default=(),
        description="What is asked, by kind of login. The one named default is used where no other fits; without it, "
        "the defaults hold.",
    )


class AgentProfile(HostProfile):
    """A profile on a host without the store: who needs no code is decided by the RADIUS server's client table."""

    offline: Literal["refuse", "codes"] = Field(
        default="refuse",
        description="When no server answers: refuse, or accept codes from the cache that the store has issued "
        "(mode code only).",
    )

    @field_validator("offline")
    @classmethod
    def _only_codes(cls, offline: str, info: ValidationInfo) -> str:
        if offline == "codes" and info.data.get("mode") != AskMode.CODE:
            raise ValueError('needs mode = "code": passwords cannot be checked without a server')
        return offline


def given_twice(values: dict[str, Any], sources: SourceMap, section: str = "pam") -> Iterator[Remark]:
    """Profile names and PAM services that are given twice. ``values``: the file's, not checked yet. ``section``: the
    table that holds the profiles."""
    found = values.get(section)
    profiles = tables(found.get("profiles") if isinstance(found, dict) else None, (section, "profiles"))
    services = [
        entry for location, profile in profiles for entry in entries(profile.get("services"), (*location, "services"))
    ]
    yield from repeated([((*location, "name"), profile.get("name")) for location, profile in profiles], str, sources)
    yield from repeated(services, str, sources)


def risks(pam: PamSettings) -> Iterator[Remark]:
    """Settings that work, but are weaker than they look."""
    for index, profile in enumerate(pam.profiles):
        if profile.mode is AskMode.PASSWORD:
            yield ("pam", "profiles", index, "mode"), f"{profile.name} never asks for a code"
        yield from unchecked_logins(
            profile.name,
            profile.mode,
            {"without_token": profile.without_token, "suspended": profile.suspended, "lost": profile.lost},
            ("pam", "profiles", index),
            _PASSWORD_CHECKED,
        )
        for key in _unasked(profile):
            yield (
                ("pam", "profiles", index, key),
                f"in mode code this means that {profile.name} lets {_UNASKED[key]} in with nothing checked here: "
                f"{_PASSWORD_CHECKED}",
            )


_PASSWORD_CHECKED = "is a module that checks the password required before it?"

_UNASKED = {
    "exempt_users": "these users",
    "exempt_groups": "the members of these groups",
    "password_networks": "every login from these networks",
    "enrol_until": "customers who never enrolled, until that day,",
}


def _unasked(profile: PamProfile) -> list[str]:
    """The keys by which a profile of mode code asks some of its users for nothing at all."""
    if profile.mode is not AskMode.CODE:
        return []
    keys = [key for key in ("password_networks", "enrol_until") if getattr(profile, key)]
    if profile.exempt == "password":
        keys += [key for key in ("exempt_users", "exempt_groups") if getattr(profile, key)]
    return keys
