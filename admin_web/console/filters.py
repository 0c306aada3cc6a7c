"""What a list is asked for in its address: each name with the form of its value.

What is not of its form is refused by name (400) and never left out: a filter that is dropped without a word shows all
rows, or takes all of them away. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from aiohttp import web

from admin_web.console.routes import LARGEST_ID
from otp_core.otp import normalise_contract_id, normalise_token_id

WRONG_FILTER: web.RequestKey[str] = web.RequestKey("wrong-filter", str)
"""The name in the address whose value is not of its form, for the page that says so. Empty: a name that the list does
not have."""

LONGEST_FILTER = 128
"""Characters of a value."""

Filter = Callable[[str], bool]
"""Whether a value that is not empty is of the form."""


def asked(request: web.Request, filters: Mapping[str, Filter]) -> dict[str, str]:
    """What the address says for each name, without the blanks around it; empty where it says nothing. Raises
    HTTPBadRequest for a name that is not among them or is given twice, and for a value that is not of its form."""
    found = dict.fromkeys(filters, "")
    for name in set(request.query):
        if name not in filters:
            raise wrong(request, "")
        values = request.query.getall(name)
        found[name] = values[0].strip()
        if len(values) > 1 or not _is_right(found[name], filters[name]):
            raise wrong(request, name)
    return found


def before(request: web.Request) -> int | None:
    """The key before which a list without filters goes on; None: from its beginning. Raises HTTPBadRequest."""
    text = asked(request, {"before": is_key})["before"]
    return int(text) if text else None


def _is_right(text: str, of_its_form: Filter) -> bool:
    # No text of the store has a NUL, and PostgreSQL takes none as a parameter.
    return not text or (len(text) <= LONGEST_FILTER and "\0" not in text and of_its_form(text))


def wrong(request: web.Request, name: str) -> web.HTTPBadRequest:
    """The error of a value that is not of its form."""
    request[WRONG_FILTER] = name
    return web.HTTPBadRequest()


def one_of(values: Collection[str]) -> Filter:
    """One of some texts, to the letter."""
    return lambda text: text in values


def is_text(text: str) -> bool:
    """Anything can be looked for."""
    return bool(text)


def is_contract_id(text: str) -> bool:
    """Something is left of it when blanks and what is invisible are gone: nothing would be everybody."""
    return bool(normalise_contract_id(text))


def is_token_id(text: str) -> bool:
    """The same, without what separates its groups."""
    return bool(normalise_token_id(text))


def is_key(text: str) -> bool:
    """The key of a row, before which a page begins."""
    return text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= LARGEST_ID


def is_moment(text: str) -> bool:
    """A day or a moment that this machine can count with: 2027-03-31T09:30."""
    try:
        return 1971 <= datetime.fromisoformat(text).year <= 2199
    except ValueError:
        return False
