"""What the API takes and answers, as models: requests are checked by them, and the OpenAPI document is made from them.

The answers themselves are the JSON objects of ``otp_core/json_shapes.py``, as the command line prints them; a test
holds each to its model.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from admin_web.api.problems import ProblemType
from otp_core.accounts.written import reason_text
from otp_core.model import Algorithm, Kind, Language, OtpUse, Scope, TokenState

LARGEST_ID = 2**63 - 1
MOST_ROWS = 1000
_FIRST_YEAR, _LAST_YEAR = 1971, 2199
"""What the numbers of audit rows can express (audit.Ids), in every time zone."""


def _in_range(moment: datetime) -> datetime:
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"needs a year from {_FIRST_YEAR} to {_LAST_YEAR}")
    return moment


Typed = Annotated[str, StringConstraints(min_length=1, max_length=128)]
"""A text that somebody has typed, or a part of one."""


class _Written(NamedTuple):
    """How a value is written in a query, as the document says it and no other way: pydantic would also take " 5",
    "1_0", "on", or a number of seconds for a moment. Anything but text is left to the type."""

    pattern: re.Pattern[str]
    right: str

    def __call__(self, value: object) -> object:
        if isinstance(value, str) and not self.pattern.fullmatch(value):
            raise ValueError(f"write {self.right}")
        return value


_WHOLE = _Written(re.compile(r"-?(?:0|[1-9][0-9]{0,18})"), "a whole number, 100")
_YES_NO = _Written(re.compile("true|false"), "true or false")
_DATE_TIME = _Written(
    re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"),
    "a moment with its offset, 2027-03-31T09:30:00+09:00 (its + as %2B)",
)
"""RFC 3339, which format date-time of a JSON schema means."""

Moment = Annotated[AwareDatetime, AfterValidator(_in_range)]
AskedMoment = Annotated[Moment, BeforeValidator(_DATE_TIME)]
Limit = Annotated[int, Field(ge=1, le=MOST_ROWS, description="Rows of a page at most."), BeforeValidator(_WHOLE)]


class Model(BaseModel):
    """The base of all: what a model does not name is refused, and no error repeats what was sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


def _example(body: dict[str, str]) -> ConfigDict:
    """A body as it may be, for the document."""
    return ConfigDict(json_schema_extra={"examples": [dict(body)]})


# What is asked


class CustomersAsked(Model):
    search: Typed | None = Field(
        None,
        description="How a contract ID, a token ID, a name, its reading or an e-mail address begins, in any width, "
        "case, kana and grouping. Of a name each word counts.",
    )
    use: OtpUse | None = Field(None, description="Only those with this use of one-time passwords.")
    locked: Annotated[bool, BeforeValidator(_YES_NO)] = Field(False, description="Only those who are locked.")
    limit: Limit = 100
    after: Annotated[str, StringConstraints(max_length=256)] = Field("", description="`next` of the page before.")


class TokensAsked(Model):
    search: Typed | None = Field(None, description="How a token ID begins, in any grouping, case and width.")
    state: TokenState | None = Field(None, description="Only those in this state.")
    limit: Limit = 100
    after: Annotated[str, StringConstraints(max_length=256)] = Field("", description="`next` of the page before.")


class AuditAsked(Model):
    customer: Typed | None = Field(None, description="A contract ID, or any other text that was typed as one.")
    token: Typed | None = Field(None, description="A token ID, or any other text that was typed as one.")
    event: Typed | None = Field(None, description="An event, or the beginning of some: `login.`")
    actor: Typed | None = Field(None, description="Who did it.")
    since: AskedMoment | None = Field(None, description="From this moment on.")
    until: AskedMoment | None = Field(None, description="Before this moment.")
    limit: Limit = 100
    after: Annotated[
        int,
        Field(ge=0, le=LARGEST_ID, description="`next` of the page before, or the id of a row."),
        BeforeValidator(_WHOLE),
    ] = 0


