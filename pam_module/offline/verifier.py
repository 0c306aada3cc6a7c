"""A code checked on the host itself, from the cache, because no server answers. Each at most once, and only so many.

It trusts the host's clock and disk, which it has nobody to check against; what follows from that stands in docs/pam.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from otp_core.otp import DIGITS, code_at_the_end, is_code, nearest_first, normalise_code, step_at
from pam_module.offline.cache import BadCache, Cache, decode_key, open_cache
from pam_module.offline.journal import BadJournal, Entry, Journal

KEY, CACHE, JOURNAL = "host.key", "cache", "journal"
_REMEMBERED, _SECONDS = 4096, 600
_log = structlog.get_logger("agent")


class OfflineVerifier:
    """The host's key, cache and journal, in one folder. ``now_ms``: the host's clock."""

    def __init__(self, folder: Path, host: str, now_ms: Callable[[], int]) -> None:
        self._folder, self._host, self._now_ms = folder, host, now_ms
        self._journal: Journal | None = None
        self._one_at_a_time = asyncio.Lock()
        self._secret = os.urandom(32)
        self._online: OrderedDict[bytes, int] = OrderedDict()

    def accepted_online(self, user: str, user_password: str) -> None:
        """A code, alone or behind a password, that a server has just accepted from here: it must not be good a second
        time when that server falls silent. Forgotten when it could not be accepted any more."""
        for digits in DIGITS:
            if length := code_at_the_end(user_password, digits):
                self._online[self._fingerprint(user, user_password[-length:])] = self._now_ms()
        while len(self._online) > _REMEMBERED:
            self._online.popitem(last=False)

    async def accepts(self, user: str, user_password: str, source: str) -> bool:
        """True once for a right code, when that is on the disk. Never raises: what cannot be checked is refused."""
        async with self._one_at_a_time:
            try:
                return await self._accepts(user, normalise_code(user_password), source)
            except (BadCache, BadJournal) as error:
                _log.error("the offline cache cannot be used", folder=str(self._folder), cause=str(error))
            except OSError as error:
                _log.error("the offline cache cannot be used", cause=str(error))
            return False

    async def _accepts(self, user: str, code: str, source: str) -> bool:
        cache, journal = self._open()
        codes, now = cache.users.get(user), self._now_ms()
        if codes is None or not is_code(code, codes.digits):
            return self._no(user, "no code of a user whom the cache knows")
        if now >= cache.until:
            return self._no(user, "the cache is too old: hand out a new one")
        mine = [entry for entry in journal.entries if entry.serial == cache.serial and entry.user == user]
        if sum(entry.spent for entry in mine) >= cache.logins:
            return self._no(user, "all logins that the cache allows are used")
        if _wrong_in_a_row(mine) >= cache.lock_after:
            return self._no(user, "too many wrong codes")
        if now - self._online.get(self._fingerprint(user, code), -_SECONDS * 1000) < _SECONDS * 1000:
            return self._no(user, "a code that a server has accepted already")
        last = max((entry.step for entry in journal.entries if entry.token_id == codes.token_id), default=-1)
        step = await asyncio.to_thread(_find, cache, user, code, now, last)
        entry = Entry(cache.serial, user, codes.token_id, -1, now, False, source)
        journal.add(entry if step is None else replace(entry, step=step, spent=True))
        if step is None:
            return self._no(user, "wrong code")
        _log.warning("let in by the offline cache: settle the journal when a server answers again", user=user)
        return True

    @staticmethod
    def _no(user: str, why: str) -> bool:
        _log.warning("refused by the offline cache", user=user, reason=why)
        return False

    def _open(self) -> tuple[Cache, Journal]:
        """The cache is read each time: a new one may have been put there. Raises BadCache, BadJournal or OSError."""
        key = decode_key(_private(self._folder / KEY))
        cache = open_cache(_private(self._folder / CACHE), key, self._host)
        if self._journal is None:
            self._journal = Journal(self._folder / JOURNAL, key, self._host)
        return cache, self._journal

    def _fingerprint(self, user: str, code: str) -> bytes:
        return hmac.digest(self._secret, f"{user}\0{normalise_code(code)}".encode(), hashlib.sha256)

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()


def _find(cache: Cache, user: str, code: str, now: int, last: int) -> int | None:
    codes = cache.users[user]
    for step in nearest_first(step_at(now, codes.period) + codes.drift, cache.window):
        if step > last and cache.fits(user, code, step):
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
