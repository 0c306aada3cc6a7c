"""The first factor that asks a directory: a customer's account is found, its groups are looked at, and it is bound once
with the password that was typed.

It never binds with an empty password, never binds twice for one login, and takes an answer that it does not understand
for no answer. What it is asked about and what it hears become neither a line of the log nor a message, but for the
directory's own words about an account.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from otp_core.first_factor import FirstFinding, Question
from otp_core.first_factor.ldap.connection import Connection, NoAnswer, ServerTrouble
from otp_core.first_factor.ldap.filters import SearchFilter
from otp_core.first_factor.ldap.membership import by_walking, in_chain
from otp_core.first_factor.ldap.messages import NO_ATTRIBUTES, Entry, Result, Scope, Search
from otp_core.first_factor.ldap.names import LONGEST_DN, fits_a_bind_name, in_dn, without_domain, without_realm
from otp_core.first_factor.ldap.outcome import NOT_NOW, SUCCESS, Meaning, described, outcome_of
from otp_core.first_factor.ldap.servers import Access, Server, Servers, refused
from otp_core.first_factor.password_forms import canonical
from otp_core.login.table import Finding
from otp_core.model import BackendSilent, Overloaded
from otp_core.otp import normalise_contract_id
from otp_core.tally import SECONDS, Histogram

LONGEST_PASSWORD = 1024
"""Octets. A longer one is nobody's, and is not sent."""
LONGEST_WAIT = 30.0
"""Seconds for a login that has no deadline."""

FINDINGS: dict[Meaning, Finding] = {
    Meaning.WRONG: Finding.WRONG_PASSWORD,
    Meaning.UNKNOWN: Finding.UNKNOWN_CUSTOMER,
    Meaning.EXPIRED: Finding.PASSWORD_EXPIRED,
    Meaning.MUST_CHANGE: Finding.PASSWORD_MUST_CHANGE,
    Meaning.DISABLED: Finding.ACCOUNT_DISABLED,
    Meaning.ACCOUNT_EXPIRED: Finding.ACCOUNT_EXPIRED,
    Meaning.LOCKED: Finding.ACCOUNT_LOCKED_THERE,
    Meaning.NOT_PERMITTED: Finding.NOT_PERMITTED_THERE,
}
"""Why a customer is refused. A right password is in no table of refusals."""
_WRONG = FirstFinding(right=False)
_NO_SUCH_OBJECT = 32

_log = structlog.get_logger("ldap")


@dataclass(frozen=True, slots=True)
class Accounts:
    """How a customer's account is found: by ``filter`` below ``base``, or by ``template``, which needs no search.

    ``customer_attribute``: of the account, whose only value is the contract ID; empty: the contract ID is the name that
    was typed, without domain and realm. ``domains``: those that may stand before a backslash; empty: any.
    ``groups``: of which the account has to be in one; ``group_base``: below which groups are found."""

    base: str = ""
    filter: SearchFilter | None = None
    template: str = ""
    customer_attribute: str = ""
    domains: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    group_base: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """``connections``: logins that ask the directory at once; ``max_waiting``: those that may wait for that."""

    connections: int = 8
    max_waiting: int = 256


class Account(NamedTuple):
    """What a typed name stands for. ``dn``: what to bind as; empty: nobody's; None: to be searched for by ``name``.
    ``customer``: the contract ID."""

    customer: str
    name: str
    dn: str | None = None


