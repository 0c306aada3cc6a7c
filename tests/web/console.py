"""The staff's console for a test: a real server with its door open, staff of every role, a client without a browser."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from otp_core.model import Role
from tests.sekisho import STAFF, Customer, Sekisho, client_table, free_port
from tests.web.portal import Answer, Portal, PortalClient

_FORM = re.compile(r'<form method="post" action="([^"]+)".*?</form>', re.S)
_KEY = re.compile(r'name="key" value="([^"]*)"')


@dataclass
class Console(Portal):
    """A running server, the port of its console, and the account of each role's member of staff, named as the role."""

    accounts: dict[Role, Customer] = field(default_factory=dict)
    _steps: dict[Role, int] = field(default_factory=dict)
    """The time steps of the codes that ``code`` gave last."""

    def code(self, role: Role) -> str:
        """A code of this account's token that was not given before: the next one, where the present one was; waits
        for a time at which the server takes it."""
        step = max(int(time.time() // 30), self._steps.get(role, 0) + 1)
        while time.time() // 30 < step - 1:
            time.sleep(0.1)
        self._steps[role] = step
        return self.used_code(role)

    def used_code(self, role: Role) -> str:
        """The one that ``code`` gave last."""
        return self.accounts[role].code(at=self._steps[role] * 30)

    def client(self, role: Role | None = None, language: str = "en") -> ConsoleClient:
        """A client, signed in as the member of staff of a role."""
        client = ConsoleClient(self, language=language)
        if role is not None:
            client.sign_in_as(role)
        return client


MULTIPART = "multipart/form-data; boundary=limit"


def multipart(fields: dict[str, str], content: bytes, name: str) -> bytes:
    """A form with a file, as browsers send it (RFC 7578)."""
    parts = [f'Content-Disposition: form-data; name="{key}"\r\n\r\n{value}' for key, value in fields.items()]
    body = b"".join(b"--limit\r\n" + part.encode() + b"\r\n" for part in parts)
    head = (
        f'--limit\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/csv\r\n\r\n'
    )
    return body + head.encode() + content + b"\r\n--limit--\r\n"


@contextmanager
def console(folder: Path, *, more: str = "", other: str = "", workers: int = 1) -> Iterator[Console]:
    """``more``: lines of [console]; ``other``: other tables; ``workers``: that answer RADIUS."""
    port = free_port()
    lines = ["[console]", f'listen = "127.0.0.1:{port}"', f'public_origin = "http://localhost:{port}"', more, other]
    clients = client_table("gateway", "127.0.0.0/8", "challenge")
    sekisho = Sekisho(folder, clients=clients, more="\n".join(lines), workers=workers)
    found = Console(sekisho, port)
    for role in Role:
        found.accounts[role] = account = sekisho.customer(f"{role}-no-aikotoba")
        sekisho.desk.staff.add(str(role), role, STAFF, account=account.contract_id)
    try:
        sekisho.start()
        yield found
    finally:
        sekisho.close()


@dataclass
class ConsoleClient(PortalClient):
    """As PortalClient, with the key of the form that is sent."""

    def sign_in_as(self, role: Role) -> Answer:
        """By password and code."""
        assert isinstance(self.portal, Console)
        account = self.portal.accounts[role]
        self.post("/sign-in", name=str(role), how="code")
        answer = self.post("/sign-in/code", password=account.password, code=self.portal.code(role))
        assert answer.title.startswith("Find a customer") or self.language != "en", answer.text
        return answer

    def post(self, path: str, **fields: str) -> Answer:
        """A form of the page that the client is at, with its key."""
        if "key" not in fields and (key := self.key(path)):
            fields["key"] = key
        return self._follow(self.ask("POST", path, fields))

    def upload(self, path: str, content: bytes, name: str = "file.csv", **fields: str) -> Answer:
        """A form with a file of the page that the client is at, with its key."""
        fields = {"key": self.key(path), **fields}
        return self._follow(self.ask("POST", path, multipart(fields, content, name), Content_Type=MULTIPART))

    def key(self, path: str) -> str:
        """The key in the form that goes to ``path``; empty if there is none."""
        for found in _FORM.finditer("" if self.at is None else self.at.text):
            if html.unescape(found[1]).partition("?")[0] == path.partition("?")[0] and (key := _KEY.search(found[0])):
                return key[1]
        return ""
