"""Too many attempts at once are refused. They are no outage, which a stack may ignore (on_unavail=ignore)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from datetime import date
from typing import TypeVar

import pytest

from otp_core.audit import Event
from otp_core.model import Attempt, Silence, Verdict
from pam_module.dialogue import Dialogue, DialogueContext
from pam_module.frames import Op, ResultCode, Role, Start, Style
from pam_module.profiles import Profile

T = TypeVar("T")


class SilentBackend:
    def __init__(self, silence: Silence) -> None:
        self._silence = silence

    async def answer(self, attempt: Attempt) -> Verdict:
        return self._silence

    async def account(self, customer: str, profile: Profile, today: date, *, exempt: bool) -> tuple[ResultCode, str]:
        raise NotImplementedError

    async def audit(self, event: Event, attempt: Attempt, reason: str) -> None:
        raise NotImplementedError

    async def never_enrolled(self, customer: str) -> bool:
        raise NotImplementedError


class Person:
    async def ask(self, text: str, role: Role, *, echo: bool = False) -> bytes:
        return b"password"

    async def say(self, text: str, style: Style) -> None:
        pass

    async def within(self, seconds: float, awaitable: Awaitable[T]) -> T:
        return await awaitable


def no_groups(user: str) -> Collection[str]:
    return ()


@pytest.mark.parametrize(
    ("silence", "code"),
    [(Silence("the disk is full"), ResultCode.UNAVAILABLE), (Silence("a long line", busy=True), ResultCode.MAXTRIES)],
)
def test_what_strangers_can_cause_is_no_outage(silence: Silence, code: ResultCode) -> None:
    async def scene() -> int:
        context = DialogueContext(
            SilentBackend(silence), no_groups, lambda: date(2026, 11, 25), asyncio.get_running_loop().time, 1.0
        )
        return (await Dialogue(Start(Op.AUTH, "sshd", "taro"), Profile(), Person(), context).run()).code

    assert asyncio.run(scene()) == code
