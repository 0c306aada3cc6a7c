"""Keys of programs that use the API. Statements only. A key itself never gets here, only its digest."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from otp_core.audit import ms_of
from otp_core.model import Conflict
from otp_core.store.schema import api_key, staff

API_KEY_ACTOR = "api:"
"""How the actor of the audit rows of a key begins; its name follows. No name of staff, and no user of this machine,
holds a colon."""


class ApiKeyRecord(NamedTuple):
    """An API key. ``scopes``: values of ``model.Scope``; ``networks``: where it may come from, empty for anywhere."""

    key: int
    name: str
    scopes: frozenset[str]
    networks: tuple[str, ...]

    @classmethod
    def of_row(cls, key: int, name: str, scopes: str, networks: str) -> ApiKeyRecord:
        """As the table has it."""
        return cls(key, name, frozenset(scopes.split()), tuple(networks.split()))

    @property
    def created_at(self) -> int:
        """When it was made, in ms since the epoch."""
        return ms_of(self.key)


def _keys() -> Select[Any]:
    return select(api_key.c.key, api_key.c.name, api_key.c.scopes, api_key.c.networks)


def api_key_of(connection: Connection, digest: bytes) -> ApiKeyRecord | None:
    """The key with this digest; None: there is none, or none any more."""
    row = connection.execute(_keys().where(api_key.c.digest == digest)).one_or_none()
    return ApiKeyRecord.of_row(*row) if row else None


def api_key_named(connection: Connection, name: str) -> ApiKeyRecord | None:
    """The key of this name; None if there is none."""
    row = connection.execute(_keys().where(api_key.c.name == name)).one_or_none()
    return ApiKeyRecord.of_row(*row) if row else None


def api_keys(connection: Connection) -> list[ApiKeyRecord]:
    """All keys, in the order of names."""
    return [ApiKeyRecord.of_row(*row) for row in connection.execute(_keys().order_by(api_key.c.name))]


def count_api_keys(connection: Connection) -> int:
    """How many there are."""
    return connection.execute(select(func.count()).select_from(api_key)).scalar_one()


def maker_of(connection: Connection, name: str) -> str | None:
    """Who of staff has made the key of this name; None: a command did, or there is none."""
    query = select(staff.c.name).select_from(api_key.join(staff, staff.c.key == api_key.c.made_by))
    return connection.execute(query.where(api_key.c.name == name)).scalar()


def add_api_key(connection: Connection, new: ApiKeyRecord, digest: bytes, made_by: int | None = None) -> None:
    """Add a key. ``made_by``: the key of the member of staff who was shown it; None: a command was. Raises Conflict if
    the name was taken since it was looked for."""
    row = {"key": new.key, "name": new.name, "digest": digest, "made_by": made_by}
    texts = {"scopes": " ".join(sorted(new.scopes)), "networks": " ".join(new.networks)}
    try:
        connection.execute(insert(api_key).values(**row, **texts))
    except IntegrityError:
        raise Conflict(f"the name {new.name} was taken by somebody else just now") from None


def drop_api_key(connection: Connection, key: int) -> bool:
    """Delete a key. False if it is gone already."""
    return connection.execute(delete(api_key).where(api_key.c.key == key)).rowcount == 1
