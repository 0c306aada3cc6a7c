"""A change of staff as a value: what the console asks a second person for, and carries out. The acts: staff.py."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from otp_core.accounts.staff import check_new, check_others, known
from otp_core.model import Role
from otp_core.store.staff import passkeys_of
from otp_core.store.unit_of_work import Work

if TYPE_CHECKING:
    from otp_core.accounts.approval_kinds import About
    from otp_core.accounts.desk import Desk
    from otp_core.accounts.principal import Principal


class StaffDo(StrEnum):
    """What is done to a member of staff."""

    ADD = "add"
    ROLE = "role"
    DISABLE = "disable"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class StaffChange:
    """``role``: of ADD and ROLE; ``account``: of ADD, the contract ID that signs them in too."""

    name: str
    do: StaffDo
    role: Role | None = None
    account: str | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """As a request keeps it; the name is its subject."""
        return {"do": self.do, "role": self.role, "account": self.account}

    @classmethod
    def of(cls, about: About) -> StaffChange:
        """What a request is about."""
        kept = about.payload
        return cls(about.subject, StaffDo(kept["do"]), Role(kept["role"]) if kept["role"] else None, kept["account"])


def seen(work: Work, about: About) -> str:
    """The member of staff as they are. Raises Refused for what is not possible now."""
    change = StaffChange.of(about)
    if change.do is StaffDo.ADD:
        return json.dumps({"new": check_new(work, change.name, change.account)})
    record = known(work, change.name)
    check_others(work, record, about.asked_by, becomes=change.role)
    keys = [one.key for one in passkeys_of(work.connection, record.key)]
    return json.dumps([record.key, record.role, record.disabled_at, record.account, keys])


def carry_out(desk: Desk, about: About, by: Principal) -> object:
    """A StaffLink, or the Receipt. Raises Refused."""
    change, staff = StaffChange.of(about), desk.staff
    match change.do:
        case StaffDo.ADD:
            assert change.role is not None
            return staff.add(change.name, change.role, by, account=change.account)
        case StaffDo.ROLE:
            assert change.role is not None
            return staff.set_role(change.name, change.role, by)
        case StaffDo.DISABLE:
            return staff.disable(change.name, by)
        case StaffDo.RESET:
            return staff.reset(change.name, by)


def words(about: About) -> str:
    """For the audit trail."""
    change = StaffChange.of(about)
    role = f" as {change.role}" if change.role else ""
    account = f", signs in as {change.account} too" if change.account else ""
    return f"staff: {change.do} {change.name}{role}{account}"
