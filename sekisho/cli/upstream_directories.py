"""What `sekisho upstream test` asks a directory: each server as the doctor does, and a login if there is a name. It
changes nothing here; a wrong password counts there.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from otp_core.first_factor import Question
from otp_core.first_factor.ldap.directory import Directory, Limits
from otp_core.first_factor.ldap.examination import examine
from otp_core.login.table import FINDING_TEXT
from otp_core.model import Attempt, BackendSilent, Mode, Policy
from sekisho.cli.doctor_directories import found_at
from sekisho.directories import access_to, accounts_of

if TYPE_CHECKING:
    from otp_core.first_factor.ldap.connection import Place
    from otp_core.settings import FirstFactorSettings


async def tried_directory(section: FirstFactorSettings, user: str | None, password: str) -> list[dict[str, Any]]:
    """One row for each question to each server. Raises ValueError and UnusableFile for a file that cannot be used."""
    access, accounts = access_to(section), accounts_of(section)
    rows = [_row(one.place, "sign of life", *found_at(one, section)) for one in await examine(access, accounts)]
    if user is None:
        return rows
    for place in access.places:
        directory = Directory(replace(access, places=(place,)), accounts, Limits(1, 1))
        try:
            rows.append(_row(place, "login", *await _login(directory, section.timeout, user, password)))
        finally:
            directory.close()
    return rows


async def _login(directory: Directory, seconds: float, user: str, password: str) -> tuple[bool, str]:
    """Whether there was an answer, and which."""
    begun, deadline = time.monotonic(), asyncio.get_running_loop().time() + 3 * seconds
    try:
        account = await directory.account_of(user, deadline)
        policy = Policy(Mode.PASSWORD, first_factor="directory")
        attempt = Attempt(account.customer, password, policy, "upstream test", deadline=deadline, account=account)
        finding = await directory.check(Question(attempt, (password,)))
    except BackendSilent as error:
        return False, str(error)
    what = "right password" if finding.right else FINDING_TEXT[finding.reason]
    return True, f"{what}, contract ID {account.customer}, after {1000 * (time.monotonic() - begun):.1f} ms"


def _row(place: Place, asked: str, answers: bool, found: str) -> dict[str, Any]:
    return {"server": str(place), "asked": asked, "answers": answers, "found": found}
