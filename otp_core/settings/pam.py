"""The settings of the PAM door: sections, names, units, limits and defaults. Values only."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from otp_core.settings.section import Section


class Pam(Section):
    """The door for PAM modules on this machine."""

    socket: Path = Field(default=Path("/run/sekisho/pam.sock"), description="The Unix socket.")