class Directory:
    """One ``[[first_factors]]`` of type ldap. Belongs to one event loop. ``in_flight``: logins that ask it or wait for
    that; ``seconds``: how long those took that were answered; ``unanswered``: those that were not."""

    has_rounds = False
    one_reading = True
    relays = False

    def __init__(self, access: Access, accounts: Accounts, limits: Limits) -> None:
        self._access, self._accounts, self._limits = access, accounts, limits
        self._servers = Servers(access, limits.connections)
        self.in_flight, self.seconds, self.unanswered = 0, Histogram(SECONDS), 0
        self._free, self._waiting = asyncio.Semaphore(limits.connections), 0
        # An account that nobody has. To bind as it takes as long as to bind as somebody.
        self._nobody = f"cn={secrets.token_hex(16)}" + (f",{accounts.base}" if accounts.base else "")

    @property
    def reachable(self) -> bool:
        """See ``FirstFactor``. While it is False, each question has the servers looked at again."""
        reachable = self._servers.reachable
        if not reachable:
            self._servers.revive()
        return reachable

    def servers(self) -> list[tuple[Server, bool]]:
        """In order, and whether each counts as dead."""
        return self._servers.all_of_them()

    def close(self) -> None:
        """Close all connections that nobody uses."""
        self._servers.close()

    async def account_of(self, typed: str, deadline: float) -> Account:
        """Whose name this is. Always one; of a name that is nobody's, one that nobody can be bound as. ``deadline``: in
        the loop's time. Raises BackendSilent, and Overloaded if too many ask."""
        account = self._account_by_name(typed)
        if account.dn is not None or not self._accounts.customer_attribute:
            return account
        deadline = self._in_time(deadline)
        async with self._place(deadline):
            return await self._first_answer(deadline, account)

    async def check(self, question: Question) -> FirstFinding:
        """See ``FirstFactor``; the first candidate is the one that is tried."""
        attempt = question.attempt
        password = usable(question.candidates[0])
        if password is None:
            return _WRONG
        known = attempt.account
        account = known if isinstance(known, Account) else self._account_by_name(attempt.customer)
        deadline, begun = self._in_time(attempt.deadline), asyncio.get_running_loop().time()
        async with self._place(deadline):
            meaning = await self._ask(account, attempt.customer, password, deadline)
        self.seconds.observe(asyncio.get_running_loop().time() - begun)
        return FirstFinding(right=True) if meaning is Meaning.RIGHT else FirstFinding(False, reason=FINDINGS[meaning])

    # names

    def _account_by_name(self, typed: str) -> Account:
        """What the name itself tells."""
        name = without_domain(typed, self._accounts.domains)
        customer = without_realm(name or "")
        if not name or not customer:
            return Account(normalise_contract_id(typed), "", "")
        if not self._accounts.template:
            return Account(customer, name)
        return Account(customer, name, self._from_template(customer))

    def _from_template(self, customer: str) -> str:
        template = self._accounts.template
        if "=" in template:
            return template.replace("{user}", in_dn(customer))
        return template.replace("{user}", customer) if fits_a_bind_name(customer) else ""

    # one login's way through the directory

    def _in_time(self, deadline: float) -> float:
        return min(deadline, asyncio.get_running_loop().time() + LONGEST_WAIT)

    @asynccontextmanager
    async def _place(self, deadline: float) -> AsyncIterator[None]:
        """One of the logins that ask at once. Raises Overloaded if none ends before the deadline, or too many wait."""
        self.in_flight += 1
        try:
            await self._take_place(deadline)
            try:
                yield
            finally:
                self._free.release()
        finally:
            self.in_flight -= 1

    async def _take_place(self, deadline: float) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        if self._waiting >= self._limits.max_waiting:
            raise self._overload(f"more logins wait for {self._access.name} than max_waiting allows")
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._free.acquire()
        except TimeoutError:
            raise self._overload(f"a login waited longer for {self._access.name} than the gateway would") from None
        finally:
            self._waiting -= 1

    async def _first_answer(self, deadline: float, account: Account) -> Account:
        """The account, from the first server that answers."""
        trouble: list[str] = []
        for server in self._servers.in_order():
            try:
                async with self._turn(server, deadline, trouble):
                    return await self._found(server, account)
            except _NextServer:
                continue
        raise self._silence(trouble)

    async def _ask(self, account: Account, customer: str, password: bytes, deadline: float) -> Meaning:
        """Another server is asked as long as no bind was sent; after that, the answer of this one counts, or none.
        ``customer``: who is to be let in. An account of anybody else is nobody's here."""
        trouble: list[str] = []
        for server in self._servers.in_order():
            connection: Connection | None = None
            try:
                async with self._turn(server, deadline, trouble):
                    found = account if account.dn is not None else await self._found(server, account)
                    if found.customer.casefold() != customer.casefold():
                        found = found._replace(dn="")
                    permitted = await self._is_permitted(server, found.dn or self._nobody)
                    connection = await self._servers.connection(server, searches=False)
            except _NextServer:
                _give_up(connection)
                continue
            except BaseException:
                _give_up(connection)
                raise
            result = await self._bind(server, connection, found.dn if permitted else "", password, deadline)
            if result.code in NOT_NOW:
                trouble.append(f"{server.place} {described(result)}")
                continue
            meaning = self._meaning_of(found, permitted, result)
            server.counts["accept" if meaning is Meaning.RIGHT else "reject"] += 1
            return meaning
        raise self._silence(trouble)

    @asynccontextmanager
    async def _turn(self, server: Server, deadline: float, trouble: list[str]) -> AsyncIterator[None]:
        """Around what one server is asked, with its time. Raises _NextServer if there is no answer; at the deadline of
        the login BackendSilent."""
        loop = asyncio.get_running_loop()
        self._servers.trying(server)
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + self._access.timeout)):
                yield
        except (ServerTrouble, TimeoutError) as error:
            why = str(error) or "does not answer in time"
            server.counts["no-answer"] += 1
            self._servers.failed(server, why)
            trouble.append(f"{server.place} {why}")
            if loop.time() >= deadline:
                raise self._silence(trouble) from None
            raise _NextServer from None
        except NoAnswer as error:
            raise self._silence([f"{server.place} {error}"]) from None
        self._servers.answered(server)

    async def _bind(
        self, server: Server, connection: Connection, dn: str | None, password: bytes, deadline: float
    ) -> Result:
        """The one bind of this login. Raises BackendSilent: what was sent is not sent again, to nobody."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + self._access.timeout)):
                result = await connection.bind(dn or self._nobody, password)
        except (ServerTrouble, TimeoutError) as error:
            why = str(error) or "does not answer a bind in time"
            server.counts["no-answer"] += 1
            self._servers.failed(server, why)
            raise self._silence([f"{server.place} {why}"]) from None
        self._servers.give_back(server, connection, searches=False)
        return result

    def _meaning_of(self, account: Account, permitted: bool, result: Result) -> Meaning:
        meaning, detail = outcome_of(result)
        if meaning is None:
            raise self._silence([f"it answers a bind with {detail}"])
        if not account.dn:
            return Meaning.UNKNOWN
        if not permitted:
            return Meaning.NOT_PERMITTED
        if meaning not in (Meaning.RIGHT, Meaning.WRONG):
            name = self._access.name
            _log.info("a directory refuses an account", directory=name, meaning=str(meaning), answer=detail)
        return meaning

    def _overload(self, why: str) -> Overloaded:
        self.unanswered += 1
        return Overloaded(why)

    def _silence(self, trouble: list[str]) -> BackendSilent:
        self.unanswered += 1
        why = "; ".join(trouble) or f"every server refused bind_dn less than {self._access.dead_seconds:g} s ago"
        return BackendSilent(f"the directory {self._access.name!r} gives no answer: {why}")

    # searches

    async def _found(self, server: Server, account: Account) -> Account:
        """The account by a search for its name. Raises ServerTrouble and NoAnswer."""
        accounts = self._accounts
        assert accounts.filter is not None
        attribute = accounts.customer_attribute
        wanted = Search(
            accounts.base,
            Scope.SUBTREE,
            accounts.filter.octets(account.name),
            (attribute or NO_ATTRIBUTES,),
            most=2,
        )
        entries, result = await self._search(server, wanted)
        if len(entries) > 1:
            found = [entry.dn for entry in entries]
            _log.warning("two accounts have one name: nobody is let in", directory=self._access.name, accounts=found)
            return account._replace(dn="")
        if result.code not in (SUCCESS, _NO_SUCH_OBJECT):
            raise refused(result, "refuses a search")
        if not entries or not 0 < len(entries[0].dn) <= LONGEST_DN:
            return account._replace(dn="")
        customer = self._customer_of(entries[0]) if attribute else account.customer
        return account._replace(customer=customer or account.customer, dn=entries[0].dn if customer else "")

    def _customer_of(self, entry: Entry) -> str:
        """The contract ID that the account names; empty if it names none, or several."""
        attribute = self._accounts.customer_attribute
        values = entry.attributes.get(attribute.lower(), ())
        try:
            customer = normalise_contract_id(values[0].decode()) if len(values) == 1 else ""
        except UnicodeDecodeError:
            customer = ""
        if not customer:
            _log.warning(
                "an account is no customer's: it has not one customer_attribute",
                directory=self._access.name,
                account=entry.dn,
                attribute=attribute,
                values=len(values),
            )
        return customer

    async def _is_permitted(self, server: Server, dn: str) -> bool:
        """Whether the account is in one of the groups. Raises ServerTrouble and NoAnswer."""
        accounts = self._accounts
        if not accounts.groups:
            return True

        async def ask(wanted: Search) -> tuple[list[Entry], Result]:
            return await self._search(server, wanted)

        if await self._knows_chains(server):
            return await in_chain(ask, dn, accounts.groups)
        return await by_walking(ask, dn, accounts.groups, accounts.group_base or accounts.base)

    async def _knows_chains(self, server: Server) -> bool:
        if server.knows_chains is None:
            connection = await self._servers.connection(server, searches=True)
            await self._servers.chains(server, connection)
            self._servers.give_back(server, connection, searches=True)
        return bool(server.knows_chains)

    async def _search(self, server: Server, wanted: Search) -> tuple[list[Entry], Result]:
        """On a connection that is kept; once more on a new one if the server has closed that meanwhile. Raises
        ServerTrouble."""
        connection = await self._servers.connection(server, searches=True)
        try:
            answer = await connection.search(wanted, self._access.timeout)
        except ServerTrouble:
            if not connection.was_used:
                raise
            connection = await self._servers.new_connection(server, searches=True)
            answer = await connection.search(wanted, self._access.timeout)
        self._servers.give_back(server, connection, searches=True)
        return answer


class _NextServer(Exception):
    """This server gave no answer; nothing was lost by asking."""


def _give_up(connection: Connection | None) -> None:
    if connection is not None:
        connection.abort()


def usable(password: str) -> bytes | None:
    """The password as it is sent (UTF-8, in NFC); None for one that must not be: empty or of blanks alone, which a
    server may take for an anonymous bind (RFC 4513 §5.1.2), with a NUL, behind which one may stop to read, or too
    long."""
    if not password.strip() or "\0" in password:
        return None
    try:
        octets = canonical(password)
    except UnicodeEncodeError:
        return None
    return octets if len(octets) <= LONGEST_PASSWORD else None
