"""POST /check: a login for programs without RADIUS, by the authenticator of every door. A refusal tells nothing of why.

The password alone, the code alone, or both: what is given is checked. Who has no active token has no code, and is
refused where one is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

from admin_web.api.models import Check, Checked
from admin_web.api.operations import Answer, Call, Operation
from admin_web.api.problems import FieldError, ProblemError, ProblemType, throttled
from admin_web.http.security import SOURCE
from otp_core.accounts.api_keys import actor_of
from otp_core.doors import Services
from otp_core.login.table import Finding
from otp_core.model import (
    Accept,
    Attempt,
    InClear,
    LoginRecord,
    Mode,
    OtpUse,
    Policy,
    Reject,
    Scope,
    Silence,
    Verdict,
)
from otp_core.otp import is_code, normalise_code, normalise_contract_id

CHECK = "check"
"""The operation's name."""

CHECK_SECONDS = 10.0
"""For a verdict, the delays after wrong passwords included."""

_SEPARATOR = "\x1f"
"""Between a password and a code, which no keyboard types; a password that holds it is read right all the same."""

_NEITHER: frozenset[OtpUse] = frozenset()
_PASSWORD = Policy(Mode.PASSWORD)
_CODE = Policy(Mode.CODE, password_only=_NEITHER)
_BOTH = Policy(Mode.APPEND, password_only=_NEITHER, separator=_SEPARATOR)
_NO_CODE_FITS = Policy(Mode.CHALLENGE, password_only=_NEITHER)
"""The password is checked, and nobody is let in: there is no token whose code this could be."""


class Checks:
    """The handler."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def operations(self) -> list[Operation]:
        """The one."""
        return [
            Operation(
                CHECK,
                "POST",
                "/api/v1/check",
                "A login: password, code or both",
                (Scope.CHECK_PASSWORD, Scope.CHECK_CODE),
                self.check,
                {200: ("Accepted; the code is spent", Checked)},
                body=Check,
                problems=(ProblemType.CODE_REFUSED, ProblemType.THROTTLED),
            )
        ]

    async def check(self, call: Call) -> Answer:
        """The verdict, once it is on disk. Raises ProblemError for any but an acceptance."""
        asked = cast("Check", call.asked)
        for scope in asked.scopes:
            if scope not in call.key.scopes:
                raise ProblemError(ProblemType.SCOPE_MISSING, f"needs {scope}")
        contract_id = normalise_contract_id(asked.contract_id)
        if not contract_id:
            raise ProblemError(ProblemType.ILL_FORMED, errors=[FieldError("contract_id", "is empty")])
        policy, text = await self._asked_for(contract_id, asked)
        verdict = await self._verdict(contract_id, policy, text, call)
        if not isinstance(verdict, Accept):
            raise await self._problem(contract_id, verdict)
        row = verdict.row
        return Answer(
            200,
            {
                "verdict": "accepted",
                "customer": contract_id,
                "token": None if row is None else row.token,
                "attributes": _shown(verdict.attributes),
                "reference": None if row is None else row.id,
            },
        )

    async def _asked_for(self, contract_id: str, asked: Check) -> tuple[Policy, str]:
        """The policy, and the text as its mode has it. Raises StoreUnavailable."""
        if asked.code is None:
            return _PASSWORD, asked.password or ""
        if asked.password is None:
            return _CODE, asked.code
        record = await self._services.login_reader.login_record(contract_id)
        if _has_token_for(record, asked.code):
            return _BOTH, f"{asked.password}{_SEPARATOR}{asked.code}"
        return _NO_CODE_FITS, asked.password

    async def _verdict(self, contract_id: str, policy: Policy, text: str, call: Call) -> Verdict:
        loop = asyncio.get_running_loop()
        begun, found = loop.time(), loop.create_future()
        attempt = Attempt(
            contract_id,
            text,
            policy,
            actor_of(call.key.name),
            call.request[SOURCE],
            deadline=begun + CHECK_SECONDS,
        )

        def on_verdict(verdict: Verdict) -> None:
            seconds = loop.time() - begun
            self._services.tally.verdict("api", attempt.client, verdict, seconds)
            self._services.verdict_log.write("api", attempt, verdict, seconds)
            if not found.done():  # the program may have gone
                found.set_result(verdict)

        self._services.authenticator.admit(attempt, on_verdict)
        verdict: Verdict = await found
        return verdict

    async def _problem(self, contract_id: str, verdict: Verdict) -> ProblemError:
        """Raises StoreUnavailable, ClockWrong."""
        if isinstance(verdict, Silence):
            return ProblemError(ProblemType.UNAVAILABLE, headers={"Retry-After": "1" if verdict.busy else "10"})
        if isinstance(verdict, Reject) and verdict.reason == Finding.TOO_SOON:
            record = await self._services.login_reader.login_record(contract_id)
            return throttled(0.0 if record is None else self._services.desk.customers.seconds_to_wait(record))
        return ProblemError(ProblemType.CODE_REFUSED, "the login was refused")


def _shown(attributes: Mapping[str, object] | None) -> dict[str, object] | None:
    """Reply attributes; what a RADIUS server has sent for gateways stays sealed."""
    if attributes is None:
        return None
    return {name: one.sealed() if isinstance(one, InClear) else one for name, one in attributes.items()}


def _has_token_for(record: LoginRecord | None, typed: str) -> bool:
    """Whether this could be a code of the customer's: an active token has as many digits."""
    if record is None or record.otp_use != OtpUse.ACTIVE:
        return False
    code = normalise_code(typed)
    return any(is_code(code, token.digits) for token in record.tokens)
