"""The module, built for the tests, and a host that uses it: PAM calls with service files of its own, without root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

HERE = Path(__file__).parent
MODULE = HERE.parents[1] / "pam_module"
SOURCES = MODULE / "src"
PATIENCE = 120.0


class Pam(IntEnum):
    """Those of Linux-PAM's results that the tests use."""

    SUCCESS = 0
    SERVICE_ERR = 3
    PERM_DENIED = 6
    AUTH_ERR = 7
    AUTHINFO_UNAVAIL = 9
    USER_UNKNOWN = 10
    MAXTRIES = 11
    NEW_AUTHTOK_REQD = 12
    ACCT_EXPIRED = 13
    AUTHTOK_ERR = 20


@dataclass(frozen=True)
class Workshop:
    """What was built: the module, a program that logs in through PAM, another module for the stack."""

    module: Path
    login: Path
    neighbour: Path


def build(folder: Path, *, sanitize: bool = False) -> Workshop:
    """Compile all three. ``sanitize``: with the address and undefined-behaviour sanitizers."""
    flags = "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -U_FORTIFY_SOURCE" if sanitize else "-O2 -g"
    made = Workshop(folder / "pam_sekisho.so", folder / "login", folder / "pam_neighbour.so")
    linking = "LINKING=-shared" if sanitize else "X="
    run(["make", "-s", "-C", str(MODULE), f"BUILD={folder}", f"CFLAGS={flags}", linking])
    compiler = ["cc", "-Wall", "-Wextra", "-Werror", *flags.split()]
    run([*compiler, "-o", str(made.login), str(HERE / "login.c"), "-lpam", "-lpthread"])
    run([*compiler, "-shared", "-fPIC", "-o", str(made.neighbour), str(HERE / "pam_neighbour.c"), "-lpam"])
    return made


def build_reader(folder: Path) -> Path:
    """The module's reader of frames as a program, under the sanitizers."""
    reader = folder / "read_frames"
    flags = ["-Wall", "-Wextra", "-Werror", "-g", "-fsanitize=address,undefined", f"-I{SOURCES}"]
    run(["cc", *flags, "-o", str(reader), str(HERE / "read_frames.c"), str(SOURCES / "frames.c")])
    return reader


def run(command: Sequence[str], stdin: str = "", environment: Mapping[str, str] | None = None) -> str:
    """Run it, and return what it prints. Fails, with its error output, if it does."""
    done = subprocess.run(
        command,
        input=stdin.encode(),
        capture_output=True,
        timeout=PATIENCE * 4,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout!r}\n{done.stderr.decode()}"
    return done.stdout.decode()


@dataclass
class Seen:
    """One PAM call as the host saw it. ``prompts``: (echoed, text); ``results``: by action."""

    prompts: list[tuple[bool, str]] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    results: dict[str, int] = field(default_factory=dict)

    @property
    def result(self) -> int:
        """Of authenticate."""
        return self.results["authenticate"]


def _seen(printed: str) -> Seen:
    seen = Seen()
    for line in printed.splitlines():
        kind, _, rest = line.partition("|")
        match kind:
            case "prompt0" | "prompt1":
                seen.prompts.append((kind == "prompt1", rest))
            case "info":
                seen.infos.append(rest)
            case "error":
                seen.errors.append(rest)
            case "delay":
                seen.delays.append(int(rest))
            case "result":
                action, _, number = rest.partition("|")
                seen.results[action] = int(number)
    return seen


@dataclass
class Machine:
    """A host whose service ``otp`` is the module with these options, between further lines of the stack."""

    workshop: Workshop
    folder: Path
    socket: Path
    prefix: tuple[str, ...] = ()

    def stack(self, options: str = "", before: str = "", after: str = "") -> None:
        line = f"{self.workshop.module} socket={self.socket} server_uid={os.getuid()} {options}\n"
        services = self.folder / "services"
        services.mkdir(exist_ok=True)
        (services / "otp").write_text(
            f"{before}auth required {line}{after}account required {line}session required {line}password required {line}"
        )

    def login(
        self, *answers: str, user: str = "taro", actions: Sequence[str] = ("authenticate",), flags: int = 0
    ) -> Seen:
        typed = "".join(f"{answer}\n" for answer in answers)
        return _seen(run(self._command(user, 1, 1, flags, actions), typed))

    def crowd(self, threads: int, times: int, *answers: str) -> dict[int, int]:
        """How often each result came."""
        typed = "".join(f"{answer}\n" for answer in answers)
        printed = run(self._command("taro", threads, times, 0, ["authenticate"]), typed)
        counts = (line.split("|")[1:] for line in printed.splitlines())
        return {int(number): int(count) for number, count in counts}

    def _command(self, user: str, threads: int, times: int, flags: int, actions: Sequence[str]) -> list[str]:
        words = [str(self.folder / "services"), "otp", user, str(threads), str(times), str(flags), *actions]
        return [*self.prefix, str(self.workshop.login), *words]
