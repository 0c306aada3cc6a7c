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
from sekisho.demo.codes_page import codes_page
from sekisho.demo.folder import use_folder
from sekisho.demo.people import fill_store, kept_people, permits, sample_named, wait_for_fresh_codes
from sekisho.demo.processes import running, wait_for_tcp, wait_for_udp
from sekisho.demo.staff import add_staff, kept_staff


def add_to(app: typer.Typer) -> None:
    """Add ``sekisho demo``, a command that has one below it."""
    group = typer.Typer(invoke_without_command=True)
    group.callback()(demo)
    group.command("code")(code)
    app.add_typer(group, name="demo")


def code(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A customer of the demo, for example taro.")],
    folder: Annotated[Path, typer.Option(help="Where the demo is.")] = Path("demo"),
) -> None:
    """Print the code that a sample customer's token shows now, as oathtool does where it is installed.

    \b
    Examples:
      sekisho demo code taro
      sekisho demo code taro --folder /tmp/bank
    """
    typer.echo(sample_named(folder.absolute(), name).code())


def demo(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Option(help="Where its store and settings go.")] = Path("demo"),
    once: Annotated[bool, typer.Option(help="End after the tour instead of going on serving.")] = False,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65530,
            metavar="PORT",
            help="Of the bank; the next five: customers' pages, soft token, codes, console, API. [default: free ones]",
            show_default=False,
        ),
    ] = None,
    radius_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, metavar="PORT", help="[default: a free one from 18120 on]", show_default=False),
    ] = None,
) -> None:
    """Set up a sample bank in a folder, and start a server and the bank's pages on loopback.

    \b
    Then it shows logins by radclient, prints lines to paste into another terminal, and serves until ^C:
      sekisho demo
      sekisho demo --folder /tmp/bank --once
      sekisho demo --port 9000 --radius-port 9812
      sekisho demo code taro
    """
    if ctx.invoked_subcommand is not None:
        return
    folder = use_folder(folder.absolute())
    people, staff = kept_people(folder), kept_staff(folder)
    addresses = choose_addresses(folder, port, radius_port)
    config = write_settings(folder, addresses)
    fill_store(config, [*people, *staff])
    links = add_staff(config, staff)
    wait_for_fresh_codes(config, people)
    # SIGTERM ends the demo as ^C does: with its processes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as started:
        log = folder / "server.log"
        server = started.enter_context(
            running([sys.executable, "-m", "sekisho", "--config", str(config), "serve"], log)
        )
        wait_for_udp(server, addresses.radius, log)
        for port in (addresses.portal, addresses.soft_token, addresses.console, addresses.api):
            wait_for_tcp(server, port, log)
        started.enter_context(codes_page(addresses.codes, [*people, *staff]))
        _open_bank(started, folder, addresses)
        tour.print_addresses(addresses, folder)
        tour.print_people(people, permits(config, people), folder)
        tour.print_staff(staff, links, addresses)
        tour.show_logins(people, addresses)
        tour.print_lines(people, addresses, folder)
        if not once:
            typer.echo("It serves until you press ^C.")
            ended = server.wait()
            typer.echo(
                f"The server has ended (exit code {ended}): {log} says why. The next demo goes on from here.", err=True
            )
            raise typer.Exit(ended)


def _open_bank(started: contextlib.ExitStack, folder: Path, addresses: DemoAddresses) -> None:
    """Start the sample bank's pages, if this installation has them; the rest of the demo works without them."""
    where = demo_bank()
    if where is not None:
        log = folder / "bank.log"
        bank = started.enter_context(running([sys.executable, str(where), *addresses.bank_options(folder)], log))
        wait_for_tcp(bank, addresses.bank, log)
