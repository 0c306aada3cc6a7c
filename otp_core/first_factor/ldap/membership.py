"""Whether an account is in a group, also through other groups. Asks a directory; decides nothing else.

Active Directory follows the chain itself. Elsewhere the groups of a member are searched, then the groups of those, with
an end to how deep and how many; a circle of groups ends like any other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from otp_core.first_factor.ldap.connection import NoAnswer
from otp_core.first_factor.ldap.filters import equals_any, member_in_chain
from otp_core.first_factor.ldap.messages import Entry, Result, Scope, Search
from otp_core.first_factor.ldap.names import comparable_dn
from otp_core.first_factor.ldap.outcome import SUCCESS
from otp_core.first_factor.ldap.servers import refused

DEEPEST, MOST_GROUPS, _AT_ONCE = 10, 500, 50
_MEMBER = ("member", "uniqueMember")
NO_SUCH_OBJECT = 32

Ask = Callable[[Search], Awaitable[tuple[list[Entry], Result]]]


async def in_chain(ask: Ask, dn: str, groups: Sequence[str]) -> bool:
    """Active Directory's way: one question about the account itself. Raises ServerTrouble and NoAnswer."""
    entries, result = await ask(Search(dn, Scope.BASE, member_in_chain(groups)))
    _usable(result)
    return bool(entries)


async def by_walking(ask: Ask, dn: str, groups: Sequence[str], base: str) -> bool:
    """Elsewhere: from the account upwards, among the groups below ``base``. Raises ServerTrouble, and NoAnswer for an
    account with more groups than anybody can look at."""
    wanted = {comparable_dn(group) for group in groups}
    seen, level = {_named(dn)}, [dn]
    for _ in range(DEEPEST):
        found: list[str] = []
        for start in range(0, len(level), _AT_ONCE):
            found += await _groups_of(ask, level[start : start + _AT_ONCE], base)
        level = []
        for group in found:
            name = _named(group)
            if name in wanted:
                return True
            if name not in seen:
                seen.add(name)
                level.append(group)
        if not level:
            return False
        if len(seen) > MOST_GROUPS:
            raise NoAnswer(f"knows an account in more than {MOST_GROUPS} groups: name groups that are closer to it")
    return False


async def _groups_of(ask: Ask, members: Sequence[str], base: str) -> list[str]:
    entries, result = await ask(Search(base, Scope.SUBTREE, equals_any(_MEMBER, members), most=MOST_GROUPS))
    _usable(result)
    return [entry.dn for entry in entries]


def _usable(result: Result) -> None:
    if result.code not in (SUCCESS, NO_SUCH_OBJECT):
        raise refused(result, "does not say who is in a group")


def _named(dn: str) -> tuple[tuple[tuple[str, str], ...], ...]:
    try:
        return comparable_dn(dn)
    except ValueError as error:
        raise NoAnswer(f"gives an entry a name that {error}") from None
