"""What a route of the console is: a path, a handler, and the act of the desk whose roles may ask for it.

The roles of an act stand in ``permissions.TABLE``, for the desk and for the pages alike. Pure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiohttp import web

from admin_web.http.security import SOURCE
from admin_web.http.upload import UploadedFile
from otp_core.accounts import Act, Principal, StaffSession

LARGEST_ID = 2**63 - 1
"""The greatest key of a row."""

CONFIRM_SECONDS = 300
"""For a dangerous act, passkey or code must have been given so lately."""

DANGEROUS = frozenset(
    {
        Act.ENROL,
        Act.CHANGE_DEVICE,
        Act.ADD_TOKEN,
        Act.SUSPEND_WITHOUT_CODE,
        Act.EDIT_CUSTOMER,
        Act.PERMIT_REISSUE,
        Act.APPROVE,
        Act.MANAGE_STAFF,
        Act.MANAGE_API_KEYS,
        Act.IMPORT_CUSTOMERS,
        Act.IMPORT_TOKENS,
        Act.RETIRE_TOKENS,
    }
)
"""Acts that open an account to somebody, or take a protection away: also the address that notices go to, an import,
which binds tokens without a code, and what retires many tokens at once."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request of somebody who has signed in and may make it. ``form``: the fields of a POST by name."""

    request: web.Request
    session: StaffSession
    form: Mapping[str, str] = field(repr=False)
    file: UploadedFile | None = field(default=None, repr=False)
    """What came with an Upload."""

    @property
    def source(self) -> str:
        """The browser's address."""
        return self.request[SOURCE]

    def principal(self, reason: str = "") -> Principal:
        """Who acts."""
        return self.session.principal(self.source, reason)

    def number(self, name: str) -> int:
        """The key in this part of the path. Raises HTTPNotFound for one that no row can have."""
        found = int(self.request.match_info[name])
        if found > LARGEST_ID:
            raise web.HTTPNotFound
        return found


class Notice(NamedTuple):
    """What the next page says once: the name of a message, and what is filled into it."""

    name: str
    values: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows a POST: the page to go to, what it says, fields that its form shows again, what the session
    remembers besides, and whether the session has ended with it."""

    location: str
    notice: Notice | None = None
    kept: Mapping[str, str] = field(default_factory=dict, repr=False)
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    ended: bool = False


Show = Callable[[Call], Awaitable[web.StreamResponse]]
Submit = Callable[[Call], Awaitable[Outcome]]
Public = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Page(NamedTuple):
    """GET: a page that changes nothing."""

    path: str
    act: Act
    handler: Show
    confirmed: bool = False
    """Whether passkey or code must have been given lately, although the act is not DANGEROUS."""
    once: tuple[str, ...] = ()
    """What of the session's data is forgotten as soon as the page was shown."""


class Form(NamedTuple):
    """POST: a form of one of our pages."""

    path: str
    act: Act
    handler: Submit
    confirmed: bool = False
    longest: int = 1024
    """Characters of a field at most."""


class Upload(NamedTuple):
    """POST: a form with a file."""

    path: str
    act: Act
    handler: Submit
    most: Callable[[], int]
    """Octets of the file at most."""
    confirmed: bool = False


class Open(NamedTuple):
    """A route for who has not signed in. ``method``: GET or POST."""

    method: str
    path: str
    handler: Public


Route = Page | Form | Upload | Open


def needs_confirmation(route: Page | Form | Upload) -> bool:
    """Whether the route asks for passkey or code again."""
    return route.confirmed or route.act in DANGEROUS
