"""The command line as a person or a script meets it: words and standard input in; output, errors and exit code out."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from typer.main import get_command
from typer.testing import CliRunner

from otp_core.model import TokenSpec
from sekisho.cli import app
from tests.postgresql import lacks_fsync_alone
from tests.sekisho import Customer, Sekisho

EIGHT_DIGITS = TokenSpec(digits=8)
"""Codes that hardly turn up by chance in a number of an audit row."""


class Said(NamedTuple):
    code: int
    out: str
    err: str


def run(words: Sequence[str], *, given: str = "", environment: Mapping[str, str | None] | None = None) -> Said:
    """The command ``sekisho`` in this process. ``given``: its standard input. ``environment``: None removes a variable.
    An error that it does not expect is raised."""
    code: object = 0
    with CliRunner().isolation(given.encode(), env=environment) as (out, err, _):
        try:
            _command().main(words, prog_name="sekisho")
        except SystemExit as ended:
            code = ended.code or 0
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        assert isinstance(code, int), code
        return Said(code, *(stream.getvalue().decode().replace("\r\n", "\n") for stream in (out, err)))


@functools.cache
def _command() -> Any:
    """Made once: all nouns and verbs from their functions' annotations, which takes longer than most of them run."""
    return get_command(app)


@dataclass
class CommandLine:
    """``sekisho --config …``, in this process (``run``) or as one of its own (``spawn``). It keeps what was said."""

    sekisho: Sekisho
    said: list[Said] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.sekisho.folder

    def run(self, *words: str, user_password: str = "", code: int = 0) -> Said:
        """The command's words; ``user_password`` is its standard input. It has to end with this exit code. The doctor
        finds the tests' PostgreSQL too quick, and that counts as sound."""
        environment = {"SEKISHO_CONFIG": str(self.sekisho.config), "SEKISHO_SECRETS_DIR": None, "SUDO_USER": None}
        said = run(words, given=user_password, environment=environment)
        self.said.append(said)
        too_quick = words[0] == "doctor" and said.code == 1 and lacks_fsync_alone(said.out)
        assert said.code == code or (too_quick and code == 0), said
        return said

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "sekisho", "--config", str(self.sekisho.config), *words]

    def spawn(self, *words: str) -> subprocess.Popen[str]:
        """The command with pipes as its streams."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self.command(*words), text=True, stdin=pipe, stdout=pipe, stderr=pipe)

    def file(self, name: str, *lines: str) -> str:
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return str(path)

    def customer(self, *, enrolled: bool = True) -> Customer:
        return self.sekisho.customer(enrolled=enrolled, spec=EIGHT_DIGITS)

    def spare_token(self) -> Customer:
        """Somebody who is not enrolled, for the sake of their token."""
        return self.customer(enrolled=False)
