"""The primary is killed under load, and its synchronous standby takes over: no code twice, no acknowledged login
lost.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.journeys.faults import as_root
from tests.postgresql import QUICK, USER, Server
from tests.postgresql_pair import DATABASE, Pair, pair_of_servers
from tests.radius.tools import library
from tests.radius_peer import ACCEPT, REJECT, Packet, Peers, Where, access_request, names
from tests.sekisho import SECRET, STAFF, Customer, Sekisho, client_table, free_port, mounted

CODE = "127.0.1.1"
CLIENTS = "request_seconds = 3.0\n" + client_table("code", CODE, "code")
SILENT = "silence"
_ASKING, _CROWD = 8, 1200


@pytest.fixture
def pair() -> Iterator[Pair]:
    with pair_of_servers(synchronous=True) as made:
        yield made


@dataclass
class Load:
    """Gateways that ask for each customer once, with the same octets until they are answered."""

    server: Where
    waiting: list[Customer]
    answered: list[tuple[Customer, str, str]] = field(default_factory=list)
    longest: float = 0.0

    def _next(self) -> Customer | None:
        with contextlib.suppress(IndexError):
            return self.waiting.pop()
        return None

    def run(self) -> None:
        with Peers(self.server, 1, CODE) as peers:
            while (customer := self._next()) is not None:
                code = customer.code()
                packet, begun = access_request(customer.contract_id, code, secret=SECRET), time.monotonic()
                for _ in range(25):
                    reply = peers.ask(packet, wait=1.0)
                    if reply is not None:
                        self.answered.append((customer, code, reply.name))
                        self.longest = max(self.longest, time.monotonic() - begun)
                        break


@pytest.fixture
def alone() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="sekisho-pg-"))
    server = Server(folder).create()
    try:
        server.start().create_database(DATABASE)
        yield server
    finally:
        server.stop(3)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_database_that_stands_still_is_silence_and_no_process_ends_for_it(alone: Server, tmp_path: Path) -> None:
    """Its machine goes on to acknowledge packets, so that no time-out of TCP ever ends the wait."""
    sekisho = Sekisho(tmp_path, CLIENTS, workers=1, database_url=alone.url(DATABASE))
    try:
        before, during, after = sekisho.start().crowd(3)
        pids = sekisho.children
        with Peers(sekisho.where, 1, CODE) as peers:
            assert names([peers.ask(access_request(before.contract_id, before.code(), secret=SECRET))]) == [ACCEPT]
            with alone.standing_still():
                assert peers.ask(access_request(during.contract_id, during.code(), secret=SECRET), wait=9.0) is None
            end, verdict = time.monotonic() + 10, [SILENT]
            while verdict == [SILENT] and time.monotonic() < end:
                packet = access_request(after.contract_id, after.code(), secret=SECRET)
                verdict = [reply.name if reply else SILENT for reply in (peers.ask(packet, wait=1.0),)]
            assert verdict == [ACCEPT]
        assert (sekisho.children, sekisho.traceback()) == (pids, "")
    finally:
        sekisho.close()


def test_no_code_twice_and_no_acknowledged_login_lost_when_the_primary_is_killed(pair: Pair, tmp_path: Path) -> None:
    sekisho = Sekisho(tmp_path, CLIENTS, workers=2, database_url=pair.url)
    try:
        sekisho.start()
        load = Load(sekisho.where, sekisho.crowd(_CROWD))
        threads = [threading.Thread(target=load.run) for _ in range(_ASKING)]
        for thread in threads:
            thread.start()
        while len(load.answered) < _CROWD / 6:
            time.sleep(0.01)
        pair.fail_over()
        for thread in threads:
            thread.join(60)
        verdicts = Counter(verdict for _, _, verdict in load.answered)
        assert verdicts == {ACCEPT: _CROWD}, "each of them, whichever server answered in the end"
        accepted = Counter(row.customer for row in sekisho.audit(event="login.accepted"))
        assert accepted == {customer.contract_id: 1 for customer, _, _ in load.answered}
        again = [access_request(one.contract_id, code, secret=SECRET) for one, code, _ in load.answered]
        with Peers(sekisho.where, 4, CODE) as peers:
            assert set(names(peers.ask_all(again, wait=10))) == {REJECT}, "by another request, a code is spent"
        assert sekisho.traceback() == ""
        one = load.answered[0][0]
        sekisho.desk.customers.lock(one.contract_id, STAFF)  # over the connections of a command that lay idle meanwhile
        assert load.longest < 15, "seconds; the promotion included"
    finally:
        sekisho.close()


def test_a_name_that_the_dns_gives_another_address_is_followed(tmp_path: Path) -> None:
    """It is looked up anew for each connection. The old primary goes on, and is older than what was seen."""
    hosts, port = tmp_path / "hosts", free_port()
    hosts.write_text("127.0.0.2 database.example\n")
    looked_up = {"LD_PRELOAD": library("libnss_wrapper.so"), "NSS_WRAPPER_HOSTS": str(hosts)}
    with pair_of_servers(*QUICK, synchronous=False, port=port, hosts=("127.0.0.2", "127.0.0.3")) as pair:
        for server in (pair.primary, pair.standby):
            with (server.data / "pg_hba.conf").open("a") as file:
                file.write("host all all 127.0.0.0/8 trust\n")
            server.reload()
        own = pair.url
        sekisho = Sekisho(tmp_path, CLIENTS, environment=looked_up, database_url=own)
        url = f"postgresql://{USER}@database.example:{port}/{DATABASE}?sslmode=disable"
        sekisho.config.write_text(sekisho.config.read_text().replace(own, url))
        try:
            before, after = sekisho.start().crowd(2)
            pids = sekisho.children
            with Peers(sekisho.where, 1, CODE) as peers:
                assert names([peers.ask(access_request(before.contract_id, before.code(), secret=SECRET))]) == [ACCEPT]
                pair.standby.promote()
                hosts.write_text("127.0.0.3 database.example\n")
                pair.primary.kill()
                packet = access_request(after.contract_id, after.code(), secret=SECRET)
                assert ask_until_answered(peers, packet) == ACCEPT
            with pair.standby.connect(DATABASE) as new:
                assert new.execute("SELECT count(*) FROM audit WHERE event = 'login.accepted'").fetchone() == (2,)
            assert (sekisho.children, sekisho.traceback()) == (pids, "")
        finally:
            sekisho.close()


@as_root
def test_a_full_disk_of_the_database_is_silence_until_there_is_room(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="sekisho-pg-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        disk = stack.enter_context(mounted(folder / "disk", "-t", "tmpfs", "-o", "size=160m", "none"))
        (disk / "server").mkdir()
        server = Server(disk / "server", *QUICK).create().start()
        stack.callback(server.stop, 3)
        server.create_database(DATABASE)
        sekisho = Sekisho(tmp_path, CLIENTS, database_url=server.url(DATABASE))
        stack.callback(sekisho.close)
        crowd = sekisho.start().crowd(400)
        pids, filling = sekisho.children, disk / "filling"
        told, verdict = [], ACCEPT
        with Peers(sekisho.where, 1, CODE) as peers:
            with contextlib.suppress(OSError), filling.open("wb", 0) as file:
                while True:
                    file.write(bytes(4096))
            while verdict == ACCEPT:
                customer = crowd.pop()
                packet = access_request(customer.contract_id, customer.code(), secret=SECRET)
                reply = peers.ask(packet, wait=4.0)
                verdict = reply.name if reply else SILENT
                told.append((customer.contract_id, verdict))
            assert verdict == SILENT, "the database takes no row more"
            filling.unlink()
            assert ask_until_answered(peers, packet) == ACCEPT, "the same login, when there is room"
        accepted = {row.customer for row in sekisho.audit(event="login.accepted")}
        assert accepted == {name for name, _ in told}
        assert (sekisho.children, sekisho.traceback()) == (pids, "")


def ask_until_answered(peers: Peers, packet: Packet) -> str:
    """The same octets, as a gateway sends them again."""
    for _ in range(25):
        reply = peers.ask(packet, wait=1.0)
        if reply is not None:
            return reply.name
    return SILENT
