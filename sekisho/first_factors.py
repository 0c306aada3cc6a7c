"""Makes the first factors that the settings name: who checks which passwords. Only this table names their types.

A type's own module knows how its server is asked. What it opens, it closes when the application does. A server
elsewhere is asked once for all copies of a request (``asked_once``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from otp_core.first_factor import LOCAL_PASSWORD, FirstFactor
from otp_core.first_factor.asked_once import AskedOnce, KeptAttributes
from otp_core.first_factor.ldap.directory import Directory
from otp_core.first_factor.pam.passwords import PamPasswords
from otp_core.first_factor.shared_answers import SharedAnswers
from otp_core.first_factor.unasked import Unasked
from otp_core.radius.dictionary import CannotEncode, Dictionary
from otp_core.radius.relayed import AllowList
from otp_core.sealing import Sealer
from otp_core.settings import FirstFactorSettings, Problem, UpstreamSettings
from otp_core.store.engines import store_file
from otp_core.upstreams.own_mark import OwnMark, own_mark
from otp_core.upstreams.passwords import UpstreamPasswords
from otp_core.upstreams.upstream import Plan, Upstream
from sekisho.directories import make_directory
from sekisho.pam_stacks import make_pam
from sekisho.settings import Settings


@dataclass
class Supplies:
    """What first factors and verifiers are made from. ``local``: the one that checks the hashes in the store.
    ``exits``: closed with the application; who is made puts there what it opens. ``upstreams``: those that were made,
    by name. ``directories``, ``stacks`` (type pam): as well. ``own_mark``: of what goes
    to any upstream."""

    settings: Settings
    local: FirstFactor
    sealer: Sealer
    exits: AsyncExitStack
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    directories: dict[str, Directory] = field(default_factory=dict)
    stacks: dict[str, PamPasswords] = field(default_factory=dict)
    own_mark: OwnMark = field(default_factory=own_mark)
    _answers: list[SharedAnswers] = field(default_factory=list)

    def answers(self) -> SharedAnswers:
        """What is shared with the other processes, opened when it is asked for first."""
        if not self._answers:
            self._answers.append(SharedAnswers(_answers_file(self.settings)))
            self.exits.callback(self._answers[0].close)
        return self._answers[0]

    def upstream(self, name: str) -> Upstream:
        """The upstream of this name, one for all that name it. Raises KeyError for one that the settings do not
        have."""
        if name not in self.upstreams:
            section = {one.name: one for one in self.settings.upstreams}[name]
            self.upstreams[name] = Upstream(plan_of(section), self.own_mark)
            self.exits.push_async_callback(self.upstreams[name].close)
        return self.upstreams[name]


def plan_of(section: UpstreamSettings) -> Plan:
    """How this upstream is asked."""
    return Plan(
        name=section.name,
        addresses=section.servers,
        secret=section.secret.get_secret_value(),
        source=section.source,
        timeout=section.timeout,
        tries=section.tries,
        dead_seconds=section.dead_seconds,
        status_server=section.status_server,
        require_message_authenticator=section.require_message_authenticator,
    )


def _by_radius(section: FirstFactorSettings, supplies: Supplies) -> FirstFactor:
    upstream = next(one for one in supplies.settings.upstreams if one.name == section.upstream)
    return UpstreamPasswords(
        supplies.upstream(upstream.name),
        AllowList.named(upstream.relay_attributes, Dictionary(supplies.settings.radius.dictionary)),
        supplies.sealer,
        relays_questions=upstream.challenges == "relay",
    )


Maker = Callable[[FirstFactorSettings, Supplies], FirstFactor]


def _directory(section: FirstFactorSettings, supplies: Supplies) -> FirstFactor:
    directory = make_directory(section)
    supplies.exits.callback(directory.close)
    supplies.directories[section.name] = directory
    return directory


def _by_pam(section: FirstFactorSettings, supplies: Supplies) -> FirstFactor:
    made = make_pam(section)
    supplies.exits.push_async_callback(made.close)
    supplies.stacks[section.name] = made
    return made


MAKERS: dict[str, Maker] = {
    "local": lambda _, supplies: supplies.local,
    "none": lambda *_: Unasked(),
    "radius": _by_radius,
    "ldap": _directory,
    "pam": _by_pam,
}
"""By the type in the settings; first_factor_checks.MADE_TYPES are these."""


class Made(NamedTuple):
    """First factors by name, and what is kept for copies of accepted logins; None where nobody elsewhere is asked.
    ``directories``: they know customers by other names than their contract IDs."""

    by_name: Mapping[str, FirstFactor]
    kept_attributes: KeptAttributes | None
    directories: Mapping[str, Directory]


def make_first_factors(supplies: Supplies) -> Made:
    """Call it in the running event loop's thread."""
    made = {section.name: MAKERS[section.type](section, supplies) for section in supplies.settings.first_factors}
    if not any(factor.one_reading for factor in made.values()):
        return Made({LOCAL_PASSWORD: supplies.local, **made}, None, {})
    answers = supplies.answers()
    for name, factor in made.items():
        if factor.one_reading:
            made[name] = AskedOnce(factor, answers, supplies.sealer)
    by_name = {LOCAL_PASSWORD: supplies.local, **made}
    return Made(by_name, KeptAttributes(answers, supplies.sealer), supplies.directories)


def _answers_file(settings: Settings) -> Path | None:
    file = store_file(settings.store.address)
    return file and file.with_name(f"{file.name}-answers")


def relay_problems(settings: Settings) -> list[Problem]:
    """Names in relay_attributes that the dictionary does not have, or that cannot be relayed."""
    try:
        dictionary = Dictionary(settings.radius.dictionary)
    except ValueError:
        return []  # the RADIUS door says so
    found = []
    for index, upstream in enumerate(settings.upstreams):
        for at, name in enumerate(upstream.relay_attributes):
            try:
                AllowList.named([name], dictionary)
            except CannotEncode as error:
                found.append(Problem("", f"upstreams[{index}].relay_attributes[{at}]", str(error)))
    return found
