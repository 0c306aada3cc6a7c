"""The names of a customer's account: what was typed, what the directory is asked for, what a DN is. Pure.

It decides nothing about customers; ``directory`` does.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from otp_core.otp import normalise_contract_id

LONGEST_NAME = 256
"""Characters of a name that is looked for."""
LONGEST_DN = 2048

_BACKSLASHES = str.maketrans("¥", "\\")
"""The yen sign stands on the backslash's key of a Japanese keyboard."""
_SPECIAL_IN_DN = frozenset(',+"\\<>;=')
_TYPE = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*|(?:[Oo][Ii][Dd]\.)?[0-9]+(?:\.[0-9]+)+)\s*=")
_NOT_IN_A_BIND_NAME = frozenset('"/\\[]:;|=,+*?<>@')
"""What Active Directory allows in no sAMAccountName, and the sign that ends one in a UPN."""


def without_domain(typed: str, domains: Collection[str]) -> str | None:
    r"""``BANK\name`` without the domain; other names as they are. None for a domain that is not one of ``domains``,
    where there are any, and for a name that nobody can have."""
    domain, backslash, name = normalise_contract_id(typed).translate(_BACKSLASHES).rpartition("\\")
    if backslash and domains and domain.casefold() not in {one.casefold() for one in domains}:
        return None
    name = normalise_contract_id(name)
    return name if 0 < len(name) <= LONGEST_NAME and name.isprintable() else None


def without_realm(name: str) -> str:
    """``name@realm`` without the realm (RFC 7542); other names as they are."""
    before, at, _ = name.rpartition("@")
    return normalise_contract_id(before if at else name)


def in_dn(value: str) -> str:
    """A value as it stands in a DN (RFC 4514 §2.4)."""
    escaped = "".join(f"\\{one}" if one in _SPECIAL_IN_DN else one for one in value)
    if escaped[:1] in ("#", " "):
        escaped = "\\" + escaped
    if len(value) > 1 and escaped[-1:] == " ":
        escaped = escaped[:-1] + "\\ "
    return escaped.replace("\0", "\\00")


def fits_a_bind_name(value: str) -> bool:
    """Whether it can stand in a name that is no DN (``{user}@bank.example``) without making another name of it."""
    return value.isprintable() and not _NOT_IN_A_BIND_NAME.intersection(value)


def comparable_dn(dn: str) -> tuple[tuple[tuple[str, str], ...], ...]:
    """A DN as values that are equal if the names are: case and blanks do not count, nor in which of RFC 4514's ways a
    character is written. Raises ValueError for a text that is no DN."""
    if not 0 < len(dn) <= LONGEST_DN:
        raise ValueError(f"is empty, or longer than {LONGEST_DN} characters")
    rdns, pairs, at = [], [], 0
    while True:
        found = _TYPE.match(dn, at)
        if found is None:
            raise ValueError('is no DN: write it as "OU=People,DC=bank,DC=example"')
        value, end = _value(dn, found.end())
        name = found[1].lower().removeprefix("oid.")
        pairs.append((name, " ".join(value.split()).casefold()))
        if dn[end : end + 1] != "+":
            rdns.append(tuple(sorted(pairs)))
            pairs = []
        if end == len(dn):
            return tuple(rdns)
        at = end + 1


def _value(dn: str, at: int) -> tuple[str, int]:
    """The value that begins there without its escapes, and where it ends."""
    octets = bytearray()
    while at < len(dn) and dn[at] not in ",+":
        if dn[at] != "\\":
            if dn[at] in _SPECIAL_IN_DN - {"="}:
                raise ValueError(f"has {dn[at]} where a DN needs a backslash before it")
            octets += dn[at].encode()
            at += 1
        elif re.fullmatch("[0-9A-Fa-f]{2}", dn[at + 1 : at + 3]):
            octets += bytes.fromhex(dn[at + 1 : at + 3])
            at += 3
        elif len(dn) > at + 1:
            octets += dn[at + 1].encode()
            at += 2
        else:
            raise ValueError("ends with a backslash")
    return octets.decode("utf-8", "replace"), at
