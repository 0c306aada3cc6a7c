"""Whom the audit trail is sent to, by the settings: the outlets, each with its position beside the store."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from otp_core.outwards.condition import ConditionFile, NoCondition
from otp_core.outwards.position import FilePosition, Position, StoredPosition
from otp_core.settings import SyslogSettings, WebhookSettings
from otp_core.store.store import Store
from sekisho.settings import Settings

SYSLOG = "syslog"


class Outlet(NamedTuple):
    """``label``: in logs, metrics and doctor: ``syslog``, or ``webhook:`` and its name. ``receiver``: host and port, or
    a path, for people."""

    label: str
    receiver: str
    position: Position

    @property
    def condition(self) -> ConditionFile | NoCondition:
        """How it does; kept beside a store that is a file."""
        return ConditionFile(self.position) if isinstance(self.position, FilePosition) else NoCondition()


def outlets(settings: Settings, store: Path) -> list[Outlet]:
    """All of them. ``store``: the store's file."""
    found = [webhook_outlet(one, store) for one in settings.webhooks]
    if settings.syslog is not None:
        found.insert(0, Outlet(SYSLOG, settings.syslog.address, FilePosition(store, SYSLOG)))
    return found


def webhook_outlet(section: WebhookSettings, store: Path) -> Outlet:
    """The outlet of one webhook."""
    return Outlet(f"webhook:{section.name}", section.host(), FilePosition(store, f"webhook-{section.name}"))


def syslog_outlet(section: SyslogSettings, store: Store) -> Outlet:
    """The outlet of syslog, whatever the store is."""
    return Outlet(SYSLOG, section.address, syslog_position(store))


def syslog_position(store: Store) -> Position:
    """Where the position of syslog is kept."""
    file = store.database.file
    return StoredPosition(store, SYSLOG) if file is None else FilePosition(file, SYSLOG)
