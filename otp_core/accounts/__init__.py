"""The life of customers and tokens: every act of the command line and of the customers' pages, each one transaction
with its audit row. Wrong codes count here as at every door; a refused act leaves a row and changes nothing else.

``Desk`` is the way in: ``desk.customers``, ``.contract_ids``, ``.tokens``, ``.enrolment``, ``.devices``,
``.sessions``, ``.issuance``, ``.staff``, ``.staff_sessions``, ``.sign_on``, ``.approvals``,
``.file_imports``, ``.api_keys``, ``.kept_answers``, ``.looks``. It never speaks to a user, a socket or a
browser.
"""

from __future__ import annotations

from otp_core.accounts.api_keys import NewApiKey
from otp_core.accounts.desk import Desk
from otp_core.accounts.issuance import IssuanceRequest, Quota
from otp_core.accounts.looks import Looks
from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal, PrincipalKind
from otp_core.accounts.results import REFUSAL_TEXT, IssuedToken, Receipt, Refusal, Refused, ReissuePermit
from otp_core.accounts.sessions import Session, SessionLimits
from otp_core.accounts.sign_on import SignOnAnswer
from otp_core.accounts.staff import NewPasskey, StaffLink, staff_principal
from otp_core.accounts.staff_sessions import PasskeyAnswer, Proof, StaffSession, StaffSessionLimits
from otp_core.accounts.token_search import TokenSearch
from otp_core.accounts.transactions import rerun_on_conflict
from otp_core.accounts.verification import VerificationNeeded, VerifiedCode, verified, with_verifiers
from otp_core.store.unit_of_work import Details

__all__ = [
    "REFUSAL_TEXT",
    "Act",
    "Desk",
    "Details",
    "IssuanceRequest",
    "IssuedToken",
    "Looks",
    "NewApiKey",
    "NewPasskey",
    "PasskeyAnswer",
    "Principal",
    "PrincipalKind",
    "Proof",
    "Quota",
    "Receipt",
    "Refusal",
    "Refused",
    "ReissuePermit",
    "Session",
    "SessionLimits",
    "SignOnAnswer",
    "StaffLink",
    "StaffSession",
    "StaffSessionLimits",
    "TokenSearch",
    "VerificationNeeded",
    "VerifiedCode",
    "rerun_on_conflict",
    "staff_principal",
    "verified",
    "with_verifiers",
]
