"""The Proxy-State that we add to what goes to an upstream. By it a request that comes back here is known: an upstream
that leads to this server, by a way that the settings do not show (another address of ours, a server in between).
"""

from __future__ import annotations

import hashlib
import hmac
import os

_DRAWN = _PROOF = 8
"""Octets of each of the two parts."""


class OwnMark:
    """``key``: of this process alone. Of several workers each knows its own marks, so a request goes round once for
    each of them at most; and another server with a copy of the store is another one."""

    def __init__(self, key: bytes) -> None:
        self._hash = hashlib.blake2b(digest_size=_PROOF, key=key)

    def draw(self) -> bytes:
        """A new one."""
        drawn = os.urandom(_DRAWN)
        return drawn + self._proof(drawn)

    def is_ours(self, proxy_state: bytes) -> bool:
        """Whether this process has drawn it."""
        if len(proxy_state) != _DRAWN + _PROOF:
            return False
        return hmac.compare_digest(self._proof(proxy_state[:_DRAWN]), proxy_state[_DRAWN:])

    def _proof(self, drawn: bytes) -> bytes:
        hash_ = self._hash.copy()
        hash_.update(drawn)
        return hash_.digest()


def own_mark() -> OwnMark:
    """One with a key that nobody else has."""
    return OwnMark(os.urandom(32))
