"""One of three RADIUS servers hangs: its own logins hear silence, and everybody else's are answered meanwhile. (What
they feel of it in time, benchmarks/hung.py measures.)
"""

from __future__ import annotations

from pathlib import Path

from tests.radius_peer import ACCEPT, Peers, access_request
from tests.sekisho import PASSWORD, SECRET, Sekisho, client_table
from tests.upstreams.freeradius import settings_of
from tests.upstreams.raw import RawUpstream, silent


def tables(at: int, port: int) -> str:
    return settings_of(port, timeout=4.0).replace('"core', f'"core-{at}')


def test_a_hung_server_keeps_its_own_logins_waiting_and_nobody_elses(tmp_path: Path) -> None:
    with RawUpstream() as first, RawUpstream() as second, RawUpstream(silent, answers_status=False) as third:
        servers = (first, second, third)
        clients = "".join(
            client_table(f"gw-{at}", f"127.0.0.{at + 2}", "password", first_factor=f'"core-{at}-passwords"')
            for at in range(3)
        )
        more = "".join(tables(at, one.port) for at, one in enumerate(servers))
        sekisho = Sekisho(tmp_path, clients=clients, more=more).start()
        try:
            crowd = sekisho.crowd(300)
            requests = [
                access_request(one.contract_id, PASSWORD, secret=SECRET, identifier=number % 200)
                for number, one in enumerate(crowd)
            ]
            where = ("127.0.0.1", sekisho.port)
            with Peers(where, source="127.0.0.4") as hanging:
                hanging.ask_all(requests[:200], wait=0.1)  # under way from here on, and without an answer
                for at in range(2):
                    with Peers(where, source=f"127.0.0.{at + 2}") as peers:
                        replies = peers.ask_all(requests[200:], wait=3.0)
                        assert [reply.name if reply else "silence" for reply in replies] == [ACCEPT] * 100
                assert len(third.logins) >= 200, "they wait there all the while"
                third.answer = first.answer
                (reply,) = hanging.ask_all([access_request(crowd[0].contract_id, PASSWORD, secret=SECRET)])
                assert reply is not None and reply.name == ACCEPT, "it needs no restart when it answers again"
        finally:
            sekisho.close()
