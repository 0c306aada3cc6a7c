"""The demo's output: addresses, customers, example logins by radclient, and lines to paste. Opens no store."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import typer

from sekisho.demo.addresses import DemoAddresses
from sekisho.demo.people import Sample, SampleState
from sekisho.demo.staff import role_of

_PACKAGES = {"radclient": "freeradius-utils", "oathtool": "oathtool", "curl": "curl"}
"""Programs for the printed lines, and Debian's packages of them."""

_GOOD_FOR = {
    SampleState.ACTIVE: "login with a code; suspend; change of device",
    SampleState.NEVER: "login by password alone; enrol: get a token at the soft token's address first",
    SampleState.SUSPENDED: "login by password alone, until enrolled again",
    SampleState.LOCKED: "a refused login; unlock with: sekisho customer unlock",
    SampleState.LOST: "a refused login; enrol a new token with the permit",
}


def print_addresses(addresses: DemoAddresses, folder: Path) -> None:
    """Print the addresses, the bank's first: there a visitor begins."""
    if addresses.has_bank:
        typer.echo(f"\nOpen the bank:      http://localhost:{addresses.bank}/   and log in as one of those below")
    else:
        typer.echo("\nThe sample bank's pages are not installed here (examples/demo_bank); everything else is.")
    typer.echo(f"Customers' pages:   http://localhost:{addresses.portal}/   enrol, suspend, change of device")
    typer.echo(f"Soft token:         http://localhost:{addresses.soft_token}/   a token for customers without one")
    typer.echo(f"Codes:              http://localhost:{addresses.codes}/   what the sample tokens show now")
    typer.echo(f"Staff's console:    http://localhost:{addresses.console}/   find a customer, act, approve, audit")
    typer.echo(
        f"JSON API:           http://localhost:{addresses.api}/api/v1/openapi.json   for the bank's other programs"
    )
    typer.echo(f"RADIUS:             127.0.0.1:{addresses.radius}   (settings, store and logs: {folder})\n")


def print_people(people: list[Sample], permits: dict[str, str], folder: Path) -> None:
    """Print the customers, each with password, state and what can be tried with them."""
    asked = f"{_command()} demo code {{}} --folder {shlex.quote(_short(folder))}"
    for one in people:
        typer.echo(f"  {one.contract_id:8} {one.password:14} {one.state:14}  {_GOOD_FOR[one.state]}")
        if one.state is SampleState.ACTIVE:
            here = f"oathtool --totp -b {one.seed}" if shutil.which("oathtool") else asked.format(one.contract_id)
            typer.echo(f"{'':26}code: {here}")
        if one.contract_id in permits:
            typer.echo(f"{'':26}permit: {permits[one.contract_id]}")
    typer.echo("")


def print_staff(staff: list[Sample], links: dict[str, str], addresses: DemoAddresses) -> None:
    """Print who may use the console, and how: by password and code, or by the link for a first passkey."""
    typer.echo(f"Staff, at http://localhost:{addresses.console}/ with password and code (the page of codes shows it):")
    for one in staff:
        typer.echo(f"  {role_of(one):14} {one.password:20} code of {one.contract_id}")
    for name, link in links.items():
        typer.echo(f"  or as {name} with a passkey, by this link, once and within an hour:")
        typer.echo(f"  http://localhost:{addresses.console}/welcome/{link}")
    typer.echo("")


