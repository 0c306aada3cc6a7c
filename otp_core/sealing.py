"""Seals what is secret at rest: AES-256-GCM under the master key, with the token ID or session digest as associated
data.

The master key file holds 32 random bytes in Base64 on one line, mode 0600. HKDF (RFC 5869) derives one key for each
purpose from it. This module never logs and never caches a seed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import stat
import struct
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from otp_core.regular_file import read_regular

_VERSION: Final = b"\x01"
_SESSION_VERSION = b"\x02"
_NONCE: Final = 12
_SIZES: Final = [size.to_bytes(8, "big") for size in range(256)]
_integer: Final = struct.Struct(">q").unpack
_KEY_CHECK_NAME = "sekisho key check"
VALUE_NAME = 16
"""Octets of the name in front of a value that is kept for minutes."""
_VALUES_OF_A_NAME = 2**20
"""Of each process; those that were forked from one may share a name."""
_KEY_FILE_OCTETS = 4096


class KeyProblem(Exception):
    """The master key is missing, unreadable, malformed or not the right one. The text says what to do."""


class Sealer:
    """Seals seeds and session data, and makes keyed fingerprints and digests. One object for the life of the process.
    ``master_key``: 32 bytes."""

    def __init__(self, master_key: bytes) -> None:
        self._aead = AESGCM(_derive(master_key, b"sekisho seed v1"))
        self._hosts = _derive(master_key, b"sekisho offline hosts v1")
        self._data = _derive(master_key, b"sekisho session data v1")
        self._keys_of_data = hmac.new(_extract(self._data), digestmod=hashlib.sha256)
        self._session = _derive(master_key, b"sekisho session mark v1")
        self._issuance = _derive(master_key, b"sekisho issuance v1")
        self._name, self._name_left = b"", 0
        self._name_cipher = self._session_cipher(b"")
        self._fingerprint = hashlib.blake2b(digest_size=8, key=_derive(master_key, b"sekisho fingerprint v1"))

    def __repr__(self) -> str:
        return "Sealer(...)"

    def seal(self, plain: bytes, token_id: str) -> bytes:
        """A seed under the master key, bound to its token ID: version (1 byte) | nonce (12) | ciphertext and tag."""
        nonce = os.urandom(_NONCE)
        return _VERSION + nonce + self._aead.encrypt(nonce, plain, token_id.encode())

    def unseal(self, sealed: bytes, token_id: str) -> bytes:
        """The seed that ``seal`` sealed. Raises KeyProblem if it was sealed under another key or for another token
        ID."""
        if sealed[:1] != _VERSION:
            raise KeyProblem(f"the seed of token {token_id} was sealed by another version of Sekisho")
        try:
            return self._aead.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], token_id.encode())
        except (InvalidTag, ValueError):
            raise KeyProblem(f"the seed of token {token_id} does not open with this master key") from None

    def fingerprint(self, *parts: bytes) -> int:
        """A keyed 64-bit fingerprint of the parts, each with its length, as a signed integer; never 0, which means
        none."""
        hash_ = self._fingerprint.copy()
        pieces: list[bytes] = []
        for part in parts:
            size = len(part)
            pieces.append(_SIZES[size] if size < 256 else size.to_bytes(8, "big"))
            pieces.append(part)
        hash_.update(b"".join(pieces))
        found: int = _integer(hash_.digest())[0]
        return found or 1

    def name_fingerprint(self, name: str) -> str:
        """What logs and audit rows have in the place of a name that is no customer's: "name:" and 16 hexadecimal
        digits. Somebody may have typed their password there; who knows the name, finds the rows."""
        return f"name:{self.fingerprint(b'name', name.encode(errors='backslashreplace')) % 2**64:016x}"

    def host_key(self, host: str) -> bytes:
        """The key that this store shares with one host for offline codes, derived from the host's name."""
        return _derive(self._hosts, host.encode())

    def session_digest(self, id_: bytes) -> bytes:
        """The keyed digest (256 bits) under which the store keeps a session, from which its id cannot be recovered."""
        return hashlib.blake2b(id_, digest_size=32, key=self._session).digest()

    def issuance_digest(self, purpose: bytes, content: bytes) -> bytes:
        """A keyed digest (256 bits) for the issuing of tokens. ``purpose``: at most 16 bytes; the digests of one are
        not those of another."""
        return hashlib.blake2b(content, digest_size=32, key=self._issuance, person=purpose).digest()

    def seal_data(self, plain: bytes, digest: bytes) -> bytes:
        """A session's data, bound to its digest: version (1 byte) | nonce (12) | ciphertext and tag. Each session has
        a key of its own: random nonces are good for 2^32 messages under one key (NIST SP 800-38D, section 8.3), and a
        session seals a few for each page."""
        nonce = os.urandom(_NONCE)
        return _SESSION_VERSION + nonce + self._session_cipher(digest).encrypt(nonce, plain, digest)

    def unseal_data(self, sealed: bytes, digest: bytes) -> bytes:
        """What ``seal_data`` sealed; also before version 2, when all sessions had one key. Raises KeyProblem if it was
        sealed under another key or for another session."""
        cipher = AESGCM(self._data) if sealed[:1] == _VERSION else self._session_cipher(digest)
        try:
            return cipher.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], digest)
        except (InvalidTag, ValueError):
            raise KeyProblem("a session's data do not open with this master key") from None

    def seal_value(self, plain: bytes) -> bytes:
        """For what is kept for minutes: the random name under which it is sealed (16 bytes), then as ``seal_data``.
        Many share a name and its key, so that deriving keys costs nothing; far fewer than random nonces are good
        for."""
        if not self._name_left:
            self._name, self._name_left = os.urandom(VALUE_NAME), _VALUES_OF_A_NAME
            self._name_cipher = self._session_cipher(self._name)
        self._name_left -= 1
        nonce = os.urandom(_NONCE)
        return self._name + _SESSION_VERSION + nonce + self._name_cipher.encrypt(nonce, plain, self._name)

    def unseal_value(self, sealed: bytes) -> bytes:
        """What ``seal_value`` sealed. Raises KeyProblem."""
        name = sealed[:VALUE_NAME]
        if name != self._name:
            return self.unseal_data(sealed[VALUE_NAME:], name)
        at = VALUE_NAME + len(_SESSION_VERSION)
        try:
            return self._name_cipher.decrypt(sealed[at : at + _NONCE], sealed[at + _NONCE :], name)
        except (InvalidTag, ValueError):
            raise KeyProblem("what was kept does not open with this master key") from None

    def _session_cipher(self, digest: bytes) -> AESGCM:
        """By HKDF, as ``_derive`` has it. All but one HMAC is the same for every digest, and done once: a login that is
        relayed seals and opens three values."""
        expanded = self._keys_of_data.copy()
        expanded.update(digest + b"\x01")
        return AESGCM(expanded.digest())

    def key_check(self) -> bytes:
        """A sealed value for the store, by which a wrong key is recognised at start."""
        return self.seal(b"sekisho", _KEY_CHECK_NAME)

    def opens(self, key_check: bytes) -> bool:
        """Whether this is the key that made ``key_check``."""
        try:
            return self.unseal(key_check, _KEY_CHECK_NAME) == b"sekisho"
        except KeyProblem:
            return False


def _derive(master_key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(master_key)


def _extract(key: bytes) -> bytes:
    """The first step of HKDF without a salt (RFC 5869 section 2.2)."""
    return hmac.digest(bytes(hashlib.sha256().digest_size), key, hashlib.sha256)


def create_master_key(path: Path) -> bool:
    """Write a new key, mode 0600, unless there is one. Returns whether it was written. Raises KeyProblem."""
    text = base64.b64encode(secrets.token_bytes(32)) + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            return False
        raise KeyProblem(f"cannot write the master key file {path}: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return True


def read_master_key(path: Path) -> bytes:
    """The 32 bytes of the master key. Raises KeyProblem for a file that is missing, malformed or open to other
    users."""
    try:
        mode = path.stat().st_mode
        text = read_regular(path, _KEY_FILE_OCTETS).decode("ascii").strip()
    except FileNotFoundError:
        raise KeyProblem(
            f"there is no master key file {path}: restore it from your backup, or run `sekisho init` for a new store"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise KeyProblem(f"cannot read the master key file {path}: {error}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise KeyProblem(f"the master key file {path} can be read by others: run `chmod 600 {path}`")
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise KeyProblem(f"the master key file {path} is damaged: it must hold 32 bytes in Base64 on one line")
    return key
