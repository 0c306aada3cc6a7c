"""Who acts: a value that every act of the desk is given. What they may do is in permissions.py."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from otp_core.unseen import with_numbers


class PrincipalKind(StrEnum):
    """How a principal is known to Sekisho."""

    CUSTOMER = "customer"
    """Signed in on the customers' pages, with the contract ID in ``Principal.customer``."""
    STAFF = "staff"
    """Signed in on the console; ``Principal.role`` says as what."""
    API_KEY = "api key"
    """A program with a key; ``Principal.role`` says for which of its scopes it acts."""
    COMMAND = "command"
    """A user of this machine who may run the command line."""
    SYSTEM = "system"
    """Sekisho itself: sweeps, renewed hashes, the lock after too many wrong codes."""
    ANONYMOUS = "anonymous"
    """Not signed in: a page before the password was checked, an app that asks for a token."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts, where from, and why.

    ``name``: the audit row's actor (a user name, or a door such as "web"). ``source``: where from, an address or a
    program. ``reason``: for the audit trail, for instance a ticket number. ``customer``: the contract ID that a
    CUSTOMER has signed in with. ``role``: of STAFF and API_KEY, a row of the permission table.
    """

    name: str
    kind: PrincipalKind
    source: str = ""
    reason: str = ""
    customer: str | None = None
    role: str = ""

    @property
    def audit_fields(self) -> dict[str, str]:
        """What an audit row says about who acted, as arguments of ``Work.audit``. A reason is somebody's text: what
        nobody can see in it is written out, so that no row looks like another."""
        return {"actor": self.name, "source": self.source, "reason": with_numbers(self.reason)}
