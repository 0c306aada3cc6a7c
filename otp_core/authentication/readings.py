"""What of a text is the password and what the code, as a client's mode has it. It checks neither of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from otp_core.login.evaluate import Evaluator
from otp_core.login.requests import LoginRequest
from otp_core.login.splitting import split
from otp_core.login.table import Stage
from otp_core.model import Attempt, LoginRecord, Mode, OtpUse
from otp_core.otp import DIGITS, Fit, is_code, normalise_code
from otp_core.verifier import LOCAL_VERIFIER

_USUAL_DIGITS: Final = 6
"""Of a code, where no token says how many."""

Fingerprint = Callable[..., int]

Reading = tuple[LoginRequest, str]
"""A request with its code, and the password that it needs."""


class Readings:
    """``fingerprint``: the store's; ``now_ms`` may raise ClockWrong."""

    def __init__(self, evaluator: Evaluator, fingerprint: Fingerprint, now_ms: Callable[[], int]) -> None:
        self._evaluator, self._fingerprint, self._now_ms = evaluator, fingerprint, now_ms

    def all_of(self, attempt: Attempt, record: LoginRecord | None) -> tuple[list[Reading], int]:
        """What of the text is the password and what the code, as the mode has it, never none; and how many readings
        there would be if this customer had a token."""
        mode, text = attempt.policy.mode, attempt.user_password
        if mode is Mode.PASSWORD:
            return [(LoginRequest(attempt, Stage.PASSWORD), text)], 1
        lengths = _code_lengths(record)
        stage = Stage.BOTH if mode is Mode.APPEND else Stage.FIRST_ROUND
        fingerprint = self._code_shaped_fingerprint(text, lengths)
        whole = LoginRequest(attempt, stage, text_fingerprint=fingerprint), text
        if mode is Mode.CHALLENGE:
            return [whole], 1
        most = self._most_readings(attempt, lengths)
        if record is None or not lengths:
            return [whole], most
        found = self._split(attempt, record, lengths)
        fitting, others = found[Fit.FITS], found[Fit.REUSED] + found[Fit.WRONG]
        if mode is Mode.AUTO:
            # The likelier reading first, the others if its password is wrong. So a wrong code behind the right password
            # is counted as one, and a text with a wrong password takes as long whether its code fits or not.
            return [*fitting, whole, *others], most
        return [*fitting, *others] or [(_without_code(attempt), text)], most

    def one_of(self, attempt: Attempt, record: LoginRecord | None) -> Reading:
        """The only reading for a server elsewhere, which counts wrong passwords itself. What ends with a code's digits
        is password and code, whether the code fits or not: read as the password alone, wrong codes behind a right
        password would never be counted. A text without them is the password."""
        mode, text, lengths = attempt.policy.mode, attempt.user_password, _code_lengths(record)
        if record is None or not lengths or mode in (Mode.PASSWORD, Mode.CHALLENGE):
            return self.all_of(attempt, record)[0][0]
        if len(lengths) == 1:  # then it makes no difference whether the code fits
            parts = split(text, lengths[0], attempt.policy.separator, attempt.policy.code_first)
            if parts is not None:
                return _both(attempt, *parts)
        found = self._split(attempt, record, lengths)
        ordered = [*found[Fit.FITS], *found[Fit.REUSED], *reversed(found[Fit.WRONG])]  # of wrong ones the longest
        if ordered:
            return ordered[0]
        return (LoginRequest(attempt, Stage.FIRST_ROUND) if mode is Mode.AUTO else _without_code(attempt)), text

    def _split(self, attempt: Attempt, record: LoginRecord, lengths: Sequence[int]) -> dict[Fit, list[Reading]]:
        """The readings as password and code, one for each length that a code of this customer's may have, by how that
        code fits: where no password is held, a used one is not a wrong one."""
        found: dict[Fit, list[Reading]] = {Fit.FITS: [], Fit.REUSED: [], Fit.WRONG: []}
        for digits in lengths:
            parts = split(attempt.user_password, digits, attempt.policy.separator, attempt.policy.code_first)
            if parts is not None:
                found[self._best_fit(record, normalise_code(parts[1]))].append(_both(attempt, *parts))
        return found

    def _most_readings(self, attempt: Attempt, lengths: Sequence[int]) -> int:
        """How many readings the text could have. Where customers may have several tokens, of any length for everybody:
        the time must not tell who has which."""
        policy = attempt.policy
        if self._evaluator.rules.tokens_per_customer > 1:
            lengths = DIGITS
        some = sum(
            split(attempt.user_password, digits, policy.separator, policy.code_first) is not None
            for digits in lengths or (_USUAL_DIGITS,)
        )
        return some + 1 if policy.mode is Mode.AUTO else max(some, 1)

    def _best_fit(self, record: LoginRecord, code: str) -> Fit:
        """FITS for what looks like a code that is due (of a token verified elsewhere, nobody here can say no), else
        REUSED, else WRONG."""
        fits = {
            Fit.FITS if token.verifier != LOCAL_VERIFIER else self._evaluator.fit(token, code, self._now_ms())[0]
            for token in record.tokens
            if is_code(code, token.digits)
        }
        return next((one for one in (Fit.FITS, Fit.REUSED) if one in fits), Fit.WRONG)

    def _code_shaped_fingerprint(self, text: str, lengths: Sequence[int]) -> int | None:
        code = normalise_code(text)
        return self._fingerprint(code.encode()) if any(is_code(code, digits) for digits in lengths) else None


def _both(attempt: Attempt, password: str, code: str) -> Reading:
    """A code equal to the password is a client that repeats one answer: not an attempt."""
    return LoginRequest(attempt, Stage.BOTH, code="" if code == password else code), password


def _without_code(attempt: Attempt) -> LoginRequest:
    """Where there should be a code and is none: not an attempt."""
    return LoginRequest(attempt, Stage.BOTH, code="")


def _code_lengths(record: LoginRecord | None) -> Sequence[int]:
    """How many digits the codes of the customer's active tokens have; none for a customer without one."""
    if record is None or record.otp_use != OtpUse.ACTIVE:
        return ()
    return sorted({token.digits for token in record.tokens})
