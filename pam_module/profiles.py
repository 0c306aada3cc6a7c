"""Which profile a login falls under, and what that profile asks for. No sockets, no store; the groups of a user come
from a function that is passed in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from otp_core.login.policy import password_only
from otp_core.model import Language, Mode, OtpUse, Policy
from pam_module.frames import Start
from pam_module.settings import AskMode, HostProfile, PamProfile
from pam_module.texts import TEXTS, TextName, texts_with

Groups = Callable[[str], Collection[str]]
"""The groups of a user of this machine, by name."""

EXEMPT_USER, EXEMPT_MEMBER = "an exempt user", "a member of an exempt group"
BY_NAME = (EXEMPT_USER, EXEMPT_MEMBER)
"""Reasons for which a login was exempt whose user the settings or this machine know by name."""

_POLICY_MODES = {
    AskMode.AUTO: Mode.AUTO,
    AskMode.CHALLENGE: Mode.CHALLENGE,
    AskMode.APPEND: Mode.APPEND,
    AskMode.TOGETHER: Mode.APPEND,
    AskMode.CODE: Mode.CODE,
    AskMode.PASSWORD: Mode.PASSWORD,
}


class Disposition(StrEnum):
    """What a profile decides about a login before anything is asked."""

    ASK = "ask"
    PASSWORD_ONLY = "password only"
    STEP_ASIDE = "step aside"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile, ready for use.

    ``exempt``: the disposition of exempt users. ``reject_delay``: seconds. ``password_only_uses``: customers without an
    active token who need no code, apart from the grace period, which ends with the day ``enrol_until``.
    """

    name: str = "default"
    ask_mode: AskMode = AskMode.AUTO
    language: Language = Language.JA
    echo_code: bool = False
    exempt_users: frozenset[str] = frozenset()
    exempt_groups: frozenset[str] = frozenset()
    exempt: Disposition = Disposition.PASSWORD_ONLY
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    password_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    reject_delay: float = 2.0
    texts: Mapping[Language, Mapping[TextName, str]] = field(default_factory=lambda: TEXTS)
    password_only_uses: frozenset[OtpUse] = frozenset({OtpUse.NONE, OtpUse.SUSPENDED})
    code_is_enough: bool = False
    first_factor: str = "local"
    enrol_until: date | None = None

    def disposition(self, start: Start, groups: Groups) -> tuple[Disposition, str]:
        """The profile's decision about this login, and the reason for the audit trail. May block in ``groups``."""
        if self.networks and start.rhost and not _in_any(start.rhost, self.networks):
            return Disposition.REFUSE, "a network that the profile does not let in"
        if start.user in self.exempt_users:
            return self.exempt, EXEMPT_USER
        if self.exempt_groups and not self.exempt_groups.isdisjoint(groups(start.user)):
            return self.exempt, EXEMPT_MEMBER
        if _in_any(start.rhost, self.password_networks):
            return Disposition.PASSWORD_ONLY, "a network without codes"
        return Disposition.ASK, ""

    def policy(self, today: date, *, without_code: bool = False) -> Policy:
        """The policy of an attempt under this profile. ``without_code``: for an exempt login."""
        uses = self.password_only_uses
        if self.enrol_until is not None:
            uses = uses | {OtpUse.NONE} if today <= self.enrol_until else uses - {OtpUse.NONE}
        mode = Mode.PASSWORD if without_code else _POLICY_MODES[self.ask_mode]
        return Policy(mode, uses, self.language, code_is_enough=self.code_is_enough, first_factor=self.first_factor)

    def text(self, text_name: TextName, language: Language | None = None) -> str:
        """A prompt or message, in the profile's language unless another is given."""
        day = self.enrol_until.isoformat() if self.enrol_until else ""
        return self.texts[language or self.language][text_name].replace("{day}", day)


def _in_any(rhost: str, networks: Collection[IPv4Network | IPv6Network]) -> bool:
    """Whether the remote host is in one of the networks. A host name is in none: the one who logs in controls the DNS
    record of their address (sshd's UseDNS)."""
    if not networks:
        return False
    try:
        address = ip_address(rhost.partition("%")[0])
    except ValueError:
        return False
    if address.version == 6 and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


class Profiles:
    """All profiles, and the choice of one for a login."""

    def __init__(self, profiles: Iterable[Profile], services: Mapping[str, str]) -> None:
        """``services``: the profile's name by PAM service. Without a profile named default, the defaults are it."""
        self._by_name = {"default": Profile()} | {profile.name: profile for profile in profiles}
        self._services = services

    def find(self, start: Start) -> Profile | None:
        """The profile that the module names, otherwise that of the PAM service, otherwise default. None: the module
        names a profile that does not exist."""
        return self._by_name.get(start.profile or self._services.get(start.service, "default"))


def profiles_of(sections: Iterable[HostProfile]) -> Profiles:
    """The profiles of the settings."""
    given = list(sections)
    services = {service: one.name for one in given for service in one.services}
    return Profiles(map(_profile, given), services)


def _profile(section: HostProfile) -> Profile:
    store_policy: dict[str, Any] = {}
    if isinstance(section, PamProfile):  # not the agent's: there the server's client table decides
        store_policy = {
            "password_only_uses": password_only(section.without_token, section.suspended, section.lost),
            "code_is_enough": section.without_password == "code",
            "first_factor": section.first_factor,
            "enrol_until": section.enrol_until,
        }
    return Profile(
        name=section.name,
        ask_mode=section.mode,
        language=section.language,
        echo_code=section.echo_code,
        exempt_users=frozenset(section.exempt_users),
        exempt_groups=frozenset(section.exempt_groups),
        exempt=Disposition.STEP_ASIDE if section.exempt == "ignore" else Disposition.PASSWORD_ONLY,
        networks=section.networks,
        password_networks=section.password_networks,
        reject_delay=section.reject_delay,
        texts=texts_with({Language.JA: section.texts_ja, Language.EN: section.texts_en}),
        **store_policy,
    )
