"""Makes the first factors that the settings name: who checks which passwords. Only this table names their types.

A type's own module knows how its server is asked. What it opens, it closes when the application does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import NamedTuple

from otp_core.first_factor import LOCAL_PASSWORD, FirstFactor
from otp_core.first_factor.unasked import Unasked
from otp_core.sealing import Sealer
from otp_core.settings import FirstFactorSettings
from sekisho.settings import Settings


class Supplies(NamedTuple):
    """What a first factor is made from. ``local``: the one that checks the hashes in the store. ``exits``: closed with
    the application; a first factor puts there what it opens."""

    settings: Settings
    local: FirstFactor
    sealer: Sealer
    exits: AsyncExitStack


Maker = Callable[[FirstFactorSettings, Supplies], FirstFactor]

MAKERS: dict[str, Maker] = {
    "local": lambda _, supplies: supplies.local,
    "none": lambda *_: Unasked(),
}
"""By the type in the settings; first_factor_checks.MADE_TYPES are these."""


def make_first_factors(supplies: Supplies) -> Mapping[str, FirstFactor]:
    """By name. Call it in the running event loop's thread."""
    made = {section.name: MAKERS[section.type](section, supplies) for section in supplies.settings.first_factors}
    return {LOCAL_PASSWORD: supplies.local, **made}
