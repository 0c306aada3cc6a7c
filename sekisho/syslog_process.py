"""The process that sends the audit trail to syslog."""

from __future__ import annotations

import socket

from otp_core.seals.copies import CopiedSeal, line_of
from otp_core.settings.syslog import FACILITIES
from otp_core.store.engine import Task
from otp_core.store.store import Store
from otp_core.syslog.message import Sender
from otp_core.syslog.receiver import SyslogReceiver, connection_of
from sekisho.heartbeat import Heartbeat
from sekisho.outlets import syslog_outlet
from sekisho.outwards_process import Sending, run_outwards
from sekisho.settings import Settings

NAME = "syslog"


def run_syslog(settings: Settings, life: Heartbeat) -> int:
    """Send until SIGTERM or SIGINT; returns the exit code. Raises as ``run_outwards``."""
    return run_outwards(NAME, Task.SYSLOG, _sendings, settings, life)


def _sendings(settings: Settings, store: Store) -> list[Sending]:
    section = settings.syslog
    assert section is not None
    sender = Sender(FACILITIES[section.facility], socket.gethostname(), section.enterprise)
    outlet = syslog_outlet(section, store)
    receiver = SyslogReceiver(connection_of(section), sender)

    async def take_seal(number: int, until: int, body: str, signature: bytes) -> None:
        await receiver.send_seal(until, line_of(CopiedSeal(number, body, signature)))

    return [Sending(outlet, receiver, store, section.events, take_seal=take_seal)]
