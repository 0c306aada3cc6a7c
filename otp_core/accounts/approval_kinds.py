"""What a second person may have to approve, one row for each kind of act: whom or what it is about, who may ask for it,
what has to be as it was, and how it is carried out.

A new kind is one row here, and one in the console's table of words and pages (admin_web/console/approval_pages.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from otp_core.accounts import api_key_changes, retirements, staff_changes
from otp_core.accounts.file_imports import carry_out_import, file_seen, import_words
from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import Refusal, Refused
from otp_core.model import LoginRecord
from otp_core.otp import normalise_contract_id
from otp_core.store.unit_of_work import Work

if TYPE_CHECKING:
    from otp_core.accounts.desk import Desk

Payload = Mapping[str, Any]
"""What exactly is to be done, as JSON has it. No secrets: who decides reads it. Files by their digest."""

MOST_PAYLOAD = 16_384
"""Octets of a payload."""


class Subject(StrEnum):
    """Whom or what a request is about."""

    CUSTOMER = "customer"
    STAFF = "member of staff"
    API_KEY = "API key"
    FILE = "file"
    TOKENS = "list of tokens"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class About:
    """What was asked for. ``subject``: the contract ID, or the name; ``asked_by``: the actor."""

    subject: str
    payload: Payload = field(repr=False)
    asked_by: str


@dataclass(frozen=True, slots=True)
class ApprovalKind:
    """A kind of act. ``name``: as in ``console.approvals``; ``act``: what whoever asks, and carries it out, has to be
    permitted.

    ``seen``: what has to be the same when it is carried out, as short text; raises Refused for what is not possible
    now. ``carry_out``: in one transaction with the end of the request (the desk is joined to it); what it has made, for
    the asker's eyes, and what may raise Refused, after which the request is as it was. Work that takes long is begun
    there, not done. ``words``: what exactly is asked for, for the audit trail."""

    name: str
    act: Act
    subject: Subject
    seen: Callable[[Work, About], str]
    carry_out: Callable[[Desk, About, Principal], object]
    words: Callable[[About], str]

    @property
    def is_alone(self) -> bool:
        """Whether one request about the same subject waits at a time."""
        return self.subject in (Subject.CUSTOMER, Subject.STAFF, Subject.API_KEY)


def customer_seen(record: LoginRecord) -> str:
    """A customer as they were when it was asked: use of OTP, and tokens."""
    return json.dumps({"use": record.otp_use, "tokens": sorted(own.token_id for own in record.tokens)})


def _seen_customer(work: Work, about: About) -> str:
    record = work.login_record(normalise_contract_id(about.subject))
    if record is None:
        raise Refused(Refusal.UNKNOWN_CUSTOMER, about.subject)
    return customer_seen(record)


def _permit_reissue(desk: Desk, about: About, by: Principal) -> object:
    return desk.enrolment.permit_reissue(about.subject, by)


PERMIT_REISSUE = ApprovalKind(
    "permit-reissue",
    Act.PERMIT_REISSUE,
    Subject.CUSTOMER,
    _seen_customer,
    _permit_reissue,
    lambda about: "permit-reissue",
)

STAFF = ApprovalKind(
    "staff", Act.MANAGE_STAFF, Subject.STAFF, staff_changes.seen, staff_changes.carry_out, staff_changes.words
)

API_KEY = ApprovalKind(
    "api-key",
    Act.MANAGE_API_KEYS,
    Subject.API_KEY,
    api_key_changes.seen,
    api_key_changes.carry_out,
    api_key_changes.words,
)

IMPORT = ApprovalKind("import", Act.IMPORT_TOKENS, Subject.FILE, file_seen, carry_out_import, import_words)
"""The desk asks again whether whoever it is may import a file of its kind."""

BULK = ApprovalKind("bulk", Act.RETIRE_TOKENS, Subject.TOKENS, retirements.seen, carry_out_import, retirements.words)

KINDS: Mapping[str, ApprovalKind] = {one.name: one for one in (PERMIT_REISSUE, STAFF, API_KEY, IMPORT, BULK)}
