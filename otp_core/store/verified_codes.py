"""Codes that a verifier elsewhere has found right lately: each is accepted once, by whichever process and node. Keyed
fingerprints alone.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from otp_core.store.schema import verified_code

_TAKEN_AWAY_AT_ONCE = 100


def remember_code(connection: Connection, fingerprint: int, now: int, until: int) -> bool:
    """Keep the fingerprint of a code until then (ms); False: it is kept already. Some that have run out are deleted.
    Under the write lock: of two at once, one gets True."""
    kept = select(verified_code.c.expires_at).where(verified_code.c.fingerprint == fingerprint)
    found = connection.execute(kept).scalar()
    if found is not None and found > now:
        return False
    old = select(verified_code.c.fingerprint).where(verified_code.c.expires_at <= now).limit(_TAKEN_AWAY_AT_ONCE)
    gone = {*connection.execute(old).scalars(), fingerprint}
    connection.execute(delete(verified_code).where(verified_code.c.fingerprint.in_(gone)))
    connection.execute(insert(verified_code).values(fingerprint=fingerprint, expires_at=until))
    return True
