"""Staff of the console, signed in without a browser: a session of each role, as a sign-in leaves it."""

import base64
import secrets

from otp_core.accounts import Principal, PrincipalKind, StaffSessionLimits
from otp_core.model import Role
from otp_core.store.staff import staff_record
from sekisho.settings import Settings
from sekisho.wiring import open_desk, open_store

_SECONDS = 3600


def cookies(settings: Settings) -> dict[Role, str]:
    """The Cookie header of one member of staff of each role; made in the store, where they are not there yet."""
    store = open_store(settings)
    desk, principal = open_desk(settings, store), Principal("benchmark", PrincipalKind.COMMAND)
    made = {}
    for role in Role:
        with store.read() as connection:
            record = staff_record(connection, str(role))
        if record is None:
            desk.staff.add(str(role), role, principal)
            with store.read() as connection:
                record = staff_record(connection, str(role))
        assert record is not None
        id_ = secrets.token_bytes(32)
        desk.staff_sessions.begin(id_, record, "127.0.0.1", StaffSessionLimits(_SECONDS, _SECONDS), "benchmark")
        made[role] = "console=" + base64.urlsafe_b64encode(id_).decode().rstrip("=")
    return made
