"""Many tokens that are retired at once: those of a span of the inventory that are available. The list is kept, decided
and worked on as a file to be imported is (file_imports.py), each token by the act that retires a single one.

What is approved is this very list: the request holds a digest of it, and is carried out only while the span still has
these tokens and no other ones. A token that is bound later is left as it is.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from otp_core.accounts.file_imports import ask_for_import, waiting_file
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import Refusal, Refused
from otp_core.store.file_imports import RETIREMENT, RETIRES, FileImport
from otp_core.store.queries import TokenSpan, available_in
from otp_core.store.unit_of_work import Work

if TYPE_CHECKING:
    from otp_core.accounts.approval_kinds import About
    from otp_core.accounts.desk import Desk

MOST_TOKENS = 10_000
"""Of one list."""

SHOWN_TOKENS = 10
"""The first ones of a list, for whoever asks and whoever decides."""


@dataclass(frozen=True, slots=True)
class TokenList:
    """What a span has now. ``token_ids``: the first MOST_TOKENS of those that are available; ``is_all``: there are no
    more."""

    span: TokenSpan
    token_ids: Sequence[str]
    is_all: bool

    @property
    def digest(self) -> str:
        """Of the token IDs, which are all in one state; no secret."""
        return hashlib.sha256("\n".join(self.token_ids).encode()).hexdigest()

    @property
    def text(self) -> str:
        """Where the list comes from, as the store keeps it with the file."""
        return json.dumps({RETIRES: True, "encoding": "utf-8", **self.span._asdict()}, sort_keys=True)

    @property
    def name(self) -> str:
        """What pages and audit rows call it."""
        return f"{self.token_ids[0]}-{self.token_ids[-1]}" if self.token_ids else ""


def token_list(connection: Connection, span: TokenSpan) -> TokenList:
    """The available tokens of a span, as of now."""
    found = available_in(connection, span, MOST_TOKENS + 1)
    return TokenList(span, found[:MOST_TOKENS], len(found) <= MOST_TOKENS)


def keep_list(desk: Desk, tokens: TokenList, principal: Principal) -> int:
    """Keep a list, to be decided next; its number. May be slow: for a thread. Raises Refused, StoreUnavailable."""
    if not tokens.token_ids:
        raise Refused(Refusal.NOT_NOW, "no token of it is available")
    file = io.BytesIO("".join(f"{token_id}\n" for token_id in tokens.token_ids).encode())
    facts = {
        "rows": len(tokens.token_ids),
        "encoding": "utf-8",
        "names": list(tokens.token_ids[:SHOWN_TOKENS]),
        "tokens": tokens.digest,
    }
    return desk.file_imports.keep(RETIREMENT, tokens.name, tokens, file, principal, facts)


def ask_for_retirement(desk: Desk, key: int, principal: Principal) -> int:
    """Ask another person to approve a list that was kept; the number of the request. As ``ask_for_import``."""
    return ask_for_import(desk, key, principal, "bulk", _payload)


def span_of(found: FileImport) -> TokenSpan:
    """Where a list came from."""
    choices = json.loads(found.choices)
    return TokenSpan(*(str(choices[name]) for name in TokenSpan._fields))


def _payload(found: FileImport) -> Mapping[str, object]:
    facts = found.facts
    return {
        "digest": found.digest.hex(),
        "tokens": facts["tokens"],
        "number": facts["rows"],
        "name": found.file_name,
        "names": facts["names"],
        **span_of(found)._asdict(),
    }


def seen(work: Work, about: About) -> str:
    """What has to be as it was when it was asked for: the list that waits, and the available tokens of its span. Raises
    Refused."""
    found = waiting_file(work, about)
    if token_list(work.connection, span_of(found)).digest != about.payload.get("tokens"):
        raise Refused(Refusal.NOT_NOW, "other tokens are available now: look at the list again")
    return f"{found.digest.hex()} {about.payload['tokens']}"


def words(about: About) -> str:
    """A retirement for the audit trail."""
    return f"retirement of {about.payload.get('number', 0):,} tokens, {about.payload.get('name', about.subject)}"
