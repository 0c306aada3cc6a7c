"""What can be read: customers, tokens, the audit trail. By key in pages; beside the loop, a few questions at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from sqlalchemy import Connection

from admin_web.api.models import (
    AuditAsked,
    AuditPage,
    Customer,
    CustomersAsked,
    CustomersPage,
    Token,
    TokensAsked,
    TokensPage,
)
from admin_web.api.operations import Answer, Call, Operation
from admin_web.api.problems import ProblemError, ProblemType
from otp_core import json_shapes
from otp_core.accounts import Looks
from otp_core.audit import id_at
from otp_core.model import Scope
from otp_core.otp import normalise_contract_id, normalise_token_id
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.find import AuditStretch, audit_stretch, keys_of
from otp_core.store.queries import (
    AuditFilter,
    customer_line,
    customers,
    token_line,
    tokens,
)

CUSTOMER = "/api/v1/customers/{contract_id}"
TOKEN = "/api/v1/tokens/{token_id}"


class Lists:
    """The handlers. ``name_fingerprint``: of names that are nobody's, as the audit trail has them."""

    def __init__(self, queries: AsyncQueries, name_fingerprint: Callable[[str], str], looks: Looks) -> None:
        self._queries, self._name_fingerprint, self._looks = queries, name_fingerprint, looks

    def operations(self) -> list[Operation]:
        """All of them."""
        return [
            Operation(
                "listCustomers",
                "GET",
                "/api/v1/customers",
                "Customers in the order of contract IDs",
                (Scope.CUSTOMERS_READ,),
                self.customers,
                {200: ("A page", CustomersPage)},
                query=CustomersAsked,
            ),
            Operation(
                "getCustomer",
                "GET",
                CUSTOMER,
                "One customer",
                (Scope.CUSTOMERS_READ,),
                self.customer,
                {200: ("The customer", Customer)},
                problems=(ProblemType.NOT_FOUND,),
            ),
            Operation(
                "listTokens",
                "GET",
                "/api/v1/tokens",
                "Tokens in the order of token IDs",
                (Scope.TOKENS_READ,),
                self.tokens,
                {200: ("A page", TokensPage)},
                query=TokensAsked,
            ),
            Operation(
                "getToken",
                "GET",
                TOKEN,
                "One token, without its seed",
                (Scope.TOKENS_READ,),
                self.token,
                {200: ("The token", Token)},
                problems=(ProblemType.NOT_FOUND,),
            ),
            Operation(
                "listAudit",
                "GET",
                "/api/v1/audit",
                "The audit trail in the order of time",
                (Scope.AUDIT_READ,),
                self.audit,
                {200: ("A page", AuditPage)},
                query=AuditAsked,
            ),
        ]

    async def customers(self, call: Call) -> Answer:
        """A page of customers."""
        asked = cast("CustomersAsked", call.asked)
        page = await self._queries.run(
            customers,
            after=asked.after,
            limit=asked.limit,
            search=asked.search or "",
            use=asked.use,
            locked=asked.locked,
        )
        who = call.principal(Scope.CUSTOMERS_READ)
        self._looks.through(who, [one.contract_id for one in page.rows], "search" if asked.search else "list")
        return Answer(200, {"items": [json_shapes.customer(one) for one in page.rows], "next": page.next_after})

    async def customer(self, call: Call) -> Answer:
        """One customer, by the contract ID in any width."""
        line = await self._queries.run(customer_line, normalise_contract_id(call.part("contract_id")))
        if line is None:
            raise ProblemError(ProblemType.NOT_FOUND, "there is no such customer")
        self._looks.at(call.principal(Scope.CUSTOMERS_READ), line.contract_id, "customer")
        return Answer(200, json_shapes.customer(line))

    async def tokens(self, call: Call) -> Answer:
        """A page of tokens."""
        asked = cast("TokensAsked", call.asked)
        rows = await self._queries.run(
            tokens, after=asked.after, limit=asked.limit + 1, search=asked.search or "", state=asked.state
        )
        page = rows[: asked.limit]
        next_ = page[-1].token_id if len(rows) > asked.limit else None
        who = call.principal(Scope.TOKENS_READ)
        self._looks.through(who, [one.contract_id for one in page if one.contract_id], "tokens")
        return Answer(200, {"items": [json_shapes.token(one) for one in page], "next": next_})

    async def token(self, call: Call) -> Answer:
        """One token, by the token ID in any grouping, case and width."""
        line = await self._queries.run(token_line, normalise_token_id(call.part("token_id")))
        if line is None:
            raise ProblemError(ProblemType.NOT_FOUND, "there is no such token")
        if line.contract_id is not None:
            self._looks.at(call.principal(Scope.TOKENS_READ), line.contract_id, "token")
        return Answer(200, json_shapes.token(line))

    async def audit(self, call: Call) -> Answer:
        """A page of the audit trail."""
        asked = cast("AuditAsked", call.asked)
        wanted = self._filter(asked)
        if "" in (wanted.customer, wanted.token):
            return Answer(200, {"items": [], "next": None})
        found = await self._queries.run(_audit, wanted, asked.limit)
        known = {row.customer for row in found.rows if row.customer}
        if wanted.customer in known:
            self._looks.at(call.principal(Scope.AUDIT_READ), wanted.customer or "", "audit")
        elif wanted.token is not None:
            keys = await self._queries.run(keys_of, known)
            self._looks.at_all(call.principal(Scope.AUDIT_READ), keys, "audit of a token")
        return Answer(200, {"items": [json_shapes.audit_row(one) for one in found.rows], "next": found.next_after})

    def _filter(self, asked: AuditAsked) -> AuditFilter:
        """As ``sekisho audit`` has it: names that were nobody's are found by their fingerprints. A name of which
        nothing is left, "--", is nobody's, and not everybody's."""
        after, before = asked.after, None
        if asked.since is not None:
            after = max(after, id_at(int(asked.since.timestamp() * 1000)) - 1)
        if asked.until is not None:
            before = id_at(int(asked.until.timestamp() * 1000))
        customer = None if asked.customer is None else normalise_contract_id(asked.customer)
        token = None if asked.token is None else normalise_token_id(asked.token)
        return AuditFilter(
            customer,
            token,
            asked.event,
            asked.actor,
            after,
            before,
            None if customer is None else self._name_fingerprint(customer),
            None if token is None else self._name_fingerprint(token),
        )


def _audit(connection: Connection, wanted: AuditFilter, limit: int) -> AuditStretch:
    return audit_stretch(connection, wanted, limit=limit)
