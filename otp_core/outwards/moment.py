"""When a row was made, for receivers elsewhere. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from otp_core.audit import TAG_BITS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment_of(id_: int) -> str | None:
    """UTC, to the microsecond (RFC 3339); None where an id tells no time that there is."""
    try:
        at = _EPOCH + timedelta(microseconds=id_ >> TAG_BITS)
    except OverflowError:
        return None
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at.year >= 1970 else None
