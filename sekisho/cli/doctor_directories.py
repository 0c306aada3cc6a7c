"""What `sekisho doctor` says about the directories of the settings: each server is asked as at a login, but about
nobody. It changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from otp_core.checks import CheckResult, CheckState

if TYPE_CHECKING:
    from otp_core.first_factor.ldap.examination import Examined
    from otp_core.settings import FirstFactorSettings
    from sekisho.settings import Settings

_SOON_DAYS = 30


def examine_directories(settings: Settings) -> Iterator[CheckResult]:
    """Every server of every first factor of type ldap."""
    for section in settings.first_factors:
        if section.type == "ldap":
            yield from _directory(section)


def _directory(section: FirstFactorSettings) -> Iterator[CheckResult]:
    from otp_core.first_factor.ldap.examination import examine
    from otp_core.settings.sources import UnusableFile
    from sekisho.directories import access_to, accounts_of

    check = f"directory {section.name}"
    try:
        access = access_to(section)
    except (ValueError, UnusableFile) as error:
        yield CheckResult(CheckState.FAIL, check, str(error))
        return
    for one in asyncio.run(examine(access, accounts_of(section))):
        yield from _server(check, section, one)


def _server(check: str, section: FirstFactorSettings, one: Examined) -> Iterator[CheckResult]:
    days = _days(one)
    if days is not None and days < _SOON_DAYS:
        text = f"the certificate of {one.place} ends in {days} days: renew it, or nobody can log in"
        yield CheckResult(CheckState.WARN, check, text)
    well, text = found_at(one, section)
    yield CheckResult(CheckState.OK if well else CheckState.FAIL, check, f"{one.place} {text}")


def found_at(one: Examined, section: FirstFactorSettings) -> tuple[bool, str]:
    """Whether the server can be asked about logins, and what was found, in words behind its name."""
    if one.problems:
        return False, "; ".join(one.problems)
    days = _days(one)
    found = ["answers" if days is None else f"answers, with a certificate that is trusted for {days} days more"]
    found += ["bind_dn may search"] if section.bind_dn else []
    found += ["it is an Active Directory"] if one.active_directory else []
    return True, "; ".join(found)


def _days(one: Examined) -> int | None:
    """That its certificate has left; None without TLS."""
    return None if one.certificate_ends is None else (one.certificate_ends - datetime.now(UTC)).days
