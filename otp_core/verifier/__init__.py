"""Who knows a token's codes: a property of the token (``token.verifier``).

Seam: ``Verifier``. The codes of a ``local`` token are computed here, inside the login batch, from the seed in the
store; that needs no call, so there is no local implementation of this Protocol. The codes of any other token are asked
for before the batch, outside any transaction, and the finding is carried into the batch and spent there.
"""

from __future__ import annotations

from typing import Protocol

from otp_core.login.requests import LOCAL_VERIFIER, CodeFinding

__all__ = ["LOCAL_VERIFIER", "CodeFinding", "Verifier"]


class Verifier(Protocol):
    """A service that knows the codes of tokens whose seed nobody here has."""

    async def verify(self, token_id: str, code: str) -> CodeFinding:
        """Whether this is a right code of the token, used up there by this question. ``code``: digits only. Raises
        BackendSilent if nobody can say now. At a login it is cancelled a second after the attempt's deadline."""
