"""The section [node]: what one running server of a store is called."""

from __future__ import annotations

import re
import socket
from typing import Annotated

from pydantic import AfterValidator, Field

from otp_core.settings.section import Section

LONGEST = 64
"""Letters of a name; a suffix may come behind them."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def node_name(name: str) -> str:
    """Check a node's name for logs, metrics and audit rows. Raises ValueError."""
    if len(name) > LONGEST or not _NAME.fullmatch(name):
        raise ValueError(
            f"needs 1 to {LONGEST} letters of A to Z and a to z, digits, dots, hyphens and underscores, the first and "
            'the last of them a letter or digit: "web1"'
        )
    return name


def host_name() -> str:
    """The name of this host, as a node's: what does not belong in one is a hyphen."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:LONGEST].strip("._-")
    return name or "node"


class NodeSettings(Section):
    """This server among others on the same store."""

    name: Annotated[str, AfterValidator(node_name)] | None = Field(
        default=None,
        description="What this server is called in `sekisho nodes`, logs, metrics and audit rows (left out: the host's "
        "name). Another one of the same name that runs gets a suffix: web1-2.",
    )

    @property
    def called(self) -> str:
        """The name, or the host's."""
        return self.name or host_name()
