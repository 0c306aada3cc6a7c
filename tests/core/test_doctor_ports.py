"""What `sekisho doctor` says of ports: who holds each, by what /proc says of real sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from otp_core.checks import CheckResult, CheckState
from sekisho.cli.context import CliContext
from sekisho.cli.doctor import examine
from sekisho.cli.doctor_ports import examine_ports
from sekisho.cli.port_holders import holders
from sekisho.settings import load
from tests.sekisho import Sekisho, client_table, free_port

HERE = "127.0.0.1"
CLIENTS = client_table("gateway", "127.0.0.0/8", "code")


def own_name() -> str:
    return Path("/proc/self/comm").read_text().strip()


@contextmanager
def bound(kind: int, family: int = socket.AF_INET, host: str = HERE) -> Iterator[int]:
    with socket.socket(family, kind) as made:
        made.bind((host, 0))
        if kind == socket.SOCK_STREAM:
            made.listen()
        yield int(made.getsockname()[1])


def found(folder: Path, more: str = "", clients: str = CLIENTS, listen: str = f"{HERE}:1") -> dict[str, CheckResult]:
    file = folder / "sekisho.toml"
    file.write_text(
        f'[store]\nurl = "sqlite:///{folder}/s.db"\nmaster_key_file = "k"\n{more}\n[radius]\nlisten = ["{listen}"]\n'
        + clients
    )
    file.chmod(0o600)
    results = examine_ports(load(file, environment={}).settings, folder / "s.db")
    return {one.check: one for one in results}


@pytest.mark.parametrize(
    ("family", "at", "wanted"),
    [
        (socket.AF_INET, HERE, HERE),
        (socket.AF_INET, HERE, "0.0.0.0"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::1", "::"),
    ],
)
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_the_process_that_holds_a_port_is_found(
    tmp_path: Path, kind: socket.SocketKind, family: int, at: str, wanted: str
) -> None:
    name = "udp" if kind == socket.SOCK_DGRAM else "tcp"
    with bound(kind, family, at) as port:
        (holder,) = holders(name, wanted, port, tmp_path / "s.db")
        assert (holder.pid, holder.name, holder.ours) == (os.getpid(), own_name(), False)
        assert holders(name, "192.0.2.1" if family == socket.AF_INET else "2001:db8::1", port, tmp_path / "s.db") == []
    assert holders(name, wanted, port, tmp_path / "s.db") == []


def test_every_section_that_listens_is_examined(tmp_path: Path) -> None:
    """One that is left out is not known to be taken by somebody else."""
    ports = {name: free_port() for name in ("web", "soft_token", "console", "api", "metrics")}
    sections = (
        f'[{name}]\nlisten = "{HERE}:{port}"\n'
        + ("" if name == "metrics" else f'public_origin = "http://localhost:{port}"\n')
        for name, port in ports.items()
    )
    said = found(tmp_path, "".join(sections))
    assert {f"port {HERE}:{port} tcp" for port in ports.values()} <= set(said)


def test_a_port_that_somebody_else_holds_fails_and_names_them(tmp_path: Path) -> None:
    with bound(socket.SOCK_DGRAM) as radius, bound(socket.SOCK_STREAM) as web:
        said = found(tmp_path, f'[web]\nlisten = "{HERE}:{web}"', listen=f"{HERE}:{radius}")
    whose = f"is held by {own_name()} (pid {os.getpid()}), which is no server of this store"
    for check in (f"port {HERE}:{radius} udp", f"port {HERE}:{web} tcp"):
        assert said[check].state is CheckState.FAIL and said[check].text.startswith(whose)


def test_a_free_port_is_bound_to_know_it(tmp_path: Path) -> None:
    port = free_port()
    said = found(tmp_path, listen=f"{HERE}:{port}")
    assert said[f"port {HERE}:{port} udp"] == (CheckState.OK, f"port {HERE}:{port} udp", "can be bound; no server runs")
    assert said["metrics"] == (CheckState.SKIP, "metrics", "are off: no [metrics] section")


def test_an_address_of_another_machine_is_told(tmp_path: Path) -> None:
    said = found(tmp_path, listen="192.0.2.1:1812")["port 192.0.2.1:1812 udp"]
    assert said.state is CheckState.WARN and "is this an address of this machine?" in said.text


def test_without_clients_no_port_is_tried(tmp_path: Path) -> None:
    assert [check for check in found(tmp_path, clients="") if check.startswith("port")] == []


def checked(sekisho: Sekisho) -> dict[str, CheckResult]:
    """What the doctor says of a server's ports, whichever engine its store has."""
    settings = load(sekisho.config, environment={}).settings
    if sekisho.store.database.file is not None:
        return {one.check: one for one in examine_ports(settings, sekisho.database)}
    context = CliContext(sekisho.config, None)
    return {one.check: one for one in examine(context, deep=False)}


def test_a_running_server_is_known_by_its_store(tmp_path: Path) -> None:
    ports = [free_port(), *(free_port() for _ in range(2))]
    radius, web, metrics = (f"{HERE}:{port}" for port in ports)
    more = f'[web]\nlisten = "{web}"\n[metrics]\nlisten = "{metrics}"\n[pam]\nsocket = "{tmp_path}/pam.sock"\n'
    sekisho = Sekisho(tmp_path, CLIENTS, more=more, listen=(radius,))
    try:
        sekisho.start()
        said = checked(sekisho)
        for check, role in ((f"port {radius} udp", "radius"), (f"port {web} tcp", "web")):
            assert said[check].state is CheckState.OK
            assert said[check].text.startswith("is held by this store's server: ")
            assert f"sekisho {role} (pid {sekisho.pids(role)[0]})" in said[check].text
        assert f"sekisho metrics (pid {sekisho.pids('metrics')[0]})" in said[f"port {metrics} tcp"].text
        assert said["pam socket"].state is CheckState.OK
        assert said["metrics"].state is CheckState.OK and "logins can be answered" in said["metrics"].text
        other = {one.check: one for one in examine_ports(sekisho.settings, tmp_path / "other.db")}
        assert other[f"port {radius} udp"].state is CheckState.FAIL  # a server, but of another store
        assert other["pam socket"].state is CheckState.OK
    finally:
        sekisho.close()


def test_metrics_that_are_somebody_elses_are_not_called_ours(tmp_path: Path) -> None:
    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"ready": true}')

        def log_message(self, format: str, *args: object) -> None:
            pass

    sekisho = Sekisho(tmp_path, CLIENTS)
    other = HTTPServer((HERE, 0), Stranger)
    Thread(target=other.serve_forever, daemon=True).start()
    try:
        sekisho.start()
        sekisho.more = f'[metrics]\nlisten = "{HERE}:{other.server_port}"\n'
        sekisho.write_config()
        said = checked(sekisho)
        assert said[f"port {HERE}:{other.server_port} tcp"].state is CheckState.FAIL
        assert said["metrics"].state is CheckState.FAIL and "does not answer as ours does" in said["metrics"].text
    finally:
        other.shutdown()
        other.server_close()
        sekisho.close()
