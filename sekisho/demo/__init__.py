"""`sekisho demo`: a sample bank in a folder, a server for it, the bank's pages, and the lines to try it with.

Sample data only, on loopback only. It prints secrets, because they protect nothing.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from sekisho.demo import tour
from sekisho.demo.addresses import DemoAddresses, choose_addresses, demo_bank, write_settings
from sekisho.demo.people import fill_store, kept_people, permits, wait_for_fresh_codes
from sekisho.demo.processes import running, wait_for_tcp, wait_for_udp


def add_to(app: typer.Typer) -> None:
    """Add ``sekisho demo``."""
    app.command("demo")(demo)


def demo(
    folder: Annotated[Path, typer.Option(help="Where its store and settings go.")] = Path("demo"),
    once: Annotated[bool, typer.Option(help="End after the tour instead of going on serving.")] = False,
) -> None:
    """Set up a sample bank in a folder, and start a server and the bank's pages on loopback.

    \b
    Then it shows logins by radclient, prints lines to paste into another terminal, and serves until ^C:
      sekisho demo
      sekisho demo --folder /tmp/bank --once
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    people = kept_people(folder)
    addresses = choose_addresses(folder)
    config = write_settings(folder, addresses)
    fill_store(config, people)
    wait_for_fresh_codes(config, people)
    # SIGTERM ends the demo as ^C does: with its processes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as started:
        log = folder / "server.log"
        server = started.enter_context(
            running([sys.executable, "-m", "sekisho", "--config", str(config), "serve"], log)
        )
        wait_for_udp(server, addresses.radius, log)
        for port in (addresses.portal, addresses.soft_token):
            wait_for_tcp(server, port, log)
        _open_bank(started, folder, addresses)
        tour.print_addresses(addresses, folder)
        tour.print_people(people, permits(config, people))
        tour.show_logins(people, addresses)
        tour.print_lines(people, addresses, folder)
        if not once:
            typer.echo("It serves until you press ^C.")
            server.wait()


def _open_bank(started: contextlib.ExitStack, folder: Path, addresses: DemoAddresses) -> None:
    """Start the sample bank's pages, if this installation has them; the rest of the demo works without them."""
    where = demo_bank()
    if where is not None:
        log = folder / "bank.log"
        bank = started.enter_context(running([sys.executable, str(where), *addresses.bank_options(folder)], log))
        wait_for_tcp(bank, addresses.bank, log)
