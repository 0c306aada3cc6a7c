"""A store is upgraded while logins go on, and two versions serve it at once: no login is lost, no code accepted twice.

The next version is this source with two migrations more, the one before comes from the repository (tests/versions.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from otp_core.store.schema import REVISION
from tests import postgresql
from tests.radius_peer import ACCEPT, REJECT, Peers, access_request, names
from tests.sekisho import SECRET, STAFF, Customer, Sekisho, client_table
from tests.versions import CONTRACTS, EXPANDS, next_version, previous_version, running

SOURCE = "127.0.1.1"
CLIENTS = client_table("code", SOURCE, "code")


class Node(Sekisho):
    """A machine with one version: all of its programs run that source."""

    def run(self, *words: str, code: int = 0) -> str:
        """What a command says, on both streams."""
        command = [sys.executable, "-m", "sekisho", "--config", str(self.config), *words]
        done = subprocess.run(
            command,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, done.stdout
        return done.stdout


@contextmanager
def two_nodes(folder: Path, engine: str, one: Path | None, two: Path | None) -> Iterator[tuple[Node, Node]]:
    """On one store, each of a source; None: this one. They are not started yet."""
    folders = [folder / name for name in ("one", "two")]
    for each in folders:
        each.mkdir()
    url = postgresql.store_in(folders[0]) if engine == "postgresql" else f"sqlite:///{folders[0]}/s.db"
    nodes: list[Node] = []
    for each, tree in zip(folders, (one, two), strict=True):
        if nodes:
            shutil.copy(folders[0] / "master.key", each)
        nodes.append(Node(each, CLIENTS, environment=running(tree) if tree else {}, database_url=url))
    try:
        yield nodes[0], nodes[1]
        for node in nodes:
            assert node.traceback() == ""
    finally:
        for node in nodes:
            node.close()


class Logins:
    """One customer after another logs in at a node, each with a code of their own, until it is stopped."""

    def __init__(self, node: Node, crowd: list[Customer]) -> None:
        self._where, self._crowd, self._stop = node.where, crowd, threading.Event()
        self.answers: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._go_on)

    def _go_on(self) -> None:
        with Peers(self._where, 1, SOURCE) as peers:
            for one in self._crowd:
                if self._stop.wait(0.05):
                    return
                (answer,) = names([peers.ask(access_request(one.contract_id, one.code(), secret=SECRET), wait=8)])
                self.answers[answer] += 1

    def __enter__(self) -> Logins:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)
        assert self.answers.keys() == {ACCEPT} and self.answers[ACCEPT] >= 3


def check_one_code_is_accepted_once(one: Node, two: Node, crowd: list[Customer]) -> None:
    """Each customer's code at both versions at the same time, twice."""
    with Peers(one.where, 2, SOURCE) as first, Peers(two.where, 2, SOURCE) as second, ThreadPoolExecutor(2) as pool:
        for customer in crowd:
            code = customer.code()
            packets = [access_request(customer.contract_id, code, secret=SECRET) for _ in range(4)]
            asked = [
                pool.submit(peers.ask_all, some, wait=8)
                for peers, some in ((first, packets[:2]), (second, packets[2:]))
            ]
            answers = Counter(names([reply for each in asked for reply in each.result()]))
            assert answers == {ACCEPT: 1, REJECT: 3}, customer
    accepted = Counter(row.customer for row in one.audit(event="login.accepted"))
    assert {accepted[customer.contract_id] for customer in crowd} == {1}


def check_what_one_does_holds_at_the_other(other: Node, this: Node, crowd: list[Customer]) -> None:
    """``this``: of this source, whose desk this process has."""
    locked, unlocked = crowd
    other.run("customer", "lock", locked.contract_id)
    other.desk.customers.lock(unlocked.contract_id, STAFF)
    other.run("customer", "unlock", unlocked.contract_id)
    with Peers(this.where, 1, SOURCE) as peers:
        packets = [access_request(one.contract_id, one.code(), secret=SECRET) for one in crowd]
        assert names(peers.ask_all(packets, wait=8)) == [REJECT, ACCEPT]


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_store_is_upgraded_while_it_is_served(tmp_path: Path, engine: str) -> None:
    (tmp_path / "next").mkdir()
    with two_nodes(tmp_path, engine, None, next_version(tmp_path / "next")) as (old, new):
        crowd = old.crowd(400)
        assert "too new for the store" in (said := new.run("serve", code=4)) and "run `sekisho init`" in said
        old.start()
        with Logins(old, crowd[100:]):
            assert f"from {REVISION} to {EXPANDS}" in (said := new.run("init"))
            assert f"`sekisho init --contract` when none runs any more ({CONTRACTS})" in said
            new.start()
        check_one_code_is_accepted_once(old, new, crowd[:10])
        check_what_one_does_holds_at_the_other(new, old, crowd[20:22])
        assert old.stop() == 0
        old.start()  # it may be started again
        assert "would be shut out" in (said := new.run("init", "--contract", code=4)) and "the node " in said
        with Logins(new, crowd[50:100]):
            assert old.stop() == 0
            for node in (old, new):
                node.store.engine.dispose()  # this process is one of the older version, too
            assert f"from {EXPANDS} to {CONTRACTS}" in new.run("init", "--contract")
        assert "too old for the store" in old.run("serve", code=4)
        with Peers(new.where, 1, SOURCE) as peers:
            packet = access_request(crowd[49].contract_id, crowd[49].code(), secret=SECRET)
            assert names([peers.ask(packet, wait=8)]) == [ACCEPT]


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_the_version_before_serves_beside_this_one(tmp_path: Path, engine: str) -> None:
    """In a checkout without history it is this one."""
    (tmp_path / "before").mkdir()
    with two_nodes(tmp_path, engine, previous_version(tmp_path / "before"), None) as (before, this):
        crowd = this.crowd(130)
        before.start()
        with Logins(before, crowd[30:]):
            this.start()
        check_one_code_is_accepted_once(before, this, crowd[:10])
        check_what_one_does_holds_at_the_other(before, this, crowd[20:22])
