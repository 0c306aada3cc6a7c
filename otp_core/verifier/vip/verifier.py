"""The verifier of type ``vip``: questions about codes as calls, replies as findings. It decides nothing about
customers.

A login asks AuthenticateCredentials for the one token that it is about, which never locks at VIP: wrong codes are
counted here. AuthenticateUser would take a code of any credential that is bound to the user there.
"""

from __future__ import annotations

import math

import structlog

from otp_core.login.requests import CodeFinding
from otp_core.model import BackendSilent
from otp_core.otp import normalise_token_id
from otp_core.verifier import CodeQuestion
from otp_core.verifier.vip.client import Reply, VipClient
from otp_core.verifier.vip.soap import Fields
from otp_core.verifier.vip.statuses import Outcome, finding_of

_TYPE = ("credentialType", "STANDARD_OTP")
_LONGEST_USER = 128
_log = structlog.get_logger("vip")


class VipVerifier:
    """One for a process and an entry of ``[[verifiers]]``. The user at VIP is the contract ID."""

    def __init__(self, client: VipClient) -> None:
        self.client = client

    @property
    def name(self) -> str:
        """As in the settings."""
        return self.client.plan.name

    async def verify(self, question: CodeQuestion) -> CodeFinding:
        """See ``Verifier``. Raises BackendSilent."""
        fields: Fields = [
            ("credentials", [("credentialId", question.token_id), _TYPE]),
            ("otpAuthData", [("otp", question.code)]),
        ]
        attempt = question.attempt
        reply = await self.client.call(
            "AuthenticateCredentials", fields, math.inf if attempt is None else attempt.deadline
        )
        if reply.outcome is Outcome.DONE:
            self._check_credential(reply, question.token_id)
        return self._finding(reply, question.token_id)

    async def enrol(self, question: CodeQuestion) -> CodeFinding:
        """See ``Verifier``: CreateUser, then AddCredential with the code. A token that is this user's already, because
        an act failed behind it, is verified only. Raises BackendSilent."""
        await self._create(question.customer)
        added = await self.client.call("AddCredential", _binding(question, [("otpAuthData", [("otp", question.code)])]))
        if added.outcome is Outcome.UNCLEAR and await self.is_bound(question.customer, question.token_id):
            return await self.verify(question)
        return self._finding(added, question.token_id)

    async def add(self, customer: str, token_id: str) -> None:
        """The token is the customer's again, without a code. Raises BackendSilent."""
        await self._create(customer)
        reply = await self.client.call("AddCredential", _binding(CodeQuestion(token_id, "", customer), []))
        if reply.outcome is not Outcome.DONE and not await self.is_bound(customer, token_id):
            raise self._unclear(reply, token_id)

    async def remove(self, customer: str, token_id: str) -> None:
        """The token is not the customer's any more; nor was it, perhaps. Raises BackendSilent."""
        fields = [("userId", _user(customer)), ("credentialId", token_id), _TYPE]
        reply = await self.client.call("RemoveCredential", fields)
        if reply.outcome not in _GONE:
            raise self._unclear(reply, token_id)

    async def is_bound(self, customer: str, token_id: str) -> bool:
        """Whether VIP knows the token as this customer's. Raises BackendSilent."""
        return not await self.state_of(customer, token_id)

    async def state_of(self, customer: str, token_id: str) -> str:
        """How VIP knows the token otherwise than as this customer's, in words; empty where it does not. Raises
        BackendSilent."""
        reply = await self.client.call("GetUserInfo", [("userId", _user(customer))])
        if reply.outcome is Outcome.UNKNOWN_USER:
            return "the customer is unknown"
        if reply.outcome is not Outcome.DONE:
            raise self._unclear(reply, token_id)
        known = {normalise_token_id(one) for one in reply.body.all("credentialId")}
        return "" if token_id in known else "the token is not the customer's"

    async def _create(self, customer: str) -> None:
        reply = await self.client.call("CreateUser", [("userId", _user(customer))])
        if reply.outcome not in (Outcome.DONE, Outcome.USER_EXISTS):
            raise self._unclear(reply, "")

    def _check_credential(self, reply: Reply, token_id: str) -> None:
        """Raises BackendSilent for an acceptance that is not about this token."""
        accepted = reply.body.get("credentialId")
        if normalise_token_id(accepted[:100]) != token_id:
            _log.error("VIP has accepted another credential than was asked about", verifier=self.name, token=token_id)
            raise BackendSilent(f"{self.name}: its acceptance is not about {token_id}")

    def _finding(self, reply: Reply, token_id: str) -> CodeFinding:
        found = finding_of(token_id, reply.outcome)
        if found is None:
            raise self._unclear(reply, token_id)
        if found.trouble is not None:
            _log.warning(
                "VIP does not take a token's codes",
                verifier=self.name,
                token=token_id,
                status=reply.status,
                detail=reply.detail,
                cause=found.trouble.value,
            )
        return found

    def _unclear(self, reply: Reply, token_id: str) -> BackendSilent:
        status = reply.status + (f"/{reply.detail}" if reply.detail else "")
        _log.error("VIP's answer is not understood", verifier=self.name, token=token_id, status=status)
        return BackendSilent(f"{self.name}: its status is {status or 'missing'}")


_GONE = frozenset({Outcome.DONE, Outcome.NOT_BOUND, Outcome.UNKNOWN_USER, Outcome.UNKNOWN_TOKEN})


def _binding(question: CodeQuestion, with_code: Fields) -> Fields:
    detail = ("credentialDetail", [("credentialId", question.token_id), _TYPE])
    return [("userId", _user(question.customer)), detail, *with_code]


def _user(customer: str) -> str:
    """The contract ID as a user ID. Raises BackendSilent for one that VIP cannot have."""
    if not 1 <= len(customer) <= _LONGEST_USER or not customer.isprintable():
        raise BackendSilent("VIP takes user IDs of 1 to 128 characters")
    return customer
