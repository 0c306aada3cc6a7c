"""What the audit trail keeps of names that were typed and are nobody's: a keyed fingerprint. A password may have been
typed into the field of the contract ID, or of the token ID.
"""

from __future__ import annotations

import re

from otp_core.accounts.results import REFUSAL_TEXT, Refusal, Refused
from otp_core.sealing import Sealer
from otp_core.store.unit_of_work import Work

_LIKE_A_TOKEN_ID = re.compile("[A-Z]{2,8}[0-9]{6,16}")
"""Letters, then digits: a mistyped token ID, and no password. Staff can read which."""


def customer_to_keep(work: Work, sealer: Sealer, name: str) -> str:
    """The contract ID if there is such a customer, otherwise the name's fingerprint."""
    record = work.login_record(name)
    return sealer.name_fingerprint(name) if record is None else record.contract_id


def token_to_keep(work: Work, sealer: Sealer, token_id: str) -> str:
    """The token ID if there is such a token or it looks like one, otherwise its fingerprint."""
    known = _LIKE_A_TOKEN_ID.fullmatch(token_id) or work.token(token_id) is not None
    return token_id if known else sealer.name_fingerprint(token_id)


def refusal_to_keep(
    work: Work, sealer: Sealer, refused: Refused, customer: str | None, token: str | None
) -> tuple[str | None, str | None, str]:
    """Customer, token and reason of the row about a refused act. Words that might repeat a fingerprinted name are left
    out of the reason."""
    kept_customer = None if customer is None else customer_to_keep(work, sealer, customer)
    kept_token = None if token is None else token_to_keep(work, sealer, token)
    as_typed = kept_customer == customer and kept_token == token
    ours = refused.refusal is Refusal.NOT_PERMITTED  # names the act and the principal alone
    reason = str(refused) if as_typed or ours else REFUSAL_TEXT[refused.refusal]
    return kept_customer, kept_token, reason