def show_logins(people: list[Sample], addresses: DemoAddresses) -> None:
    """Log in as some of the customers by radclient and print each answer; say which programs are not here."""
    missing = {program: package for program, package in _PACKAGES.items() if shutil.which(program) is None}
    if missing:
        packages = " ".join(missing.values())
        typer.echo(f"Not installed here: {', '.join(missing)}. As root: apt-get install {packages}\n")
    if "radclient" in missing:
        return
    by_id = {one.contract_id: one for one in people}
    hanako, john, jiro = by_id["hanako"], by_id["john"], by_id["jiro"]
    code = hanako.code()
    radclient = _Radclient(addresses.radius, addresses.secret)
    radclient.show("hanako: password and code in one", hanako, hanako.password + code)
    radclient.show("hanako: the same code again", hanako, hanako.password + code)
    state = radclient.show("john: the password, and he is asked for the code", john, john.password)
    radclient.show("john: the code, with the State of the challenge", john, john.code(), state)
    radclient.show("jiro: never enrolled, so the password is enough", jiro, jiro.password)
    radclient.show("jiro: a wrong password", jiro, "ki-no-mi")
    typer.echo("")


@dataclass(frozen=True)
class _Radclient:
    port: int
    secret: str = field(repr=False)

    def show(self, title: str, one: Sample, user_password: str, state: str = "") -> str:
        """Send a request and print the answer in one line; returns the State of a challenge, or an empty text."""
        attributes = _request(one.contract_id, user_password, state)
        done = subprocess.run(
            ["radclient", "-x", "-r", "1", f"127.0.0.1:{self.port}", "auth", self.secret],
            input=attributes.encode(),
            capture_output=True,
            check=False,
        )
        lines = [line.strip() for line in done.stdout.decode().splitlines()]
        received = [at for at, line in enumerate(lines) if line.startswith("Received")]
        answer = lines[received[0] :] if received else ["Received no answer"]
        message = next((line.partition(" = ")[2] for line in answer if line.startswith("Reply-Message")), "")
        typer.echo(f"  {answer[0].split()[1]:17} {title}  {message}")
        return next((line.partition(" = ")[2] for line in answer if line.startswith("State")), "")


def _request(user: str, user_password: str, state: str = "") -> str:
    """A request in radclient's notation."""
    attributes = f"User-Name={user},User-Password={user_password},Message-Authenticator=0x00"
    return f"{attributes},State={state}" if state else attributes


def print_lines(people: list[Sample], addresses: DemoAddresses, folder: Path) -> None:
    """Print the lines to paste into another terminal."""
    taro = people[0]
    shows = f"oathtool --totp -b {taro.seed}"
    if shutil.which("oathtool") is None:
        shows = f"{_command()} demo code taro --folder {shlex.quote(_short(folder))}"
    live = f"$({shows})"
    radclient = f"radclient -x 127.0.0.1:{addresses.radius} auth {shlex.quote(addresses.secret)}"
    sekisho = f"{_command()} --config {shlex.quote(_short(folder / 'sekisho.toml'))}"
    customer = f"http://localhost:{addresses.api}/api/v1/customers/taro"
    typer.echo(
        f"""Paste into another terminal ({shows.split()[0]} is taro's software token):

  # Access-Accept: the password with a live code behind it. The same again within 30 s: Access-Reject.
  echo "{_request("taro", taro.password + live)}" | {radclient}

  # Access-Challenge: the password alone. The second line answers it with the next code (wait for one) and its State.
  # "Expected Access-Accept got Access-Challenge" is radclient's remark and no error: it answers no challenge by itself.
  STATE=$(echo "{_request("taro", taro.password)}" | {radclient} | tee /dev/stderr | sed -n 's/.*State = //p')
  echo "{_request("taro", live)},State=$STATE" | {radclient}

  # What the audit trail says, and what staff can do.
  {sekisho} audit
  {sekisho} customer show taro

  # The same customer for a program: a key, which is printed once, and one call. (curl reads the key from its input.)
  KEY=$({sekisho} api-key create tour-$$ --scope customers:read | grep -o '[^ ]*$' | tail -1)
  echo "header = \\"Authorization: Bearer $KEY\\"" | curl --silent -K - {customer}
"""
    )


def _command() -> str:
    """How this program was called, so that the lines can be pasted in the same place."""
    return _short(Path(sys.argv[0]).absolute()) if sys.argv[0].endswith("sekisho") else "sekisho"


def _short(path: Path) -> str:
    here = Path(os.getcwd())
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
