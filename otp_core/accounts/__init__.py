"""The life of customers and tokens: every act of the counter and of the customer's own pages, each one transaction
with its audit row. Wrong codes count here as at every door; a refused act leaves a row and changes nothing else.
"""

from __future__ import annotations

from otp_core.desk.handout import Handout, Quota
from otp_core.desk.own_pages import Bounds, OwnPages, Visit
from otp_core.desk.register import Register
from otp_core.desk.words import Actor, Issued, Permit, Receipt, Refusal, Refused

__all__ = ["Actor", "Bounds", "Desk", "Issued", "Permit", "Quota", "Receipt", "Refusal", "Refused", "Visit"]


class Desk(Register, OwnPages, Handout):
    """Every act, for portal, console and command line."""
