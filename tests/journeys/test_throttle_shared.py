"""Wrong passwords are counted for the store, and not by each process for itself."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.radius_peer import ACCEPT, REJECT, Packet, Peers, access_request, names
from tests.sekisho import PASSWORD, SECRET, Customer, Sekisho, client_table, free_port
from tests.web.portal import Portal, PortalClient

CLIENTS = client_table("gateway", "127.0.0.0/8", "password")
SLOW = "[throttle]\npassword_free_failures = 2\npassword_first_delay = 600\npassword_max_delay = 600\n"
STATION = 31
"""Calling-Station-Id (RFC 2865 §5.31)."""


def guess(customer: Customer, password: str, station: str) -> Packet:
    return access_request(customer.contract_id, password, secret=SECRET, more=[(STATION, station.encode())])


def reasons(sekisho: Sekisho, customer: Customer) -> list[str]:
    return [line.reason or "" for line in sekisho.audit(customer.contract_id, "login.rejected")]


def test_workers_and_pages_count_one_customers_wrong_passwords_together(tmp_path: Path) -> None:
    port = free_port()
    web = f'[web]\nlisten = "127.0.0.1:{port}"\npublic_origin = "http://localhost:{port}"\n'
    sekisho = Sekisho(tmp_path, CLIENTS, web + SLOW, listen=(f"127.0.0.1:{free_port()}",), workers=2)
    try:
        sekisho.start()
        taro, hanako = sekisho.customer(enrolled=False), sekisho.customer(enrolled=False)
        with Peers(sekisho.where, 4) as peers:
            for number, worker in enumerate(sekisho.workers_pids):
                os.kill(worker, signal.SIGSTOP)
                for port_there in range(4):
                    station = f"127.0.0.1:{4000 + 10 * number + port_there}"
                    assert names([peers.ask(guess(taro, f"wrong {port_there}", station))]) == [REJECT]
                os.kill(worker, signal.SIGCONT)
            assert sorted(reasons(sekisho, taro)) == ["too soon after wrong answers"] * 5 + ["wrong password"] * 3
            # The right one is not looked at either, at the pages neither; from elsewhere it is.
            assert names([peers.ask(guess(taro, PASSWORD, "127.0.0.1"))]) == [REJECT]
            client = PortalClient(Portal(sekisho, port))
            assert client.sign_in(taro).wrong
            assert client.sign_in(hanako).wrong == ""
            assert names([peers.ask(guess(taro, PASSWORD, "203.0.113.9"))]) == [ACCEPT]
        since = len(reasons(sekisho, taro))
        assert sekisho.stop() == 0
        sekisho.start()
        with Peers(sekisho.where, 4) as peers:
            assert names([peers.ask(guess(taro, PASSWORD, "127.0.0.1"))]) == [REJECT], "a restart forgets nothing"
        assert len(reasons(sekisho, taro)) == since + 1
    finally:
        sekisho.close()


def test_a_spray_over_customers_through_a_gateway_is_slowed(tmp_path: Path) -> None:
    """The same station in other words each time, and a right password to an own account in between."""
    slow = "[throttle]\nstation_free_failures = 5\n"
    with_deadline = "request_seconds = 1.0\n" + CLIENTS
    sekisho = Sekisho(tmp_path, with_deadline, slow, listen=(f"127.0.0.1:{free_port()}",), workers=2)
    try:
        sekisho.start()
        thief, *others = (sekisho.customer(enrolled=False) for _ in range(16))
        spellings = ["AA-BB-CC-DD-EE-FF", "aa:bb:cc:dd:ee:ff", "aabb.ccdd.eeff", "aabbccddeeff:Lobby", "AABBCCDDEEFF\0"]
        with Peers(sekisho.where, 4) as peers:
            for number, one in enumerate(others):
                peers.ask(guess(one, "wrong", spellings[number % 5]), wait=5)
                peers.ask(guess(thief, PASSWORD, spellings[number % 5]), wait=5)
            assert names([peers.ask(guess(others[0], PASSWORD, "AA-BB-CC-DD-EE-00"))]) == [ACCEPT]
        seen = [one for one in others if reasons(sekisho, one) == ["wrong password"]]
        assert 6 <= len(seen) <= 8, "six at once, and few with the delays that a loaded machine lets pass"
    finally:
        sekisho.close()
