"""What a command works with: settings, store and desk, each opened at its first use; the principal; the exit codes.

Only here does an error become a line on standard error and an exit code. It decides nothing about customers or tokens.
"""

from __future__ import annotations

import errno
import os
import pwd
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from collections.abc import Callable

    from otp_core.accounts import Desk, Principal
    from otp_core.settings import Loaded
    from otp_core.store.store import Store
    from sekisho.serve import Configuration
    from sekisho.settings import Settings

T = TypeVar("T")

_USUAL_CONFIG = Path("/etc/sekisho/sekisho.toml")


class ExitCode(IntEnum):
    """The exit codes of every command; `sekisho --help` explains them."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    CONFIGURATION = 3
    UNUSABLE = 4
    INTERRUPTED = 130


class Stopped(Exception):
    """Long work that was ended early. The text says how far it got and how to go on; ``code``: the exit code."""

    def __init__(self, text: str, code: ExitCode) -> None:
        super().__init__(text)
        self.code = code


def default_config() -> Path | None:
    """The usual settings file; None if there is none, and the environment has to give all settings."""
    try:
        _USUAL_CONFIG.stat()
    except FileNotFoundError:
        return None
    except OSError:
        pass  # it may be there: reading it will report what is wrong
    return _USUAL_CONFIG


class CliContext:
    """Where the settings are, and what is made from them. ``config``: the file, None for the environment alone."""

    def __init__(self, config: Path | None, secrets_dir: Path | None) -> None:
        self.config, self.secrets_dir = config, secrets_dir

    @cached_property
    def loaded(self) -> Loaded[Settings]:
        """The settings with their warnings and sources. Raises ConfigProblems."""
        from sekisho.settings import load

        return load(self.config, environment=os.environ, secrets_dir=self.secrets_dir)

    @property
    def settings(self) -> Settings:
        """The settings. Raises ConfigProblems."""
        return self.loaded.settings

    @property
    def configuration(self) -> Configuration:
        """The same sources, for a command that reads the settings as the server does, with the doors' own checks."""
        from sekisho.serve import Configuration

        return Configuration(self.config, self.secrets_dir, os.environ)

    @cached_property
    def store(self) -> Store:
        """The opened store. Raises ConfigProblems, StoreProblem, KeyProblem or StoreUnavailable."""
        from sekisho.wiring import open_store

        return open_store(self.settings)

    @cached_property
    def desk(self) -> Desk:
        """The desk of that store. Raises what ``store`` raises."""
        from sekisho.wiring import open_desk

        return open_desk(self.settings, self.store)

    def open(self) -> None:
        """Open store and desk, before anybody types. Raises what ``store`` raises."""
        _ = self.desk

    def act(self, act: Callable[[Desk], T]) -> T:
        """The result of ``act(desk)``; codes that are known elsewhere are asked for there. Raises what the act raises,
        and BackendSilent."""
        from otp_core.accounts import VerificationNeeded

        try:
            return act(self.desk)
        except VerificationNeeded:
            from sekisho.verifiers import act_with_verifiers

            return act_with_verifiers(self.settings, self.store, self.desk, act)


def principal(reason: str) -> Principal:
    """Who acts: the user of this machine; behind sudo, the user who called it. ``reason``: for the audit trail."""
    from otp_core.accounts import Principal, PrincipalKind
    from otp_core.accounts.written import written
    from otp_core.audit import COMMAND_SOURCE

    name, reason = _user(), written(reason)
    caller = os.environ.get("SUDO_USER")
    if caller and caller != name:
        return Principal(caller, PrincipalKind.COMMAND, f"{COMMAND_SOURCE} as {name}", reason)
    return Principal(name, PrincipalKind.COMMAND, COMMAND_SOURCE, reason)


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


class Commands(TyperGroup):
    """The whole command line: runs one command, and turns its errors into lines and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was chosen. Raises typer.Exit with an ExitCode, or what no command expects."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")  # what the library says before our own words
            raise
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except Exception as error:
            code = _code_of(error)
            if code is None:
                raise
            _report(error, code, ctx.obj)
            raise typer.Exit(code) from error


def _code_of(error: Exception) -> ExitCode | None:
    """The exit code for an expected error; None for an unexpected one, which is shown with its traceback."""
    if isinstance(error, Stopped):
        return error.code
    if isinstance(error, OSError):
        return None if error.errno == errno.EPIPE else ExitCode.UNUSABLE
    from otp_core.settings import ConfigProblems

    if isinstance(error, ConfigProblems):
        return ExitCode.CONFIGURATION
    from otp_core.accounts import Refused
    from otp_core.clock import ClockWrong
    from otp_core.model import BackendSilent, StoreProblem
    from otp_core.sealing import KeyProblem

    if isinstance(error, Refused):
        return ExitCode.REFUSED
    return ExitCode.UNUSABLE if isinstance(error, StoreProblem | KeyProblem | BackendSilent | ClockWrong) else None


def _words_of(error: Exception) -> str:
    """For people: of a file its name and what is wrong with it, without the number of the error."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if isinstance(error.filename, str) else error.strerror
    return str(error)


def _report(error: Exception, code: ExitCode, context: CliContext) -> None:
    from sekisho.cli.output import complain

    complain(_words_of(error))
    if code is ExitCode.CONFIGURATION and context.config is None:
        complain(f"there is no {_USUAL_CONFIG}: say where the settings are with --config FILE or SEKISHO_CONFIG")
    if isinstance(error, PermissionError):
        complain("run this as the user that the server runs as, for example: sudo -u sekisho sekisho …")
