"""The offline cache: what verifies the codes of named users for some hours, without their seeds. No files, no clock.

For each time step there is a slow hash of its code (argon2id, with a salt of its own). Who opens the file has to guess
each code by itself, and learns no code of a later time. The cache is sealed with AES-GCM under the host's key, which
also proves that it comes from the store.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
from dataclasses import dataclass, field
from typing import Any

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from otp_core.first_factor.hashes import Cost

_HEAD = "sekisho-offline-cache 1 "
_HEAD_OF_SEVERAL = "sekisho-offline-cache 2 "
"""Of a cache in which a user has several tokens: an agent of 0.2.0 cannot read it, and says so."""
_NONCE = 12
VERIFIER_OCTETS = 16


class BadCache(Exception):
    """The cache is damaged, for another host, or sealed under another key. The text says which, if that is known."""


@dataclass(frozen=True, slots=True)
class UserCodes:
    """The codes of one token of a user's: one verifier (hash) for each time step from ``first_step`` on. ``period``:
    seconds. ``drift``: the token's clock drift, in steps."""

    token_id: str
    digits: int
    period: int
    drift: int
    first_step: int
    verifiers: tuple[bytes, ...] = field(repr=False)

    @property
    def steps(self) -> range:
        """The time steps that have a verifier."""
        return range(self.first_step, self.first_step + len(self.verifiers))


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache for one host.

    ``serial``: its random name. ``until``: when it ends, in milliseconds since the epoch. ``logins``: how many each
    user has. ``window``: steps around now in which a code is accepted. ``lock_after``: wrong codes in a row that end a
    user's logins. ``users``: the codes of their tokens by contract ID.
    """

    host: str
    serial: str
    until: int
    logins: int
    window: int
    lock_after: int
    cost: Cost
    users: dict[str, tuple[UserCodes, ...]]

    def fits(self, codes: UserCodes, code: str, step: int) -> bool:
        """Whether this is the token's code of that time step. Takes as long as a password hash: 15 ms and more."""
        if step not in codes.steps:
            return False
        made = verifier(self.serial, codes.token_id, step, code, self.cost)
        return hmac.compare_digest(made, codes.verifiers[step - codes.first_step])


def verifier(serial: str, token_id: str, step: int, code: str, cost: Cost) -> bytes:
    """The hash of a token's code of one time step. The salt is derived from the arguments, so it needs no place."""
    salt = hashlib.sha256(f"{serial} {token_id} {step}".encode()).digest()[:16]
    return hash_secret_raw(
        code.encode(), salt, cost.time_cost, cost.memory_kib, cost.parallelism, VERIFIER_OCTETS, Type.ID
    )


def seal(cache: Cache, key: bytes) -> bytes:
    """The cache as the octets of a file: a line that names the host, and a line sealed under ``key`` (32 octets)."""
    several = any(len(tokens) > 1 for tokens in cache.users.values())
    head = f"{_HEAD_OF_SEVERAL if several else _HEAD}{cache.host}\n".encode()
    nonce = os.urandom(_NONCE)
    sealed = nonce + AESGCM(key).encrypt(nonce, json.dumps(_plain(cache)).encode(), head)
    return head + base64.b64encode(sealed) + b"\n"


def open_cache(octets: bytes, key: bytes, host: str) -> Cache:
    """The cache in a file's octets, for this host. Raises BadCache."""
    head, _, body = octets.partition(b"\n")
    if head.decode(errors="replace") not in (f"{_HEAD}{host}", f"{_HEAD_OF_SEVERAL}{host}"):
        raise BadCache(f"it is not an offline cache for {host}")
    try:
        sealed = base64.b64decode(body.strip(), validate=True)
        plain = AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], head + b"\n")
    except (binascii.Error, InvalidTag, ValueError):
        raise BadCache("it was changed, or made for another key") from None
    return _cache(json.loads(plain), host)


def _plain(cache: Cache) -> dict[str, Any]:
    return {
        "serial": cache.serial,
        "until": cache.until,
        "logins": cache.logins,
        "window": cache.window,
        "lock_after": cache.lock_after,
        "cost": [cache.cost.memory_kib, cache.cost.time_cost, cache.cost.parallelism],
        "users": {
            name: _fields(tokens[0]) if len(tokens) == 1 else [_fields(codes) for codes in tokens]
            for name, tokens in cache.users.items()
        },
    }


def _fields(codes: UserCodes) -> list[Any]:
    return [
        codes.token_id,
        codes.digits,
        codes.period,
        codes.drift,
        codes.first_step,
        base64.b64encode(b"".join(codes.verifiers)).decode(),
    ]


def _cache(plain: dict[str, Any], host: str) -> Cache:
    users = {
        name: tuple(_user_codes(*token) for token in (fields if isinstance(fields[0], list) else [fields]))
        for name, fields in plain["users"].items()
    }
    return Cache(
        host,
        plain["serial"],
        plain["until"],
        plain["logins"],
        plain["window"],
        plain["lock_after"],
        Cost(*plain["cost"]),
        users,
    )


def _user_codes(token_id: str, digits: int, period: int, drift: int, first_step: int, verifiers: str) -> UserCodes:
    return UserCodes(token_id, digits, period, drift, first_step, _split(verifiers))


def _split(text: str) -> tuple[bytes, ...]:
    octets = base64.b64decode(text)
    return tuple(octets[at : at + VERIFIER_OCTETS] for at in range(0, len(octets), VERIFIER_OCTETS))


def encode_key(key: bytes) -> bytes:
    """The key file's octets: one line of Base64."""
    return base64.b64encode(key) + b"\n"


def decode_key(octets: bytes) -> bytes:
    """The 32 octets of the key in a key file. Raises BadCache."""
    try:
        key = base64.b64decode(octets.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise BadCache("the host's offline key must be 32 octets in Base64: issue it again with `pam-offline key`")
    return key
