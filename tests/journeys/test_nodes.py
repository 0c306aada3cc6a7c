"""Several nodes on one PostgreSQL: what holds between the workers of one machine holds between machines."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import postgresql
from tests.radius_peer import ACCEPT, CHALLENGE, REJECT, Packet, Peers, Reply, access_request, names
from tests.sekisho import PASSWORD, SECRET, STAFF, Sekisho, client_table

CODE, CHALLENGING = "127.0.1.1", "127.0.2.1"
WAIT = 30.0
"""Seconds for an answer, here and at the server: two nodes and their PostgreSQL share a machine with other tests."""
CLIENTS = f"request_seconds = {WAIT}\n" + client_table("code", CODE, "code")
CLIENTS += client_table("challenging", CHALLENGING, "challenge")

Nodes = tuple[Sekisho, Sekisho]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    one, two = (tmp_path_factory.mktemp(f"node{number}") for number in (1, 2))
    url = postgresql.store_in(one)
    shutil.copy(one / "master.key", two / "master.key")
    made = tuple(Sekisho(folder, CLIENTS, workers=2, database_url=url) for folder in (one, two))
    try:
        for node in made:
            node.start()
        yield made[0], made[1]
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


def test_of_one_code_at_two_nodes_at_once_one_is_accepted(nodes: Nodes) -> None:
    crowd = nodes[0].crowd(50)
    with Peers(nodes[0].where, 4, CODE) as first, Peers(nodes[1].where, 4, CODE) as second:
        for customer in crowd:
            code = customer.code()
            packets = [[access_request(customer.contract_id, code, secret=SECRET) for _ in range(2)] for _ in range(2)]
            assert Counter(names(ask_both((first, second), packets))) == {ACCEPT: 1, REJECT: 3}
    accepted = Counter(row.customer for row in nodes[0].audit(event="login.accepted"))
    assert {accepted[customer.contract_id] for customer in crowd} == {1}


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
