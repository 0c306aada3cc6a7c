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

A service may say that a code fits which it has accepted before. So what it says is remembered in the store for longer
than any window (authentication/verified_once.py): a code is accepted once here, whatever is said there.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from otp_core.login.requests import LOCAL_VERIFIER, CodeFinding
from otp_core.model import Attempt

__all__ = ["LOCAL_VERIFIER", "CodeFinding", "CodeQuestion", "Registry", "Verifier"]


class CodeQuestion(NamedTuple):
    """What a verifier is asked. ``code``: digits only. ``customer``: the contract ID. ``attempt``: the login that it is
    about, with its deadline; None: an act of the desk. ``state``: of a question of the verifier's own, which ``code``
    then answers, in whatever form it wants."""

    token_id: str
    code: str
    customer: str
    attempt: Attempt | None = None
    state: str = ""

    def __repr__(self) -> str:
        return f"CodeQuestion({self.token_id!r})"


class Verifier(Protocol):
    """A service that knows the codes of tokens whose seed nobody here has."""

    async def verify(self, question: CodeQuestion) -> CodeFinding:
        """Whether this is a right code of the token, used up there by this question. Raises BackendSilent if nobody can
        say now. At a login it is cancelled a second after the attempt's deadline, and may be answered with a question
        (``VERIFIER_ASKS``), whose answer comes as another question with its ``state``."""

    async def enrol(self, question: CodeQuestion) -> CodeFinding:
        """The same for a token that the customer brings; if the code is right, the service knows from now on that the
        token is this customer's. It may be asked again after an act that failed behind it. Raises BackendSilent."""


class Registry(Protocol):
    """A verifier that keeps whose token is whose. Both calls may be repeated. They raise BackendSilent."""

    async def add(self, customer: str, token_id: str) -> None:
        """The token is this customer's again (contract ID)."""

    async def remove(self, customer: str, token_id: str) -> None:
        """It is not any more."""
