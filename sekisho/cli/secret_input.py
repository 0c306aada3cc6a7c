"""Reads passwords, codes and permits: from a hidden prompt, or from lines of standard input. Never from an argument,
which every user of the machine can read, and never from an environment variable; it never echoes them.
"""

from __future__ import annotations

import getpass
import sys

import typer


def ask(*wanted: str, from_stdin: bool) -> list[str]:
    """One secret for each description in ``wanted``. Standard input is read if ``from_stdin`` or if it is no terminal.
    Raises typer.BadParameter for one that is missing or not UTF-8."""
    if not from_stdin and sys.stdin.isatty():
        return [_prompted(what) for what in wanted]
    return [_read_line(number, what) for number, what in enumerate(wanted, 1)]


def ask_new_password(*, from_stdin: bool) -> str:
    """A new password, asked for twice at a prompt. Raises typer.BadParameter."""
    (password,) = ask("new password", from_stdin=from_stdin)
    if not from_stdin and sys.stdin.isatty() and _prompted("same password again") != password:
        raise typer.BadParameter("the two are not the same", param_hint="password")
    return password


def _read_line(number: int, what: str) -> str:
    try:
        answer = sys.stdin.buffer.readline().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise typer.BadParameter(f"the {what} is not UTF-8", param_hint="standard input") from None
    if not answer:
        raise typer.BadParameter(f"line {number} has to be the {what}", param_hint="standard input")
    return answer


def _prompted(what: str) -> str:
    while True:
        try:
            answer = getpass.getpass(f"{what[0].upper()}{what[1:]}: ")
        except EOFError:
            raise typer.BadParameter(f"the {what} is needed", param_hint="terminal") from None
        if answer:
            return answer
