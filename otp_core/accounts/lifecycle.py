"""What may happen to a customer's use of OTP and to a token: two tables, and nothing else. Pure.

A pair that a table does not name is refused.
"""

from __future__ import annotations

from enum import StrEnum

from otp_core.model import OtpUse, TokenState


class Move(StrEnum):
    """What can change a customer's use of OTP."""

    ENROL = "enrol"
    SUSPEND = "suspend"
    RESUME = "resume"
    CHANGE_DEVICE = "change device"
    CHANGE_BY_PERMIT = "change device by permit"
    ADD_TOKEN = "add a token"
    REMOVE_TOKEN = "remove a token"
    REPORT_LOST = "report lost"
    REPORT_ONE_LOST = "report one of several lost"
    PERMIT_REISSUE = "permit reissue"


class TokenMove(StrEnum):
    """What can change a token's state."""

    BIND = "bind"
    RETIRE = "retire"
    LOSE = "report lost"


class NotAllowed(Exception):
    """The table does not name this move. The text says which move was tried in which state."""


CUSTOMER: dict[tuple[OtpUse, Move], OtpUse] = {
    (OtpUse.NONE, Move.ENROL): OtpUse.ACTIVE,
    (OtpUse.SUSPENDED, Move.ENROL): OtpUse.ACTIVE,
    (OtpUse.ACTIVE, Move.SUSPEND): OtpUse.SUSPENDED,
    (OtpUse.SUSPENDED, Move.RESUME): OtpUse.ACTIVE,
    (OtpUse.ACTIVE, Move.CHANGE_DEVICE): OtpUse.ACTIVE,
    (OtpUse.REISSUE_PERMITTED, Move.CHANGE_BY_PERMIT): OtpUse.ACTIVE,
    # While there is room, and never the only one.
    (OtpUse.ACTIVE, Move.ADD_TOKEN): OtpUse.ACTIVE,
    (OtpUse.ACTIVE, Move.REMOVE_TOKEN): OtpUse.ACTIVE,
    (OtpUse.ACTIVE, Move.REPORT_LOST): OtpUse.LOST,
    (OtpUse.SUSPENDED, Move.REPORT_LOST): OtpUse.LOST,
    (OtpUse.REISSUE_PERMITTED, Move.REPORT_LOST): OtpUse.LOST,
    # Another token is bound, and goes on working.
    (OtpUse.ACTIVE, Move.REPORT_ONE_LOST): OtpUse.ACTIVE,
    (OtpUse.SUSPENDED, Move.REPORT_ONE_LOST): OtpUse.SUSPENDED,
    (OtpUse.LOST, Move.PERMIT_REISSUE): OtpUse.REISSUE_PERMITTED,
    # A second permit replaces the first: the letter with it may have been lost too.
    (OtpUse.REISSUE_PERMITTED, Move.PERMIT_REISSUE): OtpUse.REISSUE_PERMITTED,
}

TOKEN: dict[tuple[TokenState, TokenMove], TokenState] = {
    (TokenState.AVAILABLE, TokenMove.BIND): TokenState.BOUND,
    (TokenState.AVAILABLE, TokenMove.RETIRE): TokenState.RETIRED,
    (TokenState.BOUND, TokenMove.RETIRE): TokenState.RETIRED,
    (TokenState.AVAILABLE, TokenMove.LOSE): TokenState.LOST,
    (TokenState.BOUND, TokenMove.LOSE): TokenState.LOST,
    (TokenState.RETIRED, TokenMove.LOSE): TokenState.LOST,
}


def customer_after(use: OtpUse, move: Move) -> OtpUse:
    """The customer's next state. Raises NotAllowed."""
    after = CUSTOMER.get((use, move))
    if after is None:
        raise NotAllowed(f"cannot {move}: the customer's use of one-time passwords is {use!s}")
    return after


def token_after(state: TokenState, move: TokenMove) -> TokenState:
    """The token's next state. Raises NotAllowed."""
    after = TOKEN.get((state, move))
    if after is None:
        raise NotAllowed(f"cannot {move}: the token is {state!s}")
    return after
