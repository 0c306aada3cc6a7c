"""Where a conversation becomes a dialogue: the profile is found, the core asked. Shared by the door and the agent."""

from __future__ import annotations

import asyncio

import structlog

from pam_module.dialogue import Backend, Dialogue, DialogueContext
from pam_module.frames import Result, ResultCode, Start
from pam_module.host import groups_of, today
from pam_module.profiles import Profiles
from pam_module.service import Limits, ModuleConnection, Service
from pam_module.settings import PamSocket
from pam_module.unix_socket import UnixListener

_log = structlog.get_logger("pam")


class PamFrontend:
    """An open socket and its conversations. Raises OSError (Taken) where the socket cannot be had."""

    def __init__(self, settings: PamSocket, profiles: Profiles, backend: Backend) -> None:
        self._backend = backend
        self.use(settings, profiles)
        self._service = Service(_limits(settings), self._converse)
        self._unix_socket = UnixListener(settings.socket, mode=0o666 if settings.allow_all_users else 0o600)

    async def open(self) -> None:
        self._service.open(self._unix_socket.socket)

    def use(self, settings: PamSocket, profiles: Profiles) -> None:
        """From the next conversation on."""
        self._settings, self._profiles = settings, profiles

    def reload(self, settings: PamSocket, profiles: Profiles) -> None:
        """All but the socket and its mode."""
        self.use(settings, profiles)
        self._service.limits = _limits(settings)

    async def _converse(self, start: Start, connection_: ModuleConnection) -> Result:
        profile = self._profiles.find(start)
        if profile is None:
            _log.error("there is no such profile: is it in the settings?", profile=start.profile, service=start.service)
            return Result(ResultCode.PERM_DENIED)
        context = DialogueContext(
            self._backend, groups_of, today, asyncio.get_running_loop().time, self._settings.answer_seconds
        )
        return await Dialogue(start, profile, connection_, context).run()

    async def close(self) -> None:
        """Let nobody new in, send away who is typing, answer who waits for a verdict."""
        self._service.shut(self._unix_socket.socket)
        await self._service.close(self._settings.drain_seconds)
        self._unix_socket.close()


def _limits(settings: PamSocket) -> Limits:
    return Limits(settings.allow_all_users, settings.max_conversations, settings.max_per_user, settings.prompt_seconds)
