"""The key files of the seals: Ed25519, PEM; the private one mode 0600, apart from the master key. Never logged.

`openssl genpkey -algorithm ed25519` makes such a key too, and `openssl pkey -pubout` its public one.
"""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from otp_core.regular_file import read_regular
from otp_core.sealing import KeyProblem

_OCTETS = 4096


def create_seal_key(path: Path) -> bool:
    """Write a new key, mode 0600, unless there is one. Returns whether it was written. Raises KeyProblem."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            return False
        raise KeyProblem(f"cannot write the key of the seals {path}: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return True


def read_seal_key(path: Path) -> Ed25519PrivateKey:
    """The key that signs. Raises KeyProblem for a file that is missing, open to others, or no such key."""
    try:
        mode = path.stat().st_mode
        pem = read_regular(path, _OCTETS)
    except FileNotFoundError:
        raise KeyProblem(
            f"there is no key of the seals {path}: restore it from your backup, or run `sekisho init`, which makes a "
            "new one"
        ) from None
    except (OSError, ValueError) as error:
        raise KeyProblem(
            f"cannot read the key of the seals {path}: {error}; it has to belong to the user that the server runs as"
        ) from None
    if stat.S_IMODE(mode) & 0o077:
        raise KeyProblem(f"the key of the seals {path} can be read by others: run `chmod 600 {path}`")
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyProblem(
            f"{path} is no Ed25519 key in PEM without a passphrase: restore the key from your backup, or move the file "
            "away and run `sekisho init`, which makes a new one"
        )
    return key


def read_public_key(path: Path) -> str:
    """A public key (as ``Seal.key``) from a PEM file. Raises KeyProblem."""
    try:
        key = load_pem_public_key(read_regular(path, _OCTETS))
    except OSError as error:
        raise KeyProblem(f"cannot read the public key {path}: {error.strerror or error}") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyProblem(f"{path} is no Ed25519 public key: `sekisho audit public-key` prints the right one")
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def public_name(key: Ed25519PrivateKey) -> str:
    """The public key of this one, as ``Seal.key``."""
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def public_pem(key: Ed25519PrivateKey) -> str:
    """The public key of this one, as a PEM file."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
