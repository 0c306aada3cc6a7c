"""Another server's reply on its way to a gateway. A value only."""

from __future__ import annotations

from typing import NamedTuple

from otp_core.radius.codec import Attribute, PacketCode


class Passed(NamedTuple):
    """The old server's reply, ready for the gateway (process/shadow.py)."""

    code: PacketCode
    attributes: list[Attribute]
