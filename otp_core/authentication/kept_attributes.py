"""The attributes that a first factor elsewhere brought along for a login that was accepted: kept for its copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from otp_core.audit import Event
from otp_core.model import Accept, Silence, Verdict


class KeptAttributes(Protocol):
    """What first factors elsewhere have brought along for logins that were accepted, for their copies."""

    def keep(self, fingerprint: int, attributes: Mapping[str, object]) -> None:
        """For a minute."""

    def find(self, fingerprint: int) -> Mapping[str, object] | None:
        """What was kept; None for nothing."""


def with_kept(verdict: Verdict, kept: KeptAttributes, fingerprint: int) -> Verdict:
    """An acceptance with the attributes that were kept for it; silence where they are lost. The first one is kept."""
    if not isinstance(verdict, Accept) or verdict.row is None or not fingerprint:
        return verdict
    if verdict.row.event == Event.LOGIN_REPEATED:
        before = kept.find(fingerprint)
        if before is None:
            return Silence("a copy of an accepted login whose attributes are not known any more")
        return Accept(before or None, verdict.row)
    kept.keep(fingerprint, verdict.attributes or {})
    return verdict
