"""What the pages say of each kind of request that a second person approves, and where its asker goes when it is done.

One row for each row of otp_core/accounts/approval_kinds.py: a test holds them together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from admin_web.console.routes import Outcome
from admin_web.languages import gettext_noop as _
from otp_core.accounts import ReissuePermit
from otp_core.accounts.approval_kinds import About
from otp_core.accounts.desk import CarriedOut
from otp_core.audit import Event


class Said(NamedTuple):
    """A text of the catalogue, with what is filled in."""

    text: str
    values: Mapping[str, str] = {}


class Fact(NamedTuple):
    """A line about what is to be done. ``value``: as it was entered, or (Said) a text of the catalogue."""

    label: str
    value: str | Said


@dataclass(frozen=True, slots=True)
class RequestPage:
    """How one kind of request is shown.

    ``title``: what is to be done, with the name of whom or what it is about; ``facts``: all that whoever decides has to
    know of the payload; ``effect``: what carrying it out does; ``then``: where the asker goes afterwards. It is given
    what was done, and the number of the customer if it is about one. ``events``: those of the audit trail that say it
    was done, by which acts of commands are found."""

    title: Callable[[About], Said]
    facts: Callable[[About], list[Fact]]
    effect: str
    then: Callable[[CarriedOut, int | None], Outcome]
    events: tuple[Event, ...]


def permit_shown(contract_id: str, permit: ReissuePermit) -> dict[str, Any]:
    """A new permit, for the session to hold until its page has been shown."""
    return {"customer": contract_id, "text": permit.text, "until": permit.expires_at, "made": int(time.time() * 1000)}


def _permit_letter(done: CarriedOut, customer: int | None) -> Outcome:
    permit = permit_shown(done.about.subject, cast("ReissuePermit", done.made))
    return Outcome(f"/customers/{customer}/permit", data={"permit": permit})


REQUEST_PAGES: Mapping[str, RequestPage] = {
    "permit-reissue": RequestPage(
        lambda about: Said(_("Permit a reissue for %(name)s"), {"name": about.subject}),
        lambda about: [],
        _("The permit is made now and shown on the next page, once."),
        _permit_letter,
        (Event.REISSUE_PERMITTED,),
    ),
}
