"""Codes against RFC 6238 and pyotp, and the rule that no token is offered twice in a step."""

import pyotp
import pytest

from benchmarks import tokens


@pytest.mark.parametrize(
    ("at", "eight_digits"),
    [(59, b"94287082"), (1111111109, b"07081804"), (1234567890, b"89005924"), (20000000000, b"65353130")],
)
def test_codes_as_in_rfc_6238_appendix_b(at: int, eight_digits: bytes) -> None:
    assert tokens.code(b"12345678901234567890", at // tokens.STEP_SECONDS) == eight_digits[2:]


def test_codes_are_those_of_an_authenticator_app() -> None:
    app = pyotp.TOTP(tokens.base32_seed(17))
    assert tokens.code(tokens.seed(17), 1_700_000_000 // 30).decode() == app.at(1_700_000_000)


def test_a_token_is_offered_once_in_a_step_and_again_in_the_next() -> None:
    fresh = tokens.Fresh(range(5))
    assert fresh.take(3, step=100) == [0, 1, 2]
    assert fresh.take(3, step=100) == [3, 4]
    assert fresh.take(3, step=100) == []
    assert sorted(fresh.take(9, step=101)) == [0, 1, 2, 3, 4]


def test_a_run_begins_at_once_if_the_step_has_room_for_it() -> None:
    assert tokens.step_with_room(10, clock=lambda: 3000.0 + 5) == (100, 3005.0)


def test_a_run_that_would_cross_a_border_waits_for_the_next_step() -> None:
    step, at = tokens.step_with_room(10, clock=lambda: 3000.0 + 25)
    assert step == 101
    assert at == pytest.approx(3030.1)
