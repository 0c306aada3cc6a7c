"""Whose token shows these two codes: looked for among the tokens that nobody holds. Nothing is spent, no code is kept.

A token that is not meant shows two given codes of six digits with a chance of 2 in 10^11 (21 steps): an answer can be
relied on. Whoever asks bounds the time. The audit trail says who looked and what was found, never the codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from otp_core.accounts.permissions import Act
from otp_core.accounts.principal import Principal
from otp_core.accounts.results import Refusal, Refused
from otp_core.accounts.transactions import Transactions, rerun_on_conflict
from otp_core.audit import Event
from otp_core.model import Kind
from otp_core.otp import find_step, is_code, nearest_first, normalise_code, normalise_token_id, resynchronise, step_at
from otp_core.store.available_tokens import AvailableToken, available_tokens

WINDOW = 10
"""Steps either side of now at which a token's clock may stand: 5 minutes with the usual step."""

LOOK_AHEAD = 20
"""Counters beyond the last accepted one that are tried of a counter token."""

MOST_FOUND = 5
"""Token IDs of one answer: a seed that was imported under several IDs fits all of them."""

_ASKED_EVERY = 64
"""Tokens between two questions whether to go on: some milliseconds."""

_STRETCH = 500
"""Tokens that are read at once."""


@dataclass(frozen=True, slots=True)
class TokenSearch:
    """What was found. ``looked``: how many tokens were looked at; ``complete``: these were all of them."""

    token_ids: tuple[str, ...]
    looked: int
    complete: bool


class TokenSearchService:
    """The search."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def find(
        self, shown: tuple[str, str], beginning: str, go_on: Callable[[], bool], principal: Principal
    ) -> TokenSearch:
        """The available tokens that show the second code right after the first, among those whose ID begins so (as
        it was typed; empty: all). It takes a whole processor, as long as ``go_on`` says so:
        call it in a thread. Raises Refused (NOT_PERMITTED, NOT_A_CODE), KeyProblem, StoreUnavailable, ClockWrong."""
        codes = normalise_code(shown[0]), normalise_code(shown[1])
        self._check(*codes, principal)
        found = self._look(*codes, normalise_token_id(beginning), go_on)
        self._record(found, principal)
        return found

    @rerun_on_conflict
    def _check(self, first: str, second: str, principal: Principal) -> None:
        """Whether it may be looked for at all. Raises Refused."""
        with self._transactions.act(Act.FIND_TOKEN, principal):
            if not is_code(first, len(first)) or not 6 <= len(first) <= 8 or not is_code(second, len(first)):
                raise Refused(Refusal.NOT_A_CODE)

    def _look(self, first: str, second: str, beginning: str, go_on: Callable[[], bool]) -> TokenSearch:
        now, looked = self._transactions.now(), 0
        token_ids: list[str] = []
        for token in self._available(beginning):
            if looked % _ASKED_EVERY == 0 and not go_on():
                return TokenSearch(tuple(token_ids), looked, complete=False)
            looked += 1
            if token.digits == len(first) and self._shows(token, first, second, now):
                token_ids.append(token.token_id)
                if len(token_ids) == MOST_FOUND:
                    return TokenSearch(tuple(token_ids), looked, complete=False)
        return TokenSearch(tuple(token_ids), looked, complete=True)

    def _available(self, beginning: str) -> Iterator[AvailableToken]:
        """All of them, a stretch at a time, so that no look at the store is held for long."""
        last = ""
        while True:
            with self._transactions.store.read() as connection:
                stretch = available_tokens(connection, after=last, limit=_STRETCH, beginning=beginning)
            yield from stretch
            if len(stretch) < _STRETCH:
                return
            last = stretch[-1].token_id

    def _shows(self, token: AvailableToken, first: str, second: str, now: int) -> bool:
        seed, spec = self._transactions.store.sealer.unseal(token.seed, token.token_id), token.spec
        if token.kind == Kind.TOTP:
            steps = nearest_first(step_at(now, token.period), WINDOW)
        else:
            steps = iter(range(token.last_step + 1, token.last_step + 1 + LOOK_AHEAD))
        if find_step(seed, spec, first, steps) is None:  # one look for each step, and nearly always the end
            return False
        step = resynchronise(
            seed,
            spec,
            first,
            second,
            at_ms=now,
            last_step=token.last_step,
            window=WINDOW,
            look_ahead=LOOK_AHEAD,
            spent_ahead=token.spent_ahead,
        )
        return step is not None

    @rerun_on_conflict
    def _record(self, found: TokenSearch, principal: Principal) -> None:
        """One audit row for each token that was found, or one that says that none was."""
        looked = f"{found.looked} available tokens" if found.complete else f"the first {found.looked} available tokens"
        words = f"{'' if found.token_ids else 'none '}by two codes, among {looked}"
        fields = {**principal.audit_fields, "reason": f"{words}: {principal.reason}" if principal.reason else words}
        with self._transactions.act(Act.FIND_TOKEN, principal) as work:
            work.audit_all(
                [work.audit_row(Event.TOKEN_FOUND, **fields, token=token_id) for token_id in found.token_ids or (None,)]
            )
