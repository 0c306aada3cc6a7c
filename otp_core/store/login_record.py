"""The one SELECT of login records, for the login batch, the reader and the desk. Portable SQL; no connection, no
driver.

An active customer has a token only while it is bound: a shared token may have been reported lost by somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, Final

from otp_core.model import LoginRecord, LoginToken

_OF_CUSTOMER = {
    "contract_id": "c.contract_id",
    "customer_key": "c.key",
    "otp_use": "c.otp_use",
    "locked_at": "c.locked_at",
    "failures": "c.failures",
    "failed_at": "c.failed_at",
    "failed_fingerprint": "c.failed_fingerprint",
    "language": "c.language",
    "attributes": "c.attributes",
}
_OF_TOKEN = [f"t.{field.name}" for field in fields(LoginToken)]
CHALLENGE_COLUMNS = (
    "state, customer_key, client, expires_at, tries_left, password_fingerprint, first_factor_state, attributes"
)
"""Of an ``OpenChallenge``. Columns have their names in every statement: a newer version may add some."""

AUDIT_COLUMNS = "id, event, actor, customer, token, source, reason"
"""Of the audit row of a login."""

COLUMNS = ", ".join([*_OF_CUSTOMER.values(), *_OF_TOKEN])
"""The customer's, in the order of LoginRecord's fields, then the token's, in the order of LoginToken's."""

JOIN_TOKENS = """
LEFT JOIN binding AS b ON b.customer_key = c.key
LEFT JOIN token AS t ON t.key = b.token_key AND (t.state = 'bound' OR c.otp_use <> 'active')
"""
"""``c``: the customer's row. A row for each token, or one without."""

_WIDTH: Final = len(_OF_CUSTOMER)


def records_of(rows: Iterable[Sequence[Any]]) -> dict[str, LoginRecord]:
    """Login records by contract ID, from rows of COLUMNS; a customer's rows may stand anywhere."""
    records: dict[str, LoginRecord] = {}
    for row in rows:
        record = records.get(row[0])
        if record is None:
            record = records[row[0]] = LoginRecord(*row[:_WIDTH])
        if row[_WIDTH] is not None:
            record.tokens.append(LoginToken(*row[_WIDTH:]))
    return records
