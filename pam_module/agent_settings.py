"""The settings of `sekisho pam-agent`: a small file of its own, read and checked like sekisho.toml."""

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
    """The socket for the PAM modules of this machine, and the RADIUS servers that give the verdicts."""

    servers: tuple[Listen, ...] = Field(
        min_length=1, description="RADIUS servers in order of preference: IP address and port."
    )
    secret: Secret = Field(repr=False, description="The secret shared with them, 16 octets or more. Or secret_file.")
    secret_file: ReadSecretPath | None = Field(default=None, description="The file that holds it, beside this file.")
    nas_identifier: ClientName = Field(
        default_factory=lambda: os.uname().nodename, description="What this host calls itself to them."
    )
    timeout: float = seconds(2.0, 0.1, 30, "Seconds for an answer; then the same request is sent again.")
    retries: int = count(2, 0, 10, "How often it is sent again before the next server is asked.")
    dead_seconds: float = seconds(30.0, 0.1, 3600, "Seconds between two Status-Server probes of a dead server.")
    offline_folder: Path = Field(
        default=Path("/var/lib/sekisho-pam"),
        description="The folder of the host's offline key, the cache, and the journal of codes that were used.",
    )
    profiles: tuple[AgentProfile, ...] = Field(default=(), description="What is asked, by kind of login.")

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
    """The checked settings, and the warnings about them."""

    agent: AgentSettings
    log: LogSettings
    path: Path
    warnings: tuple[Problem, ...]


def load_agent(path: Path, *, environment: Mapping[str, str]) -> LoadedAgent:
    """Read and check the agent's file. A relative secret_file is looked for in systemd's CREDENTIALS_DIRECTORY
    (``environment``) if that is set, otherwise in the file's folder. Raises ConfigProblems with all problems."""
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
    except ValidationError as error:  # returned: a report raised from here would carry its traceback
        return error
