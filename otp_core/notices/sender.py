"""Delivers the outbox by SMTP: claims notices that are due, sends them, records the outcome. It never loses a notice.

A notice is removed only after the mail server has accepted it, so that after a crash it may be sent twice, with the
same Message-ID. Several senders on one store do not send the same notice, unless one takes longer than its claim lasts.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import aiosmtplib
import structlog

from otp_core.audit import Event, ms_of
from otp_core.clock import ClockWrong
from otp_core.model import StoreUnavailable
from otp_core.notices.templates import MailIdentity, render
from otp_core.settings import NoticesSettings
from otp_core.settings.notices import mail_address
from otp_core.settings.sources import UnusableFile, read_private
from otp_core.settings.values import zone
from otp_core.store import outbox
from otp_core.store.outbox import Waiting
from otp_core.store.retry import retry_while_busy
from otp_core.store.store import Store
from otp_core.store.unit_of_work import Work

LOOK_SECONDS = 1.0
"""Between two looks at the outbox while nothing is due."""
FORGOTTEN_AT_ONCE = 1000
BATCH = 20
"""Notices that are claimed at once."""
NOTE_SECONDS = 0.2
"""Between two attempts to record an outcome."""
FORGET_SECONDS = 3600.0
"""Between two looks for notices that were given up long ago."""
REMIND_SECONDS = 300.0
"""At least between two warnings about a mail server that does not answer."""
_NAME = "notices"
_log = structlog.get_logger(_NAME)


class PermanentFailure(Exception):
    """The mail server refuses this notice for good."""


class TemporaryFailure(Exception):
    """The mail server did not accept the notice now, or cannot be reached."""


class Sender:
    """Sends the notices of one store; one in each process. ``now``: ms since the epoch, raises ClockWrong. ``settled``:
    whether the clock has stood steady for so long that a notice may be given up because of its age. ``leave_by``: see
    ``MailIdentity``."""

    def __init__(
        self,
        store: Store,
        settings: NoticesSettings,
        now: Callable[[], int],
        settled: Callable[[], bool] = lambda: True,
        leave_by: Mapping[str, date] | None = None,
    ) -> None:
        self._store, self._settings, self._now, self._settled = store, settings, now, settled
        reply_to = mail_address(settings.reply_to) if settings.reply_to else None
        sender = mail_address(settings.sender)
        self._identity = MailIdentity(sender, reply_to, settings.contact, zone(settings.time_zone), leave_by or {})
        self._claim_ms = int((settings.timeout * 4 * BATCH + 60) * 1000)
        self._reminded = self._forgotten = float("-inf")

    async def run(self) -> None:
        """Deliver until it is cancelled. An error is logged, and the notices are tried again."""
        while True:
            try:
                more = await self.deliver()
            except (StoreUnavailable, ClockWrong):
                more = False  # the login queue logs it
            except Exception:
                _log.exception("notices could not be sent: tried again")
                more = False
            if not more:
                await asyncio.sleep(LOOK_SECONDS)

    async def deliver(self) -> bool:
        """Send one batch over one connection; returns whether more may be due. Raises StoreUnavailable
        and ClockWrong."""
        now = self._now()
        with self._store.read() as connection:
            due = outbox.is_due(connection, now)
        if not due:
            self.forget(now)
            return False
        with self._store.work() as work:
            batch = outbox.claim(work.connection, now, now + self._claim_ms, BATCH)
        try:
            client = await self._connected()
        except TemporaryFailure as error:
            for notice in batch:
                await self._postpone(notice, str(error))
            return False
        try:
            for notice in batch:
                await self._deliver_one(client, notice)
        finally:
            client.close()
        return len(batch) == BATCH

    def forget(self, now: int) -> None:
        """Delete some notices that were given up long ago, now and then; none before the clock has settled. Raises
        StoreUnavailable."""
        if not self._settled() or time.monotonic() < self._forgotten + FORGET_SECONDS:
            return
        self._forgotten = time.monotonic()
        with self._store.read() as connection:
            if not outbox.has_late_failed(connection, now):
                return
        with self._store.work_aside() as work:
            outbox.forget_failed(work.connection, now, FORGOTTEN_AT_ONCE)

    async def _deliver_one(self, client: aiosmtplib.SMTP, notice: Waiting) -> None:
        try:
            await self._send(client, notice)
        except PermanentFailure as error:
            await self._give_up(notice, str(error))
        except TemporaryFailure as error:
            await self._postpone(notice, str(error))
        else:
            await self._sent(notice)

    async def _connected(self) -> aiosmtplib.SMTP:
        settings = self._settings
        host, _, port = settings.smtp.rpartition(":")
        context = None if settings.tls == "none" else _tls(settings.ca_file)
        client = aiosmtplib.SMTP(
            hostname=host.strip("[]"),
            port=int(port),
            timeout=settings.timeout,
            use_tls=settings.tls == "tls",
            start_tls=settings.tls == "starttls",
            tls_context=context,
        )
        try:
            await client.connect()
            if settings.username is not None and settings.password_file is not None:
                await client.login(settings.username, read_private(settings.password_file).decode())
        except UnusableFile as error:
            client.close()
            raise TemporaryFailure(str(error)) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            client.close()
            raise TemporaryFailure(f"{settings.smtp}: {_why(error)}") from None
        return client

    async def _send(self, client: aiosmtplib.SMTP, notice: Waiting) -> None:
        try:
            await client.send_message(render(notice, self._identity))
        except ValueError:
            raise PermanentFailure("no mail can go to such an address") from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _failure(max((one.code for one in error.recipients), default=0)) from None
        except aiosmtplib.SMTPResponseException as error:
            raise _failure(error.code) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise TemporaryFailure(_why(error)) from None

    # The outcome. The mail server's own text is not recorded, because it may repeat the address.

    async def _sent(self, notice: Waiting) -> None:
        def write(work: Work) -> None:
            if outbox.remove(work.connection, notice.key):
                work.audit(Event.NOTICE_SENT, actor=_NAME, **_about(notice))

        await self._note(write)

    async def _give_up(self, notice: Waiting, error: str) -> None:
        def write(work: Work) -> None:
            if outbox.give_up(work.connection, notice.key, error):
                work.audit(Event.NOTICE_FAILED, actor=_NAME, **_about(notice, error))

        await self._note(write)
        _log.error("a notice is given up: see `sekisho notice list`", reference=notice.key, cause=error)

    async def _postpone(self, notice: Waiting, error: str) -> None:
        settings, now = self._settings, self._now()
        if now - ms_of(notice.key) > settings.give_up_hours * 3_600_000 and self._settled():
            await self._give_up(notice, f"not delivered within {settings.give_up_hours} hours; at last: {error}")
            return
        wait = min(settings.longest_retry, settings.first_retry * 2.0 ** min(notice.attempts, 30))
        await self._note(lambda work: outbox.postpone(work.connection, notice.key, now + int(wait * 1000), error))
        at = asyncio.get_running_loop().time()
        if at > self._reminded + REMIND_SECONDS:
            self._reminded = at
            _log.warning("a notice waits for the mail server", cause=error, next_try_in=round(wait, 1))

    async def _note(self, write: Callable[[Work], None]) -> None:
        """Record how it went. A notice that was sent and not recorded is sent twice: so this waits for a full disk too,
        for a quarter of the time for which the notice is claimed."""

        def note() -> None:
            with self._store.work() as work:
                write(work)

        seconds = self._claim_ms / 4000
        await retry_while_busy(note, seconds=seconds, pause=NOTE_SECONDS, retry_on=StoreUnavailable)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise TemporaryFailure(f"ca_file {ca_file}: {error.strerror or 'no certificates in PEM form'}") from None


def _failure(code: int) -> PermanentFailure | TemporaryFailure:
    """A 5yz reply is permanent, any other temporary (RFC 5321 section 4.2.1)."""
    text = f"the mail server answered {code}"
    return PermanentFailure(text) if 500 <= code < 600 else TemporaryFailure(text)


def _why(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"the mail server answered {error.code}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {error.reason or type(error).__name__}"
    return f"{type(error).__name__}: is the mail server there?"


def _about(notice: Waiting, cause: str = "") -> dict[str, str | None]:
    reason = f"{notice.event} {notice.key}"
    return {
        "customer": notice.contract_id,
        "token": notice.token_id,
        "reason": f"{reason}: {cause}" if cause else reason,
    }
