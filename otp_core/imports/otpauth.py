"""Parses ``otpauth://`` URIs, as authenticator apps read them from QR codes: one a line. Pure; repeats no part of one.

The form is Google Authenticator's (Key Uri Format): otpauth://TYPE/LABEL?secret=...&digits=...
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from otp_core.imports.seeds import read_seed
from otp_core.model import SeedForm

OPENING = "otpauth://"
LONGEST_URI = 2048
"""Characters: more than any QR code for an app holds."""

FORM = "otpauth://totp/VSMT12345678?secret=BASE32&digits=6&period=30&algorithm=SHA1"
_MOST_PARAMETERS = 20


class UriProblem(ValueError):
    """``column``: the part of the URI that is wrong; empty for all of it. The text says what would be right."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


class TokenUri(NamedTuple):
    """A URI's parts. ``cells`` by the names of a token file's columns, with the defaults of the form; ``token_id`` is
    the account in the label. ``seed``: octets."""

    cells: dict[str, str]
    seed: bytes

    def __repr__(self) -> str:
        return f"TokenUri(cells={self.cells!r})"


def read_uri(text: str) -> TokenUri:
    """The parts of a URI. Raises UriProblem."""
    if len(text) > LONGEST_URI:
        raise UriProblem("", f"is too long: a URI has at most {LONGEST_URI} characters")
    if text.lower().startswith("otpauth-migration://"):
        raise UriProblem(
            "", "is an export of Google Authenticator, which holds several accounts: export each for itself"
        )
    try:
        parts = urlsplit(text)
        pairs = parse_qsl(
            parts.query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MOST_PARAMETERS
        )
        label = unquote(parts.path, errors="strict").removeprefix("/")
    except ValueError:  # also a UnicodeDecodeError
        raise UriProblem("", f"is not understood: write {FORM}") from None
    if parts.scheme != "otpauth":
        raise UriProblem("", f"is no otpauth URI: write {FORM}")
    given = _once(pairs)
    issuer, _, account = label.rpartition(":")
    _same_issuer(issuer.strip(), given.get("issuer", "").strip())
    kind = parts.netloc.lower()
    if kind == "hotp" and "counter" not in given:
        raise UriProblem("counter", "is missing: a counter token's URI ends in &counter=0, or where its counter is now")
    cells = {
        "token_id": account.strip(),
        "kind": kind,
        "digits": given.get("digits", "6"),
        "step": given.get("period", "30") if kind != "hotp" else "",
        "algorithm": given.get("algorithm", "SHA1"),
        "counter": given.get("counter", "") if kind == "hotp" else "",
    }
    return TokenUri(cells, _seed(given))


def _once(pairs: list[tuple[str, str]]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in pairs:
        if given.setdefault(name.lower(), value) != value:
            raise UriProblem("", "gives a parameter twice, with different values")
    return given


def _same_issuer(in_label: str, parameter: str) -> None:
    if in_label and parameter and in_label != parameter:
        raise UriProblem(
            "issuer", "is not the one before the account's name: both have to be the same, or leave one out"
        )


def _seed(given: dict[str, str]) -> bytes:
    if "secret" not in given:
        raise UriProblem("secret", f"is missing: write {FORM}")
    try:
        return read_seed(given["secret"], SeedForm.BASE32)
    except ValueError as error:
        raise UriProblem("secret", str(error)) from None
