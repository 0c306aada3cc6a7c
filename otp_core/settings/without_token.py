"""The answer for customers without an active token: its default by mode, and where it lets people in unchecked.

The same for RADIUS clients and PAM profiles. Values only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from otp_core.model import Mode
from otp_core.settings.repeated import Remark
from otp_core.settings.toml_lines import Location

Answer = Literal["password", "reject"]


def without_token_key(subject: str) -> Any:
    """The field of ``without_token``. ``subject``: what its description says of the answer "password".

    In mode code nothing is checked here of a login without a token, not even whether the password is empty. So it is
    rejected there unless the settings say otherwise."""
    return Field(
        default_factory=_default,
        description=f"A customer who never enrolled, or suspended: {subject}, or reject (left out: password; in mode "
        "code: reject).",
    )


def without_token_in(mode: object) -> Answer:
    """The answer where the settings have none."""
    return "reject" if mode == Mode.CODE.value else "password"


def _default(section: Mapping[str, object]) -> Answer:
    return without_token_in(section.get("mode"))


def unchecked_logins(
    name: str, mode: str, answers: Mapping[str, str | None], location: Location, password_checked: str
) -> Iterator[Remark]:
    """A remark for each of ``answers`` (keys of the table at ``location``) by which mode code lets customers in whom
    nothing here has checked. ``password_checked``: the question whether something else has."""
    if mode != Mode.CODE.value:
        return
    for key, answer in answers.items():
        if answer == "password":
            yield (
                (*location, key),
                f'in mode code "password" means that {name} lets {_WHO[key]} in with nothing checked here, an empty '
                f'answer too: {password_checked} Otherwise write "reject"',
            )


_WHO = {
    "without_token": "customers without a token",
    "suspended": "customers who suspended theirs",
    "lost": "customers whose token was reported lost",
}
