"""What `sekisho doctor` asks a directory: each server by itself, as the account that searches. No customer is asked
about, no password of one is tried, and nothing is changed.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace
from datetime import datetime

from otp_core.first_factor.ldap.connection import Place, ServerTrouble
from otp_core.first_factor.ldap.directory import Accounts
from otp_core.first_factor.ldap.filters import present
from otp_core.first_factor.ldap.messages import Result, Scope, Search
from otp_core.first_factor.ldap.outcome import SUCCESS, described
from otp_core.first_factor.ldap.servers import Access, Server, Servers

_NO_SUCH_OBJECT = 32


@dataclass(frozen=True, slots=True)
class Examined:
    """One server. ``problems``: what is wrong, in words behind its name; none: it can be asked about logins.
    ``certificate_ends``: None without TLS. ``active_directory``: whether it is one."""

    place: Place
    problems: tuple[str, ...] = ()
    certificate_ends: datetime | None = None
    active_directory: bool = False


async def examine(access: Access, accounts: Accounts) -> list[Examined]:
    """All servers at once, each for as long as it may take at a login."""
    return await asyncio.gather(*(_examine_one(replace(access, places=(one,)), accounts) for one in access.places))


async def _examine_one(access: Access, accounts: Accounts) -> Examined:
    [place] = access.places
    servers = Servers(access, 1)
    try:
        async with asyncio.timeout(access.timeout):
            return await _asked(servers, servers.in_order()[0], access, accounts)
    except TimeoutError:
        return Examined(place, (f"does not answer within {access.timeout:g} s",))
    except ServerTrouble as trouble:
        return Examined(place, (str(trouble),))
    finally:
        servers.close()


async def _asked(servers: Servers, server: Server, access: Access, accounts: Accounts) -> Examined:
    connection = await servers.connection(server, searches=accounts.filter is not None)
    try:
        if accounts.filter is None:
            return Examined(server.place, (), connection.certificate_ends)
        chains = await servers.chains(server, connection)
        nobody = accounts.filter.octets(f"nobody-{secrets.token_hex(8)}")
        _, result = await connection.search(Search(accounts.base, Scope.SUBTREE, nobody, most=2), access.timeout)
        problems = _of_base(accounts.base, result)
        for group in accounts.groups:
            entries, result = await connection.search(Search(group, Scope.BASE, present()), access.timeout)
            if not entries:
                problems.append(f"has no group {group}, or bind_dn may not see it ({described(result)})")
        return Examined(server.place, tuple(problems), connection.certificate_ends, chains)
    finally:
        connection.close()


def _of_base(base: str, result: Result) -> list[str]:
    if result.code == _NO_SUCH_OBJECT:
        return [f"has no {base}, or bind_dn may not see it: nobody is found there"]
    if result.code != SUCCESS:
        return [f"refuses the search for customers: {described(result)}"]
    return []
