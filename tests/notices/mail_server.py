"""A real SMTP server in a process of its own, for the tests: keeps every mail as a file, refuses what it is told to.

`python -m tests.notices.mail_server FOLDER PORT [options]`. An address that begins with ``later`` gets a 450, one with
``never`` a 550; ``slow`` takes the mail and answers late.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import ssl
import time
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword


class Keeps:
    """Each mail it took is one file, its recipient in the first line."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, itertools.count(time.time_ns())

    async def handle_RCPT(  # noqa: N802  aiosmtpd's names
        self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address.startswith("later"):
            return "450 try again"
        if address.startswith("never"):
            return f"550 there is no {address} here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.original_content, bytes)
        to = ",".join(envelope.rcpt_tos)
        path = self._folder / f"{next(self._numbers)}.eml"
        path.with_suffix(".part").write_bytes(f"{to}\r\n".encode() + envelope.original_content)
        path.with_suffix(".part").rename(path)
        if to.startswith("slow"):
            await asyncio.sleep(30)
        return "250 taken"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--password")
    options = parser.parse_args()
    more: dict[str, Any] = {}
    if options.certificate:
        more["tls_context"] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        more["tls_context"].load_cert_chain(options.certificate, options.key)
        more["require_starttls"] = True
    if options.password:
        more["auth_required"] = True

        def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
            right = isinstance(given, LoginPassword) and given.password == options.password.encode()
            return AuthResult(success=right)

        more["authenticator"] = check
    Controller(Keeps(options.folder), hostname="127.0.0.1", port=options.port, **more).start()
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
