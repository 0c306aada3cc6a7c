"""The one SELECT of a login record, for the login batch, the reader and the desk. Portable SQL; no connection, no
driver.

An active customer has a token only while it is bound: a shared token may have been reported lost by somebody else.
"""

from __future__ import annotations

from dataclasses import fields

from otp_core.model import LoginRecord

_EXPRESSIONS = {
    "contract_id": "c.contract_id",
    "customer_key": "c.key",
    "otp_use": "c.otp_use",
    "locked_at": "c.locked_at",
    "failures": "c.failures",
    "failed_at": "c.failed_at",
    "failed_fingerprint": "c.failed_fingerprint",
    "language": "c.language",
    "attributes": "c.attributes",
    "token_key": "t.key",
    "token_id": "t.token_id",
    "seed": "t.seed",
    "verifier": "t.verifier",
    "kind": "t.kind",
    "algorithm": "t.algorithm",
    "digits": "t.digits",
    "period": "t.period",
    "last_step": "coalesce(t.last_step, -1)",
    "drift": "coalesce(t.drift, 0)",
    "last_fingerprint": "coalesce(t.last_fingerprint, 0)",
    "last_at": "coalesce(t.last_at, 0)",
    "spent_ahead": "t.spent_ahead",
}
COLUMNS = ", ".join(_EXPRESSIONS[field.name] for field in fields(LoginRecord))
"""In the order of LoginRecord's fields: ``LoginRecord(*row)``."""

JOIN_TOKEN = "LEFT JOIN token AS t ON t.key = c.token_key AND (t.state = 'bound' OR c.otp_use <> 'active')"
"""``c``: the customer's row."""
