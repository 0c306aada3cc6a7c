"""What a door is (RADIUS, PAM, web), what it is given, and what it has to offer. Protocols and values only.

A door translates between its protocol and the core. It decides nothing about customers, and imports no other door.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from otp_core.accounts import Desk
from otp_core.authentication.authenticator import Authenticator
from otp_core.authentication.chap import ChapLogins
from otp_core.authentication.comparison import Comparison
from otp_core.back_ends import BackEnds
from otp_core.first_factor.failures import FailureTable
from otp_core.first_factor.shared_answers import SharedAnswers
from otp_core.health import Health
from otp_core.imports.importers import ImportRules
from otp_core.model import AttributeCheck
from otp_core.settings import Problem
from otp_core.store.engine import LoginReader
from otp_core.store.store import Store
from otp_core.tally import Tally
from otp_core.upstreams.own_mark import OwnMark
from otp_core.upstreams.upstream import Upstream
from otp_core.verdict_log import VerdictLog
from otp_core.verifier import Verifier

Section = TypeVar("Section", contravariant=True)
"""A door's section of the settings."""


class ShadowParts(NamedTuple):
    """What shadow mode is made from. ``upstream``: by name; raises KeyError. ``answers``: shared by the processes of
    this machine."""

    upstream: Callable[[str], Upstream]
    answers: SharedAnswers
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Services:
    """What a door is given: the core's services, shared by all doors of a process. ``failures``: wrong passwords,
    counted by all processes of the store. ``tally``: verdicts are counted there, whatever the door.
    ``attribute_check``: asks every door that sends a customer's reply attributes; slow, for a thread. ``import_rules``:
    what of the settings an import has to know.
    ``verifiers``: who knows codes that nobody here does, by name. ``shadow``: None where the settings
    have no upstream. ``back_ends``: None where there are none, or nobody counts. ``own_mark``: of what goes to
    upstreams; None where there are none."""

    store: Store
    authenticator: Authenticator
    desk: Desk
    login_reader: LoginReader
    health: Health
    failures: FailureTable
    verdict_log: VerdictLog
    tally: Tally
    attribute_check: AttributeCheck = lambda _: ()
    chap: ChapLogins | None = None
    verifiers: Mapping[str, Verifier] = field(default_factory=dict)
    import_rules: ImportRules = field(default_factory=ImportRules)
    shadow: ShadowParts | None = None
    back_ends: BackEnds | None = None
    own_mark: OwnMark | None = None


class Door(Protocol[Section]):
    """Something that asks the core. Made from its section, opened with the core's services."""

    def problems(self) -> Sequence[Problem]:
        """What of its settings it cannot use: asked by `config check` and before the start. Never raises."""

    def bind(self) -> None:
        """Called before fork(): bind the sockets that workers share, if any. Raises OSError."""

    async def open(self, services: Services, *, shared: bool) -> None:
        """Begin to listen. ``shared``: other workers listen at the same addresses. Raises OSError."""

    def reload(self, section: Section) -> None:
        """Take over new clients, secrets and texts without losing a request."""

    async def close(self) -> None:
        """Accept nothing new, answer what is under way."""


class DoorFigures(NamedTuple):
    """What a door says of itself, for the metrics. ``in_flight``: requests without a verdict now; ``drops``: what was
    answered with silence so far, by a code of the cause; ``requests``: verified ones so far, by client and "yes" or
    "no" for a Message-Authenticator; ``by_secret``: by client and "present" or "next", where it has two."""

    in_flight: int
    drops: Mapping[str, int]
    requests: Mapping[tuple[str, str], int] = {}
    by_secret: Mapping[tuple[str, str], int] = {}


@runtime_checkable
class CountingDoor(Protocol):
    """A door that has something to say of itself beside the verdicts."""

    def figures(self) -> DoorFigures:
        """As of now."""


@runtime_checkable
class AttributeDoor(Protocol):
    """A door whose acceptances carry a customer's reply attributes."""

    def attribute_check(self) -> AttributeCheck:
        """The check to make before such attributes come into the store."""
