"""How long the certificates that the settings name are good: a file to a date. It reads the file anew each time, since
a renewal puts another one there; it never reads a key.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from otp_core.regular_file import read_regular

SOON_DAYS = 30
"""A certificate that ends so soon is worth a warning."""

_MOST_OCTETS = 1024 * 1024


class NamedCertificate(NamedTuple):
    """``setting``: the key that names the file, such as "web.tls_certificate"."""

    setting: str
    file: Path


class Lifetime(NamedTuple):
    """``ends``: when the first certificate of the file's chain ends. ``trouble``: why the file cannot be used; then
    ``ends`` is None."""

    setting: str
    file: Path
    ends: datetime | None
    trouble: str = ""

    def days(self, now: datetime) -> int | None:
        """Whole days that are left, negative ones after its end."""
        return None if self.ends is None else (self.ends - now).days


def lifetime_of(named: NamedCertificate) -> Lifetime:
    """It holds the certificate of its owner and, behind it, those of its issuers: whichever ends first counts."""
    try:
        chain = x509.load_pem_x509_certificates(read_regular(named.file, _MOST_OCTETS))
    except OSError as error:
        return Lifetime(*named, None, f"cannot be read: {error.strerror or error}")
    except ValueError:
        return Lifetime(*named, None, "holds no certificate in PEM: -----BEGIN CERTIFICATE-----")
    return Lifetime(*named, min(one.not_valid_after_utc for one in chain))


def next_to_end(named: tuple[NamedCertificate, ...]) -> Lifetime | None:
    """The one that ends first; one that cannot be used comes before all. None: there are none."""
    first = datetime.min.replace(tzinfo=UTC)
    return min(map(lifetime_of, named), key=lambda one: one.ends or first, default=None)
