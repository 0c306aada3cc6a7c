"""The bank's VIP client certificate, its key, and whose certificates are trusted: files to a TLS context.

It asks no server. What is wrong with a file is said with its name, and nothing of its content is.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from otp_core.regular_file import read_regular

_MOST_OCTETS = 1024 * 1024


class CredentialProblem(ValueError):
    """A file that cannot be used. ``key``: the setting that names it; the text says why."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


class Credentials(NamedTuple):
    """``ca_file`` None: the system's CA certificates."""

    certificate: Path
    key: Path
    ca_file: Path | None


def examine(files: Credentials, now: datetime) -> datetime:
    """When the client certificate ends. Raises CredentialProblem for files that cannot be used at ``now``."""
    certificate = _certificate(files.certificate)
    if certificate.not_valid_before_utc > now:
        begins = certificate.not_valid_before_utc
        raise CredentialProblem("certificate", f"{files.certificate} is not valid before {begins:%Y-%m-%d}")
    ends = certificate.not_valid_after_utc
    if ends < now:
        what = f"{files.certificate} has expired on {ends:%Y-%m-%d}: fetch a new one from VIP Manager"
        raise CredentialProblem("certificate", what)
    _check_key(files, certificate)
    trust(files.ca_file)
    return ends


def context_of(files: Credentials) -> ssl.SSLContext:
    """What the session speaks TLS with: names are verified, and the client certificate is shown. Raises
    CredentialProblem."""
    examine(files, datetime.now(UTC))
    context = trust(files.ca_file)
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_passphrase)
    except (ssl.SSLError, OSError) as error:
        raise CredentialProblem("certificate", f"{files.certificate} cannot be used: {error}") from None
    return context


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """Raises CredentialProblem for a file without CA certificates."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        text = f"{ca_file} holds no CA certificate in PEM: -----BEGIN CERTIFICATE-----"
        raise CredentialProblem("ca_file", text) from None
    except OSError as error:
        raise CredentialProblem("ca_file", f"{ca_file} cannot be read: {error.strerror}") from None


def _certificate(file: Path) -> x509.Certificate:
    octets = _read("certificate", file)
    try:
        return x509.load_pem_x509_certificate(octets)
    except ValueError:
        text = f"{file} holds no certificate in PEM: -----BEGIN CERTIFICATE-----"
        raise CredentialProblem("certificate", text) from None


def _check_key(files: Credentials, certificate: x509.Certificate) -> None:
    octets = _read("key", files.key)
    try:
        key = load_pem_private_key(octets, None)
    except TypeError:
        text = f"{files.key} has a passphrase, and nobody is there to type it: openssl pkey -in … -out …"
        raise CredentialProblem("key", text) from None
    except Exception:
        # cryptography has no one class for what it does not understand
        text = f"{files.key} holds no private key in PEM: -----BEGIN PRIVATE KEY-----"
        raise CredentialProblem("key", text) from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        text = f"{files.key} does not belong to {files.certificate}: name the key that the certificate was made for"
        raise CredentialProblem("key", text)


def _read(key: str, file: Path) -> bytes:
    try:
        return read_regular(file, _MOST_OCTETS)
    except OSError as error:
        raise CredentialProblem(key, f"{file} cannot be read: {error.strerror or error}") from None


def _no_passphrase() -> str:
    """Without it OpenSSL would ask at the terminal."""
    return ""
