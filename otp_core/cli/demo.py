"""`sekisho demo`: a small bank in a folder, a server for it, a tour by radclient, and the lines to try it with.

Sample data only, on loopback only. What it prints may hold secrets, because nobody uses them for anything else.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

FIRST_PORT = 18120
_CONFIG = """\
# Written by `sekisho demo`. Sample data: never use it for anything else.
[store]
url = "sqlite:///{folder}/store.db"
master_key_file = "{folder}/master.key"

[radius]
listen = ["127.0.0.1:{port}", "[::1]:{port}"]

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
"""


@dataclass(frozen=True)
class Sample:
    """Somebody of the demo. Without ``token_id``: never enrolled."""

    contract_id: str
    password: str
    name: str
    token_id: str | None = None
    seed: str = ""
    language: str = "ja"


def add_to(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    folder: Annotated[Path, typer.Option(help="Where its store and settings go.")] = Path("demo"),
    once: Annotated[bool, typer.Option(help="End after the tour instead of going on serving.")] = False,
) -> None:
    """A bank to try Sekisho with: sets up a folder, starts a server on loopback, shows logins by radclient.

    \b
    Then it prints lines to paste into another terminal, and serves until ^C:
      sekisho demo
      sekisho demo --folder /tmp/bank --once
    """
    folder = folder.absolute()
    people = _prepare(folder)
    config = folder / "sekisho.toml"
    port, secret = _choose_port(), _kept(folder / "client.secret", lambda: secrets.token_urlsafe(18))
    _write(config, _CONFIG.format(folder=folder, port=port, secret=secret))
    _fill_store(config, people)
    _wait_for_fresh_codes(config, people)
    with (folder / "server.log").open("ab") as log:
        command = [sys.executable, "-m", "otp_core", "--config", str(config), "serve"]
        server = subprocess.Popen(command, stderr=log, start_new_session=True)
    try:
        _wait_until_ready(server, port, folder)
        typer.echo(f"\nSekisho serves a sample bank at 127.0.0.1:{port} (settings, store and log: {folder})\n")
        _tour(people, port, secret)
        _print_lines(people, port, secret, folder)
        if not once:
            typer.echo("It serves until you press ^C.")
            server.wait()
    except KeyboardInterrupt:
        typer.echo("")
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
        server.wait(15)


def _prepare(folder: Path) -> list[Sample]:
    folder.mkdir(parents=True, exist_ok=True)
    text = _kept(folder / "people.json", lambda: json.dumps([vars(one) for one in _new_people()], ensure_ascii=False))
    return [Sample(**one) for one in json.loads(text)]


def _new_people() -> list[Sample]:
    def seed() -> str:
        return base64.b32encode(secrets.token_bytes(20)).decode()

    return [
        Sample("taro", "haru-no-umi", "信金 太郎", "VSMT00000001", seed()),
        Sample("hanako", "natsu-no-yama", "信金 花子", "VSMT00000002", seed()),
        Sample("john", "autumn-leaves", "John Smith", "VSST00000003", seed(), "en"),
        Sample("jiro", "fuyu-no-sora", "信金 次郎"),
    ]


def _kept(path: Path, make: object) -> str:
    """What the file holds, made first where there is none: a second demo goes on with the first one's bank."""
    assert callable(make)
    if not path.exists():
        _write(path, str(make()))
    return path.read_text()


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)


