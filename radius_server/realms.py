r"""Realms in a User-Name (RFC 7542 section 2.2; ``REALM\id``, as Windows writes it): who checks the passwords of each,
and what name goes there. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field

from otp_core.otp import normalise_contract_id
from otp_core.settings.repeated import Remark
from otp_core.settings.section import Section

_BACKSLASHES = str.maketrans("¥", "\\")
"""The yen sign stands on the backslash's key of a Japanese keyboard, and phones send it as it looks."""

KEEP, STRIP = "keep", "strip"
_USER = "{user}"


class Named(NamedTuple):
    """A user name in its parts. ``realm``: None where there is none. With both, the realm behind the @ counts."""

    user: str
    realm: str | None


def named(name: str) -> Named:
    r"""``REALM\id``, ``id@realm`` or ``id``."""
    before, backslash, user = name.translate(_BACKSLASHES).rpartition("\\")
    part, at, behind = user.rpartition("@")
    if at:
        return Named(normalise_contract_id(part), behind)
    return Named(normalise_contract_id(user), before if backslash else None)


def same_realm(realm: str) -> str:
    """The form in which realms are compared: case means nothing in them (RFC 7542 section 2.4)."""
    return realm.strip().casefold()


def _realm_name(name: str) -> str:
    if not name.isprintable() or name != name.strip() or any(one in name for one in "@\\¥"):
        raise ValueError(r'is not a realm: write what stands behind the @ or before the \, "bank.example" or "BANK"')
    return name


def _user_name(text: str) -> str:
    if text in (KEEP, STRIP):
        return text
    if text.count(_USER) != 1 or not text.isprintable():
        raise ValueError(f'is not known; write "{KEEP}", "{STRIP}", or a text with {_USER}, "{_USER}@core.example"')
    return text


class RealmSettings(Section):
    """A realm in user names: who checks the passwords of its customers, and by which name they are known there."""

    name: Annotated[str, AfterValidator(_realm_name)] = Field(
        min_length=1, max_length=200, description="The realm, without @ or backslash; case means nothing."
    )
    first_factor: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Who checks the passwords of its customers: the name of one of [[first_factors]], or local (left "
        "out: as for names without a realm).",
    )
    user_name: Annotated[str, AfterValidator(_user_name)] = Field(
        default=KEEP,
        max_length=200,
        description="The User-Name that a RADIUS server there is sent: as it came (keep), without realm (strip), or "
        "a text in which {user} stands for the name without its realm.",
    )

    def sent(self, came: bytes, user: str, charset: str) -> bytes:
        """The User-Name for the server there. ``came``: as the client sent it; ``user``: without its realm."""
        if self.user_name == KEEP:
            return came
        rewritten = user if self.user_name == STRIP else self.user_name.replace(_USER, user)
        return rewritten.encode(charset, "replace")


def problems_of(at: int, key: str, names: tuple[str, ...], known: frozenset[str]) -> Iterator[Remark]:
    """Realms of a client (its number) that no [[radius.realms]] has, or that it names twice."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        place = ("radius", "clients", at, key, index)
        if same_realm(name) not in known:
            yield place, f"no [[radius.realms]] has the name {name!r}: nobody would serve it"
        elif same_realm(name) in seen:
            yield place, f"{name} is given twice"
        seen.add(same_realm(name))
