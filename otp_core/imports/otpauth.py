"""Parses ``otpauth://`` URIs, as authenticator apps read them from QR codes: one a line. Pure; repeats no part of one.

The form is Google Authenticator's (Key Uri Format): otpauth://TYPE/LABEL?secret=...&digits=...
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from otp_core.imports.seeds import read_seed
from otp_core.imports.worded import message_of, worded
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
        raise UriProblem("", worded("is too long: a URI has at most %(most)s characters", most=LONGEST_URI))
    if text.lower().startswith("otpauth-migration://"):
        wrong = worded("is an export of Google Authenticator, which holds several accounts: export each for itself")
        raise UriProblem("", wrong)
    try:
        parts = urlsplit(text)
        pairs = parse_qsl(
            parts.query, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MOST_PARAMETERS
        )
        label = unquote(parts.path, errors="strict").removeprefix("/")
    except ValueError:  # also a UnicodeDecodeError
        raise UriProblem("", worded("is not understood: write %(form)s", form=FORM)) from None
    if parts.scheme != "otpauth":
        raise UriProblem("", worded("is no otpauth URI: write %(form)s", form=FORM))
    given = _once(pairs)
    issuer, _, account = label.rpartition(":")
    _same_issuer(issuer.strip(), given.get("issuer", "").strip())
    kind = parts.netloc.lower()
    if kind == "hotp" and "counter" not in given:
        wrong = worded("is missing: a counter token's URI ends in &counter=0, or where its counter is now")
        raise UriProblem("counter", wrong)
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
            raise UriProblem("", worded("gives a parameter twice, with different values"))
    return given


def _same_issuer(in_label: str, parameter: str) -> None:
    if in_label and parameter and in_label != parameter:
        wrong = worded("is not the one before the account's name: both have to be the same, or leave one out")
        raise UriProblem("issuer", wrong)


def _seed(given: dict[str, str]) -> bytes:
    if "secret" not in given:
        raise UriProblem("secret", worded("is missing: write %(form)s", form=FORM))
    try:
        return read_seed(given["secret"], SeedForm.BASE32)
    except ValueError as error:
        raise UriProblem("secret", message_of(error)) from None