def _choose_port() -> int:
    """The first port that nobody listens at, so that a RADIUS server which is there already is left alone."""
    for port in range(FIRST_PORT, FIRST_PORT + 100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise typer.BadParameter(f"no free UDP port from {FIRST_PORT} on")


def _fill_store(config: Path, people: list[Sample]) -> None:
    from otp_core.audit import Ids
    from otp_core.build import cost_of, open_desk, open_store
    from otp_core.desk import Actor
    from otp_core.first_factor.hashes import hash_password
    from otp_core.model import Language, TokenSpec
    from otp_core.settings import load
    from otp_core.store.store import initialise

    settings = load(config, environment={}).settings
    initialise(settings.store.url, settings.store.master_key_file, ids=Ids(), say=lambda text: typer.echo(text))
    store = open_store(settings)
    desk, actor = open_desk(settings, store), Actor("demo", reason="sample data")
    for one in people:
        with store.work() as work:
            known = work.standing(one.contract_id) is not None
        if known:
            continue
        hash_ = hash_password(one.password.encode(), cost_of(settings))
        desk.add_customer(one.contract_id, actor, password_hash=hash_, name=one.name, language=Language(one.language))
        if one.token_id is not None:
            desk.import_tokens([(one.token_id, base64.b32decode(one.seed), TokenSpec())], actor)
            # The code of the step before, so that the one shown now is still good for a login.
            desk.enrol(one.contract_id, one.token_id, _code(one, -1), actor)


def _wait_for_fresh_codes(config: Path, people: list[Sample]) -> None:
    """A second demo within 30 s would show codes that the first one has used up."""
    from otp_core.build import open_store
    from otp_core.settings import load

    with open_store(load(config, environment={}).settings).work() as work:
        standings = [work.standing(one.contract_id) for one in people]
    used = max(standing.last_step for standing in standings if standing is not None)
    seconds = (used + 1) * 30 - time.time()
    if seconds > 0:
        typer.echo(f"waiting {seconds:.0f} s for the next code: the last demo used this one")
        time.sleep(seconds)


def _code(one: Sample, steps_away: int = 0) -> str:
    import pyotp

    return pyotp.TOTP(one.seed).at(time.time() + 30 * steps_away)


def _wait_until_ready(server: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    end = time.monotonic() + 15
    while time.monotonic() < end and server.poll() is None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return
        time.sleep(0.05)
    typer.echo(f"the server did not start; its log, {folder}/server.log, says why", err=True)
    raise typer.Exit(1)


# The tour


def _tour(people: list[Sample], port: int, secret: str) -> None:
    if shutil.which("radclient") is None:
        typer.echo("For the tour, install radclient: sudo apt-get install freeradius-utils oathtool\n")
        return
    by_id = {one.contract_id: one for one in people}
    hanako, john, jiro = by_id["hanako"], by_id["john"], by_id["jiro"]
    code = _code(hanako)
    radclient = _Radclient(port, secret)
    radclient.show("hanako: password and code in one", hanako, hanako.password + code)
    radclient.show("hanako: the same code again", hanako, hanako.password + code)
    state = radclient.show("john: the password, and he is asked for the code", john, john.password)
    radclient.show("john: the code, with the State of the challenge", john, _code(john), state)
    radclient.show("jiro: never enrolled, so the password is enough", jiro, jiro.password)
    radclient.show("jiro: a wrong password", jiro, "ki-no-mi")
    typer.echo("")


@dataclass(frozen=True)
class _Radclient:
    port: int
    secret: str

    def show(self, title: str, one: Sample, typed: str, state: str = "") -> str:
        """Ask, print the answer in a line, give back the State of a challenge."""
        attributes = request(one.contract_id, typed, state)
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


def request(user: str, typed: str, state: str = "") -> str:
    """A request as radclient reads it."""
    attributes = f"User-Name={user},User-Password={typed},Message-Authenticator=0x00"
    return f"{attributes},State={state}" if state else attributes


def _print_lines(people: list[Sample], port: int, secret: str, folder: Path) -> None:
    taro = people[0]
    live = f"$(oathtool --totp -b {taro.seed})"
    asked = f"radclient -x 127.0.0.1:{port} auth {shlex.quote(secret)}"
    sekisho = f"{_command()} --config {shlex.quote(_short(folder / 'sekisho.toml'))}"
    typer.echo(
        f"""Paste into another terminal (oathtool is taro's software token):

  # Access-Accept: the password with a live code behind it. The same again within 30 s: Access-Reject.
  echo "{request("taro", taro.password + live)}" | {asked}

  # Access-Challenge: the password alone. The second line answers it with the next code (wait for one) and its State.
  STATE=$(echo "{request("taro", taro.password)}" | {asked} | tee /dev/stderr | sed -n 's/.*State = //p')
  echo "{request("taro", live)},State=$STATE" | {asked}

  # What the audit trail says, and what staff can do.
  {sekisho} audit
  {sekisho} customer show taro
"""
    )


def _command() -> str:
    """How this program was called, so that the lines can be pasted in the same place."""
    return _short(Path(sys.argv[0]).absolute()) if sys.argv[0].endswith("sekisho") else "sekisho"


def _short(path: Path) -> str:
    here = Path(os.getcwd())
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
