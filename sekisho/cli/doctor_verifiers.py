"""What `sekisho doctor` says about the verifiers of the settings: how long the client certificate is good, and whether
VIP answers. It sends no code, and changes nothing there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from otp_core.checks import CheckResult, CheckState

if TYPE_CHECKING:
    from otp_core.settings import VerifierSettings
    from otp_core.store.store import Store
    from otp_core.verifier.vip.client import Reply
    from sekisho.settings import Settings

_NOBODY = "sekisho-doctor"


def examine_verifiers(settings: Settings) -> Iterator[CheckResult]:
    """Every verifier of type vip; the servers of the others are upstreams."""
    for section in settings.verifiers:
        if section.type == "vip":
            yield from _vip(section)


def examine_verifier_tasks(store: Store) -> Iterator[CheckResult]:
    """What verifiers have not been told yet."""
    from otp_core.store.verifier_tasks import open_tasks

    with store.read() as connection:
        waiting = open_tasks(connection)
    if waiting.failed:
        text = f"{waiting.failed} acts could not be told yet, and are tried again; the last cause: {waiting.error}"
        yield CheckResult(CheckState.WARN, "verifiers", text)


def _vip(section: VerifierSettings) -> Iterator[CheckResult]:
    from otp_core.certificates import SOON_DAYS
    from otp_core.model import BackendSilent
    from otp_core.verifier.vip.credentials import CredentialProblem, examine
    from otp_core.verifier.vip.statuses import Outcome
    from sekisho.verifier_checks import credentials_of

    check, files, now = f"verifier {section.name}", credentials_of(section), datetime.now(UTC)
    assert files is not None
    try:
        validity = examine(files)
    except CredentialProblem as error:
        yield CheckResult(CheckState.FAIL, check, str(error))
        return
    if trouble := validity.trouble(now):
        yield CheckResult(CheckState.FAIL, check, f"{files.certificate} {trouble}")
        return
    days = validity.days(now)
    state = CheckState.WARN if days < SOON_DAYS else CheckState.OK
    yield CheckResult(state, check, f"{files.certificate} is good for {days} days more")
    try:
        reply = asyncio.run(_asked(section))
    except BackendSilent as error:
        yield CheckResult(CheckState.FAIL, check, f"{section.url} gives no answer: {error}")
        return
    if reply.outcome in (Outcome.DONE, Outcome.UNKNOWN_USER):
        yield CheckResult(CheckState.OK, check, f"{section.url} answers")
    else:
        text = f"{section.url} answers with status {reply.status}: does the certificate belong to the bank's account?"
        yield CheckResult(CheckState.FAIL, check, text)


async def _asked(section: VerifierSettings) -> Reply:
    """The answer to a question about a user who is not there. Raises BackendSilent."""
    from sekisho.verifiers import make_vip

    verifier = make_vip(section)
    try:
        return await verifier.client.call("GetUserInfo", [("userId", _NOBODY)])
    finally:
        await verifier.client.close()
