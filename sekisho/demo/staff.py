"""The demo's staff: one member of each role, each with an account whose password and code sign them in."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path

from otp_core.model import Role
from sekisho.demo.addresses import kept
from sekisho.demo.people import Sample

_PREFIX = "staff-"
_PASSWORDS = {
    Role.AUDITOR: "yama-no-ha-no-tsuki",
    Role.OPERATOR: "mado-guchi-no-hana",
    Role.SUPERVISOR: "hashi-no-ue-no-kaze",
    Role.ADMINISTRATOR: "kagi-no-oto-ga-suru",
}


def role_of(one: Sample) -> Role:
    """The role of a sample member of staff, which is their name too."""
    return Role(one.contract_id.removeprefix(_PREFIX))


def kept_staff(folder: Path) -> list[Sample]:
    """The sample staff of the folder, made at its first demo: passwords and seeds stay the same."""

    def as_text() -> str:
        return json.dumps([vars(one) for one in _new_staff()], ensure_ascii=False)

    found = json.loads(kept(folder / "staff.json", as_text))
    return [Sample(**one) for one in found]


def _new_staff() -> list[Sample]:
    def seed() -> str:
        return base64.b32encode(secrets.token_bytes(20)).decode()

    return [
        Sample(f"{_PREFIX}{role}", _PASSWORDS[role], f"見本 {role}", f"VSMT9900000{number}", seed())
        for number, role in enumerate(Role, 1)
    ]


def add_staff(config: Path, staff: list[Sample]) -> dict[str, str]:
    """Let the sample staff into the console, as far as they are not; the link for the administrator's first passkey, by
    their name, where it was made now."""
    from otp_core.accounts import Principal, PrincipalKind
    from sekisho.settings import load
    from sekisho.wiring import open_desk, open_store

    settings = load(config, environment={}).settings
    desk = open_desk(settings, open_store(settings))
    principal, links = Principal("demo", PrincipalKind.COMMAND, reason="sample data"), {}
    for one in staff:
        role = role_of(one)
        if desk.staff.named(role) is None:
            link = desk.staff.add(role, role, principal, account=one.contract_id)
            if role is Role.ADMINISTRATOR:
                links[str(role)] = link.secret
    return links
