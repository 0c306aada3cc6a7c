"""`python examples/demo_bank`: the command line of the sample bank. It listens on loopback addresses only."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from ipaddress import ip_address
from pathlib import Path

from aiohttp import web

from bank import Bank, known_expectations
from radius_client import Gateway, Server
from sessions import Sessions

EXAMPLE = """\
example, beside a Sekisho whose client 127.0.0.2/32 has the mode "challenge":
  python examples/demo_bank --radius 127.0.0.1:1812 --radius 127.0.0.1:11812 --source 127.0.0.2 \\
      --secret-file /etc/sekisho/bank.secret --portal http://localhost:8080
"""


def _host_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    try:
        ip_address(host)
        if not colon or not 0 <= int(port) <= 65535:
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text} is not an IP address and port: write 127.0.0.1:8000 or [::1]:8000"
        ) from None
    return host, int(port)


def _loopback(text: str) -> tuple[str, int]:
    host, port = _host_port(text)
    if not ip_address(host).is_loopback:
        raise argparse.ArgumentTypeError(
            f"{text} is not a loopback address: the sample has no TLS, write 127.0.0.1:{port}"
        )
    return host, port


def _secret(text: str) -> bytes:
    try:
        secret = Path(text).read_bytes().rstrip(b"\r\n")
    except OSError as problem:
        raise argparse.ArgumentTypeError(f"{text} cannot be read: {problem.strerror}") from None
    if not secret:
        raise argparse.ArgumentTypeError(f"{text} is empty: write the shared secret into it")
    return secret


def _portal(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text} is not an address: write http://localhost:8080")
    return text.rstrip("/")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo_bank",
        description="A sample internet bank: it asks a RADIUS server for every login, as a real gateway does.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--listen", type=_loopback, default=("127.0.0.1", 8000), metavar="ADDRESS:PORT", help="default: 127.0.0.1:8000")
    add(
        "--radius",
        type=_host_port,
        action="append",
        required=True,
        metavar="ADDRESS:PORT",
        help="the RADIUS server; a second one is asked when the first does not answer",
    )
    add("--secret-file", type=_secret, required=True, dest="secret", metavar="FILE", help="holds the shared secret")
    add("--source", metavar="ADDRESS", help="the address to send from, by which the server knows this client")
    add("--portal", type=_portal, metavar="ORIGIN", help="the customers' own pages, linked from the login page")
    add(
        "--wait",
        type=float,
        default=3.0,
        metavar="SECONDS",
        help="for a reply, before sending again (default: 3)",
    )
    add("--tries", type=int, default=2, metavar="N", help="requests to each server (default: 2)")
    add("--idle", type=float, default=600.0, metavar="SECONDS", help="until an idle session ends (default: 600)")
    return parser.parse_args()


async def _serve(options: argparse.Namespace) -> None:
    servers = [Server(host, port) for host, port in options.radius]
    gateway = Gateway(servers, options.secret, source=options.source, wait=options.wait, tries=options.tries)
    host, port = options.listen
    bank = Bank(gateway, Sessions(options.idle), portal=options.portal)
    runner = web.AppRunner(bank.application(), access_log=None)
    await runner.setup()
    assert runner.server is not None
    runner.server.request_handler = known_expectations(runner.server.request_handler)
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as problem:
        sys.exit(f"demo_bank: cannot listen at {host}:{port}: {problem.strerror}; choose another with --listen")
    bound_port = runner.addresses[0][1]
    print(f"demo bank: http://localhost:{bound_port}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(_options()))
