"""One act of a request, carried out once: in one transaction, with the answer that the same request gets again.

``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header): per key and path, for a day. What is only for now (429,
5xx) is not kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

from admin_web.api import models
from admin_web.api.operations import Answer, Call, answer_of
from admin_web.api.problems import FieldError, ProblemError, ProblemType, key_needed, problem_of_refusal
from otp_core.accounts import Desk, Principal, Refused, with_verifiers
from otp_core.accounts.kept_answers import AskedDifferently, RequestKey
from otp_core.model import Scope
from otp_core.otp import normalise_contract_id
from otp_core.store.api_keys import ApiKeyRecord, api_key_named
from otp_core.store.staff import staff_of_account
from otp_core.store.unit_of_work import Work
from otp_core.verifier import Verifier

HEADER = "Idempotency-Key"
_KEY = re.compile("[!-~]{1,128}")
_NOT_KEPT = frozenset({429})
"""Anything from 500 on is an exception, and ends the transaction."""


class Deed(NamedTuple):
    """One act, as it was asked. ``subject``: the contract ID, or the token ID; ``asked``: the body."""

    desk: Desk
    subject: str
    asked: models.Reasoned
    principal: Principal


class Acting(NamedTuple):
    """The desk, and who knows codes that it does not, by name."""

    desk: Desk
    verifiers: Mapping[str, Verifier]


Run = Callable[[Deed, Work], Answer]
"""Calls the desk. May raise ProblemError, and what the desk raises."""


async def carry_out(acting: Acting, call: Call, subject: str, scope: Scope, run: Run) -> Answer:
    """The answer, run again as a whole where somebody else was faster. What a refused act has counted and recorded
    stays. ``subject``: the part of the path that names whom or what it is about. Raises ProblemError,
    StoreUnavailable, ClockWrong."""
    asked = cast("models.Reasoned", call.asked)
    principal, key = call.principal(scope, asked.words), _request_key(acting.desk, call, asked)

    def once(desk: Desk) -> Answer:
        with desk.together() as (joined, work):
            _refuse_revoked(work, call.key)
            if key is not None and (kept := _kept(joined, work, key)) is not None:
                return kept
            deed = Deed(joined, call.part(subject), asked, principal)
            answer = _run(deed, work, run, refuse_staff=scope is Scope.CUSTOMERS_WRITE)
            if key is not None and answer.status not in _NOT_KEPT:
                joined.kept_answers.keep(work, key, json.dumps(answer).encode())
            return answer

    return await with_verifiers(acting.desk, once, acting.verifiers)


def _run(deed: Deed, work: Work, run: Run, *, refuse_staff: bool) -> Answer:
    try:
        if refuse_staff:
            _refuse_staff(work, deed.subject)
        return run(deed, work)
    except ProblemError as problem:
        return answer_of(problem)
    except Refused as refused:
        return answer_of(problem_of_refusal(refused))


def _refuse_revoked(work: Work, key: ApiKeyRecord) -> None:
    """Whoever has waited for the store acts by a key that is good now. Raises ProblemError."""
    now = api_key_named(work.connection, key.name)
    if now is None or now.key != key.key:
        raise key_needed()


def _kept(desk: Desk, work: Work, key: RequestKey) -> Answer | None:
    """What was answered to the same request. Raises ProblemError for another one with the same key."""
    try:
        found = desk.kept_answers.find(work, key)
    except AskedDifferently:
        raise ProblemError(ProblemType.IDEMPOTENCY_KEY_REUSED) from None
    return None if found is None else Answer(*json.loads(found))


def _request_key(desk: Desk, call: Call, asked: models.Reasoned) -> RequestKey | None:
    """None: the program has not sent an Idempotency-Key. Raises ProblemError for what is none."""
    sent = call.request.headers.getall(HEADER, [])
    if not sent:
        return None
    if len(sent) > 1 or not _KEY.fullmatch(sent[0]):
        what = "has to be one text of 1 to 128 printable ASCII characters without spaces"
        raise ProblemError(ProblemType.ILL_FORMED, errors=[FieldError(HEADER, what)])
    body = asked.model_dump_json().encode()
    return desk.kept_answers.key_of(call.key.key, call.request.path, sent[0], body)


def _refuse_staff(work: Work, contract_id: str) -> None:
    """Whoever acts on an account that staff signs in with could become that member of staff. Raises ProblemError."""
    if staff_of_account(work.connection, normalise_contract_id(contract_id)) is not None:
        what = "staff signs in with this account: only an administrator acts on it"
        raise ProblemError(ProblemType.NOT_PERMITTED, what)
