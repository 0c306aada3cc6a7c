"""A first factor elsewhere that is asked once for all copies of a gateway's request, whichever process they reach; and
the attributes of accepted logins, for their copies. What is kept is sealed, and bound to the request's fingerprint.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import struct
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Protocol

from otp_core.first_factor import FirstFactor, FirstFinding, NextRound, Question
from otp_core.first_factor.shared_answers import KEEP_SECONDS, SharedAnswers
from otp_core.login.table import Finding
from otp_core.model import BackendSilent, InClear, sealed_value
from otp_core.sealing import KeyProblem

_LOOK_AGAIN = 0.02
"""Seconds between two looks for the answer to another copy."""
_RIGHT = struct.Struct("<cqB")
"""The head of an answer that is kept in few octets: ``_IS_RIGHT``, the key, and how many octets the name of what was
brought along has; that name follows, then the value. Any other answer is JSON."""
_IS_RIGHT = b"R"


class Seal(Protocol):
    """The store's sealer."""

    def seal_value(self, plain: bytes) -> bytes:
        """Sealed, under a random name that stands in front."""

    def unseal_value(self, sealed: bytes) -> bytes:
        """What was sealed. Raises KeyProblem."""


class AskedOnce:
    """``factor``: who is asked. Attempts without a fingerprint have no copies."""

    def __init__(self, factor: FirstFactor, answers: SharedAnswers, sealer: Seal) -> None:
        self._factor, self._answers, self._sealer = factor, answers, sealer
        self.one_reading, self.relays = factor.one_reading, factor.relays
        self.needs_no_task = getattr(factor, "needs_no_task", False)

    @property
    def has_rounds(self) -> bool:
        """As that of the first factor."""
        return self._factor.has_rounds

    @property
    def reachable(self) -> bool:
        """As that of the first factor."""
        return self._factor.reachable

    async def check(self, question: Question) -> FirstFinding | NextRound:
        """See ``FirstFactor``. Raises BackendSilent."""
        key = question.attempt.fingerprint
        if not key:
            return await self._ask(question)
        kept = await self._claimed(key, question.attempt.deadline)
        if kept is not None:
            return kept
        try:
            found = await self._ask(question)
        except BaseException:
            self._answers.release(key)
            raise
        short = _short(key, found)
        self._answers.settle(
            key, sealed(self._sealer, key, _value_of(found)) if short is None else self._sealer.seal_value(short)
        )
        return found

    async def _ask(self, question: Question) -> FirstFinding | NextRound:
        """The first factor. Of several answers to one question of its own, at whatever processes they arrive, the first
        one is passed on. Raises BackendSilent: then the question may be answered again."""
        if question.state is None:
            return await self._factor.check(question)
        key = _key_of_round(question.state)
        if self._answers.claim(key, _seconds_left(question.attempt.deadline)) is not True:
            return FirstFinding(right=False, reason=Finding.CHALLENGE_GONE)
        try:
            return await self._factor.check(question)
        except BaseException:
            self._answers.release(key)
            raise

    async def _claimed(self, key: int, deadline: float) -> FirstFinding | NextRound | None:
        """None: it is for us to ask. Otherwise what another copy was answered. Raises BackendSilent."""
        kept = await _claimed_octets(self._answers, key, deadline)
        return None if kept is None else _found_in(self._sealer, key, kept)


async def claimed(answers: SharedAnswers, sealer: Seal, key: int, deadline: float) -> dict[str, Any] | None:
    """None: it is for us to ask, and to settle or release it. Otherwise what another copy of the request was answered.
    Raises BackendSilent."""
    kept = await _claimed_octets(answers, key, deadline)
    return None if kept is None else opened(sealer, key, kept)


async def _claimed_octets(answers: SharedAnswers, key: int, deadline: float) -> bytes | None:
    """The same, still sealed."""
    loop, left = asyncio.get_running_loop(), _seconds_left(deadline)
    while True:
        found = answers.claim(key, left)
        if found is True:
            return None
        if isinstance(found, bytes):
            return found
        if loop.time() >= deadline:
            raise BackendSilent("a copy of this request was asked about, and has no answer yet")
        await asyncio.sleep(_LOOK_AGAIN)


