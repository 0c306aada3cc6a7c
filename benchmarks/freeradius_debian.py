"""FreeRADIUS as an administrator gets it: the configuration that Debian's package installs, with rlm_totp added.

The files are copied from the package on this machine each time; none is kept here. Each must have the checksum that the
package gave it, and the enabled modules and sites are those that the package enables when it is installed. Then the
table below changes what has to change, and nothing for speed except one line in FreeRADIUS's favour: a receive buffer
that holds a burst, as every contender has. Without it, 256 requests under way lose packets, and the rate falls to a
quarter or less.
"""

import hashlib
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import tokens
from benchmarks.contender import ACCEPT, CODE_DEMANDED, Running
from benchmarks.freeradius import ConfigText, code_alone, program
from benchmarks.load import Credential, Door
from benchmarks.processes import Process, Unusable, free_ports

_PACKAGE = "freeradius-config"
_INSTALLED = Path("/etc/freeradius/3.0")
_POSTINST = Path("/var/lib/dpkg/info/freeradius-config.postinst")


@dataclass(frozen=True, slots=True)
class Change:
    """A whole line of a shipped file, and what stands in its place: one text for each time that the line is there."""

    file: str
    line: str
    becomes: tuple[str, ...]


_MAIN, _SITE, _INNER = "radiusd.conf", "sites-available/default", "sites-available/inner-tunnel"

_TO_RUN_HERE = (
    # All paths below the copy, the log on standard output, and the user who started this instead of `freerad`.
    Change(_MAIN, "logdir = /var/log/freeradius", ("logdir = @{folder}",)),
    Change(_MAIN, "raddbdir = /etc/freeradius/3.0", ("raddbdir = @{folder}",)),
    Change(_MAIN, "run_dir = ${localstatedir}/run/${name}", ("run_dir = @{folder}",)),
    Change(_MAIN, "\tdestination = files", ("\tdestination = stdout",)),
    Change(_MAIN, "\tuser = freerad", ("",)),
    Change(_MAIN, "\tgroup = freerad", ("",)),
    # The same sockets, all on the loopback, IPv6's too; for proxying one in place of two that are open to the world.
    Change(_SITE, "\tipaddr = *", ("\tipaddr = 127.0.0.1",) * 2),
    Change(_SITE, "\tipv6addr = ::\t# any.  ::1 == localhost", ("\tipaddr = 127.0.0.1",)),
    Change(_SITE, "\tipv6addr = ::", ("\tipaddr = 127.0.0.1",)),
    Change(
        _SITE,
        "\tport = 0",
        ("\tport = @{port}\n\trecv_buff = 4194304", "\tport = @{idle_1}", "\tport = @{idle_2}", "\tport = @{idle_3}"),
    ),
    Change(_INNER, "       port = 18120", ("       port = @{idle_4}",)),
    Change(
        _MAIN,
        "$INCLUDE sites-enabled/",
        ("listen {\n\ttype = proxy\n\tipaddr = 127.0.0.1\n\tport = @{idle_5}\n}\n$INCLUDE sites-enabled/",),
    ),
)

_TO_BE_COMPARABLE = (
    # The others reject at once, demand a Message-Authenticator and sign what they say, as later releases do unasked.
    Change(_MAIN, "\treject_delay = 1", ("\treject_delay = 0",)),
    Change(
        "clients.conf",
        "client localhost {",
        (
            "client bench {\n\tipaddr = @{source}\n\tsecret = @{secret}\n\trequire_message_authenticator = yes\n}\n"
            "client localhost {",
        ),
    ),
    Change(_SITE, "post-auth {", ("post-auth {\n\tupdate reply {\n\t\t&Message-Authenticator := 0x00\n\t}",)),
    Change(
        _SITE,
        "\t\tattr_filter.access_reject",
        ("\t\tattr_filter.access_reject\n\t\tupdate reply {\n\t\t\t&Message-Authenticator := 0x00\n\t\t}",),
    ),
)

_TO_DEMAND_THE_CODE = (
    # mods-available/totp: secret in &control:TOTP-Secret (the users file), code in &request:TOTP-Password, the module
    # in `authenticate`. Whatever another module has found, nobody gets in but through it.
    Change(
        _SITE,
        "\tpap",
        (
            "\tupdate request {\n\t\t&TOTP-Password := &User-Password\n\t}\n"
            "\tupdate control {\n\t\t&Auth-Type := TOTP\n\t}\n\tpap",
        ),
    ),
    Change(_SITE, "\tAuth-Type PAP {", ("\tAuth-Type TOTP {\n\t\ttotp\n\t}\n\tAuth-Type PAP {",)),
)

CHANGES = (*_TO_RUN_HERE, *_TO_BE_COMPARABLE, *_TO_DEMAND_THE_CODE)
_IDLE_PORTS = 5


