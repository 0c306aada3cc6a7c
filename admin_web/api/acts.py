"""The acts on customers and tokens: each is one call of the desk, as at the console and by command, in one transaction.

The state is looked at before any code is: what is not possible now spends and counts nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

from sqlalchemy import Connection

from admin_web.api import models
from admin_web.api.lists import CUSTOMER, TOKEN
from admin_web.api.once import Acting, Deed, carry_out
from admin_web.api.operations import Answer, Call, Operation
from admin_web.api.problems import ProblemError, ProblemType
from admin_web.api.settings import ApiSettings
from otp_core import json_shapes
from otp_core.accounts import Receipt, Refusal, Refused
from otp_core.accounts.api_keys import actor_of
from otp_core.accounts.lifecycle import Move
from otp_core.doors import Services
from otp_core.model import Scope
from otp_core.otp import normalise_contract_id
from otp_core.store.approvals import Approval, ApprovalState, approval_of
from otp_core.store.async_queries import AsyncQueries
from otp_core.store.unit_of_work import Work

APPROVAL = "/api/v1/approvals/{number}"
_PERMIT_REISSUE = "permit-reissue"


class _Act(NamedTuple):
    """``name``: the last part of the path; ``run``: the call of the desk."""

    name: str
    operation: str
    summary: str
    body: type[models.Reasoned]
    run: Callable[[Deed], Receipt]


def _enrol(deed: Deed) -> Receipt:
    asked = cast("models.Enrol", deed.asked)
    return deed.desk.enrolment.enrol(deed.subject, asked.token_id, asked.code, deed.principal)


def _suspend(deed: Deed) -> Receipt:
    return deed.desk.enrolment.suspend(deed.subject, cast("models.Suspend", deed.asked).code, deed.principal)


def _resume(deed: Deed) -> Receipt:
    return deed.desk.enrolment.resume(deed.subject, deed.principal)


def _change_device(deed: Deed) -> Receipt:
    asked, by = cast("models.ChangeDevice", deed.asked), deed.principal
    if asked.permit is not None:
        return deed.desk.enrolment.change_by_permit(deed.subject, asked.permit, asked.token_id, asked.code, by)
    assert asked.old_code is not None
    codes = asked.old_code, asked.token_id, asked.code
    return deed.desk.devices.change(deed.subject, *codes, by, goes=asked.replacing)


def _report_lost(deed: Deed) -> Receipt:
    token_id = cast("models.ReportLost", deed.asked).token_id
    return deed.desk.enrolment.report_lost(deed.subject, deed.principal, token_id=token_id)


def _unlock(deed: Deed) -> Receipt:
    return deed.desk.customers.unlock(deed.subject, deed.principal)


def _resynchronise(deed: Deed) -> Receipt:
    asked = cast("models.Resynchronise", deed.asked)
    resynchronise = deed.desk.enrolment.resynchronise
    return resynchronise(deed.subject, asked.first, asked.second, deed.principal, token_id=asked.token_id)


CUSTOMER_ACTS = (
    _Act("enrol", "enrol", "Bind an available token by its code", models.Enrol, _enrol),
    _Act("suspend", "suspend", "Password only from now on", models.Suspend, _suspend),
    _Act("resume", "resume", "End a suspension", models.Act, _resume),
    _Act("change-device", "changeDevice", "One token in the place of another", models.ChangeDevice, _change_device),
    _Act("report-lost", "reportLost", "Refuse a token from this moment", models.ReportLost, _report_lost),
    _Act("unlock", "unlock", "End a lock, and forgive the wrong codes", models.Act, _unlock),
    _Act("resynchronise", "resynchronise", "Correct a token by two codes", models.Resynchronise, _resynchronise),
)

_STATES = (ProblemType.NOT_PERMITTED, ProblemType.NOT_FOUND, ProblemType.NOT_NOW)
_OF_CUSTOMER = (
    *_STATES,
    ProblemType.LOCKED,
    ProblemType.WHICH_TOKEN,
    ProblemType.UNKNOWN_TOKEN,
    ProblemType.CODE_REFUSED,
    ProblemType.THROTTLED,
)
_DONE = {200: ("It was done", models.Receipt)}


class Acts:
    """The handlers. ``settings`` is asked at every request."""

    def __init__(self, services: Services, queries: AsyncQueries, settings: Callable[[], ApiSettings]) -> None:
        self._queries, self._settings = queries, settings
        self._acting = Acting(services.desk, services.verifiers)
        self._by_name: Mapping[str, _Act] = {one.operation: one for one in CUSTOMER_ACTS}

    def operations(self) -> list[Operation]:
        """All of them."""
        write = (Scope.CUSTOMERS_WRITE,)
        return [
            *(
                Operation(
                    one.operation,
                    "POST",
                    f"{CUSTOMER}/{one.name}",
                    one.summary,
                    write,
                    self.on_customer,
                    _DONE,
                    body=one.body,
                    problems=_OF_CUSTOMER,
                    is_kept=True,
                )
                for one in CUSTOMER_ACTS
            ),
            Operation(
                "permitReissue",
                "POST",
                f"{CUSTOMER}/{_PERMIT_REISSUE}",
                "A one-time permit for a customer who lost a token",
                write,
                self.permit_reissue,
                {
                    200: ("The permit, this once", models.ReissuePermit),
                    202: ("A second person has to approve it first: ask again then", models.Approval),
                },
                body=models.Act,
                problems=_STATES,
                is_kept=True,
            ),
            Operation(
                "getApproval",
                "GET",
                APPROVAL,
                "What has become of an own request that a second person decides",
                write,
                self.approval,
                {200: ("The request", models.Approval)},
                problems=(ProblemType.NOT_FOUND,),
                patterns={"number": "[0-9]{1,19}"},
            ),
            Operation(
                "retireToken",
                "POST",
                f"{TOKEN}/retire",
                "Never accept a token again that nobody holds",
                (Scope.TOKENS_WRITE,),
                self.retire,
                _DONE,
                body=models.Act,
                problems=_STATES,
                is_kept=True,
            ),
        ]

    async def on_customer(self, call: Call) -> Answer:
        """An act on one customer."""
        act = self._by_name[call.operation.name]

        def run(deed: Deed, work: Work) -> Answer:
            return _done(act.run(deed), work)

        return await carry_out(self._acting, call, "contract_id", Scope.CUSTOMERS_WRITE, run)

    async def permit_reissue(self, call: Call) -> Answer:
        """A permit; or a request for one, where a second person has to approve it. Asked again, an approved request is
        used up."""

        def run(deed: Deed, _: Work) -> Answer:
            principal = deed.principal
            if _PERMIT_REISSUE in self._settings().approvals:
                found = deed.desk.approvals.ask_or_use(_PERMIT_REISSUE, deed.subject, principal, Move.PERMIT_REISSUE)
                if found.state != ApprovalState.APPROVED:
                    place = APPROVAL.partition("{")[0] + str(found.key)
                    return Answer(202, json_shapes.approval(found, _now()), {"Location": place})
                reason = f"{found.reason}; approved by {found.decided_by}" if found.reason else "approved"
                principal = call.principal(Scope.CUSTOMERS_WRITE, reason)
            permit = deed.desk.enrolment.permit_reissue(deed.subject, principal)
            return Answer(200, json_shapes.permit(normalise_contract_id(deed.subject), permit))

        return await carry_out(self._acting, call, "contract_id", Scope.CUSTOMERS_WRITE, run)

    async def approval(self, call: Call) -> Answer:
        """One of the key's own requests; of others nobody learns that they are there."""
        found = await self._queries.run(_approval, int(call.part("number")))
        if found is None or found.asked_by != actor_of(call.key.name):
            raise ProblemError(ProblemType.NOT_FOUND, "there is no such request of this key")
        return Answer(200, json_shapes.approval(found, _now()))

    async def retire(self, call: Call) -> Answer:
        """The end of a token that nobody holds."""

        def run(deed: Deed, work: Work) -> Answer:
            try:
                return _done(deed.desk.tokens.retire(deed.subject, deed.principal), work)
            except Refused as refused:
                if refused.refusal is Refusal.UNKNOWN_TOKEN:  # the path names it
                    raise ProblemError(ProblemType.NOT_FOUND, "there is no such token") from None
                if refused.refusal is Refusal.NOT_NOW and Scope.TOKENS_READ not in call.key.scopes:
                    what = "a customer holds it, or it is not used any more"  # whose it is, tokens:read says
                    raise ProblemError(ProblemType.NOT_NOW, what) from None
                raise

        return await carry_out(self._acting, call, "token_id", Scope.TOKENS_WRITE, run)


def _done(receipt: Receipt, work: Work) -> Answer:
    """What the act's own audit row says, which is the last."""
    row = work.recorded[-1]
    assert row.id == receipt.reference
    return Answer(200, json_shapes.receipt(row.event, receipt))


def _approval(connection: Connection, number: int) -> Approval | None:
    return approval_of(connection, number) if number <= models.LARGEST_ID else None


def _now() -> int:
    return int(time.time() * 1000)
