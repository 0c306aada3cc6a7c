"""Where a conversation becomes a dialogue: the profile is found, the house asked. Shared by the door and the agent."""

from __future__ import annotations

import asyncio

import structlog

from otp_core.settings import PamSocket
from pam_module.dialogue import Dialogue, House, Surroundings
from pam_module.frames import Code, Result, Start
from pam_module.host import groups_of, today
from pam_module.listening import Listening
from pam_module.profiles import Profiles
from pam_module.service import Conversation, Limits, Service

_log = structlog.get_logger("pam")


class Reception:
    """An open socket and its conversations. Raises OSError (Taken) where the socket cannot be had."""

    def __init__(self, settings: PamSocket, profiles: Profiles, house: House) -> None:
        self._house = house
        self.use(settings, profiles)
        self._service = Service(_limits(settings), self._converse)
        self._listening = Listening(settings.socket, mode=0o666 if settings.open else 0o600)

    async def open(self) -> None:
        self._service.open(self._listening.socket)

    def use(self, settings: PamSocket, profiles: Profiles) -> None:
        """From the next conversation on."""
        self._settings, self._profiles = settings, profiles

    def reload(self, settings: PamSocket, profiles: Profiles) -> None:
        """All but the socket and its mode."""
        self.use(settings, profiles)
        self._service.limits = _limits(settings)

    async def _converse(self, start: Start, talk: Conversation) -> Result:
        profile = self._profiles.find(start)
        if profile is None:
            _log.error("there is no such profile: is it in the settings?", profile=start.profile, service=start.service)
            return Result(Code.PERM_DENIED)
        around = Surroundings(
            self._house, groups_of, today, asyncio.get_running_loop().time, self._settings.answer_seconds
        )
        return await Dialogue(start, profile, talk, around).run()

    async def close(self) -> None:
        """Let nobody new in, send away who is typing, answer who waits for a verdict."""
        self._service.shut(self._listening.socket)
        await self._service.close(self._settings.drain_seconds)
        self._listening.close()


def _limits(settings: PamSocket) -> Limits:
    return Limits(settings.open, settings.max_conversations, settings.max_per_user, settings.typing_seconds)
