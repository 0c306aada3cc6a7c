"""Whom the audit trail is sent to, by the settings: the outlets, each with its position."""

from __future__ import annotations

from typing import NamedTuple

from otp_core.outwards.condition import KeptCondition, condition_of
from otp_core.outwards.position import Position, position_of
from otp_core.settings import SyslogSettings, WebhookSettings
from otp_core.store.store import Store
from sekisho.settings import Settings

SYSLOG = "syslog"


class Outlet(NamedTuple):
    """``label``: in logs, metrics and doctor: ``syslog``, or ``webhook:`` and its name. ``receiver``: host and port, or
    a path, for people. ``condition``: how it does."""

    label: str
    receiver: str
    position: Position
    condition: KeptCondition


def outlets(settings: Settings, store: Store) -> list[Outlet]:
    """All of them."""
    found = [] if settings.syslog is None else [syslog_outlet(settings.syslog, store)]
    return found + [webhook_outlet(one, store) for one in settings.webhooks]


def position_names(settings: Settings) -> list[str]:
    """By which names the positions of all of them are kept."""
    return [SYSLOG] + [_position_name(one) for one in settings.webhooks]


def syslog_outlet(section: SyslogSettings, store: Store) -> Outlet:
    """The outlet of syslog."""
    return _outlet(SYSLOG, section.address, store, SYSLOG)


def webhook_outlet(section: WebhookSettings, store: Store) -> Outlet:
    """The outlet of one webhook."""
    return _outlet(f"webhook:{section.name}", section.host(), store, _position_name(section))


def _position_name(section: WebhookSettings) -> str:
    return f"webhook-{section.name}"


def _outlet(label: str, receiver: str, store: Store, name: str) -> Outlet:
    return Outlet(label, receiver, position_of(store, name), condition_of(store, name))
