"""The bank's VIP client certificate, its key, and whose certificates are trusted: files to a TLS context.

It asks no server. What is wrong with a file is said with its name, and nothing of its content is.
"""

from __future__ import annotations

import ssl
from datetime import datetime
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


class Validity(NamedTuple):
    """Of the client certificate."""

    begins: datetime
    ends: datetime

    def trouble(self, now: datetime) -> str:
        """Why VIP would not take it at this moment; empty for a good one."""
        if now < self.begins:
            return f"is not valid before {self.begins:%Y-%m-%d}"
        if now > self.ends:
            return f"has expired on {self.ends:%Y-%m-%d}: fetch a new one from VIP Manager"
        return ""

    def days(self, now: datetime) -> int:
        """Whole days that are left."""
        return (self.ends - now).days


def examine(files: Credentials) -> Validity:
    """How long the client certificate is good. Raises CredentialProblem for files that can never be used. One that has
    expired is none of them: a server starts with it, because the other tokens go on working."""
    certificate = _certificate(files.certificate)
    _check_key(files, certificate)
    trust(files.ca_file)
    return Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def context_of(files: Credentials) -> ssl.SSLContext:
    """What the session speaks TLS with: names are verified, and the client certificate is shown. Raises
    CredentialProblem."""
    examine(files)
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
