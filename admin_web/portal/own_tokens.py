"""What the pages show of a customer's own tokens before a code was given: what tells them apart, and no token ID.

Whoever has only the password may be somebody else, and an ID is what staff or another service may ask for. So a page
gets the end of each ID, and a handle that is worth something in this one session.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from otp_core.accounts import Session
from otp_core.store.bindings import HeldToken

_SHOWN = 4
"""Characters of a token ID that are shown, at its end; of a short one, at most half."""


class OwnToken(NamedTuple):
    """A token as a page shows it. ``handle``: stands for it in a form. ``end``: of its ID. ``name``, ``bound_at`` and
    ``last_at``: as in ``HeldToken``."""

    handle: str
    end: str
    name: str | None
    bound_at: int
    last_at: int


def own_token(held: HeldToken, session: Session) -> OwnToken:
    """What the pages of this session show of a token."""
    shown = min(_SHOWN, len(held.token_id) // 2)
    end = held.token_id[len(held.token_id) - shown :]
    return OwnToken(handle(held.token_id, session), end, held.name, held.bound_at, held.last_at)


def handle(token_id: str, session: Session) -> str:
    """What stands for a token in the forms of this session. The session's digest is known to nobody outside, so that a
    handle cannot be tried out on token IDs."""
    return hashlib.blake2b(token_id.encode(), digest_size=8, key=session.digest).hexdigest()


def find_token_id(held: Sequence[HeldToken], typed: str, session: Session) -> str | None:
    """The ID of the token whose handle a form has; None: of none of these."""
    return next((one.token_id for one in held if handle(one.token_id, session) == typed), None)
