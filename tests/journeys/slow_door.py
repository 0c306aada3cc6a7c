"""`sekisho serve` whose web door is one of a test's own: any request keeps its loop busy with a pattern that
backtracks, as long as a file is there. Run as a program."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from pathlib import Path

from admin_web.settings import WebSettings
from otp_core.doors import Services
from otp_core.settings import Problem
from sekisho.doors import DOORS, Entry

NESTED = re.compile(r"(?:/?[\w-]+)+")
"""Of the kind with which one GET once stopped every door."""


class SlowDoor:
    """Answers each request with "done"; while ``busy`` beside the terms file exists, only after a long search."""

    def __init__(self, section: WebSettings | None) -> None:
        self._section = section
        self._server: asyncio.Server | None = None

    def problems(self) -> Sequence[Problem]:
        return []

    def bind(self) -> None:
        pass

    async def open(self, services: Services, *, shared: bool) -> None:
        if self._section is not None:
            listen = self._section.listen
            self._server = await asyncio.start_server(self._answer, listen.host, listen.port)

    def reload(self, section: WebSettings | None) -> None:
        pass

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._section is not None and self._section.terms_file is not None
        await reader.read(1)
        began, busy = time.monotonic(), Path(self._section.terms_file).with_name("busy")
        while busy.exists() and time.monotonic() < began + 60:
            NESTED.fullmatch("a" * 18 + "!")
        writer.write(b"done")
        writer.close()


if __name__ == "__main__":
    from sekisho.cli import main

    DOORS["web"] = Entry("web", SlowDoor, "web")
    main()
