"""Makes the verifiers that the settings name: who knows the codes of which tokens. Only this table names their types.

What one opens, it closes when the application does. Each is asked once for all copies of a request, and what it has
found right is accepted once (``verified_once``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from otp_core.authentication.verified_once import VerifiedOnce
from otp_core.model import StoreProblem
from otp_core.settings import VerifierSettings
from otp_core.store.store import Store
from otp_core.upstreams.codes import UpstreamCodes
from otp_core.verifier import Verifier
from otp_core.verifier.vip.client import Plan, VipClient
from otp_core.verifier.vip.credentials import CredentialProblem, context_of
from otp_core.verifier.vip.verifier import VipVerifier
from sekisho.first_factors import Supplies
from sekisho.verifier_checks import credentials_of

LOCAL = "local"


def make_vip(section: VerifierSettings) -> VipVerifier:
    """Belongs to the running event loop. Raises StoreProblem for a file that cannot be used, so that no server starts
    without it."""
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
    return UpstreamCodes(section.name, supplies.upstream(section.upstream))


MAKERS: dict[str, Callable[[VerifierSettings, Supplies], Verifier]] = {"vip": _vip, "radius": _radius}
"""By the type in the settings; ``local`` needs no call."""


def make_verifiers(supplies: Supplies, store: Store, now: Callable[[], int]) -> Mapping[str, Verifier]:
    """By name. Call it in the running event loop's thread. Raises StoreProblem."""
    elsewhere = [one for one in supplies.settings.verifiers if one.type != LOCAL]
    return {
        one.name: VerifiedOnce(one.name, MAKERS[one.type](one, supplies), store, supplies.answers(), now)
        for one in elsewhere
    }


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
