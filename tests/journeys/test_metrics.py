"""/metrics, /healthz and /readyz of a real server, asked as Prometheus or a load balancer would."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from otp_core.store.sqlite import driver
from sekisho.metrics.families import FAMILIES
from tests.sekisho import PASSWORD, SECRET, Customer, Sekisho, client_table, free_port, running

METRICS = '[metrics]\nlisten = "127.0.0.1:0"\n'
WEB = '[web]\nlisten = "127.0.0.1:0"\n'
DOCS = Path(__file__).parent.parent.parent / "docs" / "metrics.md"


class Watcher:
    """Whoever asks a server's metrics."""

    def __init__(self, sekisho: Sekisho) -> None:
        found = re.findall(r"listening\s+at=127.0.0.1:(\d+) door=metrics", sekisho.log_text())
        self.port = int(found[-1])

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read(), dict(response.getheaders())
        finally:
            connection.close()

    def samples(self) -> dict[str, float]:
        """By name and labels, as they stand in the page."""
        status, text, _ = self.ask("/metrics")
        assert status == 200
        found = {}
        for family in text_string_to_metric_families(text.decode()):
            for one in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sorted(one.labels.items()))
                found[f"{one.name}{{{labels}}}"] = one.value
        return found

    def logins(self) -> dict[str, float]:
        """Verdicts by their reason, over all doors and clients."""
        total: dict[str, float] = {}
        for key, value in self.samples().items():
            if key.startswith("sekisho_logins_total"):
                reason = re.findall("reason=([^,}]*)", key)[0]
                total[reason] = total.get(reason, 0) + value
        return total

    def readiness(self) -> tuple[int, dict[str, Any]]:
        status, text, _ = self.ask("/readyz")
        return status, json.loads(text)


@contextmanager
def watched(folder: Path, more: str = METRICS, **options: object) -> Iterator[tuple[Sekisho, Watcher]]:
    with running(folder, "code", more=more, **options) as sekisho:
        yield sekisho, Watcher(sekisho)


def until(true: Callable[[], bool], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def log_in(sekisho: Sekisho, crowd: list[Customer]) -> None:
    """One after another, each from a new socket, so that both workers get some; each code twice."""
    for one in crowd:
        code = one.code()
        assert sekisho.login(one.contract_id, code) == "Access-Accept"
        assert sekisho.login(one.contract_id, code) == "Access-Reject"


def test_the_figures_are_those_of_all_processes_and_outlive_each_of_them(tmp_path: Path) -> None:
    with watched(tmp_path, workers=2) as (sekisho, watcher):
        log_in(sekisho, sekisho.crowd(6))
        assert sekisho.login("nobody", "123456") == "Access-Reject"
        sekisho.radclient('User-Name="taro",User-Password="1"', secret="another-secret-of-someone")
        wanted = {"right-code": 6.0, "reused-code": 6.0, "unknown-customer": 1.0}
        until(lambda: watcher.logins() == wanted)
        samples = watcher.samples()
        assert samples["sekisho_login_seconds_count{door=radius}"] == 13
        assert 0 < samples["sekisho_login_seconds_sum{door=radius}"] < 60
        assert samples["sekisho_batch_logins_sum{}"] == 13
        assert samples["sekisho_flush_seconds_count{}"] == samples["sekisho_batch_logins_count{}"]
        assert samples["sekisho_datagrams_dropped_total{cause=wrong-message-authenticator}"] >= 1
        assert samples["sekisho_processes_up{process=radius}"] == 2
        assert samples["sekisho_store_readable{}"] == 1
        assert sekisho.store.database.file is None or samples["sekisho_store_bytes{}"] > 4096

        for pid in sekisho.workers_pids:
            os.kill(pid, signal.SIGKILL)
        until(lambda: watcher.samples()["sekisho_process_restarts_total{process=radius}"] == 2)
        until(lambda: watcher.samples()["sekisho_processes_up{process=radius}"] == 2)
        assert watcher.logins() == wanted
        log_in(sekisho, sekisho.crowd(1))
        until(lambda: watcher.logins() == {"right-code": 7.0, "reused-code": 7.0, "unknown-customer": 1.0})


def test_no_figure_names_a_customer_a_token_an_address_or_a_secret(tmp_path: Path) -> None:
    with watched(tmp_path, METRICS + WEB) as (sekisho, watcher):
        one = sekisho.customer()
        log_in(sekisho, [one])
        sekisho.login("密かな合言葉", PASSWORD)
        until(lambda: len(watcher.logins()) == 3)
        text = watcher.ask("/metrics")[1].decode() + watcher.ask("/readyz")[1].decode()
        hidden = (one.contract_id, one.token_id, one.code(), PASSWORD, SECRET, "密かな", "127.0.0.1", "master.key")
        assert not [secret for secret in hidden if secret in text]


def test_what_is_served_is_what_the_document_has_and_promtool_finds_no_fault(tmp_path: Path) -> None:
    with watched(tmp_path) as (_, watcher):
        status, text, headers = watcher.ask("/metrics")
        assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        assert re.findall(r"^# TYPE (\w+) (\w+)$", text.decode(), re.MULTILINE) == [
            (one.name, one.kind) for one in FAMILIES
        ]
        promtool = shutil.which("promtool")
        assert promtool, "Debian's prometheus is not installed: make system"
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_the_documents_scrape_configuration_asks_where_the_server_listens() -> None:
    text = DOCS.read_text()
    (listen,) = re.findall(r'^listen = "(.*)"$', text, re.MULTILINE)
    (target,) = re.findall(r'targets: \["(.*)"\]', text)
    assert listen == target  # metrics_path and scheme are Prometheus' defaults, /metrics and http


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
def test_only_get_and_head(one_server: Watcher, method: str, path: str) -> None:
    status, _, headers = one_server.ask(path, method, b"x" * 10_000)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_head_has_no_body_and_nothing_else_is_there(one_server: Watcher) -> None:
    for path in ("/metrics", "/healthz", "/readyz"):
        status, body, headers = one_server.ask(path, "HEAD")
        assert (status, body) == (200, b"")
        assert headers["Cache-Control"] == "no-store" and headers["Server"] == "Sekisho"
    for path in ("/", "/metrics/", "/metrics/../readyz", "/favicon.ico", "/%6Detrics", "//metrics"):
        assert one_server.ask(path)[0] == 404
    assert one_server.ask("/healthz?verbose")[:2] == (200, b"ok\n")


@pytest.mark.parametrize("target", [b"OPTIONS *", b"CONNECT evil.example:443"])
def test_what_no_route_matches_is_answered_as_everything_else(one_server: Watcher, target: bytes) -> None:
    with socket.create_connection(("127.0.0.1", one_server.port), timeout=60) as connection:
        connection.sendall(target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(1000), b""))
    assert answer.startswith(b"HTTP/1.1 405 ") and b"nosniff" in answer and b"aiohttp" not in answer


