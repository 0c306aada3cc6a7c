"""Who knows a token's codes: a property of the token (``token.verifier``).

Seam: ``Verifier``. The codes of a ``local`` token are computed here, inside the login batch, from the seed in the
store; that needs no call, so there is no local implementation of this Protocol. The codes of any other token are asked
for before the batch, outside any transaction, and the finding is carried into the batch and spent there.

Of a customer who has such a token beside others (login/matching.py), these hold:

- A code that fits a token here is shown to no verifier: a verifier uses a code up, and counts a wrong one. So digits
  that fit here are not spent there, and may let in once more by that token, if its service says that they fit. No
  service can be asked without using the code up, so that this cannot be closed here.
- Otherwise the verifiers are asked one after the other until one says that the code fits; what they said is kept with
  the login, and none is asked twice about one code.
- One that does not answer leaves the whole login without an answer: nothing is counted, and nothing is refused.
- At the desk a new token's code is spent on the customer's tokens here that it fits, and not on those there.
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
