"""Audit events at real HTTP servers: the receiver of docs/webhooks.md, and ones that are slow, down, wrong, endless or
redirect. Each event comes at least once, in its order, with the same id, whoever was killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from aiohttp import web

from otp_core.outwards.condition import condition_of
from otp_core.outwards.position import position_of
from otp_core.seals.keys import create_seal_key
from otp_core.store.queries import AuditFilter, audit_rows
from tests.ldap.certificates import Authority
from tests.sekisho import Sekisho, client_table, free_port
from tests.webhooks import PAGE
from tests.webhooks.peers import Peer

METRICS = '[metrics]\nlisten = "127.0.0.1:0"\n'
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"


def blocks() -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def until(true: Callable[[], bool], what: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what()
        time.sleep(0.05)


def table(name: str, port: int, **more: str) -> str:
    lines = [f"{key} = {value}" for key, value in more.items()]
    url = f'url = "http://127.0.0.1:{port}/sekisho/path-as-good-as-a-password"'
    return "\n".join(["[[webhooks]]", f'name = "{name}"', url, 'secret_file = "hook.secret"', *lines, ""])


@contextmanager
def serving(folder: Path, tables: str) -> Iterator[Sekisho]:
    create_seal_key(folder / "audit.key")
    key = folder / "hook.secret"
    key.write_text(KEY)
    key.chmod(0o600)
    section = f'[audit]\nseal_key_file = "audit.key"\nseal_copy = "{folder}/seals"\n{tables}'
    sekisho = Sekisho(folder, client_table("gateway", "127.0.0.0/8", "code"), section)
    try:
        yield sekisho
    finally:
        sekisho.close()


def position(sekisho: Sekisho, name: str) -> int:
    found = position_of(sekisho.store, f"webhook-{name}").read()
    return -1 if found is None else found


def begun(sekisho: Sekisho, *names: str) -> dict[str, int]:
    """Started; where each webhook begins."""
    sekisho.start()
    until(lambda: all(position(sekisho, name) >= 0 for name in names), sekisho.log_text)
    return {name: position(sekisho, name) for name in names}


def wanted(sekisho: Sekisho, first: int, *beginnings: str) -> list[str]:
    with sekisho.store.read() as connection:
        rows = audit_rows(connection, AuditFilter(after=first), limit=10_000)
    return [f"audit_{row.id}" for row in rows if row.event.startswith(beginnings or ("",))]


def doctor(sekisho: Sekisho) -> str:
    command = [sys.executable, "-m", "sekisho", "--config", str(sekisho.config), "doctor"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


def figure(sekisho: Sekisho, family: str, name: str) -> float:
    port = re.findall(r"listening\s+at=127.0.0.1:(\d+) door=metrics", sekisho.log_text())[-1]
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as page:
        text = page.read().decode()
    found = re.search(rf'^{family}\{{outlet="webhook:{name}"\}} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else -1.0


def in_order_once(ids: list[str]) -> list[str]:
    """Without what came again."""
    return list(dict.fromkeys(ids))


def test_the_documents_receiver_verifies_and_prints_each_event(tmp_path: Path) -> None:
    settings, make_key, request, program = blocks()
    port, secret, receiver = free_port(), tmp_path / "fraud-desk.secret", tmp_path / "receiver.py"
    subprocess.run(make_key.replace("/etc/sekisho/fraud-desk.secret", str(secret)), shell=True, check=True)  # noqa: S602
    receiver.write_text(program)
    settings = settings.replace("https://fraud.example.jp", f"http://127.0.0.1:{port}")
    settings = settings.replace("/etc/sekisho/fraud-desk.secret", str(secret))
    settings = re.sub(r"^ca_file.*\n", "", settings, flags=re.MULTILINE)
    running = subprocess.Popen([sys.executable, receiver, str(port), str(secret)], stdout=subprocess.PIPE)
    try:
        with serving(tmp_path, settings) as sekisho:
            one = sekisho.customer()
            begun(sekisho, "fraud-desk")
            code = one.code()
            assert sekisho.login(one.contract_id, code) == "Access-Accept"  # accepted: not among the events
            assert sekisho.login(one.contract_id, code) == "Access-Reject"
            assert running.stdout is not None
            event, number, customer = running.stdout.readline().decode().split()
            (row,) = sekisho.audit(event="login.rejected")
            assert (event, int(number), customer) == ("login.rejected", row.id, one.contract_id)
            assert sekisho.traceback() == ""
            secret_text = secret.read_text().strip()
            assert secret_text not in sekisho.log_text() and code not in number
        shown = json.loads(request.partition("\n\n")[2])
        assert list(shown) == ["type", "timestamp", "data"]
    finally:
        running.kill()
        running.wait()
        assert running.stdout is not None
        running.stdout.close()


def test_one_that_hangs_delays_no_other_and_hears_of_everything_afterwards(tmp_path: Path) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        return web.Response()

    with Peer() as stuck, Peer() as well:
        stuck.answer = hang
        tables = METRICS + table("stuck", stuck.port, timeout="0.5", events='["login."]') + table("well", well.port)
        with serving(tmp_path, tables) as sekisho:
            crowd = sekisho.crowd(6)
            first = begun(sekisho, "stuck", "well")
            for one in crowd[:3]:
                assert sekisho.login(one.contract_id, one.code()) == "Access-Accept"
            until(lambda: set(wanted(sekisho, first["well"], "login.")) <= set(well.ids()), well.ids)
            until(lambda: "no answer in time" in sekisho.log_text(), sekisho.log_text)
            condition = condition_of(sekisho.store, "webhook-stuck")
            until(lambda: condition.read().failing_since > 0, sekisho.log_text)
            assert len(set(stuck.ids())) == 1
            until(lambda: figure(sekisho, "sekisho_outwards_failing_seconds", "stuck") > 0, sekisho.log_text)
            assert figure(sekisho, "sekisho_outwards_failing_seconds", "well") == 0
            assert re.search(r"^warn  webhook:stuck: .* wait for .*: no answer in time$", doctor(sekisho), re.MULTILINE)

            async def taken(_: web.Request) -> web.StreamResponse:
                return web.Response(text="thank you")

            stuck.answer = taken
            all_ = wanted(sekisho, first["stuck"], "login.")
            until(lambda: in_order_once(stuck.ids()) == all_, lambda: (stuck.ids(), all_, sekisho.log_text()))
            until(lambda: condition.read().failing_since == 0, sekisho.log_text)
            log = sekisho.log_text()
            assert "are taken again" in log and "path-as-good-as" not in log and KEY.strip() not in log
            assert {one.path for one in stuck.arrived} == {"/sekisho/path-as-good-as-a-password"}
            assert sekisho.traceback() == ""


def test_after_kill_9_and_an_outage_each_event_has_come_in_order_with_the_same_id(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, table("one", port, events='["login."]')) as sekisho:
        crowd = sekisho.crowd(8)
        with Peer(port) as peer:
            first = begun(sekisho, "one")["one"]

            async def slowly(_: web.Request) -> web.StreamResponse:
                await asyncio.sleep(0.2)
                return web.Response()

            peer.answer = slowly
            for one in crowd[:4]:
                assert sekisho.login(one.contract_id, one.code()) == "Access-Accept"
            until(lambda: len(peer.arrived) >= 2, sekisho.log_text)
            os.kill(sekisho.pids("webhook")[0], signal.SIGKILL)  # the kernel keeps 15 letters of a name
            until(lambda: in_order_once(peer.ids()) == wanted(sekisho, first, "login."), peer.ids)
            before = peer.ids()
        for one in crowd[4:6]:  # nobody is there
            assert sekisho.login(one.contract_id, one.code()) == "Access-Accept"
        until(lambda: "it cannot be reached" in sekisho.log_text(), sekisho.log_text)
        sekisho.kill()
        with Peer(port) as peer:
            sekisho.start()
            assert sekisho.login(crowd[6].contract_id, crowd[6].code()) == "Access-Accept"
            all_ = wanted(sekisho, first, "login.")
            until(lambda: in_order_once(before + peer.ids()) == all_, lambda: (before, peer.ids(), all_))
            assert len(all_) == 7


@pytest.mark.parametrize("kind", ["500", "302", "huge", "broken"])
def test_only_2xx_counts_and_no_answer_is_too_long(tmp_path: Path, kind: str) -> None:
    elsewhere: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/elsewhere":
            elsewhere.append(request.path)
            return web.Response()
        if kind == "500":
            return web.Response(status=500, text="x" * 100_000)
        if kind == "302":
            return web.Response(status=302, headers={"Location": "/elsewhere"})
        if kind == "broken":
            assert request.transport is not None
            request.transport.write(b"no HTTP at all\r\n\r\n")
            request.transport.close()
            return web.Response()
        response = web.StreamResponse()  # endless, and taken all the same
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)

    with Peer() as peer, serving(tmp_path, table("one", peer.port, events='["login."]')) as sekisho:
        peer.answer = answer
        crowd = sekisho.crowd(2)
        first = begun(sekisho, "one")["one"]
        for one in crowd:
            assert sekisho.login(one.contract_id, one.code()) == "Access-Accept"
        all_ = wanted(sekisho, first, "login.")
        if kind == "huge":
            until(lambda: peer.ids() == all_, lambda: (peer.ids(), sekisho.log_text()))
            until(lambda: position(sekisho, "one") >= int(all_[-1][6:]), sekisho.log_text)
        else:
            until(lambda: len(peer.arrived) >= 3, sekisho.log_text)
            assert set(peer.ids()) == {all_[0]} and elsewhere == [] and position(sekisho, "one") < int(all_[0][6:])
            told = {"500": "it answered 500", "302": "a redirect, which is not followed", "broken": "HTTP|ended"}[kind]
            assert re.search(told, sekisho.log_text())
        assert sekisho.traceback() == ""


def test_a_receiver_is_believed_by_its_certificate_alone(tmp_path: Path) -> None:
    import ssl
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    certificate, key = authority.issue("hooks", "127.0.0.1", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        good = table("good", server.server_port, ca_file=f'"{authority.file}"').replace("http:", "https:")
        bad = table("bad", server.server_port, ca_file=f'"{other.file}"').replace("http:", "https:")
        with serving(tmp_path, good + bad) as sekisho:
            one = sekisho.customer()
            begun(sekisho, "good", "bad")
            assert sekisho.login(one.contract_id, one.code()) == "Access-Accept"
            until(lambda: any(b"login.accepted" in body for body in bodies), sekisho.log_text)
            until(lambda: "no TLS with it" in sekisho.log_text(), sekisho.log_text)
            assert sekisho.log_text().count("no TLS with it") == 1 and "webhook:bad" in sekisho.log_text()
            assert len(set(bodies)) == len(bodies)
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
