"""The examples of docs/syslog.md: the audit trail at a real rsyslogd over TLS, over restarts of either side; and at
sockets of the other kinds.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from otp_core.outwards.position import position_of
from otp_core.seals.keys import create_seal_key
from otp_core.store.queries import AuditFilter, audit_rows
from tests.ldap.certificates import Authority
from tests.radius.tools import program
from tests.sekisho import Sekisho, client_table, free_port
from tests.syslog import PAGE


def blocks() -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def until(true: Callable[[], bool], what: Callable[[], object], seconds: float = 25.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what()
        time.sleep(0.05)


class Rsyslog:
    """rsyslogd with the document's configuration, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.file = folder, free_port(), folder / "audit"
        self.authority = Authority(folder)
        certificate, key = self.authority.issue("logs", "127.0.0.1", "localhost")
        text = blocks()[1].replace("6514", str(self.port)).replace("/var/log/sekisho-audit", str(self.file))
        for name, file in (("ca.pem", self.authority.file), ("logs.pem", certificate), ("logs.key", key)):
            text = text.replace(f"/etc/rsyslog.d/{name}", str(file))
        (folder / "rsyslog.conf").write_text(text)
        self._command = [
            program("rsyslogd"),
            "-n",
            "-f",
            str(folder / "rsyslog.conf"),
            "-i",
            str(folder / "rsyslog.pid"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "rsyslog.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        until(self._listens, lambda: (self.folder / "rsyslog.log").read_text())

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def ids(self) -> list[int]:
        text = self.file.read_text() if self.file.exists() else ""
        return [int(found) for found in re.findall(r'\[sekisho@32473 id="(\d+)"', text)]

    def _listens(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0


def sekisho_with(folder: Path, syslog: str) -> Sekisho:
    section = f'[audit]\nseal_key_file = "audit.key"\nseal_copy = "{folder}/seals"\n{syslog}'
    made = Sekisho(folder, client_table("gateway", "127.0.0.0/8", "code"), section)
    create_seal_key(folder / "audit.key")
    return made


def rows_of(sekisho: Sekisho, first: int, beginnings: tuple[str, ...] = ("",)) -> list[int]:
    with sekisho.store.read() as connection:
        rows = audit_rows(connection, AuditFilter(after=first), limit=10_000)
    return [row.id for row in rows if row.event.startswith(beginnings)]


def position(sekisho: Sekisho) -> int:
    kept = position_of(sekisho.store, "syslog").read()
    return -1 if kept is None else kept


def test_an_rsyslog_has_each_row_once_whoever_was_restarted(tmp_path: Path) -> None:
    rsyslog = Rsyslog(tmp_path)
    section = blocks()[0].replace("logs.example.jp:6514", f"127.0.0.1:{rsyslog.port}")
    section = section.replace("/etc/sekisho/logs.pem", str(rsyslog.authority.file))
    section = section.replace('["login.rejected", "customer.", "staff."]', '["login.", "customer."]')
    sekisho = sekisho_with(tmp_path, section)
    try:
        rsyslog.start()
        crowd = sekisho.crowd(5)
        sekisho.start()
        until(lambda: position(sekisho) >= 0, sekisho.log_text)
        first = position(sekisho)

        def log_in(one: int) -> None:
            code = crowd[one].code()  # once: between two looks at the token the step may end
            assert sekisho.login(crowd[one].contract_id, code) == "Access-Accept"
            assert sekisho.login(crowd[one].contract_id, code) == "Access-Reject"

        def all_arrived() -> bool:
            """And the sender knows it: if the connection broke before, it would send them again."""
            wanted = rows_of(sekisho, first, ("login.", "customer."))
            return rsyslog.ids() == wanted != [] and position(sekisho) >= wanted[-1]

        def report() -> object:
            return rsyslog.ids(), rows_of(sekisho, first), sekisho.log_text(), (tmp_path / "rsyslog.log").read_text()

        log_in(0)
        until(all_arrived, report)
        rsyslog.stop()  # rows wait while nobody takes them
        log_in(1)
        until(lambda: "audit rows wait for syslog" in sekisho.log_text(), report)
        assert sekisho.login(crowd[2].contract_id, crowd[2].code()) == "Access-Accept"
        (pid,) = [int(one) for one in re.findall(r"(\d+): 'syslog'", sekisho.log_text())[:1]]
        os.kill(pid, signal.SIGKILL)  # the sender too, before it could send them
        rsyslog.start()
        until(all_arrived, report)
        log_in(3)
        until(all_arrived, report)
        verify_by_what_rsyslog_has(sekisho, rsyslog)
        text = rsyslog.file.read_text()
        assert crowd[3].contract_id in text and crowd[3].code() not in text
        assert sekisho.traceback() == ""
    finally:
        sekisho.close()
        rsyslog.stop()


def verify_by_what_rsyslog_has(sekisho: Sekisho, rsyslog: Rsyslog) -> None:
    """By the commands of the document; the copy of seals is the log's, and a seal that is gone is missed through it."""
    sort_out, verify = blocks()[2].splitlines()
    folder = rsyslog.folder
    until(
        lambda: " - {" in rsyslog.file.read_text() or ' -  {"number' in rsyslog.file.read_text(), rsyslog.file.read_text
    )
    command = sort_out.replace("/var/log/sekisho-audit", str(rsyslog.file))
    subprocess.run(command, shell=True, check=True, cwd=folder)  # noqa: S602
    sekisho_ = [sys.executable, "-m", "sekisho", "--config", str(sekisho.config)]
    words = [*sekisho_, *verify.split()[1:]]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0 and "the audit trail is what was sealed" in done.stdout, done.stdout + done.stderr
    newest = (folder / "seals").read_text().splitlines()[-1]
    forged = newest.replace('"number":', '"number":9', 1).replace('\\"number\\":', '\\"number\\":9', 1)
    (folder / "seals").write_text(f"{newest}\n{forged}\n")
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 1 and "of the copy has a wrong signature" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("transport", ["udp", "unix"])
def test_datagrams_carry_one_message_each(tmp_path: Path, transport: str) -> None:
    taker = socket.socket(socket.AF_INET if transport == "udp" else socket.AF_UNIX, socket.SOCK_DGRAM)
    taker.bind(("127.0.0.1", 0) if transport == "udp" else str(tmp_path / "log"))
    address = f"127.0.0.1:{taker.getsockname()[1]}" if transport == "udp" else str(tmp_path / "log")
    sekisho = sekisho_with(tmp_path, f'[syslog]\naddress = "{address}"\ntransport = "{transport}"\n')
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.extend(iter(lambda: taker.recv(9000), b"")))
    thread.start()
    try:
        one = sekisho.customer()
        sekisho.start()
        until(lambda: position(sekisho) >= 0, sekisho.log_text)
        assert sekisho.login(one.contract_id, one.code()) == "Access-Accept"
        until(lambda: any(b" login.accepted [sekisho@" in message for message in found), sekisho.log_text)
        assert all(message.startswith((b"<86>1 ", b"<84>1 ")) for message in found)
    finally:
        sekisho.close()
        taker.shutdown(socket.SHUT_RD) if transport == "unix" else taker.connect(taker.getsockname())
        if transport == "udp":
            taker.send(b"")
        thread.join(5)
        taker.close()


def test_a_receiver_with_another_certificate_gets_nothing(tmp_path: Path) -> None:
    rsyslog = Rsyslog(tmp_path)
    other = Authority(tmp_path, "other")
    section = f'[syslog]\naddress = "127.0.0.1:{rsyslog.port}"\nca_file = "{other.file}"\n'
    sekisho = sekisho_with(tmp_path, section)
    try:
        rsyslog.start()
        one = sekisho.customer()
        sekisho.start()
        until(lambda: position(sekisho) >= 0, sekisho.log_text)
        assert sekisho.login(one.contract_id, one.code()) == "Access-Accept"
        until(lambda: "CERTIFICATE_VERIFY_FAILED" in sekisho.log_text(), sekisho.log_text)
        assert rsyslog.ids() == []
    finally:
        sekisho.close()
        rsyslog.stop()
