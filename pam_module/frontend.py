"""An open socket, its profiles and its Backend, put together. Shared by the door and the agent."""

from __future__ import annotations

import asyncio

import structlog

from pam_module.connection import ModuleConnection
from pam_module.dialogue import Backend, Dialogue, DialogueContext
from pam_module.frames import Result, ResultCode, Start
from pam_module.host import groups_of, today
from pam_module.profiles import Profiles
from pam_module.service import Limits, Service
from pam_module.settings import PamSocket
from pam_module.unix_socket import UnixListener

_log = structlog.get_logger("pam")


class PamFrontend:
    """The socket for PAM modules and its conversations. Each conversation becomes a Dialogue with the Backend."""

    def __init__(self, settings: PamSocket, profiles: Profiles, backend: Backend) -> None:
        """Bind the socket, which the modules can connect to from now on. Raises SocketTaken or another OSError."""
        self._settings, self._profiles, self._backend = settings, profiles, backend
        self._service = Service(_limits(settings), self._converse)
        self._unix_socket = UnixListener(settings.socket, mode=0o666 if settings.allow_all_users else 0o600)

    async def open(self) -> None:
        """Accept connections."""
        self._service.open(self._unix_socket.socket)

    def reload(self, settings: PamSocket, profiles: Profiles) -> None:
        """Use these from the next conversation on. The socket and its mode stay as they are."""
        self._settings, self._profiles = settings, profiles
        self._service.limits = _limits(settings)

    async def _converse(self, start: Start, connection: ModuleConnection) -> Result:
        profile = self._profiles.find(start)
        if profile is None:
            _log.error("there is no such profile: is it in the settings?", profile=start.profile, service=start.service)
            return Result(ResultCode.PERM_DENIED)
        context = DialogueContext(
            self._backend, groups_of, today, asyncio.get_running_loop().time, self._settings.answer_seconds
        )
        return await Dialogue(start, profile, connection, context).run()

    async def close(self) -> None:
        """Accept no further connections, end the conversations (see Service.close), and remove the socket."""
        self._service.shut(self._unix_socket.socket)
        await self._service.close(self._settings.drain_seconds)
        self._unix_socket.close()


def _limits(settings: PamSocket) -> Limits:
    return Limits(settings.allow_all_users, settings.max_conversations, settings.max_per_user, settings.prompt_seconds)
