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

from tests.postgresql import Server
from tests.postgresql_pair import DATABASE, Pair, pair_of_servers
from tests.radius_peer import ACCEPT, REJECT, Peers, Where, access_request, names
from tests.sekisho import SECRET, STAFF, Customer, Sekisho, client_table

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
