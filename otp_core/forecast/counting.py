"""What other rules would have done: ``lock_after`` and ``code_window``, replayed over each customer's codes in order.

Each customer who is in question is kept twice: as they were, and as they would have been. The evaluator counts and
locks for the second one. Who has neither wrong codes nor late ones is not kept: the memory is that of the exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass

from otp_core.audit import Event
from otp_core.forecast.judge import Judge, Judged, record_of, replayed_token
from otp_core.forecast.outcome import Change, Forecast, Note
from otp_core.forecast.past import BEHIND_THE_LOCK, COPIES, Happened, Kinds, TokenKind, locked_after
from otp_core.login.lockout import failures_after, too_soon
from otp_core.login.policy import Rules
from otp_core.login.table import Finding
from otp_core.model import LoginRecord, LoginToken, OtpUse
from otp_core.otp import learn_drift, nearest_first, step_at

_COUNTED_AT_THE_DESK = (
    "wrong code",
    "the two codes do not follow",
    "the reissue permit is wrong",
    "the token ID or its",
)
_SPENT_AT_THE_DESK = frozenset(
    {
        Event.ENROLLED,
        Event.SUSPENDED,
        Event.DEVICE_CHANGED,
        Event.TOKEN_ADDED,
        Event.TOKEN_REMOVED,
        Event.OLD_CODE_GIVEN,
        Event.TOKEN_RESYNCHRONISED,
    }
)
"""Acts by a right code: failures fall to 0."""
_FORGOTTEN_AFTER_MS = 6 * 3_600_000
"""A code accepted longer ago fits no step that a late code of now could have: 20 steps of 300 s, and the window."""
_TIDIED_AT = 100_000
"""Customers or tokens in memory, before those without anything in question are looked for."""


@dataclass(slots=True)
class _Twice:
    """``was``, ``would``: the customer in fact, and as tried; their tokens in the same order. ``at``: ms, of the
    last code. ``lock_told``: the trail has told of a lock that the next wrong code brings."""

    was: LoginRecord
    would: LoginRecord
    at: int
    lock_told: bool = False

    def tokens(self, token_id: str, kind: TokenKind) -> tuple[LoginToken, LoginToken]:
        """This token in fact and as tried."""
        for was, would in zip(self.was.tokens, self.would.tokens, strict=True):
            if was.token_id == token_id:
                return was, would
        made = replayed_token(token_id, kind.period), replayed_token(token_id, kind.period)
        self.was.tokens.append(made[0])
        self.would.tokens.append(made[1])
        return made

    @property
    def in_question(self) -> bool:
        """Whether a later row could be answered otherwise because of an earlier one."""
        return bool(self.was.failures or self.was.locked_at or self.would.locked_at) or self.was != self.would


class Counting:
    """A forecast in the making. ``was``, ``would``: the rules in force, and the tried ones. ``steps_since``: the audit
    row from which on the steps of accepted codes were kept; None: they never were."""

    def __init__(self, was: Rules, would: Rules, forecast: Forecast, steps_since: int | None) -> None:
        self._was, self._judge, self.forecast, self._steps_since = was, Judge(would), forecast, steps_since
        self._narrower = would.window < was.window
        self._customers: dict[str, _Twice] = {}
        self._last: dict[tuple[str, str], tuple[int, int]] = {}
        """Of those who are not kept: by customer and token, the last step that was accepted, and the drift."""
        self._locked: dict[str, int] = {}
        """Who would be locked and was not: the audit row."""
        forecast.say(Note.AS_SET_NOW, Note.COUNT_BEFORE_NOT_KNOWN)

    def take(self, row: Happened, kinds: Kinds) -> None:
        """The next row in order. ``kinds``: of the tokens that it may name."""
        if row.customer is None:
            return
        if row.event.startswith("login."):
            self._login(row, row.customer, kinds)
        elif row.event == Event.CUSTOMER_LOCKED:
            self._was_locked(row, row.customer)
        elif row.event == Event.CUSTOMER_UNLOCKED:
            self._forgive(row.customer, unlocked=True)
        elif row.event in _SPENT_AT_THE_DESK:
            self._forgive(row.customer, unlocked=False)
        elif row.event == Event.REFUSED and any(text in row.reason for text in _COUNTED_AT_THE_DESK):
            self._counted(row, row.customer, None, TokenKind())
        if len(self._last) > _TIDIED_AT or len(self._customers) > 2 * _TIDIED_AT:
            self._tidy(row.at)

    def end(self) -> None:
        """After the last row."""
        for customer, row in self._locked.items():
            self.forecast.add(Change.LOCKED, customer, row)
        if self._locked:
            self.forecast.say(Note.STAYS_LOCKED)

    def _login(self, row: Happened, customer: str, kinds: Kinds) -> None:
        finding = row.finding
        if finding is None or finding in COPIES:
            return
        if row.event != Event.LOGIN_CHALLENGED:
            self.forecast.logins += 1
            self.forecast.let_in += row.let_in
        kind = kinds.get(row.token or "", TokenKind())
        match finding:
            case Finding.FITS:
                self._right(row, customer, kind)
            case Finding.WRONG:
                self._counted(row, customer, row.steps_away(), kind)
            case Finding.LOCKED | Finding.TOO_SOON | Finding.REUSED:
                self._not_looked_at(row, customer, finding, kind)
            case _:
                kept = self._customers.get(customer)
                if kept is not None and kept.would.locked_at is not None and finding in BEHIND_THE_LOCK and row.let_in:
                    self.forecast.add(Change.REFUSED, customer, row.id)

    # Codes that were looked at

    def _right(self, row: Happened, customer: str, kind: TokenKind) -> None:
        found = row.steps_away() if kind.has_window else None
        away, token_id = (0 if found is None else found[0]), row.token or ""
        if self._narrower and kind.has_window and found is None and not self._steps_known(row):
            self.forecast.add(Change.UNTOLD, customer, row.id)
            self.forecast.say(Note.STEPS_NOT_KEPT)
        kept = self._customers.get(customer)
        if kept is None and not (self._narrower and away):
            self._accepted_alike(row, customer, token_id, kind, away)
            return
        kept = kept or self._keep(row, customer)
        was, would = self._tokens(kept, customer, token_id, kind)
        step = step_at(row.at, was.period) + was.drift + away
        judged = self._judge_code(kept, would, step, row, kind)
        self._spend_in_fact(kept, was, step, row.at, kind)
        if not judged.lets_in:
            self.forecast.add(Change.REFUSED, customer, row.id)
        self._note_lock(row, customer, kept, judged)

    def _counted(self, row: Happened, customer: str, away: tuple[int, str | None] | None, kind: TokenKind) -> None:
        kept = self._customers.get(customer) or self._keep(row, customer)
        token_id = (away[1] if away is not None else None) or row.token or ""
        was, would = self._tokens(kept, customer, token_id, kind)
        step = -1 if away is None or not kind.has_window else step_at(row.at, was.period) + was.drift + away[0]
        judged = self._judge_code(kept, would, step, row, kind)
        kept.was.failures = failures_after(kept.was, row.at, self._was)[0]
        kept.was.failed_at = row.at
        if judged.lets_in:
            self.forecast.add(Change.LET_IN, customer, row.id)
        self._note_lock(row, customer, kept, judged)
        if kept.lock_told:
            kept.lock_told = False
            if kept.would.locked_at is None:
                self.forecast.add(Change.NOT_LOCKED, customer, row.id)

    def _judge_code(self, kept: _Twice, token: LoginToken, step: int, row: Happened, kind: TokenKind) -> Judged:
        """``step``: of the code, -1 for one that fits nowhere near. Of a token without a window, what was found
        counts."""
        drift, here = token.drift, step_at(row.at, token.period)
        if kind.has_window and row.event.startswith("login."):
            fits = step >= 0 and step in nearest_first(here + drift, self._judge.rules.window)
        else:
            fits, step = row.finding is Finding.FITS, token.last_step + 1
        judged = self._judge.code(kept.would, token, Finding.FITS if fits else Finding.WRONG, step, row.at)
        token.drift = drift
        if judged.lets_in and kind.has_window:
            token.drift = learn_drift(drift, step, here, self._judge.rules.max_drift)
        kept.at = row.at
        return judged

    def _spend_in_fact(self, kept: _Twice, token: LoginToken, step: int, at: int, kind: TokenKind) -> None:
        kept.was.failures, kept.was.failed_at, kept.was.locked_at = 0, 0, None
        if kind.has_window:
            token.drift = learn_drift(token.drift, step, step_at(at, token.period), self._was.max_drift)
        token.last_step = max(token.last_step + 1, step) if not kind.has_window else step

    # Logins whose code was not looked at

    def _not_looked_at(self, row: Happened, customer: str, finding: Finding, kind: TokenKind) -> None:
        """What was refused for an earlier code. If that would not have stood, this one is not known; nor is it known
        whether a used code lies outside of a narrower window, where it would be a wrong one."""
        kept = self._customers.get(customer)
        if finding is Finding.LOCKED:
            kept = kept or self._keep(row, customer)
            if kept.was.locked_at is None and kept.would.locked_at is None and not kept.was.failures:
                kept.was.locked_at = kept.would.locked_at = row.at  # since before the first day
            untold = kept.would.locked_at is None
        elif kept is not None and kept.would.locked_at is not None:
            return
        elif finding is Finding.REUSED and self._narrower and kind.has_window:
            untold = True
        elif kept is None:
            return
        elif finding is Finding.TOO_SOON:
            waits = too_soon(kept.was, row.at, self._was)
            untold = waits and not too_soon(kept.would, row.at, self._judge.rules)
        else:
            untold = any(a.last_step != b.last_step for a, b in zip(kept.was.tokens, kept.would.tokens, strict=True))
        if untold:
            self.forecast.add(Change.UNTOLD, customer, row.id)
            self.forecast.say(Note.CODE_NOT_LOOKED_AT)

    # Locks and what ends them

    def _was_locked(self, row: Happened, customer: str) -> None:
        kept = self._customers.get(customer) or self._keep(row, customer)
        failures = locked_after(row.reason)
        kept.was.locked_at = row.at
        if failures is None:
            kept.would.locked_at = row.at
            return
        hidden = failures - 1 - kept.was.failures  # this row comes before that of the wrong code
        if hidden > 0:
            kept.was.failures += hidden
            self._hidden(row, customer, kept, hidden)
        kept.lock_told = True
        self._locked.pop(customer, None)

    def _hidden(self, row: Happened, customer: str, kept: _Twice, number: int) -> None:
        """Wrong codes from before the first day."""
        for _ in range(number):
            if kept.would.locked_at is None:
                kept.would.failures, kept.would.locked_at = failures_after(kept.would, row.at, self._judge.rules)
                kept.would.failed_at = 0

    def _note_lock(self, row: Happened, customer: str, kept: _Twice, judged: Judged) -> None:
        if judged.locks and not kept.lock_told:
            self._locked[customer] = row.id

    def _forgive(self, customer: str, *, unlocked: bool) -> None:
        kept = self._customers.get(customer)
        if kept is None:
            return
        for record in (kept.was, kept.would):
            if unlocked:
                record.locked_at = None
            if record.locked_at is None:
                record.failures, record.failed_at = 0, 0

    # What is kept

    def _keep(self, row: Happened, customer: str) -> _Twice:
        kept = _Twice(record_of(OtpUse.ACTIVE, []), record_of(OtpUse.ACTIVE, []), row.at)
        self._customers[customer] = kept
        return kept

    def _tokens(self, kept: _Twice, customer: str, token_id: str, kind: TokenKind) -> tuple[LoginToken, LoginToken]:
        pair = kept.tokens(token_id, kind)
        last = self._last.pop((customer, token_id), None)
        if last is not None:
            for token in pair:
                token.last_step, token.drift = last
        return pair

    def _accepted_alike(self, row: Happened, customer: str, token_id: str, kind: TokenKind, away: int) -> None:
        """By the rules in force as by the tried ones."""
        _, drift = self._last.pop((customer, token_id), (0, 0))
        here = step_at(row.at, kind.period or 30)
        step = here + drift + away
        self._last[customer, token_id] = step, learn_drift(drift, step, here, self._was.max_drift)

    def _steps_known(self, row: Happened) -> bool:
        return self._steps_since is not None and row.id >= self._steps_since

    def _tidy(self, now: int) -> None:
        oldest = now - _FORGOTTEN_AFTER_MS
        newest = [*self._last.items()][-_TIDIED_AT // 2 :]  # in the order of acceptance
        self._last = dict(newest)
        self._customers = {who: kept for who, kept in self._customers.items() if kept.at > oldest or kept.in_question}
