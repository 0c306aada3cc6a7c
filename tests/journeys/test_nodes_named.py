"""Nodes of one store as processes: names, signs of life, audit rows, and one whose clock is wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otp_core.nodes.holder import has_ended
from otp_core.nodes.state import NodeState, state_of
from otp_core.store.nodes import nodes
from tests import postgresql
from tests.journeys.test_faults_clock import FAKETIME, with_faketime
from tests.radius_peer import ACCEPT, Peers, access_request, names
from tests.sekisho import SECRET, Sekisho, client_table

CODE = "127.0.1.1"
AWAY = 120
"""Seconds that the third node's clock is ahead."""

PATIENCE = 60.0
"""Seconds, on a busy machine."""


class Cluster:
    """Two nodes of one name, and a third on another machine's clock."""

    def __init__(self, folders: list[Path]) -> None:
        self.url = postgresql.store_in(folders[0])
        # From a file, which could be changed while it runs, libfaketime reads under a lock at each look at the clock:
        # of a process with several threads some then stood still.
        environment = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"+{AWAY}s", "DONT_FAKE_MONOTONIC": "1"}
        for folder in folders[1:]:
            shutil.copy(folders[0] / "master.key", folder / "master.key")
        clients, name = client_table("code", CODE, "code"), '[node]\nname = "{}"\n'
        self.one, self.two = (
            Sekisho(folder, clients, more=name.format("web"), database_url=self.url) for folder in folders[:2]
        )
        self.fast = Sekisho(
            folders[2], clients, more=name.format("fast"), database_url=self.url, environment=environment
        )
        self.all = (self.one, self.two, self.fast)

        self._customers = iter(self.one.crowd(20))

    def login(self, node: Sekisho, at: float | None = None) -> list[str]:
        """Of somebody who has not logged in yet."""
        customer = next(self._customers)
        with Peers(node.where, 1, CODE) as peers:
            return names([peers.ask(access_request(customer.contract_id, customer.code(at=at), secret=SECRET))])

    def nodes(self) -> dict[str, dict[str, Any]]:
        """By name, as `sekisho nodes` says."""
        command = [sys.executable, "-m", "sekisho", "--config", str(self.one.config), "nodes", "--json"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        return {line["name"]: line for line in map(json.loads, said.splitlines())}

    def stands(self, name: str) -> NodeState:
        """How a node stands."""
        with self.one.store.read() as connection:
            now, lines = self.one.store.database.time_ms(connection), nodes(connection)
        return next(state_of(line, now, has_ended) for line in lines if line.name == name)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    folders = [tmp_path / name for name in ("one", "two", "fast")]
    for folder in folders:
        folder.mkdir()
    made = Cluster(folders)
    try:
        yield made
        for node in made.all:
            assert node.traceback() == ""
    finally:
        for node in made.all:
            node.close()


@with_faketime
def test_two_nodes_of_one_name_and_one_whose_clock_is_wrong(cluster: Cluster) -> None:
    one, two, fast = cluster.all
    for node in (one, two):
        node.spawn()
    for node in (one, two):
        node.wait_for_log("serving", seconds=PATIENCE)
    if "node=web-2" in one.log_text():  # who came first
        one, two = two, one
    assert cluster.login(one) == cluster.login(two) == [ACCEPT]
    assert [row.node for row in one.audit(event="login.accepted")] == ["web", "web-2"]
    assert "node=web-2" in two.log_text()

    fast.spawn()
    fast.wait_for_log("serving", seconds=PATIENCE)
    said = fast.wait_for_log("the clock is not believed", seconds=PATIENCE)
    assert f"the clock stands {AWAY} s ahead of the database's and most other nodes'" in said
    assert cluster.login(fast, time.time() + AWAY) == ["silence"]
    found = cluster.nodes()
    assert {name: node["state"] for name, node in found.items()} == {
        "web": "serving",
        "web-2": "serving",
        "fast": "silent",
    }
    assert abs(found["fast"]["clock_offset_seconds"] - AWAY) < 5

    two.stop()
    assert cluster.stands("web-2") is NodeState.STOPPED
    one.kill()
    assert cluster.stands("web") is NodeState.ENDED
    since = len(one.log_text())
    one.spawn()
    one.wait_for_log("serving", seconds=PATIENCE, since=since)
    assert cluster.stands("web") is NodeState.SERVING, "its name is its own again, though nobody took leave"