def test_connections_that_ask_for_nothing_keep_nobody_out(one_server: Watcher) -> None:
    held = [socket.create_connection(("127.0.0.1", one_server.port)) for _ in range(150)]
    try:
        for one in held:
            one.send(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        for _ in range(5):
            assert one_server.ask("/healthz")[0] == 200
    finally:
        for one in held:
            one.close()


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watcher]:
    with watched(tmp_path_factory.mktemp("metrics")) as (_, watcher):
        yield watcher


@pytest.mark.sqlite_files
def test_ready_while_logins_are_answered_and_not_while_the_store_takes_no_write(tmp_path: Path) -> None:
    with watched(tmp_path, workers=2) as (sekisho, watcher):
        assert watcher.readiness() == (200, {"ready": True, "reasons": [], "remarks": []})
        holder = driver.connect(str(sekisho.database), timeout=5, isolation_level=None)
        try:
            holder.execute("BEGIN IMMEDIATE")
            until(lambda: watcher.readiness()[0] == 503)
            status, found = watcher.readiness()
            assert (status, found["ready"]) == (503, False)
            assert all(reason.startswith("radius: store") for reason in found["reasons"])
            assert watcher.ask("/healthz")[0] == 200  # the loop lives
            holder.execute("ROLLBACK")
        finally:
            holder.close()
        until(lambda: watcher.readiness()[0] == 200)


def test_not_ready_while_a_process_that_answers_logins_is_stopped(tmp_path: Path) -> None:
    with watched(tmp_path, workers=2) as (sekisho, watcher):

        def stops_one() -> bool:
            """One that has the store's turn just then is ended by whoever waits for it: then another one."""
            if not stopped or stopped[-1] not in sekisho.workers_pids:
                stopped.append(sekisho.workers_pids[0])
                os.kill(stopped[-1], signal.SIGSTOP)
            return watcher.readiness()[0] == 503

        stopped: list[int] = []
        try:
            until(stops_one)
            assert watcher.readiness()[1]["reasons"][0].startswith("radius: a process ")
            until(lambda: watcher.samples()["sekisho_processes_up{process=radius}"] == 1)
            assert watcher.ask("/healthz")[0] == 200
        finally:
            os.kill(stopped[-1], signal.SIGCONT)
        until(lambda: watcher.readiness()[0] == 200)


def test_the_customers_pages_take_no_gateways_server_out_of_use(tmp_path: Path) -> None:
    with watched(tmp_path, METRICS + WEB) as (sekisho, watcher):
        (pid,) = sekisho.pids("web")
        os.kill(pid, signal.SIGSTOP)
        try:
            until(lambda: bool(watcher.readiness()[1]["remarks"]))
            status, found = watcher.readiness()
            assert status == 200 and found["remarks"][0].startswith("web: a process ")
        finally:
            os.kill(pid, signal.SIGCONT)


def test_logins_go_on_without_the_metrics_process_and_another_takes_its_place(tmp_path: Path) -> None:
    more = METRICS.replace(":0", f":{free_port()}")
    with watched(tmp_path, more) as (sekisho, watcher):
        log_in(sekisho, sekisho.crowd(1))
        until(lambda: watcher.logins() == {"right-code": 1.0, "reused-code": 1.0})
        (pid,) = sekisho.pids("metrics")
        os.kill(pid, signal.SIGKILL)
        log_in(sekisho, sekisho.crowd(1))
        sekisho.wait_for_log("role=metrics", times=3)
        until(lambda: bool(sekisho.pids("metrics")) and answers(watcher))
        until(lambda: watcher.logins() == {"right-code": 2.0, "reused-code": 2.0})


def answers(watcher: Watcher) -> bool:
    try:
        return watcher.ask("/healthz")[0] == 200
    except OSError:
        return False


def test_without_the_section_nothing_listens_and_nothing_is_written(tmp_path: Path) -> None:
    with running(tmp_path, "code") as sekisho:
        assert not sekisho.pids("metrics")
        assert "metrics" not in sekisho.log_text()


def test_an_address_that_is_taken_is_said_at_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        sekisho = Sekisho(
            tmp_path, client_table("gateway", "127.0.0.0/8", "code"), more=METRICS.replace(":0", f":{port}")
        )
        try:
            process = sekisho.spawn()
            assert process.wait(30) != 0
            sekisho.process = None
            assert f"cannot listen at 127.0.0.1:{port}" in sekisho.log_text()
        finally:
            sekisho.close()
