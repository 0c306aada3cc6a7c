"""``sekisho doctor``: whether the RADIUS servers that check passwords answer. No login is tried, but that of
nobody at a server that is silent (``Upstream.examine``)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from otp_core.checks import CheckResult, CheckState

if TYPE_CHECKING:
    from otp_core.settings import UpstreamSettings
    from sekisho.settings import Settings


def examine_upstreams(settings: Settings) -> Iterator[CheckResult]:
    """One result for each server of each upstream."""
    from sekisho.first_factors import relay_problems

    for problem in relay_problems(settings):
        yield CheckResult(CheckState.FAIL, "upstreams", str(problem))
    for section in settings.upstreams:
        if not section.status_server:
            text = f"not asked, because status_server = false: `sekisho upstream test {section.name} --user …` does"
            yield CheckResult(CheckState.SKIP, f"upstream {section.name}", text)
            continue
        yield from _results(section, asyncio.run(_causes(section)))


async def _causes(section: UpstreamSettings) -> dict[str, str]:
    """By server, why it does not answer; empty for one that does."""
    from dataclasses import replace

    from otp_core.upstreams.upstream import Upstream
    from sekisho.first_factors import plan_of

    upstream = Upstream(replace(plan_of(section), status_server=False))
    try:
        servers = list(upstream.servers)
        causes = await asyncio.gather(*(upstream.examine(server) for server in servers))
        return {str(server.address): cause for server, cause in zip(servers, causes, strict=True)}
    finally:
        await upstream.close()


def _results(section: UpstreamSettings, causes: dict[str, str]) -> Iterator[CheckResult]:
    all_fail = all(causes.values())
    for address, cause in causes.items():
        if not cause:
            yield CheckResult(CheckState.OK, f"upstream {section.name}", f"{address} answers")
            continue
        state = CheckState.FAIL if all_fail else CheckState.WARN
        hint = "does it know this host as a client, and by this secret?" if cause == "no reply" else "look at its side"
        text = f"{address} does not answer Status-Server: {cause}; {hint}"
        yield CheckResult(state, f"upstream {section.name}", text)