class KeptAttributes:
    """The attributes of accepted answers to challenges, by the fingerprint of the login."""

    def __init__(self, answers: SharedAnswers, sealer: Seal) -> None:
        self._answers, self._sealer = answers, sealer

    def keep(self, fingerprint: int, attributes: Mapping[str, object]) -> None:
        """For a minute. Too many octets are not kept."""
        key = _own_key(fingerprint)
        self._answers.settle(key, sealed(self._sealer, key, dict(attributes)))

    def find(self, fingerprint: int) -> Mapping[str, object] | None:
        """What was kept; None for nothing."""
        key = _own_key(fingerprint)
        kept = self._answers.find(key)
        return None if kept is None else opened(self._sealer, key, kept)


def _seconds_left(deadline: float) -> float:
    """For which a claim holds: until whoever made it has given up for certain."""
    if math.isinf(deadline):
        return KEEP_SECONDS
    return max(0.0, deadline - asyncio.get_running_loop().time()) + 2


def _key_of_round(state: bytes) -> int:
    """Sealed under a random name, it is another one for each question."""
    return int.from_bytes(blake2b(state, digest_size=8).digest(), "big", signed=True) or 1


def _own_key(fingerprint: int) -> int:
    """Apart from the key of the question: the two never meet."""
    return ~fingerprint or 1


def sealed(sealer: Seal, key: int, value: Mapping[str, object]) -> bytes:
    """A value as it is kept, bound to its key."""
    return sealer.seal_value(json.dumps([key, value], default=sealed_value).encode())


def opened(sealer: Seal, key: int, octets: bytes) -> dict[str, Any] | None:
    """None for what somebody else has sealed, or for another key."""
    plain = _plain(sealer, octets)
    return None if plain is None else _value_in(plain, key)


def _plain(sealer: Seal, octets: bytes) -> bytes | None:
    try:
        return sealer.unseal_value(octets)
    except KeyProblem:
        return None


def _value_in(plain: bytes, key: int) -> dict[str, Any] | None:
    try:
        about, value = json.loads(plain)
    except ValueError:
        return None
    return value if about == key and isinstance(value, dict) else None


def _short(key: int, found: FirstFinding | NextRound) -> bytes | None:
    """The usual answer of a RADIUS server in few octets: right, with nothing or one thing brought along. None for any
    other."""
    if isinstance(found, NextRound) or found.attributes is None or len(found.attributes) > 1:
        return None
    if not (found.right and found.held) or found.candidate or found.reason is not _REASON:
        return None
    for name, value in found.attributes.items():
        if not isinstance(value, InClear):
            return None
        return _RIGHT.pack(_IS_RIGHT, key, len(name)) + name.encode("ascii") + value.octets
    return _RIGHT.pack(_IS_RIGHT, key, 0)


_REASON = FirstFinding(right=True).reason


def _value_of(found: FirstFinding | NextRound) -> dict[str, object]:
    if isinstance(found, NextRound):
        return {"state": base64.b64encode(found.state).decode(), "prompt": found.prompt}
    return {**found._asdict(), "reason": found.reason.value}


def _found_in(sealer: Seal, key: int, octets: bytes) -> FirstFinding | NextRound | None:
    """None for what somebody else has sealed, or for another key."""
    plain = _plain(sealer, octets)
    if plain is None:
        return None
    if plain[:1] == _IS_RIGHT:
        _, about, size = _RIGHT.unpack_from(plain)
        at = _RIGHT.size + int(size)
        name, brought = plain[_RIGHT.size : at].decode(), InClear(plain[at:], sealer.seal_value)
        return FirstFinding(right=True, attributes={name: brought} if name else {}) if about == key else None
    value = _value_in(plain, key)
    if value is None:
        return None
    if "state" in value:
        return NextRound(base64.b64decode(value["state"]), value["prompt"])
    return FirstFinding(**{**value, "reason": Finding(value["reason"])})
