"""What a command works with: settings, store and desk, opened when they are first asked for; who acts; how it ends.

Every error becomes a line on standard error and an exit code here, and nowhere else. It decides nothing about customers
or tokens.
"""

from __future__ import annotations

import errno
import os
import pwd
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from otp_core.accounts import Desk, Principal
    from otp_core.settings import Loaded
    from otp_core.store.store import Store
    from sekisho.serve import Configuration
    from sekisho.settings import Settings

_USUAL_CONFIG = Path("/etc/sekisho/sekisho.toml")


class ExitCode(IntEnum):
    """How a command ends; `sekisho --help` tells what they mean."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    CONFIGURATION = 3
    UNUSABLE = 4
    INTERRUPTED = 130


class Stopped(Exception):
    """Long work that ended before its end. The text says how far it got and how to go on."""

    def __init__(self, text: str, code: ExitCode) -> None:
        super().__init__(text)
        self.code = code


def default_config() -> Path | None:
    """The usual place; None if nothing is there, and the environment has to say it all."""
    try:
        _USUAL_CONFIG.stat()
    except FileNotFoundError:
        return None
    except OSError:
        pass  # it may be there: let whoever reads it say what is wrong
    return _USUAL_CONFIG


class CliContext:
    """Where the settings are, and what is made from them."""

    def __init__(self, config: Path | None, secrets_dir: Path | None) -> None:
        self.config, self.secrets_dir = config, secrets_dir

    @cached_property
    def loaded(self) -> Loaded[Settings]:
        """Raises ConfigProblems."""
        from sekisho.settings import load

        return load(self.config, environment=os.environ, secrets_dir=self.secrets_dir)

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    @property
    def configuration(self) -> Configuration:
        """For whoever reads the settings as the server does, and again."""
        from sekisho.serve import Configuration

        return Configuration(self.config, self.secrets_dir, os.environ)

    @cached_property
    def store(self) -> Store:
        """Raises StoreProblem, KeyProblem or StoreUnavailable."""
        from sekisho.wiring import open_store

        return open_store(self.settings)

    @cached_property
    def desk(self) -> Desk:
        from sekisho.wiring import open_desk

        return open_desk(self.settings, self.store)


def principal(reason: str) -> Principal:
    """The user of this machine; behind sudo, the one who called it."""
    from otp_core.accounts import Principal

    name = _user()
    caller = os.environ.get("SUDO_USER")
    return Principal(caller, f"cli as {name}", reason) if caller and caller != name else Principal(name, "cli", reason)


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


class Commands(TyperGroup):
    """The whole command line: runs one command, and turns what it could not do into words and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except Exception as error:
            code = _code_of(error)
            if code is None:
                raise
            _tell(error, code, ctx.obj)
            raise typer.Exit(code) from error


def _code_of(error: Exception) -> ExitCode | None:
    """None for what should never have happened: it is shown as it is."""
    if isinstance(error, Stopped):
        return error.code
    if isinstance(error, OSError):
        return None if error.errno == errno.EPIPE else ExitCode.UNUSABLE
    from otp_core.settings import ConfigProblems

    if isinstance(error, ConfigProblems):
        return ExitCode.CONFIGURATION
    from otp_core.accounts import Refused
    from otp_core.clock import ClockSetBack
    from otp_core.model import BackendSilent
    from otp_core.sealing import KeyProblem
    from otp_core.store.sqlite.engine import StoreProblem

    if isinstance(error, Refused):
        return ExitCode.REFUSED
    return ExitCode.UNUSABLE if isinstance(error, StoreProblem | KeyProblem | BackendSilent | ClockSetBack) else None


def _tell(error: Exception, code: ExitCode, context: CliContext) -> None:
    from sekisho.cli.output import complain

    complain(str(error))
    if code is ExitCode.CONFIGURATION and context.config is None:
        complain(f"there is no {_USUAL_CONFIG}: say where the settings are with --config FILE or SEKISHO_CONFIG")
    if isinstance(error, PermissionError):
        complain("run this as the user that the server runs as, for example: sudo -u sekisho sekisho …")
