"""Who may do what at the desk: one table. The services ask it before an act reads or writes anything. Pure.

A pair that the table does not name is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from otp_core.accounts.principal import Principal, PrincipalKind
from otp_core.model import Role, Scope


class Act(StrEnum):
    """Every act of the desk that changes something."""

    ADD_CUSTOMER = "add a customer"
    IMPORT_CUSTOMERS = "import customers"
    RENAME_CUSTOMER = "give a customer another contract ID"
    EDIT_CUSTOMER = "edit a customer"
    LOCK = "lock"
    UNLOCK = "unlock"
    RENEW_PASSWORD_HASH = "renew a password hash"
    ACCEPT_TERMS = "accept the terms of use"
    IMPORT_TOKENS = "import tokens"
    ISSUE_TOKEN = "issue a token"
    RETIRE_TOKEN = "retire a token"
    RETIRE_TOKENS = "retire the tokens of a list"
    FIND_TOKEN = "find a token by two codes"
    ENROL = "enrol"
    SUSPEND = "suspend"
    SUSPEND_WITHOUT_CODE = "suspend without a code"
    RESUME = "resume"
    CHANGE_DEVICE = "change the device"
    GIVE_OLD_CODE = "give the old token's code"
    CHANGE_BY_PROOF = "change the device by the old token's code given before"
    ADD_TOKEN = "add a token"
    ADD_BY_PROOF = "add a token by the old token's code given before"
    REMOVE_TOKEN = "remove a token"
    REMOVE_TOKEN_WITHOUT_CODE = "remove a token without a code"
    NAME_TOKEN = "name a token"
    CHECK_PERMIT = "check a reissue permit"
    CHANGE_BY_PERMIT = "change the device by a reissue permit"
    REPORT_LOST = "report a token lost"
    PERMIT_REISSUE = "permit a reissue"
    RESYNCHRONISE = "resynchronise"
    RESYNCHRONISE_TOKEN = "resynchronise a token that nobody holds"
    ISSUE_FOR_CUSTOMER = "issue a token for a customer"
    BEGIN_SESSION = "begin a session"
    END_SESSION = "end a session"
    ASK_CHANGE = "ask for a change of the device"
    END_SESSIONS_OF = "end a customer's sessions"
    EXPIRE_SESSIONS = "expire sessions"
    RECORD_FAILED_SIGN_IN = "record a failed sign-in"
    ISSUE_UNCLAIMED = "issue an unclaimed token"
    RETIRE_UNCLAIMED = "retire unclaimed tokens"
    MANAGE_STAFF = "manage staff"
    MANAGE_API_KEYS = "manage API keys"
    USE_CONSOLE = "use the console"
    ASK_APPROVAL = "ask for approval"
    APPROVE = "approve"


Table = Mapping[tuple[PrincipalKind, str], frozenset[Act]]
"""What each kind of principal may do; for STAFF and API_KEY, each role (for the others it is empty)."""

_AUDITOR = frozenset({Act.USE_CONSOLE})
_OPERATOR = _AUDITOR | {
    Act.EDIT_CUSTOMER,
    Act.UNLOCK,
    Act.ENROL,
    Act.SUSPEND_WITHOUT_CODE,
    Act.RESUME,
    Act.CHANGE_DEVICE,
    Act.ADD_TOKEN,
    Act.REMOVE_TOKEN_WITHOUT_CODE,
    Act.REPORT_LOST,
    Act.PERMIT_REISSUE,
    Act.RESYNCHRONISE,
    Act.FIND_TOKEN,
    Act.RETIRE_TOKEN,
    Act.ISSUE_FOR_CUSTOMER,
    Act.END_SESSIONS_OF,
    Act.ASK_APPROVAL,
}
_SUPERVISOR = _OPERATOR | {Act.APPROVE, Act.IMPORT_CUSTOMERS, Act.IMPORT_TOKENS, Act.RETIRE_TOKENS}
_ADMINISTRATOR = _SUPERVISOR | {Act.MANAGE_STAFF, Act.MANAGE_API_KEYS}

TABLE: Table = {
    (PrincipalKind.CUSTOMER, ""): frozenset(
        {
            Act.ACCEPT_TERMS,
            Act.ENROL,
            Act.SUSPEND,
            Act.CHANGE_DEVICE,
            Act.GIVE_OLD_CODE,
            Act.CHANGE_BY_PROOF,
            Act.ADD_TOKEN,
            Act.ADD_BY_PROOF,
            Act.REMOVE_TOKEN,
            Act.NAME_TOKEN,
            Act.CHECK_PERMIT,
            Act.CHANGE_BY_PERMIT,
            Act.RESYNCHRONISE,
            Act.ISSUE_FOR_CUSTOMER,
            Act.BEGIN_SESSION,
            Act.END_SESSION,
        }
    ),
    (PrincipalKind.COMMAND, ""): frozenset(
        {
            Act.ADD_CUSTOMER,
            Act.IMPORT_CUSTOMERS,
            Act.RENAME_CUSTOMER,
            Act.EDIT_CUSTOMER,
            Act.LOCK,
            Act.UNLOCK,
            Act.IMPORT_TOKENS,
            Act.ISSUE_TOKEN,
            Act.RETIRE_TOKEN,
            Act.ENROL,
            Act.SUSPEND,
            Act.SUSPEND_WITHOUT_CODE,
            Act.RESUME,
            Act.CHANGE_DEVICE,
            Act.ADD_TOKEN,
            Act.REMOVE_TOKEN,
            Act.REMOVE_TOKEN_WITHOUT_CODE,
            Act.NAME_TOKEN,
            Act.CHANGE_BY_PERMIT,
            Act.REPORT_LOST,
            Act.PERMIT_REISSUE,
            Act.RESYNCHRONISE,
            Act.RESYNCHRONISE_TOKEN,
            Act.ASK_CHANGE,
            Act.END_SESSIONS_OF,
            Act.MANAGE_STAFF,
            Act.MANAGE_API_KEYS,
        }
    ),
    (PrincipalKind.STAFF, Role.AUDITOR): _AUDITOR,
    (PrincipalKind.STAFF, Role.OPERATOR): _OPERATOR,
    (PrincipalKind.STAFF, Role.SUPERVISOR): _SUPERVISOR,
    (PrincipalKind.STAFF, Role.ADMINISTRATOR): _ADMINISTRATOR,
    # What an operator does at the counter, but without a console of its own. Scopes that only read do no act.
    (PrincipalKind.API_KEY, Scope.CUSTOMERS_WRITE): frozenset(
        {
            Act.UNLOCK,
            Act.ENROL,
            Act.SUSPEND,
            Act.SUSPEND_WITHOUT_CODE,
            Act.RESUME,
            Act.CHANGE_DEVICE,
            Act.CHANGE_BY_PERMIT,
            Act.REPORT_LOST,
            Act.PERMIT_REISSUE,
            Act.RESYNCHRONISE,
            Act.ASK_APPROVAL,
        }
    ),
    (PrincipalKind.API_KEY, Scope.TOKENS_WRITE): frozenset({Act.RETIRE_TOKEN}),
    (PrincipalKind.SYSTEM, ""): frozenset({Act.RENEW_PASSWORD_HASH, Act.EXPIRE_SESSIONS, Act.RETIRE_UNCLAIMED}),
    (PrincipalKind.ANONYMOUS, ""): frozenset({Act.RECORD_FAILED_SIGN_IN, Act.ISSUE_UNCLAIMED}),
}

_ROLES = tuple(Role)
"""The least first."""


def least_role(one: str, other: str | None) -> Role:
    """The role that may do less; ``other`` None sets no limit."""
    return min((Role(one), Role(other or one)), key=_ROLES.index)


_ON_THEMSELVES_ONLY = (PrincipalKind.CUSTOMER, PrincipalKind.ANONYMOUS)


def is_allowed(principal: Principal, act: Act, customer: str | None, table: Table = TABLE) -> bool:
    """Whether ``principal`` may do this to ``customer`` (a contract ID as it is kept; None: it concerns no customer).

    A customer may act on themselves only, and an anonymous principal on no customer."""
    if act not in table.get((principal.kind, principal.role), frozenset()):
        return False
    return principal.kind not in _ON_THEMSELVES_ONLY or principal.customer == customer
