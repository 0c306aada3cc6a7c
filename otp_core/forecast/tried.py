"""What may be tried: other values of the settings, in the bounds that the settings themselves have."""

from __future__ import annotations

from dataclasses import replace

from otp_core.forecast.asking import ClientChange
from otp_core.login.policy import Rules
from otp_core.model import Policy
from otp_core.settings import LoginSettings


class NothingTried(ValueError):
    """What is tried is what is in force."""

    def __init__(self) -> None:
        super().__init__("nothing of this differs from what is in force: say what else to try")


def bounds_of(key: str) -> tuple[int, int]:
    """The least and the greatest value of a key of [login]."""
    limits = LoginSettings.model_fields[key].metadata
    least = next(one.ge for one in limits if hasattr(one, "ge"))
    return least, next(one.le for one in limits if hasattr(one, "le"))


def other_rules(was: Rules, lock_after: int | None, code_window: int | None) -> Rules:
    """The rules with these in place of their own; None: the present one. Raises ValueError, and NothingTried."""
    for key, value in (("lock_after", lock_after), ("code_window", code_window)):
        least, most = bounds_of(key)
        if value is not None and not least <= value <= most:
            raise ValueError(f"{key} is {least} to {most}, not {value}")
    would = replace(
        was,
        lock_after=was.lock_after if lock_after is None else lock_after,
        window=was.window if code_window is None else code_window,
    )
    if would == was:
        raise NothingTried
    return would


def client_change(
    name: str, was: Policy, would: Policy, *, protected: bool, would_protect: bool, realms: bool
) -> ClientChange:
    """Raises NothingTried."""
    if was == would and protected == would_protect:
        raise NothingTried
    return ClientChange(name, was, would, protected, would_protect, realms)
