"""What the pages say of each kind of request that a second person approves, and where its asker goes when it is done.

One row for each row of otp_core/accounts/approval_kinds.py: a test holds them together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from admin_web.console.routes import Notice, Outcome
from admin_web.console.words import ROLES, SCOPES
from admin_web.languages import gettext_noop as _
from admin_web.rendering import grouped
from otp_core.accounts import NewApiKey, ReissuePermit, StaffLink
from otp_core.accounts.api_key_changes import ApiKeyChange
from otp_core.accounts.approval_kinds import About
from otp_core.accounts.desk import CarriedOut
from otp_core.accounts.staff_changes import StaffChange, StaffDo
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


def _staff_title(about: About) -> Said:
    return Said(_STAFF_TITLES[StaffChange.of(about).do], {"name": about.subject})


def _staff_facts(about: About) -> list[Fact]:
    change = StaffChange.of(about)
    facts = [Fact(_("Role"), Said(ROLES[change.role]))] if change.role else []
    if change.do is StaffDo.ADD:
        facts.append(Fact(_("Account"), change.account or Said(_("none: passkeys alone"))))
    return facts


def _staff_done(done: CarriedOut, _customer: int | None) -> Outcome:
    """To the one-time link, which is shown once; or to the member, with what was done."""
    name, made = done.about.subject, done.made
    if isinstance(made, StaffLink):
        shown = {"name": name, "secret": made.secret, "until": made.expires_at}
        return Outcome(f"/staff/{name}/link", data={"staff-link": shown})
    do = StaffChange.of(done.about).do
    return Outcome(
        f"/staff/{name}", Notice("staff-disabled" if do is StaffDo.DISABLE else "role-changed", {"name": name})
    )


def _api_key_title(about: About) -> Said:
    revokes = not ApiKeyChange.of(about).scopes
    return Said(
        _("Revoke the API key %(name)s") if revokes else _("Make an API key: %(name)s"), {"name": about.subject}
    )


def _api_key_facts(about: About) -> list[Fact]:
    change = ApiKeyChange.of(about)
    if not change.scopes:
        return []
    networks = " ".join(map(str, change.networks))
    may = [Fact(_("What it may do"), Said(SCOPES[one])) for one in change.scopes]
    return [*may, Fact(_("From"), networks or Said(_("anywhere")))]


def _api_key_done(done: CarriedOut, _customer: int | None) -> Outcome:
    """To the key, which is shown once; or to the list."""
    name, made = done.about.subject, done.made
    if isinstance(made, NewApiKey):
        shown = {"name": name, "number": made.record.key, "secret": made.secret}
        return Outcome(f"/api-keys/{made.record.key}/key", data={"api-key": shown})
    return Outcome("/api-keys", Notice("api-key-revoked", {"name": name}))


def _import_facts(about: About) -> list[Fact]:
    asked = about.payload
    facts = [
        Fact(_("File"), str(asked["name"])),
        Fact(_("Size"), Said(_("%(size)s octets"), {"size": f"{asked['size']:,}"})),
        Fact(_("New"), f"{asked['new']:,}"),
        Fact(_("In the store already, left as they are"), f"{asked['skipped']:,}"),
        Fact(_("First rows"), ", ".join(asked["names"])),
    ]
    return facts + ([Fact(_("Verifier"), asked["verifier"])] if asked["verifier"] else [])


def _retirement_facts(about: About) -> list[Fact]:
    asked = about.payload
    facts = [
        Fact(_("Available tokens"), f"{asked['number']:,}"),
        Fact(_("Tokens, from - to"), str(asked["name"])),
        Fact(_("First ones"), ", ".join(map(grouped, asked["names"]))),
    ]
    asked_from = [
        Fact(_("Token IDs from"), grouped(str(asked["first"]))),
        Fact(_("to, with all that begin so"), grouped(str(asked["last"]))),
        Fact(_("Verifier"), str(asked["verifier"])),
    ]
    return facts + [fact for fact in asked_from if fact.value]


_STAFF_TITLES = {
    StaffDo.ADD: _("Add %(name)s to the staff"),
    StaffDo.ROLE: _("Change the role of %(name)s"),
    StaffDo.DISABLE: _("Disable %(name)s"),
    StaffDo.RESET: _("Begin anew with %(name)s"),
}
_IMPORTS = {"customers": _("Import customers from %(file)s"), "tokens": _("Import tokens from %(file)s")}

REQUEST_PAGES: Mapping[str, RequestPage] = {
    "permit-reissue": RequestPage(
        lambda about: Said(_("Permit a reissue for %(name)s"), {"name": about.subject}),
        lambda about: [],
        _("The permit is made now and shown on the next page, once."),
        _permit_letter,
        (Event.REISSUE_PERMITTED,),
    ),
    "staff": RequestPage(
        _staff_title,
        _staff_facts,
        _("It is done now. A one-time link, if there is one, is shown on the next page, once."),
        _staff_done,
        (Event.STAFF_ADDED, Event.STAFF_ROLE_CHANGED, Event.STAFF_DISABLED, Event.STAFF_RESET),
    ),
    "api-key": RequestPage(
        _api_key_title,
        _api_key_facts,
        _("It is done now. A new key is shown on the next page, once."),
        _api_key_done,
        (Event.API_KEY_CREATED, Event.API_KEY_REVOKED),
    ),
    "import": RequestPage(
        lambda about: Said(_IMPORTS[about.payload["kind"]], {"file": str(about.payload["name"])}),
        _import_facts,
        _("The file is looked at once more, and then imported. Its page shows how far it is."),
        lambda done, _customer: Outcome(f"/imports/{done.made}", Notice("import-begun")),
        (Event.IMPORT_BEGUN,),
    ),
    "bulk": RequestPage(
        lambda about: Said(_("Retire %(number)s tokens"), {"number": f"{about.payload['number']:,}"}),
        _retirement_facts,
        _(
            "The tokens are never accepted again. Those that were bound meanwhile are left as they are. This cannot be "
            "undone."
        ),
        lambda done, _customer: Outcome(f"/imports/{done.made}", Notice("retirement-begun")),
        (Event.RETIREMENT_BEGUN,),
    ),
}
