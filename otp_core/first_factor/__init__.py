"""The first factor: who can say whether a login password is right. May be slow, so never inside a transaction."""

from __future__ import annotations

from typing import Protocol

from otp_core.login.requests import FirstFinding
from otp_core.model import Attempt, LoginRecord

__all__ = ["FirstFactor"]


class FirstFactor(Protocol):
    """One question. Unknown customers take as long as known ones. Raises BackendSilent if nobody can answer now."""

    async def verify(
        self, attempt: Attempt, password: str, record: LoginRecord | None, password_hash: str | None
    ) -> FirstFinding: ...
