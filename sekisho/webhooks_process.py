"""The process that sends the audit trail to webhooks: a task for each."""

from __future__ import annotations

from otp_core.settings import WebhookSettings
from otp_core.settings.sources import read_private
from otp_core.store.engine import Task
from otp_core.store.store import Store
from otp_core.webhooks.receiver import WebhookReceiver
from otp_core.webhooks.request import read_secrets
from sekisho.heartbeat import Heartbeat
from sekisho.outlets import webhook_outlet
from sekisho.outwards_process import Sending, run_outwards
from sekisho.settings import Settings
from sekisho.wiring import best_time

NAME = "webhooks"
_HOUR_MS = 3_600_000


def run_webhooks(settings: Settings, life: Heartbeat) -> int:
    """Send until SIGTERM or SIGINT; returns the exit code. Raises as ``run_outwards``, and UnusableFile and ValueError
    for a secret's file that has changed since the settings were read."""
    return run_outwards(NAME, Task.WEBHOOKS, _sendings, settings, life)


def _sendings(settings: Settings, store: Store) -> list[Sending]:
    return [_sending(one, store) for one in settings.webhooks]


def _sending(section: WebhookSettings, store: Store) -> Sending:
    now_ms = best_time(store)
    secrets = read_secrets(read_private(section.secret_file))
    receiver = WebhookReceiver(section.url, secrets, section.ca_file, section.timeout, now=lambda: now_ms() / 1000)
    outlet = webhook_outlet(section, store)
    return Sending(outlet, receiver, store, section.events, give_up_ms=section.give_up_hours * _HOUR_MS)
