"""A form that is sent twice acts once, also where two processes of one store are sent it at the same moment."""

from __future__ import annotations

import http.client
import shutil
import threading
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from otp_core.audit import Event, Ids
from otp_core.model import Role
from otp_core.store.find import keys_of
from otp_core.store.store import initialise
from tests import postgresql
from tests.sekisho import STAFF, Customer, Sekisho, client_table, free_port
from tests.web.console import Console, ConsoleClient
from tests.web.portal import Portal, PortalClient

TIMES = 12
"""Forms that are sent twice at once: with a few of them two processes would get by without meeting."""


class Two(NamedTuple):
    """Two servers of one store, each with its console and its pages."""

    nodes: tuple[Sekisho, Sekisho]
    consoles: tuple[int, int]
    portals: tuple[int, int]


@contextmanager
def two(folder: Path, url: str) -> Iterator[Two]:
    made, consoles, portals = [], [], []
    if url.startswith("sqlite:"):
        initialise(url, folder / "master.key", ids=Ids(), say=lambda _: None)
    for name in ("one", "other"):
        (folder / name).mkdir()
        shutil.copy(folder / "master.key", folder / name / "master.key")
        console, portal = (free_port() for _ in range(2))
        more = f'[console]\nlisten = "127.0.0.1:{console}"\npublic_origin = "http://localhost:{console}"\n'
        more += f'approvals = []\n[web]\nlisten = "127.0.0.1:{portal}"\npublic_origin = "http://localhost:{portal}"\n'
        clients = client_table("gateway", "127.0.0.0/8", "challenge")
        made.append(Sekisho(folder / name, clients=clients, more=more, database_url=url))
        consoles.append(console)
        portals.append(portal)
    try:
        for node in made:
            node.start()
        yield Two((made[0], made[1]), (consoles[0], consoles[1]), (portals[0], portals[1]))
        for node in made:
            assert node.traceback() == ""
    finally:
        for node in made:
            node.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def at(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("two")
    with two(folder, f"sqlite:///{folder}/s.db" if request.param == "sqlite" else postgresql.store_in(folder)) as both:
        yield both


def send(port: int, path: str, cookies: dict[str, str], fields: dict[str, str], together: threading.Barrier) -> str:
    """Where the answer leads."""
    body = urllib.parse.urlencode(fields)
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    headers |= {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    with closing(http.client.HTTPConnection("localhost", port, timeout=60)) as connection:
        connection.connect()
        together.wait(60)
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 303, answer.status
        return str(answer.headers["Location"])


def send_to_both(ports: tuple[int, int], cookies: dict[str, str], *forms: tuple[str, dict[str, str]]) -> list[str]:
    """One form to both, or each its own, at the same moment."""
    together = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        sent = [
            pool.submit(send, port, path, cookies, fields, together)
            for port, (path, fields) in zip(ports, forms if len(forms) == 2 else forms * 2, strict=True)
        ]
        return [one.result() for one in sent]


class AtTheCounter:
    """Somebody of staff who is signed in at both consoles, by one session."""

    def __init__(self, at: Two, name: str) -> None:
        self.at, self.node = at, at.nodes[0]
        account = self.node.customer()
        self.node.desk.staff.add(name, Role.OPERATOR, STAFF, account=account.contract_id)
        console = Console(self.node, at.consoles[0], accounts={Role.OPERATOR: account})
        self.client = ConsoleClient(console)
        self.client.post("/sign-in", name=name, how="code")
        self.client.post("/sign-in/code", password=account.password, code=console.code(Role.OPERATOR))

    def form(self, one: Customer) -> tuple[str, dict[str, str]]:
        """The form by which a customer is suspended."""
        with self.node.store.read() as connection:
            path = f"/customers/{keys_of(connection, [one.contract_id])[one.contract_id]}/suspend"
        self.client.get(path)
        return path, {"key": self.client.key(path), "reason": "lost", "identity": "document"}

    def done(self, one: Customer) -> list[str]:
        """What was done to a customer since they were enrolled, or refused."""
        events = [row.event for row in self.node.acts() if row.customer == one.contract_id]
        return events[events.index(Event.ENROLLED) + 1 :]


def test_a_form_of_staff_that_two_processes_are_sent_at_once_acts_once(at: Two) -> None:
    counter = AtTheCounter(at, "sato")
    crowd = [at.nodes[0].customer() for _ in range(TIMES)]
    for one in crowd:
        path, fields = counter.form(one)
        customer = path.rpartition("/")[0]
        assert send_to_both(at.consoles, counter.client.cookies, (path, fields)) == [customer, customer]
    assert [counter.done(one) for one in crowd] == [[Event.SUSPENDED]] * TIMES
    send_to_both(at.consoles, counter.client.cookies, (path, fields))  # and later
    assert counter.done(crowd[-1]) == [Event.SUSPENDED]
    assert "sent already" in counter.client.get(customer).text


def test_what_one_process_remembers_of_a_session_overwrites_nothing_of_another(at: Two) -> None:
    counter = AtTheCounter(at, "ito")
    for _ in range(TIMES):
        one, other = at.nodes[0].customer(), at.nodes[0].customer()
        forms = counter.form(one), counter.form(other)
        send_to_both(at.consoles, counter.client.cookies, *forms)
        send_to_both(at.consoles, counter.client.cookies, *reversed(forms))
        assert (counter.done(one), counter.done(other)) == ([Event.SUSPENDED], [Event.SUSPENDED])


def test_a_form_of_a_customer_that_two_processes_are_sent_at_once_acts_once(at: Two) -> None:
    node = at.nodes[0]
    for issued in range(TIMES):
        one = node.customer(enrolled=False)
        client = PortalClient(Portal(node, at.portals[0]))
        page = client.sign_in(one)
        assert page.path == "/enrol/token", page.text
        ends = send_to_both(at.portals, client.cookies, ("/enrol/token", {"key": page.key, "go": "app"}))
        assert "/enrol/app" in ends
        assert len(node.audit(event=Event.TOKEN_ISSUED)) == issued + 1
        assert client.get("/enrol/app").path == "/enrol/app"
