"""Codes of tokens that are verified elsewhere, at the desk: begin and complete.

No transaction is open while a verifier is asked. An act that meets such a code raises VerificationNeeded and leaves
nothing behind; ``verified`` asks the verifier and runs the act again with the finding, which is spent in its
transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from otp_core.model import BackendSilent
from otp_core.store.retry import retry_while_busy
from otp_core.verifier import CodeFinding, CodeQuestion, Verifier

if TYPE_CHECKING:
    from otp_core.accounts.desk import Desk

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VerifiedCode:
    """A code as it was typed, with what verifiers found out about it."""

    text: str = field(repr=False)
    findings: tuple[CodeFinding, ...]


Code = str | VerifiedCode
"""What an act takes for a code. A finding is used for the token that it is about; any other token reads the text."""


class VerificationNeeded(Exception):
    """An act was given a code of a token that is verified elsewhere. Nothing was counted and nothing written.

    ``verifier`` is to be asked about ``code`` (normalised, digits only) of ``customer`` (contract ID); ``given`` is the
    act's argument. ``brought``: the token is to become the customer's by it."""

    def __init__(
        self, token_id: str, verifier: str, code: str, given: Code, customer: str, *, brought: bool = False
    ) -> None:
        super().__init__(f"the codes of token {token_id} are verified by {verifier}")
        self.token_id, self.verifier, self.code, self.given = token_id, verifier, code, given
        self.customer, self.brought = customer, brought


MOST_QUESTIONS = 8
"""Of one act: more than any has codes, times tokens that a customer may have elsewhere."""


async def with_verifiers(desk: Desk, act: Callable[[Desk], T], verifiers: Mapping[str, Verifier]) -> T:
    """The result of ``act(desk)``, which is one transaction, run again as a whole with what the verifiers have said
    about its codes, and while the store is busy. ``verifiers``: by the names that tokens have for them.

    Each code is asked about once: a verifier uses it up. Raises what the act raises, and BackendSilent if a verifier
    does not answer or is not configured; then the act has changed nothing."""
    findings: dict[tuple[str, str], CodeFinding] = {}
    for _ in range(MOST_QUESTIONS):
        knowing = desk.knowing(findings) if findings else desk
        try:
            return await retry_while_busy(lambda known=knowing: act(known))  # type: ignore[misc]
        except VerificationNeeded as needed:
            findings[needed.token_id, needed.code] = await _ask(needed, verifiers)
    raise BackendSilent("an act has too many codes that are verified elsewhere")


async def _ask(needed: VerificationNeeded, verifiers: Mapping[str, Verifier]) -> CodeFinding:
    """Raises BackendSilent."""
    verifier = verifiers.get(needed.verifier)
    if verifier is None:
        raise BackendSilent(f"the verifier {needed.verifier!r} of token {needed.token_id} is not configured")
    question = CodeQuestion(needed.token_id, needed.code, needed.customer)
    found = await (verifier.enrol(question) if needed.brought else verifier.verify(question))
    if found.token_id != needed.token_id:
        raise BackendSilent(f"the verifier {needed.verifier!r} answered about another token")
    return found


async def verified(act: Callable[..., T], codes: tuple[str, ...], verifiers: Mapping[str, Verifier]) -> T:
    """The result of ``act(*codes)``, with each code that is verified elsewhere asked for first. ``verifiers``: by the
    names that tokens have for them.

    Each code is asked about once: a verifier uses it up. Raises what the act raises, and BackendSilent if a verifier
    does not answer or is not configured; then the act has changed nothing."""
    arguments: list[Code] = list(codes)
    findings: dict[tuple[str, str], CodeFinding] = {}
    while True:
        try:
            return act(*arguments)
        except VerificationNeeded as error:
            needed = error
        asked = (needed.token_id, needed.code)
        if asked not in findings:
            findings[asked] = await _ask(needed, verifiers)
        known = VerifiedCode(needed.given, ()) if isinstance(needed.given, str) else needed.given
        more = VerifiedCode(known.text, (*known.findings, findings[asked]))
        arguments[arguments.index(needed.given)] = more
