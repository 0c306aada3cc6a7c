"""The soft token's door as the house knows it: made from the settings, opened, reloaded, closed.

The wiring of this package, and nothing else.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

import structlog
from aiohttp import web

from admin_web.softtoken.app import ACTOR, SoftTokenSite
from otp_core.build import House
from otp_core.clock import ClockSetBack
from otp_core.desk import Actor
from otp_core.model import StoreUnavailable
from otp_core.settings import Problem, Settings, SoftToken

SWEEP_SECONDS = 60.0
_AT_START = ("listen", "public_origin", "tls_certificate", "tls_key")
_log = structlog.get_logger("soft_token")


class SoftTokenDoor:
    """HTTP at ``soft_token.listen``. Shut where the section is left out."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._section = settings.soft_token
        self._runner: web.AppRunner | None = None
        self._tls: ssl.SSLContext | None = None
        self._sweep: asyncio.Task[None] | None = None

    def problems(self) -> Sequence[Problem]:
        """TLS files that cannot be used, and an origin that is the portal's too."""
        found = []
        if self._section is None:
            return []
        if self._settings.web is not None and self._settings.web.public_origin == self._section.public_origin:
            text = "is [web]'s too: the soft token needs an origin of its own, so that no page of the portal reads it"
            found.append(Problem("", "soft_token.public_origin", text))
        try:
            _tls_of(self._section)
        except OSError as error:
            text = f"cannot be used with soft_token.tls_key: {error.strerror or error}"
            found.append(Problem("", "soft_token.tls_certificate", text))
        return found

    async def open(self, house: House, *, shared: bool) -> None:
        """Listen. Raises OSError."""
        if self._section is None:
            return
        site = SoftTokenSite(house.desk, self._current)
        self._runner = web.AppRunner(
            site.application(), access_log=None, keepalive_timeout=30, max_line_size=2048, max_field_size=4096
        )
        await self._runner.setup()
        self._tls = _tls_of(self._section)
        listen = self._section.listen
        where = web.TCPSite(self._runner, listen.host, listen.port, ssl_context=self._tls, reuse_port=shared or None)
        try:
            await where.start()
        except OSError:
            await self.close()
            raise
        host, port = self._runner.addresses[0][:2]
        _log.info("listening", door="soft_token", at=f"{host}:{port}", origin=self._section.public_origin)
        self._sweep = asyncio.get_running_loop().create_task(self._sweeping(house))

    def reload(self, settings: Settings) -> None:
        """New bounds and proxies from the next request on, a renewed certificate from the next connection on."""
        before, after = self._section, settings.soft_token
        if (before is None) != (after is None):
            _log.warning("a changed section waits for a restart", section="soft_token")
        if before is None or after is None:
            return
        for name in _AT_START:
            if getattr(before, name) != getattr(after, name):
                _log.warning("a changed setting waits for a restart", setting=f"soft_token.{name}")
        self._section = after.model_copy(update={name: getattr(before, name) for name in _AT_START})
        if self._tls is not None:
            _load(self._tls, self._section)

    async def close(self) -> None:
        """Let nobody new in, answer who is inside."""
        if self._sweep is not None:
            self._sweep.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _current(self) -> SoftToken:
        assert self._section is not None
        return self._section

    async def _sweeping(self, house: House) -> None:
        """Every minute, for ever: retire some of the tokens that nobody has enrolled in time."""
        while True:
            days = self._current().unclaimed_days
            try:
                retired = house.desk.retire_unclaimed(days, Actor(ACTOR, reason=f"not enrolled in {days} days"))
                if retired:
                    _log.info("retired tokens that nobody enrolled", tokens=retired)
            except (StoreUnavailable, ClockSetBack) as trouble:
                _log.warning("the sweep waits", trouble=str(trouble))
            await asyncio.sleep(SWEEP_SECONDS)


def _tls_of(section: SoftToken) -> ssl.SSLContext | None:
    if section.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, section)
    return context


def _load(context: ssl.SSLContext, section: SoftToken) -> None:
    assert section.tls_certificate is not None
    context.load_cert_chain(section.tls_certificate, section.tls_key)