Secret = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""A code or a permit, as it was typed: in any width, with spaces and hyphens."""


class Reasoned(Model):
    """What every act takes: why, for the audit trail."""

    reason: Annotated[str, StringConstraints(max_length=200)] = Field("", description="Why, for the audit trail.")
    ticket: Annotated[str, StringConstraints(max_length=64)] = Field("", description="A number of your own system.")

    @property
    def words(self) -> str:
        """For the audit trail: one line."""
        return reason_text(self.reason, ticket=self.ticket)


class Act(Reasoned):
    model_config = _example({"reason": "asked by telephone", "ticket": "4711"})


class Enrol(Reasoned):
    model_config = _example({"token_id": "VSMT12345678", "code": "492039", "ticket": "4711"})

    token_id: Typed
    code: Secret = Field(description="That the token shows now.", repr=False)


class Suspend(Reasoned):
    model_config = _example({"code": "492039", "reason": "asked by telephone"})

    code: Secret | None = Field(None, description="Of a token of the customer's. Left out: without one.", repr=False)


class ChangeDevice(Reasoned):
    model_config = _example({"token_id": "VSMT87654321", "code": "492040", "old_code": "492039"})

    token_id: Typed = Field(description="The new token.")
    code: Secret = Field(description="That the new token shows now.", repr=False)
    old_code: Secret | None = Field(None, description="Of a token that the customer has.", repr=False)
    permit: Secret | None = Field(None, description="A reissue permit, in the place of old_code.", repr=False)
    replacing: Typed | None = Field(None, description="The token that goes, of a customer who has several.")

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if (self.old_code is None) == (self.permit is None):
            raise ValueError("needs either old_code or permit")
        if self.permit is not None and self.replacing is not None:
            raise ValueError("takes replacing with old_code alone: a permit replaces what was lost")
        return self


class ReportLost(Reasoned):
    model_config = _example({"reason": "lost on a train", "ticket": "4711"})

    token_id: Typed | None = Field(None, description="Which one, of a customer who has several.")


class Resynchronise(Reasoned):
    model_config = _example({"first": "492039", "second": "108563"})

    first: Secret = Field(description="A code.", repr=False)
    second: Secret = Field(description="The code after it.", repr=False)
    token_id: Typed | None = Field(None, description="Which one, of a customer who has several.")


class Check(Model):
    model_config = _example({"contract_id": "1234567", "code": "492039"})

    contract_id: Typed
    password: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = Field(None, repr=False)
    code: Secret | None = Field(None, description="Checked with the password, or alone.", repr=False)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.password is None and self.code is None:
            raise ValueError("needs password, code or both")
        return self

    @property
    def scopes(self) -> list[Scope]:
        """What the key needs for it."""
        needed = ((self.password, Scope.CHECK_PASSWORD), (self.code, Scope.CHECK_CODE))
        return [scope for given, scope in needed if given is not None]


# What is answered


class HeldToken(Model):
    token_id: str
    state: TokenState
    name: str | None = Field(description="What the customer calls it.")
    bound_since: AwareDatetime | None
    last_code: AwareDatetime | None


class Customer(Model):
    contract_id: str
    otp_use: OtpUse
    tokens: list[HeldToken]
    locked_since: AwareDatetime | None
    failures: int = Field(description="Wrong codes in a row.")
    name: str | None
    reading: str | None = Field(description="Of the name, in kana.")
    email: str | None
    language: Language | None
    attributes: dict[str, JsonValue] | None = Field(description="RADIUS reply attributes.")
    password_held: bool


class Token(Model):
    token_id: str
    state: TokenState
    contract_id: str | None = Field(description="Whose it is; of several, the first.")
    verifier: str = Field(description="Who knows its codes: local, or one of [[verifiers]].")
    kind: Kind
    algorithm: Algorithm
    digits: int
    step: int | None = Field(description="Seconds; null for a counter token.")
    drift: int
    last_code: AwareDatetime | None


class AuditRow(Model):
    id: int = Field(description="Rising with time. More than 53 bits: not every language reads it as a number.")
    time: AwareDatetime
    event: str
    actor: str
    customer: str | None
    token: str | None
    source: str
    reason: str
    node: str | None = Field(description="The server that wrote it; null: an earlier version.")


class CustomersPage(Model):
    items: list[Customer]
    next: str | None = Field(
        description="Give it as `after` for the next page; null: this is the last. A page of a search may be empty or "
        "short before the last: where very many are found, a stretch of the customers is looked through for each."
    )


class TokensPage(Model):
    items: list[Token]
    next: str | None = Field(description="Give it as `after` for the next page; null: this is the last.")


class AuditPage(Model):
    items: list[AuditRow]
    next: int | None = Field(
        description="Give it as `after` for the next page; null: this is the last for now. A page may be empty "
        "or short before the last: a stretch of the trail is looked through for each."
    )


class Receipt(Model):
    """What an act did."""

    done: str = Field(description="The event in the audit trail.")
    customer: str | None
    token: str | None
    reference: int = Field(description="The number of the row in the audit trail.")


class Checked(Model):
    verdict: Literal["accepted"]
    customer: str
    token: str | None = Field(description="Whose code it was.")
    attributes: dict[str, JsonValue] | None = Field(description="RADIUS reply attributes.")
    reference: int | None = Field(description="The number of the row in the audit trail.")


class ReissuePermit(Model):
    done: str = Field(description="The event in the audit trail.")
    customer: str
    permit: str = Field(description="Shown this once. Hand it over by another way than the login password.", repr=False)
    expires: AwareDatetime


class Approval(Model):
    number: int
    act: str
    customer: str
    state: Literal["asked", "approved", "refused", "withdrawn", "done", "expired"]
    reason: str
    asked: AwareDatetime
    asked_by: str
    decided_by: str | None
    expires: AwareDatetime


class OpenApi(BaseModel):
    """An OpenAPI document."""

    model_config = ConfigDict(extra="allow")

    openapi: str


class FieldProblem(Model):
    field: str
    detail: str


class Problem(Model):
    type: ProblemType
    title: str
    status: int
    detail: str | None = None
    errors: list[FieldProblem] | None = None
