"""Checks of ``[[webhooks]]``: names that two have, keys of signatures that cannot be used, and what they need beside
them. It changes no setting, and asks no receiver.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from otp_core.settings import WebhookSettings
from otp_core.settings.repeated import Remark, repeated, tables
from otp_core.settings.sources import SourceMap, UnusableFile, read_private
from otp_core.webhooks.request import read_secrets

if TYPE_CHECKING:
    from sekisho.settings import Settings


def given_twice(values: dict[str, Any], sources: SourceMap) -> Iterator[Remark]:
    """Names that an earlier entry has already. ``values`` are not checked yet."""
    named = tables(values.get("webhooks"), ("webhooks",))
    yield from repeated([((*at, "name"), entry.get("name")) for at, entry in named], str, sources)


def problems(settings: Settings) -> Iterator[Remark]:
    """What cannot be used."""
    for index, section in enumerate(settings.webhooks):
        if settings.audit is None:
            text = "needs [audit]: only rows that are sealed are sent, because behind them none comes late"
            yield ("webhooks", index), text
        for key, problem in _problems_of_files(section):
            yield ("webhooks", index, key), problem


def _problems_of_files(section: WebhookSettings) -> Iterator[tuple[str, str]]:
    try:
        read_secrets(read_private(section.secret_file))
    except UnusableFile as error:
        yield "secret_file", str(error)
    except ValueError as error:
        yield "secret_file", f"{section.secret_file} {error}"
    if section.ca_file is not None:
        try:
            ssl.create_default_context(cafile=section.ca_file)
        except (OSError, ValueError) as error:
            yield "ca_file", f"{section.ca_file} holds no CA certificates: {error}"
