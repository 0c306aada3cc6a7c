"""The life of customers and tokens: every act of the counter and of the customer's own pages, each one transaction
with its audit row. Wrong codes count here as at every door; a refused act leaves a row and changes nothing else.
"""

from __future__ import annotations

from otp_core.desk.handout import Handout, Quota
from otp_core.desk.journeys import Journeys
from otp_core.desk.register import Register
from otp_core.desk.words import Actor, Issued, Permit, Receipt, Refusal, Refused

__all__ = ["Actor", "Desk", "Issued", "Permit", "Quota", "Receipt", "Refusal", "Refused"]


class Desk(Register, Journeys, Handout):
    """Every act, for portal, console and command line."""
