"""The PAM door as the house knows it: made from the settings, opened, reloaded, closed. Wiring, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from otp_core.build import House
from otp_core.settings import Pam, Problem, Settings
from pam_module.listening import Taken
from pam_module.profiles import profiles_of
from pam_module.reception import Reception
from pam_module.store_house import StoreHouse

STAND_BY_SECONDS = 1.0
_AT_START = ("socket", "open")
_log = structlog.get_logger("pam")


class PamDoor:
    """The Unix socket of ``[pam]``. Of several workers one has it, and another takes over when that one ends."""

    def __init__(self, settings: Settings) -> None:
        self._pam = self._started = settings.pam
        self._reception: Reception | None = None
        self._standing_by: asyncio.Task[None] | None = None

    def problems(self) -> Sequence[Problem]:
        """None that the settings do not find themselves."""
        return []

    def bind(self) -> None:
        """Each worker has sockets of its own."""

    async def open(self, house: House, *, shared: bool) -> None:
        """Listen, if there is such a section. Raises OSError (Taken)."""
        if self._pam is None:
            return
        try:
            await self._open(house)
        except Taken:
            if not shared:
                raise
            self._standing_by = asyncio.get_running_loop().create_task(self._stand_by(house))

    async def _open(self, house: House) -> None:
        assert self._pam is not None
        reception = Reception(self._pam, profiles_of(self._pam.profiles), StoreHouse(house))
        await reception.open()
        self._reception = reception
        _log.info("listening", door="pam", address=str(self._pam.socket), profiles=len(self._pam.profiles))

    async def _stand_by(self, house: House) -> None:
        while self._reception is None:
            await asyncio.sleep(STAND_BY_SECONDS)
            try:
                await self._open(house)
            except Taken:
                continue
            except OSError as error:
                _log.error("the PAM door cannot be taken over", cause=str(error))

    def reload(self, settings: Settings) -> None:
        """New profiles and limits from the next login on."""
        if (settings.pam is None) != (self._started is None):
            _log.warning("a PAM door that is opened or shut waits for a restart")
        if settings.pam is None or self._started is None:
            return
        for name in _AT_START:
            if getattr(settings.pam, name) != getattr(self._started, name):
                _log.warning("a changed setting waits for a restart", setting=f"pam.{name}")
        self._pam = _with_socket_of(self._started, settings.pam)
        if self._reception is not None:
            self._reception.reload(self._pam, profiles_of(self._pam.profiles))

    async def close(self) -> None:
        """Let nobody new in, answer whoever waits for a verdict."""
        if self._standing_by is not None:
            self._standing_by.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._standing_by
        if self._reception is not None:
            await self._reception.close()
            _log.info("closed", door="pam")


def _with_socket_of(started: Pam, now: Pam) -> Pam:
    return now.model_copy(update={name: getattr(started, name) for name in _AT_START})