class FreeRadiusDebian:
    """rlm_totp added to Debian's shipped configuration, with its users in the file where Debian expects them."""

    name = "freeradius-totp-debian"
    title = "FreeRADIUS, rlm_totp, Debian's shipped configuration"
    setup = (
        "users in memory; Debian's own files, `default` site, all enabled modules (EAP too) and thread pool; changed: "
        "paths, user, sockets on the loopback with a larger receive buffer, no delay before a rejection, "
        "Message-Authenticator demanded and sent, Auth-Type TOTP for everybody"
    )
    lacks = "accepts the same code again and again; nothing durable, no lockout, no drift, no audit, seeds in clear"
    answers: Mapping[str, str] = {**CODE_DEMANDED, "the same code again": ACCEPT}

    @contextmanager
    def start(self, folder: Path, customers: int) -> Iterator[Running]:
        port, *idle = free_ports(1 + _IDLE_PORTS)
        door = Door(port, "127.0.0.2", secrets.token_hex(16).encode())
        config = folder / "raddb"
        copy_shipped(config)
        facts = {
            "folder": str(config),
            "source": door.source,
            "secret": door.secret.decode(),
            "port": str(port),
            **{f"idle_{place}": str(other) for place, other in enumerate(idle, start=1)},
        }
        apply(CHANGES, config, facts)
        (config / "mods-enabled" / "totp").symlink_to("../mods-available/totp")
        _add_users(config / "mods-config" / "files" / "authorize", customers)
        with Process([program(), "-f", "-d", str(config), "-l", "stdout"], folder / "radiusd.log") as process:
            process.wait_for("Ready to process requests")
            yield Running(process, door)

    def credential(self, number: int, step: int) -> Credential:
        return code_alone(number, step)


def copy_shipped(into: Path) -> None:
    """The package's files, each proved to be what the package shipped, and its links; Unusable otherwise."""
    shipped = [line.split()[:2] for line in _dpkg("Conffiles").splitlines()]
    if not shipped:
        raise Unusable(f"Debian's {_PACKAGE} is not installed (apt install freeradius)")
    into.mkdir(mode=0o700)
    for name, checksum in shipped:
        try:
            octets = Path(name).read_bytes()
        except OSError as problem:
            raise Unusable(f"{problem}: run this as root, or as a member of groups freerad and ssl-cert") from problem
        if hashlib.md5(octets, usedforsecurity=False).hexdigest() != checksum:
            raise Unusable(f"{name} is no longer as Debian ships it")
        copy = into / Path(name).relative_to(_INSTALLED)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(octets)
    _enable_as_installed(into)


def apply(changes: Iterable[Change], folder: Path, facts: Mapping[str, str]) -> None:
    """Unusable if a line is not there as often as the change expects: another release, to be looked at by a person."""
    for change in changes:
        path = folder / change.file
        pieces = re.split(rf"^{re.escape(change.line)}$", path.read_text(), flags=re.MULTILINE)
        if len(pieces) != len(change.becomes) + 1:
            found, wanted = len(pieces) - 1, len(change.becomes)
            raise Unusable(f"{change.file} has {change.line.strip()!r} {found} times, not {wanted}: another release?")
        filled = [ConfigText(text).substitute(facts) for text in change.becomes]
        path.write_text("".join(piece + text for piece, text in zip(pieces, [*filled, ""], strict=True)))


def package_version() -> str:
    """Of the configuration; empty if Debian's is not installed."""
    return _dpkg("Version")


def _enable_as_installed(folder: Path) -> None:
    """Whatever somebody has switched on or off here since: the links are those of the package's own installation."""
    script = _POSTINST.read_text().replace("\\\n", " ")
    for kind, place in (("site", "sites"), ("module", "mods")):
        named = re.search(rf"\bfor {kind} in ([^;]+);", script)
        if not named:
            raise Unusable(f"{_POSTINST} does not tell which {kind}s Debian enables: another release?")
        enabled = folder / f"{place}-enabled"
        enabled.mkdir()
        for name in named[1].split():
            (enabled / name).symlink_to(f"../{place}-available/{name}")


def _dpkg(field: str) -> str:
    if not shutil.which("dpkg-query"):
        return ""
    command = ["dpkg-query", "--show", f"--showformat=${{{field}}}", _PACKAGE]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _add_users(path: Path, customers: int) -> None:
    """Above the shipped DEFAULT entries, where the file keeps its own examples: the first match ends the search."""
    shipped = path.read_text()
    with path.open("w") as users:
        for number in range(customers):
            users.write(f'{tokens.contract_id(number)} TOTP-Secret := "{tokens.base32_seed(number)}"\n\n')
        users.write(shipped)
