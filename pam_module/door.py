"""The PAM door as the core knows it: made from the settings, opened, reloaded, closed. Wiring, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from otp_core.doors import Services
from otp_core.settings import Problem
from pam_module.frontend import PamFrontend
from pam_module.profiles import profiles_of
from pam_module.settings import PamSettings
from pam_module.store_backend import StoreBackend
from pam_module.unix_socket import SocketTaken

STAND_BY_SECONDS = 1.0
_AT_START = ("socket", "allow_all_users")
_log = structlog.get_logger("pam")


class PamDoor:
    """The Unix socket of ``[pam]``. Of several workers one has it, and another takes over when that one ends."""

    def __init__(self, section: PamSettings | None) -> None:
        self._pam = self._started = section
        self._frontend: PamFrontend | None = None
        self._standing_by: asyncio.Task[None] | None = None

    def problems(self) -> Sequence[Problem]:
        """None that the settings do not find themselves."""
        return []

    def bind(self) -> None:
        """Each worker has sockets of its own."""

    async def open(self, services: Services, *, shared: bool) -> None:
        """Listen, if there is such a section. Raises OSError (Taken)."""
        if self._pam is None:
            return
        try:
            await self._open(services)
        except SocketTaken:
            if not shared:
                raise
            self._standing_by = asyncio.get_running_loop().create_task(self._stand_by(services))

    async def _open(self, services: Services) -> None:
        assert self._pam is not None
        frontend = PamFrontend(self._pam, profiles_of(self._pam.profiles), StoreBackend(services))
        await frontend.open()
        self._frontend = frontend
        _log.info("listening", door="pam", address=str(self._pam.socket), profiles=len(self._pam.profiles))

    async def _stand_by(self, services: Services) -> None:
        while self._frontend is None:
            await asyncio.sleep(STAND_BY_SECONDS)
            try:
                await self._open(services)
            except SocketTaken:
                continue
            except OSError as error:
                _log.error("the PAM door cannot be taken over", cause=str(error))

    def reload(self, section: PamSettings | None) -> None:
        """New profiles and limits from the next login on."""
        if (section is None) != (self._started is None):
            _log.warning("a PAM door that is opened or shut waits for a restart")
        if section is None or self._started is None:
            return
        for name in _AT_START:
            if getattr(section, name) != getattr(self._started, name):
                _log.warning("a changed setting waits for a restart", setting=f"pam.{name}")
        self._pam = _with_socket_of(self._started, section)
        if self._frontend is not None:
            self._frontend.reload(self._pam, profiles_of(self._pam.profiles))

    async def close(self) -> None:
        """Let nobody new in, answer whoever waits for a verdict."""
        if self._standing_by is not None:
            self._standing_by.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._standing_by
        if self._frontend is not None:
            await self._frontend.close()
            _log.info("closed", door="pam")


def _with_socket_of(started: PamSettings, now: PamSettings) -> PamSettings:
    return now.model_copy(update={name: getattr(started, name) for name in _AT_START})
