"""A first factor of type ldap as the settings would make it, asked directly; for tests of the room alone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from otp_core.first_factor import FirstFinding, Question
from otp_core.first_factor.ldap.connection import Place, Security
from otp_core.first_factor.ldap.directory import Accounts, Directory, Limits
from otp_core.first_factor.ldap.filters import parse
from otp_core.first_factor.ldap.servers import Access
from otp_core.login.table import Finding
from otp_core.model import Attempt, Mode, Policy
from tests.ldap.slapd import BASE, PASSWORD, SERVICE, SERVICE_PASSWORD, Slapd

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
SOON = 30.0
BY_UID = "(&(objectClass=inetOrgPerson)(|(uid={user})(mail={user})))"
_POLICY = Policy(Mode.PASSWORD, first_factor="directory")


def context_for(ca_file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


@dataclass(frozen=True)
class Setup:
    """What the settings say."""

    places: Sequence[Place]
    ca_file: Path | None = None
    bind_dn: str = SERVICE
    bind_password: str = SERVICE_PASSWORD
    filter: str = BY_UID
    base: str = BASE
    template: str = ""
    customer_attribute: str = ""
    domains: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    timeout: float = 5.0
    dead_seconds: float = 30.0
    limits: Limits = field(default_factory=Limits)

    def make(self) -> Directory:
        """Call it in the running loop."""
        access = Access(
            "directory",
            tuple(self.places),
            context_for(self.ca_file) if self.ca_file else None,
            self.bind_dn,
            self.bind_password.encode(),
            self.timeout,
            self.dead_seconds,
        )
        accounts = Accounts(
            self.base,
            parse(self.filter) if self.filter else None,
            self.template,
            self.customer_attribute,
            self.domains,
            self.groups,
        )
        return Directory(access, accounts, self.limits)


def at(server: Slapd, security: Security = Security.TLS, host: str = "localhost") -> Place:
    return Place(host, server.tls_port if security is Security.TLS else server.port, security)


def setup_for(server: Slapd, security: Security = Security.TLS, **more: object) -> Setup:
    return Setup([at(server, security)], server.authority.file, **more)  # type: ignore[arg-type]


@contextmanager
def opened(setup: Setup) -> Iterator[Directory]:
    directory = setup.make()
    try:
        yield directory
    finally:
        directory.close()


async def ask(
    directory: Directory, typed: str, *passwords: str, seconds: float = SOON, deadline: float | None = None
) -> FirstFinding:
    """As the authenticator does: whose name it is, then whether the password is right."""
    now = asyncio.get_running_loop().time()
    deadline = now + seconds if deadline is None else deadline
    account = await directory.account_of(typed, deadline)
    attempt = Attempt(account.customer, passwords[0], _POLICY, "gateway", deadline=deadline, account=account)
    return await directory.check(Question(attempt, passwords))


def finding(setup: Setup, typed: str, password: str = PASSWORD) -> Finding | None:
    """Why one login is refused; None: it is right."""

    async def scene() -> Finding | None:
        with opened(setup) as directory:
            found = await ask(directory, typed, password)
            return None if found.right else found.reason

    return run(scene)


def run(scene: Callable[[], Awaitable[T]]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(scene(), SOON)

    return asyncio.run(bounded())
