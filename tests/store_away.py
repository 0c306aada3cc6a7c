"""A store that is gone for a while, on either engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from otp_core.store.store import Store
from tests import postgresql


@contextmanager
def away(store: Store) -> Iterator[None]:
    """Meanwhile nobody can read or write it."""
    file = store.database.file
    if file is None:
        with postgresql.shut(store.database.name):
            yield
        return
    elsewhere = file.rename(file.with_name("away.db"))
    try:
        yield
    finally:
        elsewhere.rename(file)
