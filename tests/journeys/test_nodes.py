"""Several nodes on one PostgreSQL: what holds between the workers of one machine holds between machines."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

from tests import postgresql
from tests.radius.freeradius import FRONT_SECRET, proxy
from tests.radius.tools import heard, login, program, radclient
from tests.radius_peer import ACCEPT, CHALLENGE, REJECT, Packet, Peers, Reply, access_request, names
from tests.sekisho import PASSWORD, SECRET, STAFF, Sekisho, client_table

CODE, CHALLENGING = "127.0.1.1", "127.0.2.1"
WAIT = 30.0
"""Seconds for an answer, here and at the server: the nodes and their PostgreSQL share a machine with other tests."""
CLIENTS = (
    f"request_seconds = {WAIT}\n" + client_table("front", "127.0.0.1", "code") + client_table("code", CODE, "code")
)
CLIENTS += client_table("challenging", CHALLENGING, "challenge")

CODES = 200
RADCLIENT = ("-x", "-p", "64", "-t", "2", "-r", "4")
"""64 requests at once; each of them is sent again every 2 s, up to four times."""

Nodes = tuple[Sekisho, Sekisho, Sekisho]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    one, *others = (tmp_path_factory.mktemp(f"node{number}") for number in (1, 2, 3))
    url = postgresql.store_in(one)
    for other in others:
        shutil.copy(one / "master.key", other / "master.key")
    first, second = (Sekisho(folder, CLIENTS, workers=2, database_url=url) for folder in (one, others[0]))
    made = first, second, Sekisho(others[1], CLIENTS, database_url=url)
    try:
        for node in made:
            node.start()
        yield made
        for node in made:
            assert node.traceback() == ""
    finally:
        for node in made:
            node.close()


def ask_both(peers: tuple[Peers, Peers], packets: list[list[Packet]]) -> list[Reply | None]:
    """Each node its packets, at the same time."""
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(peer.ask_all, some, wait=WAIT) for peer, some in zip(peers, packets, strict=True)]
        return [reply for one in asked for reply in one.result()]


def test_of_one_code_at_three_nodes_at_once_one_is_accepted(nodes: Nodes, tmp_path: Path) -> None:
    """The gateway's own request, through FreeRADIUS to the first node, and two others' with the same code."""
    crowd, asking = nodes[0].crowd(CODES), []
    codes = [(one.contract_id, one.code()) for one in crowd]
    with proxy(tmp_path / "front", *(node.port for node in nodes)) as front:
        for port, secret in ((front.port, FRONT_SECRET), *((node.port, SECRET) for node in nodes[1:])):
            command = [program("radclient"), *RADCLIENT, f"127.0.0.1:{port}", "auth", secret]
            asking.append(
                subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True, errors="replace")
            )
        lines = "\n\n".join(f"{login(name, code)},Message-Authenticator=0x00" for name, code in codes)
        with ThreadPoolExecutor(len(asking)) as pool:
            printed = [out for out, _ in pool.map(lambda one: one.communicate(lines, 60), asking)]
        verdicts = Counter(re.findall(r"^Received (Access-Accept|Access-Reject) ", "".join(printed), re.M))
        assert verdicts[ACCEPT] == CODES and set(verdicts) == {ACCEPT, REJECT}
        accepted = Counter(row.customer for row in nodes[0].audit(event="login.accepted"))
        assert {accepted[name] for name, _ in codes} == {1}


def test_a_node_that_is_lost_is_replaced_by_the_next_of_the_pool(nodes: Nodes, tmp_path: Path) -> None:
    one = nodes[0].crowd(1)[0]
    request = login(one.contract_id, one.code())
    assert nodes[0].process is not None
    os.killpg(nodes[0].process.pid, signal.SIGSTOP)
    try:
        with proxy(tmp_path / "front", *(node.port for node in nodes), window=1, zombie=1) as front:
            answers = [heard(radclient(front.port, request, secret=FRONT_SECRET, wait=3)) for _ in range(3)]
    finally:
        os.killpg(nodes[0].process.pid, signal.SIGCONT)
    assert ACCEPT in answers, answers


def test_every_wrong_code_counts_at_whichever_node_it_is_tried(nodes: Nodes) -> None:
    customer = nodes[0].customer("")
    with Peers(nodes[0].where, 2, CODE) as first, Peers(nodes[1].where, 2, CODE) as second:
        packets = [[access_request(customer.contract_id, "000000", secret=SECRET)] for _ in range(2)]
        assert names(ask_both((first, second), packets)) == [REJECT, REJECT]
    record = nodes[1].desk.customers.login_record(customer.contract_id)
    assert record.failures in (1, 2), "one of them may have come while the delay behind the other ran"
    assert len(nodes[0].audit(customer.contract_id, "login.rejected")) == 2


def test_a_retransmission_to_another_node_gets_the_same_answer(nodes: Nodes) -> None:
    (customer,) = nodes[0].crowd(1)
    packet = access_request(customer.contract_id, customer.code(), secret=SECRET)
    with Peers(nodes[0].where, 1, CODE) as first, Peers(nodes[1].where, 1, CODE) as second:
        assert names([first.ask(packet, wait=WAIT), second.ask(packet, wait=WAIT)]) == [ACCEPT, ACCEPT]
    assert len(nodes[0].audit(customer.contract_id, "login.accepted")) == 1


def test_a_challenge_of_one_node_is_answered_at_another_once(nodes: Nodes) -> None:
    customer = nodes[0].customer()
    with Peers(nodes[0].where, 1, CHALLENGING) as first, Peers(nodes[1].where, 4, CHALLENGING) as second:
        asked = first.ask(access_request(customer.contract_id, PASSWORD, secret=SECRET), wait=WAIT)
        assert asked is not None and asked.name == CHALLENGE
        answers = [
            access_request(customer.contract_id, code, secret=SECRET, state=asked.state)
            for code in (customer.code(), customer.code(1)) * 2
        ]
        assert Counter(names(second.ask_all(answers, wait=WAIT)))[ACCEPT] == 1


def test_what_the_desk_has_done_at_one_node_holds_at_the_other_at_once(nodes: Nodes) -> None:
    for customer in nodes[0].crowd(10):
        nodes[0].desk.customers.lock(customer.contract_id, STAFF)
        with Peers(nodes[1].where, 1, CODE) as peers:
            assert names([peers.ask(access_request(customer.contract_id, customer.code(), secret=SECRET))]) == [REJECT]
