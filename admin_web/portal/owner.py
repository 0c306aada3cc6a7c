"""Whose journey a form belongs to. Two tabs of a browser share one session, so a form that was opened by one customer
could be sent in the session of the next one. Each form carries a keyed digest of its customer; no contract ID.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from admin_web.http.security import is_same_text
from otp_core.accounts import Session

FIELD = "whose"
OTHER = "/other"
"""The page that a form of another customer leads to."""


class Owners:
    """``fingerprint``: keyed, of some parts (Sealer.fingerprint)."""

    def __init__(self, fingerprint: Callable[..., int]) -> None:
        self._fingerprint = fingerprint

    def digest(self, customer: str) -> str:
        """What a form of this customer's journey carries."""
        return f"{self._fingerprint(b'form of', customer.encode(errors='backslashreplace')) % 2**64:016x}"

    def is_anothers(self, form: Mapping[str, str], session: Session) -> bool:
        """Whether the form was opened by another customer than the session's. A form without the field is judged by
        its key alone."""
        sent = form.get(FIELD)
        return bool(sent) and not is_same_text(str(sent), self.digest(session.customer))
