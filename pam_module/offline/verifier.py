"""Verifies codes on the host itself, from the cache, while no server answers. A code is accepted at most once, and a
user has a limited number of logins.

It trusts the host's clock and disk, since it has nothing to compare them with; docs/pam.md says what follows from that.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import structlog

from otp_core.otp import DIGITS, code_at_the_end, is_code, nearest_first, normalise_code, step_at
from pam_module.offline.cache import BadCache, Cache, UserCodes, decode_key, open_cache
from pam_module.offline.journal import BadJournal, Entry, Journal

KEY, CACHE, JOURNAL = "host.key", "cache", "journal"
"""The files in the offline folder."""

_MAX_REMEMBERED, _REMEMBERED_MS = 4096, 600_000
_log = structlog.get_logger("agent")


class OfflineVerifier:
    """The host's key, cache and journal, in one folder."""

    def __init__(self, folder: Path, host: str, now_ms: Callable[[], int]) -> None:
        """``host``: the agent's nas_identifier. ``now_ms``: milliseconds since the epoch. Opens no file yet."""
        self._folder, self._host, self._now_ms = folder, host, now_ms
        self._journal: Journal | None = None
        self._lock = asyncio.Lock()  # one code at a time: between the check of the journal and its entry lies an await
        self._secret = os.urandom(32)
        self._online: OrderedDict[bytes, int] = OrderedDict()

    def accepted_online(self, user: str, user_password: str) -> None:
        """Remember a code, alone or behind a password, that a server has accepted through this agent: it must not be
        accepted again if that server stops answering. Ten minutes are longer than any code is valid."""
        for digits in DIGITS:
            if length := code_at_the_end(user_password, digits):
                self._online[self._fingerprint(user, user_password[-length:])] = self._now_ms()
        while len(self._online) > _MAX_REMEMBERED:
            self._online.popitem(last=False)

    async def accepts(self, user: str, user_password: str, source: str) -> bool:
        """Whether the code is right. True at most once for each code, and only after the journal on the disk says so.
        Never raises: what cannot be checked is refused. ``source``: for the journal."""
        async with self._lock:
            try:
                return await self._accepts(user, normalise_code(user_password), source)
            except (BadCache, BadJournal) as error:
                _log.error("the offline cache cannot be used", folder=str(self._folder), cause=str(error))
            except OSError as error:
                _log.error("the offline cache cannot be used", cause=str(error))
            return False

    async def _accepts(self, user: str, code: str, source: str) -> bool:
        cache, journal = self._open()
        tokens, now = cache.users.get(user), self._now_ms()
        if tokens is None:
            return self._refuse(None, "a user whom the cache does not know")  # not by name: it may be a password
        candidates = [codes for codes in tokens if is_code(code, codes.digits)]
        if not candidates:
            return self._refuse(user, "no code")
        if now >= cache.until:
            return self._refuse(user, "the cache is too old: issue a new one")
        entries = [entry for entry in journal.entries if entry.serial == cache.serial and entry.user == user]
        if sum(entry.spent and not entry.also for entry in entries) >= cache.logins:
            return self._refuse(user, "all logins that the cache allows are used")
        if _wrong_in_a_row(entries) >= cache.lock_after:
            return self._refuse(user, "too many wrong codes")
        if now - self._online.get(self._fingerprint(user, code), -_REMEMBERED_MS) < _REMEMBERED_MS:
            return self._refuse(user, "a code that a server has accepted already")
        fitting = []
        for codes in candidates:
            last = max((entry.step for entry in journal.entries if entry.token_id == codes.token_id), default=-1)
            step = await asyncio.to_thread(_find, cache, codes, code, now, last)
            if step is not None:
                fitting.append((codes.token_id, step))
        if not fitting:
            named = candidates[0].token_id if len(candidates) == 1 else ""  # a wrong code is about none of several
            journal.add(Entry(cache.serial, user, named, -1, now, False, source))
            return self._refuse(user, "wrong code")
        for number, (token_id, step) in enumerate(fitting):  # it is spent on every token that it fits, and is one login
            journal.add(Entry(cache.serial, user, token_id, step, now, True, source, also=number > 0))
        _log.warning("accepted by the offline cache: reconcile the journal when a server answers again", customer=user)
        return True

    @staticmethod
    def _refuse(customer: str | None, reason: str) -> bool:
        _log.warning("refused by the offline cache", customer=customer, reason=reason)
        return False

    def _open(self) -> tuple[Cache, Journal]:
        """Read the cache, which may be a new one, and open the journal once. Raises BadCache, BadJournal or OSError."""
        key = decode_key(_private(self._folder / KEY))
        cache = open_cache(_private(self._folder / CACHE), key, self._host)
        if self._journal is None:
            self._journal = Journal(self._folder / JOURNAL, key, self._host)
        return cache, self._journal

    def _fingerprint(self, user: str, code: str) -> bytes:
        return hmac.digest(self._secret, f"{user}\0{normalise_code(code)}".encode(), hashlib.sha256)

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()


def _find(cache: Cache, codes: UserCodes, code: str, now: int, last: int) -> int | None:
    for step in nearest_first(step_at(now, codes.period) + codes.drift, cache.window):
        if step > last and cache.fits(codes, code, step):
            return step
    return None


def _wrong_in_a_row(entries: list[Entry]) -> int:
    count = 0
    for entry in entries:
        count = 0 if entry.spent else count + 1
    return count


def _private(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        raise BadCache(f"{path} is open to others: chmod 600 {path}")
    return path.read_bytes()
