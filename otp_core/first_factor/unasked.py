"""The first factor of type ``none``: nobody is asked, and the code alone decides. It lets nobody in by itself."""

from __future__ import annotations

from otp_core.first_factor import FirstFinding, Question


class Unasked:
    """Holds no password of anybody, so it is for the policy to say that the code is enough (``code_is_enough``). A
    login without a code is refused."""

    has_rounds = False
    one_reading = False
    reachable = True
    relays = False

    async def check(self, question: Question) -> FirstFinding:
        """See ``FirstFactor``: nothing speaks against it, and nothing for it."""
        return FirstFinding(right=True, held=False)
