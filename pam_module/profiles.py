"""Which profile a login falls under, and what that profile wants of it. No sockets, no store; who is in which group is
asked of whoever is handed in."""

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
from pam_module.settings import HostProfile, PamProfile
from pam_module.texts import TEXTS, TextName, texts_with

Groups = Callable[[str], Collection[str]]
"""The groups of a user of this machine, by name."""


class Ask(StrEnum):
    """What is asked, and in which order (settings, ``mode``)."""

    AUTO = "auto"
    CHALLENGE = "challenge"
    APPEND = "append"
    TOGETHER = "together"
    CODE = "code"
    PASSWORD = "password"


_MODES = {
    Ask.AUTO: Mode.AUTO,
    Ask.CHALLENGE: Mode.CHALLENGE,
    Ask.APPEND: Mode.APPEND,
    Ask.TOGETHER: Mode.APPEND,
    Ask.CODE: Mode.CODE,
    Ask.PASSWORD: Mode.PASSWORD,
}


class Disposition(StrEnum):
    """What the profile says of somebody before anything is asked."""

    ASK = "ask"
    PASSWORD_ONLY = "password only"
    STEP_ASIDE = "step aside"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile at work. ``uses`` are the uses of OTP without an active token that are let in, apart from the days
    of grace."""

    name: str = "default"
    ask: Ask = Ask.AUTO
    language: Language = Language.JA
    echo_code: bool = False
    exempt_users: frozenset[str] = frozenset()
    exempt_groups: frozenset[str] = frozenset()
    exempt: Disposition = Disposition.PASSWORD_ONLY
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    password_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    reject_delay: float = 2.0
    texts: Mapping[Language, Mapping[TextName, str]] = field(default_factory=lambda: TEXTS)
    uses: frozenset[OtpUse] = frozenset({OtpUse.NONE, OtpUse.SUSPENDED})
    code_is_enough: bool = False
    enrol_until: date | None = None
    offline: bool = False

    def disposition(self, start: Start, groups: Groups) -> tuple[Disposition, str]:
        """What is to be done with this login, and why."""
        if self.networks and start.rhost and not _inside(start.rhost, self.networks):
            return Disposition.REFUSE, "a network that the profile does not let in"
        if start.user in self.exempt_users:
            return self.exempt, "an exempt user"
        if self.exempt_groups and not self.exempt_groups.isdisjoint(groups(start.user)):
            return self.exempt, "a member of an exempt group"
        if _inside(start.rhost, self.password_networks):
            return Disposition.PASSWORD_ONLY, "a network without codes"
        return Disposition.ASK, ""

    def policy(self, today: date, *, without_code: bool = False) -> Policy:
        """What the core is asked for."""
        uses = self.uses
        if self.enrol_until is not None:
            uses = uses | {OtpUse.NONE} if today <= self.enrol_until else uses - {OtpUse.NONE}
        mode = Mode.PASSWORD if without_code else _MODES[self.ask]
        return Policy(mode, uses, self.language, code_is_enough=self.code_is_enough)

    def text(self, name: TextName, language: Language | None = None) -> str:
        day = self.enrol_until.isoformat() if self.enrol_until else ""
        return self.texts[language or self.language][name].replace("{day}", day)


def _inside(rhost: str, networks: Collection[IPv4Network | IPv6Network]) -> bool:
    """A name, where the host looks addresses up (sshd's UseDNS), is in no network: only an address can be trusted."""
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
    """All of them. The module's option goes before the service, and a name that nobody has is nobody's."""

    def __init__(self, profiles: Iterable[Profile], services: Mapping[str, str]) -> None:
        """``services``: the name of the profile for a PAM service."""
        self._by_name = {"default": Profile()} | {profile.name: profile for profile in profiles}
        self._services = services

    def find(self, start: Start) -> Profile | None:
        """None: the module names a profile that is not there."""
        return self._by_name.get(start.profile or self._services.get(start.service, "default"))


def profiles_of(settings: Iterable[HostProfile]) -> Profiles:
    """As the settings have them."""
    given = list(settings)
    services = {service: one.name for one in given for service in one.services}
    return Profiles(map(_profile, given), services)


def _profile(given: HostProfile) -> Profile:
    own: dict[Language, Mapping[Any, str]] = {Language.JA: given.texts_ja, Language.EN: given.texts_en}
    here: dict[str, Any] = {}
    if isinstance(given, PamProfile):
        here = {
            "uses": password_only(given.without_token, given.suspended, given.lost),
            "code_is_enough": given.without_password == "code",
            "enrol_until": given.enrol_until,
        }
    return Profile(
        name=given.name,
        ask=Ask(given.mode),
        language=given.language,
        echo_code=given.echo_code,
        exempt_users=frozenset(given.exempt_users),
        exempt_groups=frozenset(given.exempt_groups),
        exempt=Disposition.STEP_ASIDE if given.exempt == "ignore" else Disposition.PASSWORD_ONLY,
        networks=given.networks,
        password_networks=given.password_networks,
        reject_delay=given.reject_delay,
        texts=texts_with(own),
        offline=getattr(given, "offline", "refuse") == "codes",
        **here,
    )
