"""What may happen to a customer's use of one-time passwords, and to a token: every pair, written out a second time.

The expectation stands here as the domain's own picture of it, so that a changed row must be changed in two places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import pytest

from otp_core.accounts.lifecycle import CUSTOMER, TOKEN, Move, NotAllowed, TokenMove, customer_after, token_after
from otp_core.model import OtpUse, TokenState

# customer's OTP use:  none → active ⇄ suspended     active → lost → reissue permitted → active
CUSTOMER_EXPECTED: dict[Move, dict[OtpUse, OtpUse]] = {
    Move.ENROL: {OtpUse.NONE: OtpUse.ACTIVE, OtpUse.SUSPENDED: OtpUse.ACTIVE},
    Move.SUSPEND: {OtpUse.ACTIVE: OtpUse.SUSPENDED},
    Move.RESUME: {OtpUse.SUSPENDED: OtpUse.ACTIVE},
    Move.CHANGE_DEVICE: {OtpUse.ACTIVE: OtpUse.ACTIVE},
    Move.CHANGE_BY_PERMIT: {OtpUse.REISSUE_PERMITTED: OtpUse.ACTIVE},
    Move.REPORT_LOST: {
        OtpUse.ACTIVE: OtpUse.LOST,
        OtpUse.SUSPENDED: OtpUse.LOST,
        OtpUse.REISSUE_PERMITTED: OtpUse.LOST,
    },
    # While there is room; while another token is bound.
    Move.ADD_TOKEN: {OtpUse.ACTIVE: OtpUse.ACTIVE},
    Move.REMOVE_TOKEN: {OtpUse.ACTIVE: OtpUse.ACTIVE},
    Move.REPORT_ONE_LOST: {OtpUse.ACTIVE: OtpUse.ACTIVE, OtpUse.SUSPENDED: OtpUse.SUSPENDED},
    Move.PERMIT_REISSUE: {
        OtpUse.LOST: OtpUse.REISSUE_PERMITTED,
        OtpUse.REISSUE_PERMITTED: OtpUse.REISSUE_PERMITTED,
    },
}

# token:  available → bound → retired     any → lost (staff)     lost, retired: never accepted again
TOKEN_EXPECTED: dict[TokenMove, dict[TokenState, TokenState]] = {
    TokenMove.BIND: {TokenState.AVAILABLE: TokenState.BOUND},
    TokenMove.RETIRE: {TokenState.AVAILABLE: TokenState.RETIRED, TokenState.BOUND: TokenState.RETIRED},
    TokenMove.LOSE: {
        TokenState.AVAILABLE: TokenState.LOST,
        TokenState.BOUND: TokenState.LOST,
        TokenState.RETIRED: TokenState.LOST,
    },
}


@pytest.mark.parametrize("move", list(Move))
@pytest.mark.parametrize("use", list(OtpUse))
def test_a_customer_moves_as_the_domain_says_and_no_other_way(use: OtpUse, move: Move) -> None:
    expected = CUSTOMER_EXPECTED[move].get(use)
    if expected is None:
        with pytest.raises(NotAllowed, match=f"cannot {move}.*is {use}$"):
            customer_after(use, move)
    else:
        assert customer_after(use, move) is expected


@pytest.mark.parametrize("move", list(TokenMove))
@pytest.mark.parametrize("state", list(TokenState))
def test_a_token_moves_as_the_domain_says_and_no_other_way(state: TokenState, move: TokenMove) -> None:
    expected = TOKEN_EXPECTED[move].get(state)
    if expected is None:
        with pytest.raises(NotAllowed, match=f"cannot {move}.*is {state}$"):
            token_after(state, move)
    else:
        assert token_after(state, move) is expected


State = TypeVar("State")
Step = TypeVar("Step")


def reachable(table: Mapping[tuple[State, Step], State], start: State) -> set[State]:
    found = {start}
    while more := {after for (before, _), after in table.items() if before in found} - found:
        found |= more
    return found


def test_a_token_that_is_retired_or_lost_is_never_bound_again() -> None:
    for end in (TokenState.RETIRED, TokenState.LOST):
        assert not reachable(TOKEN, end) & {TokenState.AVAILABLE, TokenState.BOUND}


def test_a_bound_token_never_becomes_available_again() -> None:
    assert TokenState.AVAILABLE not in reachable(TOKEN, TokenState.BOUND)


def test_who_lost_a_token_comes_back_by_a_permit_alone() -> None:
    assert {move for (use, move) in CUSTOMER if use is OtpUse.LOST} == {Move.PERMIT_REISSUE}
    assert {after for (use, _), after in CUSTOMER.items() if use is OtpUse.REISSUE_PERMITTED} == {
        OtpUse.ACTIVE,
        OtpUse.LOST,
        OtpUse.REISSUE_PERMITTED,
    }


def test_nobody_is_left_without_a_way_back_to_a_token() -> None:
    for use in OtpUse:
        assert OtpUse.ACTIVE in reachable(CUSTOMER, use)


def test_nobody_who_ever_enrolled_counts_as_never_enrolled() -> None:
    assert OtpUse.NONE not in reachable(CUSTOMER, OtpUse.ACTIVE)
