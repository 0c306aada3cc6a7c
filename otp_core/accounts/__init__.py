"""The life of customers and tokens: every act of the counter and of the customer's own pages, each one transaction
with its audit row. Wrong codes count here as at every door; a refused act leaves a row and changes nothing else.
"""

from __future__ import annotations

from otp_core.accounts.customers import Register
from otp_core.accounts.issuance import Quota, SelfServiceIssuance
from otp_core.accounts.results import IssuedToken, Principal, Receipt, Refusal, Refused, ReissuePermit
from otp_core.accounts.self_service import SelfService, Session, SessionLimits

__all__ = [
    "Desk",
    "IssuedToken",
    "Principal",
    "Quota",
    "Receipt",
    "Refusal",
    "Refused",
    "ReissuePermit",
    "Session",
    "SessionLimits",
]


class Desk(Register, SelfService, SelfServiceIssuance):
    """Every act, for portal, console and command line."""
