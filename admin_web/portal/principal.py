"""Who acts at the desk when a customer uses the portal, as the audit trail names it."""

from __future__ import annotations

from aiohttp import web

from admin_web.http.security import SOURCE
from otp_core.accounts import Principal, PrincipalKind

ACTOR = "web"


def principal_of(request: web.Request, customer: str | None) -> Principal:
    """The customer with this contract ID, who has signed in; None: somebody who has not. The audit trail names the
    portal and the client's address."""
    kind = PrincipalKind.ANONYMOUS if customer is None else PrincipalKind.CUSTOMER
    return Principal(ACTOR, kind, request[SOURCE], customer=customer)
