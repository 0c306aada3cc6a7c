"""The settings of a host whose store is elsewhere: a small file of its own, read and checked as the other one is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from otp_core.settings import ConfigProblems, LogSettings, Problem
from otp_core.settings.explain import explain
from otp_core.settings.named_files import follow
from otp_core.settings.reader import placed
from otp_core.settings.section import ReadSecretPath, Section, count, seconds
from otp_core.settings.sources import SourceMap, read_file
from otp_core.settings.values import ClientName, Listen, Secret
from pam_module.settings import AgentProfile, PamSocket, given_twice


class AgentSettings(PamSocket):
    """The socket for PAM modules on this machine, and the RADIUS servers that are asked."""

    servers: tuple[Listen, ...] = Field(
        min_length=1, description="RADIUS servers in the order in which they are preferred: IP address and port."
    )
    secret: Secret = Field(repr=False, description="The secret shared with them, 16 octets or more. Or secret_file.")
    secret_file: ReadSecretPath | None = Field(default=None, description="The file that holds it, beside this file.")
    nas_identifier: ClientName = Field(
        default_factory=lambda: os.uname().nodename, description="What this host calls itself to them."
    )
    timeout: float = seconds(2.0, 0.1, 30, "Seconds for an answer; then the same request is sent again.")
    retries: int = count(2, 0, 10, "How often it is sent again before the next server is asked.")
    dead_seconds: float = seconds(30.0, 0.1, 3600, "Seconds between the questions to a dead server how it is.")
    offline_folder: Path = Field(
        default=Path("/var/lib/sekisho-pam"),
        description="Where the host's offline key, the cache and the journal of what was spent are.",
    )
    profiles: tuple[AgentProfile, ...] = Field(default=(), description="What is asked of whom.")

    @field_validator("servers")
    @classmethod
    def _with_ports(cls, servers: tuple[Any, ...]) -> tuple[Any, ...]:
        if any(not server.port for server in servers):
            raise ValueError("a server needs its port: 192.0.2.10:1812")
        if len(set(servers)) != len(servers):
            raise ValueError("a server is given twice")
        return servers


class AgentFile(Section):
    """The whole file."""

    agent: AgentSettings
    log: LogSettings = Field(default_factory=LogSettings)


@dataclass(frozen=True, slots=True)
class LoadedAgent:
    """A file that holds, and the warnings about it."""

    agent: AgentSettings
    log: LogSettings
    path: Path
    warnings: tuple[Problem, ...]


def load_agent(path: Path, *, environment: Mapping[str, str]) -> LoadedAgent:
    """Read and check the agent's file. A relative secret_file starts from systemd's CREDENTIALS_DIRECTORY if there is
    one, otherwise from the file's folder. Raises ConfigProblems with every problem at once."""
    reading = read_file(path, AgentFile)
    if reading.problems:
        raise ConfigProblems(reading.problems)
    sources = SourceMap(str(path))
    sources.overlay(reading.sources)
    beside = path.absolute().parent
    private = Path(environment.get("CREDENTIALS_DIRECTORY") or beside)
    followed = follow(reading.values, AgentFile, beside, private)
    found = _checked(followed.values)
    problems = explain(found, followed.read_in, AgentFile) if isinstance(found, ValidationError) else {}
    problems = dict(given_twice(followed.values, sources, "agent")) | problems | followed.problems
    if isinstance(found, ValidationError) or problems:
        raise ConfigProblems(placed(problems.items(), sources))
    return LoadedAgent(found.agent, found.log, path, reading.warnings)


def _checked(values: dict[str, Any]) -> AgentFile | ValidationError:
    try:
        return AgentFile.model_validate(values)
    except ValidationError as error:  # returned, so that no report drags its traceback along
        return error
