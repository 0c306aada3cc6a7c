"""The PAM door of `sekisho serve`: made from the settings, opened, reloaded, closed. It puts parts together, and
decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from otp_core.doors import Services
from otp_core.settings import Problem
from otp_core.settings.reload import take_over_optional
from pam_module.frontend import PamFrontend
from pam_module.profiles import profiles_of
from pam_module.settings import PamSettings
from pam_module.store_backend import StoreBackend
from pam_module.unix_socket import SocketTaken, UnixListener

STAND_BY_SECONDS = 1.0
"""How often a worker without the socket tries to get it."""

_RESTART_KEYS = ("socket", "allow_all_users")
_log = structlog.get_logger("pam")


class PamDoor:
    """The Unix socket of ``[pam]``. Of several workers one has it, and another takes over when that one ends."""

    def __init__(self, section: PamSettings | None) -> None:
        self._pam = self._started = section
        self._frontend: PamFrontend | None = None
        self._standing_by: asyncio.Task[None] | None = None

    def problems(self) -> Sequence[Problem]:
        """Always none: the settings' own checks find everything."""
        return []

    def bind(self) -> None:
        """Only try it: workers do not share this socket; one of them binds it in ``open``. Raises SocketTaken or
        another OSError."""
        if self._pam is not None:
            UnixListener(self._pam.socket, mode=0o600).close()

    async def open(self, services: Services, *, shared: bool) -> None:
        """Listen, if the settings have a section [pam]. ``shared``: if another worker has the socket, wait for it in
        the background. Raises SocketTaken or another OSError."""
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
        """Use new profiles and limits from the next login on."""
        after = take_over_optional("pam", self._started, section, _RESTART_KEYS)
        if after is None:
            return
        self._pam = after
        if self._frontend is not None:
            self._frontend.reload(after, profiles_of(after.profiles))

    async def close(self) -> None:
        """Accept no further connections, and let verdicts under way be sent."""
        if self._standing_by is not None:
            self._standing_by.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._standing_by
        if self._frontend is not None:
            await self._frontend.close()
            _log.info("closed", door="pam")
