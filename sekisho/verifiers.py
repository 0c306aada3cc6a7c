"""Makes the verifiers that the settings name: who knows the codes of which tokens. Only this table names their types.

What one opens, it closes when the application does. Each is asked once for all copies of a request, and what it has
found right is accepted once (``verified_once``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import date, datetime, time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from otp_core.accounts import Desk, with_verifiers
from otp_core.accounts.verifier_teller import VerifierTeller
from otp_core.audit import ms_of
from otp_core.authentication.verified_once import VerifiedOnce
from otp_core.first_factor.unasked import Unasked
from otp_core.model import StoreProblem
from otp_core.settings import VerifierSettings
from otp_core.store.store import Store
from otp_core.upstreams.codes import UpstreamCodes
from otp_core.verifier import Verifier
from otp_core.verifier.vip.credentials import CredentialProblem, context_of
from sekisho.first_factors import Supplies
from sekisho.settings import Settings
from sekisho.verifier_checks import credentials_of

if TYPE_CHECKING:
    from otp_core.verifier.vip.client import VipClient
    from otp_core.verifier.vip.verifier import VipVerifier

LOCAL = "local"
T = TypeVar("T")


def make_vip(section: VerifierSettings) -> VipVerifier:
    """Belongs to the running event loop. Raises StoreProblem for a file that cannot be used, so that no server starts
    without it."""
    # Here, because a start without VIP need not wait for aiohttp.
    from otp_core.verifier.vip.client import Plan, VipClient
    from otp_core.verifier.vip.verifier import VipVerifier

    files = credentials_of(section)
    assert files is not None and section.url is not None
    try:
        context = context_of(files)
    except CredentialProblem as error:
        raise StoreProblem(f"the verifier {section.name!r} cannot be made: {error}") from error
    plan = Plan(section.name, section.url, section.versions, section.timeout, section.connections, section.max_waiting)
    return VipVerifier(VipClient(plan, context))


def _vip(section: VerifierSettings, supplies: Supplies) -> Verifier:
    verifier = make_vip(section)
    supplies.exits.push_async_callback(verifier.client.close)
    return verifier


def _radius(section: VerifierSettings, supplies: Supplies) -> Verifier:
    assert section.upstream is not None
    upstream = next(one for one in supplies.settings.upstreams if one.name == section.upstream)
    return UpstreamCodes(
        section.name,
        supplies.upstream(section.upstream),
        supplies.sealer,
        relays_questions=upstream.challenges == "relay",
    )


MAKERS: dict[str, Callable[[VerifierSettings, Supplies], Verifier]] = {"vip": _vip, "radius": _radius}
"""By the type in the settings; ``local`` needs no call."""


class Made(NamedTuple):
    """Verifiers by name, and what tells them of their tokens; None where there is none. ``vip``: what calls VIP, for
    the metrics. ``ask``: whether one may ask a question of its own."""

    by_name: Mapping[str, Verifier]
    teller: VerifierTeller | None
    vip: Mapping[str, VipClient]
    ask: bool = False


def make_verifiers(supplies: Supplies, store: Store, now: Callable[[], int]) -> Made:
    """Call it in the running event loop's thread. Raises StoreProblem."""
    sections = [one for one in supplies.settings.verifiers if one.type != LOCAL]
    if not sections:
        return Made({}, None, {})
    from otp_core.verifier.vip.verifier import VipVerifier

    made = {one.name: MAKERS[one.type](one, supplies) for one in sections}
    registries = {name: one for name, one in made.items() if isinstance(one, VipVerifier)}
    teller = VerifierTeller(store, registries, made.keys() - registries.keys(), now)
    by_name = {name: VerifiedOnce(name, one, store, supplies.answers(), now) for name, one in made.items()}
    clients = {name: one.client for name, one in registries.items()}
    return Made(by_name, teller, clients, any(isinstance(one, UpstreamCodes) for one in made.values()))


def leave_by(sections: Sequence[VerifierSettings]) -> dict[str, date]:
    """By name, the day by which a verifier's tokens are to be changed."""
    return {one.name: one.leave_by for one in sections if one.leave_by is not None}


def left_at(sections: Sequence[VerifierSettings]) -> dict[str, int]:
    """By name, the beginning (ms) of the day from which customers are asked to give up a verifier's tokens."""
    return {name: int(datetime.combine(day, time.min).timestamp() * 1000) for name, day in leave_by(sections).items()}


def act_with_verifiers(settings: Settings, store: Store, desk: Desk, act: Callable[[Desk], T]) -> T:
    """An act of a command, with verifiers made for it alone. Raises what the act raises, and BackendSilent."""

    async def run() -> T:
        async with AsyncExitStack() as exits:
            supplies = Supplies(settings, Unasked(), store.sealer, exits)
            verifiers = make_verifiers(supplies, store, lambda: ms_of(store.ids.next()))
            return await with_verifiers(desk, act, verifiers.by_name)

    return asyncio.run(run())


class Patterns:
    """Which verifier has the tokens that are not in the inventory, by their IDs."""

    def __init__(self, sections: Sequence[VerifierSettings]) -> None:
        self._patterns = [(pattern, one.name) for one in sections for pattern in one.patterns]

    def __call__(self, token_id: str) -> str | None:
        """The verifier of a normalised token ID; None: such a token has to be in the inventory."""
        for pattern, name in self._patterns:
            if token_id == pattern or (pattern.endswith("*") and token_id.startswith(pattern[:-1])):
                return name
        return None
