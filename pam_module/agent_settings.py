"""The settings of a host whose store is elsewhere: a small file of its own, read and checked as the other one is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from otp_core.settings.checks import profiles_given_twice
from otp_core.settings.explain import explain
from otp_core.settings.model import Log
from otp_core.settings.pam import AgentProfile, PamSocket
from otp_core.settings.problems import ConfigProblems, Problem, key_path
from otp_core.settings.section import Section, count, seconds
from otp_core.settings.sources import Places, Unfit, read_file, read_private
from otp_core.settings.toml_lines import Location
from otp_core.settings.values import ClientName, Listen, Secret


class Agent(PamSocket):
    """The socket for PAM modules on this machine, and the RADIUS servers that are asked."""

    servers: tuple[Listen, ...] = Field(
        min_length=1, description="RADIUS servers in the order in which they are preferred: IP address and port."
    )
    secret: Secret = Field(repr=False, description="The secret shared with them, 16 octets or more. Or secret_file.")
    secret_file: Path | None = Field(default=None, description="The file that holds it, beside this file.")
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

    agent: Agent
    log: Log = Field(default_factory=Log)


@dataclass(frozen=True, slots=True)
class LoadedAgent:
    agent: Agent
    log: Log
    path: Path


def load_agent(path: Path, *, environment: Mapping[str, str]) -> LoadedAgent:
    """Raises ConfigProblems with every problem at once. A relative secret_file is looked for in systemd's
    CREDENTIALS_DIRECTORY if there is one, otherwise beside the file."""
    reading = read_file(path)
    if reading.problems:
        raise ConfigProblems(reading.problems)
    places = Places(str(path))
    places.overlay(reading.places)
    private = Path(environment.get("CREDENTIALS_DIRECTORY") or path.absolute().parent)
    values, problems, read_in = _follow(reading.values, private)
    checked = _checked(values)
    if isinstance(checked, ValidationError):
        problems = explain(checked, read_in, AgentFile) | problems
    problems = dict(profiles_given_twice(values, places, "agent")) | problems
    if isinstance(checked, ValidationError) or problems:
        raise ConfigProblems(
            Problem(places.nearest(location), key_path(location), message) for location, message in problems.items()
        )
    return LoadedAgent(checked.agent, checked.log, path)


def _checked(values: dict[str, Any]) -> AgentFile | ValidationError:
    try:
        return AgentFile.model_validate(values)
    except ValidationError as error:  # returned, so that no report drags its traceback along
        return error


def _follow(values: dict[str, Any], private: Path) -> tuple[dict[str, Any], dict[Location, str], frozenset[Location]]:
    values = deepcopy(values)
    agent = values.get("agent")
    if not isinstance(agent, dict) or not isinstance(agent.get("secret_file"), str):
        return values, {}, frozenset()
    path = private / agent["secret_file"]
    agent["secret_file"] = str(path)
    try:
        if "secret" in agent:
            raise Unfit("secret is given as well: keep one of the two")
        agent["secret"] = read_private(path)
    except Unfit as error:
        return values, {("agent", "secret_file"): str(error)}, frozenset({("agent", "secret")})
    return values, {}, frozenset({("agent", "secret")})
