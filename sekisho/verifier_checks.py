"""Checks of ``[[verifiers]]`` beside the sections that they name, and of the files that they name: unknown upstreams,
certificates that cannot be used, names and patterns that two have. It changes no setting, and asks no server.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from otp_core.certificates import SOON_DAYS
from otp_core.settings import VerifierSettings
from otp_core.settings.repeated import Remark, repeated, tables
from otp_core.settings.sources import SourceMap, UnusableFile, read_private
from otp_core.verifier.vip.credentials import CredentialProblem, Credentials, examine
from sekisho.first_factor_checks import unknown

if TYPE_CHECKING:
    from sekisho.settings import Settings


def given_twice(values: dict[str, Any], sources: SourceMap) -> Iterator[Remark]:
    """Names that an earlier entry has already. ``values`` are not checked yet."""
    named = tables(values.get("verifiers"), ("verifiers",))
    yield from repeated([((*at, "name"), entry.get("name")) for at, entry in named], str, sources)


def problems(settings: Settings) -> Iterator[Remark]:
    """What cannot be used."""
    upstreams = [one.name for one in settings.upstreams]
    patterns: dict[str, str] = {}
    for index, section in enumerate(settings.verifiers):
        if section.upstream is not None and section.upstream not in upstreams:
            yield ("verifiers", index, "upstream"), unknown(section.upstream, upstreams, "[[upstreams]]")
        for key, problem in problems_of_files(section):
            yield ("verifiers", index, key), problem
        for pattern in section.patterns:
            before = next((name for one, name in patterns.items() if overlap(one, pattern)), None)
            if before is not None:
                text = f"{pattern} fits token IDs that {before} has too: a token has one verifier"
                yield ("verifiers", index, "patterns"), text
        patterns |= dict.fromkeys(section.patterns, section.name)


def problems_of_files(section: VerifierSettings) -> Iterator[tuple[str, str]]:
    """Key and problem of the files that cannot be used."""
    files = credentials_of(section)
    if files is None:
        return
    try:
        read_private(files.key)
    except UnusableFile as error:
        yield "key", str(error)
        return
    try:
        examine(files)
    except CredentialProblem as error:
        yield error.key, str(error)


def risks(settings: Settings) -> Iterator[Remark]:
    """What works, but not for long, or less well than it looks."""
    now = datetime.now(UTC)
    upstreams = {one.name: (index, one) for index, one in enumerate(settings.upstreams)}
    for index, section in enumerate(settings.verifiers):
        if (files := credentials_of(section)) is not None:
            validity = examine(files)
            if trouble := validity.trouble(now):
                text = f"{files.certificate} {trouble}; until then NO CODE OF VIP IS ACCEPTED"
                yield ("verifiers", index, "certificate"), text
            elif (days := validity.days(now)) < SOON_DAYS:
                text = f"{files.certificate} ends in {days} days: renew it, or no code of VIP is accepted from then on"
                yield ("verifiers", index, "certificate"), text
            if section.timeout >= settings.radius.request_seconds:
                text = (
                    f"VIP has {section.timeout:g} s for a code, and radius.request_seconds gives up after "
                    f"{settings.radius.request_seconds:g}; write less"
                )
                yield ("verifiers", index, "timeout"), text
        if section.upstream in upstreams:
            at, upstream = upstreams[section.upstream]
            if upstream.timeout >= settings.radius.request_seconds:
                text = (
                    f"{upstream.name} has {upstream.timeout:g} s for a code, and radius.request_seconds gives up after "
                    f"{settings.radius.request_seconds:g}; write less"
                )
                yield ("upstreams", at, "timeout"), text


def credentials_of(section: VerifierSettings) -> Credentials | None:
    """The files of a verifier of type vip."""
    if section.type != "vip":
        return None
    assert section.certificate is not None and section.key is not None
    return Credentials(section.certificate, section.key, section.ca_file)


def overlap(one: str, other: str) -> bool:
    """Whether some token ID fits both patterns."""
    first, second = one.removesuffix("*"), other.removesuffix("*")
    if one.endswith("*") and second.startswith(first):
        return True
    return first == second or (other.endswith("*") and first.startswith(second))
