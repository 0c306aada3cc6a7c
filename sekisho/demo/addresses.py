"""Chooses free ports for the demo's doors, writes its settings, and finds the sample bank's program."""

from __future__ import annotations

import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import typer

FIRST_RADIUS, FIRST_BANK, FIRST_PORTAL, FIRST_SOFT_TOKEN = 18120, 8000, 8180, 8280
FIRST_CONSOLE, FIRST_API, FIRST_CODES = 8380, 8480, 8580
_PORTS = 100
_PAGES, _RADIUS = "--port", "--radius-port"
BANK_ADDRESS = "127.0.0.2"
"""The source address of the bank's RADIUS requests, so that the server has a client of its own for it."""
_SECRET = "client.secret"

_CONFIG = """\
# Written by `sekisho demo`. Sample data: never use it for anything else.
[store]
url = "sqlite:///{folder}/store.db"
master_key_file = "{folder}/master.key"

[web]
listen = "127.0.0.1:{portal}"
public_origin = "http://localhost:{portal}"
bank_name = "せきしょ信用金庫"
bank_name_en = "Sekisho Shinkin Bank"
logo = "{folder}/logo.svg"
colour = "#135e46"              # the sample bank's
contact = "せきしょコールセンター 0120-000-000（平日 9:00〜17:00）"
contact_en = "our call centre, 0120-000-000 (weekdays 9:00-17:00)"
login_url = "http://localhost:{bank}/"
terms_file = "{folder}/terms.txt"
terms_file_en = "{folder}/terms.en.txt"

[soft_token]
listen = "127.0.0.1:{soft_token}"
public_origin = "http://localhost:{soft_token}"

[console]
listen = "127.0.0.1:{console}"
public_origin = "http://localhost:{console}"

[api]
listen = "127.0.0.1:{api}"
public_origin = "http://localhost:{api}"

[radius]
listen = ["127.0.0.1:{radius}", "[::1]:{radius}"]

[[radius.clients]]
name = "demo-gateway"
network = "127.0.0.1/32"
secret = "{secret}"
mode = "auto"                  # password and code in one, or the password and then a challenge
reply_attributes = {{ Filter-Id = "internet-banking", Cisco-AVPair = "shell:priv-lvl=1" }}

[[radius.clients]]
name = "demo-gateway-v6"
network = "::1/128"
secret = "{secret}"
mode = "challenge"
language = "en"

[[radius.clients]]
name = "demo-bank"
network = "{bank_address}/32"
secret = "{secret}"
mode = "challenge"

[radius.clients.reply_messages]  # the bank's pages show the line of their language
challenge = "ワンタイムパスワードを入力してください。\\nEnter your one-time password."
challenge_again = "ワンタイムパスワードを確認できません。\\nNot accepted. Enter the next one shown."
reject = "ログインできません。入力内容をご確認ください。\\nLogin failed. Check what you entered."
"""
_LOGO = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path fill="#135e46" \
d="M16 3 2 11v3h28v-3zM5 16h4v9H5zm9 0h4v9h-4zm9 0h4v9h-4zM2 27h28v3H2z"/></svg>
"""
_TERMS = """\
version: demo-1

これは見本の利用規定です。

ワンタイムパスワードは他人に知らせないでください。端末を紛失したときは、すぐにお取引店の窓口へご連絡ください。
"""
_TERMS_EN = """\
version: demo-1

These are sample terms of use.

Tell nobody your one-time passwords. If you lose your device, call the counter of your branch at once.
"""


@dataclass(frozen=True)
class DemoAddresses:
    """Ports of this machine, and the secret that the gateways share. ``has_bank``: the bank's pages are served."""

    radius: int
    bank: int
    portal: int
    soft_token: int
    console: int
    api: int
    codes: int
    has_bank: bool
    secret: str = field(repr=False)

    def bank_options(self, folder: Path) -> list[str]:
        """The command line of the sample bank."""
        portal = f"http://localhost:{self.portal}"
        options = {"listen": f"127.0.0.1:{self.bank}", "radius": f"127.0.0.1:{self.radius}", "source": BANK_ADDRESS}
        options |= {"secret-file": str(folder / _SECRET), "portal": portal}
        return [word for name, value in options.items() for word in (f"--{name}", value)]


def choose_addresses(folder: Path, port: int | None = None, radius_port: int | None = None) -> DemoAddresses:
    """The first free ports, so that the demo does not disturb servers that run already; or ``port`` for the bank and
    the five behind it for the customers' pages, the soft token, the page of codes, the console and the API,
    and ``radius_port``. Raises typer.BadParameter."""
    stream = socket.SOCK_STREAM
    return DemoAddresses(
        radius=_chosen(radius_port, _RADIUS, socket.SOCK_DGRAM) or _free(FIRST_RADIUS, socket.SOCK_DGRAM),
        bank=_chosen(port, _PAGES, stream) or _free(FIRST_BANK, stream),
        portal=_chosen(port and port + 1, _PAGES, stream) or _free(FIRST_PORTAL, stream),
        soft_token=_chosen(port and port + 2, _PAGES, stream) or _free(FIRST_SOFT_TOKEN, stream),
        console=_chosen(port and port + 4, _PAGES, stream) or _free(FIRST_CONSOLE, stream),
        api=_chosen(port and port + 5, _PAGES, stream) or _free(FIRST_API, stream),
        codes=_chosen(port and port + 3, _PAGES, stream) or _free(FIRST_CODES, stream),
        has_bank=demo_bank() is not None,
        secret=kept(folder / _SECRET, lambda: secrets.token_urlsafe(18)),
    )


def write_settings(folder: Path, addresses: DemoAddresses) -> Path:
    """Write the demo's settings, logo and terms of use into the folder; returns the settings file."""
    config = folder / "sekisho.toml"
    write(folder / "logo.svg", _LOGO)
    write(folder / "terms.txt", _TERMS)
    write(folder / "terms.en.txt", _TERMS_EN)
    text = _CONFIG.format(
        folder=folder,
        radius=addresses.radius,
        bank=addresses.bank,
        portal=addresses.portal,
        soft_token=addresses.soft_token,
        console=addresses.console,
        api=addresses.api,
        secret=addresses.secret,
        bank_address=BANK_ADDRESS,
    )
    write(config, text)
    return config


def demo_bank() -> Path | None:
    """The folder of the sample bank: in a checkout, or where a wheel puts its examples."""
    checkout = Path(__file__).parents[2] / "examples"
    for examples in (checkout, Path(sys.prefix) / "share" / "sekisho" / "examples"):
        if (examples / "demo_bank" / "__main__.py").exists():
            return examples / "demo_bank"
    return None


def kept(path: Path, make: Callable[[], str]) -> str:
    """The text of the file, made by ``make`` if there is none: a second demo continues with the first one's data."""
    if not path.exists():
        write(path, make())
    return path.read_text()


def write(path: Path, text: str) -> None:
    """Write a file that only its owner can read (mode 0600)."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)


def _chosen(port: int | None, option: str, kind: socket.SocketKind) -> int | None:
    """The port, if one was chosen. Raises typer.BadParameter if somebody else has it."""
    if port is not None and not _is_free(port, kind):
        what = "UDP" if kind == socket.SOCK_DGRAM else "TCP"
        advice = f"`ss -lnp 'sport = :{port}'` shows who has it; choose another, or leave {option} out for a free one"
        raise typer.BadParameter(f"{what} port {port} of 127.0.0.1 cannot be used here: {advice}", param_hint=option)
    return port


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            # As the doors do: connections of an earlier demo may still be in TIME-WAIT at this port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free(first: int, kind: socket.SocketKind) -> int:
    for port in range(first, first + _PORTS):
        if _is_free(port, kind):
            return port
    raise typer.BadParameter(f"no free port from {first} to {first + _PORTS - 1}")
