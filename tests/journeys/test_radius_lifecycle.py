"""The server's life as an operator and a gateway see it: where it answers from, new settings, a taken port, the end."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.radius.nodes import second_node
from tests.radius.tools import counted, heard, login, oath, radclient, received
from tests.radius_peer import ACCEPT, REJECT, Peers, access_request, readable, status_server
from tests.sekisho import PASSWORD, SECRET, Sekisho, client_table, free_port

NEW_SECRET = "a-new-secret-for-tonight"
Start = Callable[..., Sekisho]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts one server with the client 127.0.0.1, mode password, unless told otherwise."""
    houses: list[Sekisho] = []

    def started(clients: str = "", **more: object) -> Sekisho:
        text = clients or client_table("gateway", "127.0.0.1", "password")
        houses.append(Sekisho(tmp_path, clients=text, **more))  # type: ignore[arg-type]
        return houses[-1].start()

    yield started
    try:
        for sekisho in houses:
            if sekisho.process is not None:
                assert sekisho.stop() == 0
            assert sekisho.traceback() == ""
    finally:
        for sekisho in houses:
            sekisho.close()


def reload(sekisho: Sekisho, clients: str, outcome: str = "reloaded") -> None:
    since = len(sekisho.log_text())
    sekisho.clients = clients
    sekisho.write_config()
    hang_up(sekisho)
    sekisho.wait_for_log(f"{outcome} ", since=since)


def hang_up(sekisho: Sekisho) -> None:
    assert sekisho.process is not None
    sekisho.process.send_signal(signal.SIGHUP)


# Where it answers from.


def test_a_wildcard_answers_from_the_address_that_was_asked(start: Start) -> None:
    sekisho = start(client_table("gateway", "127.0.0.0/8", "password"), listen=("0.0.0.0:0", "[::]:0"))
    one = sekisho.customer(enrolled=False)
    for address in ("127.0.0.1", "127.0.0.5", "127.3.2.1"):
        assert heard(radclient(sekisho.ports[0], login(one.contract_id, PASSWORD), host=address)) == ACCEPT
        with Peers((address, sekisho.ports[0])) as peers:  # a connected socket hears this one address and no other
            reply = peers.ask(access_request(one.contract_id, PASSWORD, secret=SECRET))
            assert reply is not None
            assert reply.name == ACCEPT


def test_an_ipv6_wildcard_answers_at_every_port_of_its_own(start: Start) -> None:
    sekisho = start(client_table("gateway", "::/0", "password"), listen=("[::]:0", "[::1]:0"))
    one = sekisho.customer(enrolled=False)
    for port in sekisho.ports:
        assert heard(radclient(port, login(one.contract_id, PASSWORD), host="::1")) == ACCEPT


# New settings without a pause.


def test_sighup_brings_a_new_client_and_a_new_secret_and_loses_no_request_in_flight(start: Start) -> None:
    sekisho = start(client_table("gateway", "127.0.0.1", "password", reject_delay=1.5))
    one = sekisho.customer(enrolled=False)
    new = client_table("gateway", "127.0.0.1", "password", secret=f'"{NEW_SECRET}"')
    new += client_table("second", "127.0.0.2", "password")
    with Peers(sekisho.where) as peers:
        refused = access_request(one.contract_id, "x", secret=SECRET)
        peers.sockets[0].send(refused.octets)
        wait_for_attempt(sekisho)
        reload(sekisho, new)
        reply = peers.ask(refused)  # a copy: in progress, so the only answer is the one to the first
        assert reply is not None, "the request in flight was lost"
        assert reply.name == REJECT
        right = access_request(one.contract_id, PASSWORD, secret=NEW_SECRET)
        assert [reply and reply.name for reply in peers.ask_all([right])] == [ACCEPT]
        assert peers.ask(access_request(one.contract_id, PASSWORD, secret=SECRET), wait=0.3) is None
    with Peers(sekisho.where, source="127.0.0.2") as second:
        reply = second.ask(access_request(one.contract_id, PASSWORD, secret=SECRET))
        assert reply is not None
        assert reply.name == ACCEPT
    assert len(sekisho.audit(one.contract_id, "login.rejected")) == 1


def wait_for_attempt(sekisho: Sekisho) -> None:
    end = time.monotonic() + 5
    while not sekisho.audit(event="login.rejected") and time.monotonic() < end:
        time.sleep(0.01)


def test_reloading_under_load_loses_nothing(start: Start) -> None:
    sekisho = start()
    names = [sekisho.customer(enrolled=False).contract_id for _ in range(20)]
    with Peers(sekisho.where, sockets=4) as peers:
        for number in range(10):
            hang_up(sekisho)
            asked = [access_request(name, PASSWORD, secret=SECRET) for name in names]
            assert [reply and reply.name for reply in peers.ask_all(asked)] == [ACCEPT] * 20, f"round {number}"
    sekisho.wait_for_log("reloaded ", times=2)


BROKEN = {
    "[[radius.clients": "sekisho.toml",
    "[[radius.clients]]\nname = 'x'\n": "network",
    client_table("gateway", "127.0.0.1", "password", secret='"tooweak"'): "too short",
    client_table("g", "127.0.0.1", "password", reply_attributes='{ "Filter-ID" = "x" }'): "did you mean Filter-Id",
}


def test_a_broken_file_keeps_the_old_settings_and_says_where_it_is_broken(start: Start) -> None:
    sekisho = start()
    one = sekisho.customer(enrolled=False)
    for broken, told in BROKEN.items():
        since = len(sekisho.log_text())
        reload(sekisho, broken, outcome="not reloaded: the old settings stay in force")
        sekisho.wait_for_log(told, since=since)
        assert heard(radclient(sekisho.port, login(one.contract_id, PASSWORD))) == ACCEPT
    assert "tooweak" not in sekisho.log_text()


def test_a_file_that_is_gone_keeps_the_old_settings(start: Start) -> None:
    sekisho = start()
    one = sekisho.customer(enrolled=False)
    sekisho.config.unlink()
    hang_up(sekisho)
    sekisho.wait_for_log("not reloaded: the old settings stay in force")
    assert heard(radclient(sekisho.port, login(one.contract_id, PASSWORD))) == ACCEPT


def test_a_client_that_was_taken_out_hears_nothing_more(start: Start) -> None:
    sekisho = start()
    one = sekisho.customer(enrolled=False)
    assert heard(radclient(sekisho.port, login(one.contract_id, PASSWORD))) == ACCEPT
    reload(sekisho, client_table("other", "127.0.0.2", "password"))
    assert heard(radclient(sekisho.port, login(one.contract_id, PASSWORD), wait=0.3)) == "silence"


def test_what_waits_for_a_restart_is_named(start: Start) -> None:
    sekisho = start()
    changed = {
        "max_in_flight": 10,
        "max_open_challenges": 10,
        "request_seconds": 9.0,
        "status_rate": 1,
        "duplicate_seconds": 5,
        "duplicate_entries": 50,
    }
    reload(sekisho, "\n".join(f"{name} = {value}" for name, value in changed.items()) + f"\n{sekisho.clients}")
    waiting = [line for line in sekisho.log_text().splitlines() if "a changed setting waits for a restart" in line]
    assert {name for name in changed for line in waiting if line.endswith(f"setting=radius.{name}")} == set(changed)
    assert len(waiting) == len(changed)


def test_sections_that_wait_for_a_restart_are_named_at_each_reload(start: Start) -> None:
    sekisho = start()
    sekisho.more = "[login]\nlock_after = 9\n[throttle]\nfree_failures = 2\n[log]\nlevel = 'debug'\n"
    expected = ["log", "login", "throttle"]
    for _ in range(2):
        since = len(sekisho.log_text())
        reload(sekisho, sekisho.clients)
        assert sorted(sections(sekisho.log_text()[since:])) == expected
    sekisho.more = "[login]\nlock_after = 9\n"
    since = len(sekisho.log_text())
    reload(sekisho, sekisho.clients)
    assert sections(sekisho.log_text()[since:]) == ["login"]
    sekisho.more = ""
    since = len(sekisho.log_text())
    reload(sekisho, sekisho.clients)
    assert sections(sekisho.log_text()[since:]) == [], "as it was at the start: nothing waits any more"


def sections(text: str) -> list[str]:
    return re.findall(r"a changed section waits for a restart.*?section=(\w+)", text)


# The beginning and the end.


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_asked_for_before_the_server_is_ready_is_kept_until_it_is(tmp_path: Path, workers: int) -> None:
    with starting(tmp_path, workers) as sekisho:
        sekisho.clients = client_table("new", "127.0.0.1", "password", secret=f'"{NEW_SECRET}"')
        sekisho.wait_for_log("SEKISHO_NO_SUCH")  # the settings have been read: what is written now is news
        sekisho.write_config()
        hang_up(sekisho)
        assert "ready" not in sekisho.log_text()
        sekisho.wait_for_log("ready", times=workers)
        sekisho.wait_for_log("reloaded ", times=workers)
        with Peers(sekisho.where, 8) as peers:
            replies = peers.ask_all([status_server(secret=NEW_SECRET) for _ in range(8)])
            assert [reply and reply.name for reply in replies] == [ACCEPT] * 8
        assert sekisho.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_an_end_asked_for_before_the_server_is_ready_comes_in_order(tmp_path: Path, workers: int, number: int) -> None:
    with starting(tmp_path, workers) as sekisho:
        assert sekisho.stop(number) == 0
        assert sekisho.traceback() == ""
        assert sekisho.log_text().count("stopped") == sekisho.log_text().count("ready")


@contextmanager
def starting(folder: Path, workers: int) -> Iterator[Sekisho]:
    """A server that is not ready yet, and takes its time over it: a costly hash. It holds its signals back already."""
    table = client_table("old", "127.0.0.1", "password")
    told = {"SEKISHO_NO_SUCH": "x"}  # which is warned of as soon as the settings have been read
    listen = (f"127.0.0.1:{free_port()}",)
    sekisho = Sekisho(folder, clients=table, listen=listen, workers=workers, environment=told)
    sekisho.config.write_text(sekisho.config.read_text().replace("memory_kib = 256", "memory_kib = 524288"))
    try:
        status, end = Path(f"/proc/{sekisho.spawn().pid}/status"), time.monotonic() + 20
        while not held_back(status.read_text()):
            assert time.monotonic() < end
            time.sleep(0.002)
        yield sekisho
    finally:
        sekisho.close()


def held_back(status: str) -> bool:
    (blocked,) = re.findall(r"^SigBlk:\s+(\w+)", status, re.MULTILINE)
    return bool(int(blocked, 16) & 1 << signal.SIGHUP - 1)


def test_workers_that_keep_ending_end_the_server_with_a_failure(start: Start, tmp_path: Path) -> None:
    """A supervisor above (systemd) then sees a failure, and not a server that never answers."""
    sekisho = start(workers=2, listen=(f"127.0.0.1:{free_port()}",))
    (tmp_path / "master.key").unlink()
    process = sekisho.process
    assert process is not None
    for pid in sekisho.workers_pids:
        os.kill(pid, signal.SIGKILL)
    assert process.wait(30) == 1
    sekisho.process = None
    assert sekisho.log_text().count("a worker ended: another takes its place") == 2 + 4, "one each, and four more"
    assert sekisho.log_text().count("there is no master key file") >= 4
    assert "workers keep ending: the lines before say why" in sekisho.log_text()


def test_a_port_that_is_taken_is_a_clear_error(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        sekisho = Sekisho(tmp_path, clients=client_table("g", "127.0.0.1", "password"), listen=(f"127.0.0.1:{port}",))
        process = sekisho.spawn()
        assert process.wait(20) not in (0, None)
        sekisho.close()
    assert f"127.0.0.1:{port} is taken: does another RADIUS server" in " ".join(sekisho.log_text().split())
    assert sekisho.traceback() == ""


def test_sigterm_drains_a_delayed_refusal_and_takes_nothing_new(start: Start) -> None:
    sekisho = start(client_table("gateway", "127.0.0.1", "password", reject_delay=1.2))
    one = sekisho.customer(enrolled=False)
    with Peers(sekisho.where) as peers:
        refused = access_request(one.contract_id, "x", secret=SECRET)
        peers.sockets[0].send(refused.octets)
        wait_for_attempt(sekisho)
        assert sekisho.process is not None
        sekisho.process.send_signal(signal.SIGTERM)
        sekisho.wait_for_log("draining")
        fresh = access_request(one.contract_id, PASSWORD, secret=SECRET)
        peers.sockets[0].send(fresh.octets)
        assert readable(peers.sockets, 5), "the refusal in flight was lost"
        assert peers.sockets[0].recv(5000)[:2] == bytes((3, refused.identifier))
        assert sekisho.stop() == 0
    assert counted(sekisho)["Access-Reject"] == 1
    assert sekisho.audit(one.contract_id, "login.accepted") == []


def test_draining_ends_when_its_time_is_over(start: Start) -> None:
    table = client_table("gateway", "127.0.0.1", "password", reject_delay=10.0)
    sekisho = start(f"drain_seconds = 0.3\n{table}")
    one = sekisho.customer(enrolled=False)
    with Peers(sekisho.where) as peers:
        peers.sockets[0].send(access_request(one.contract_id, "x", secret=SECRET).octets)
        wait_for_attempt(sekisho)
        began = time.monotonic()
        assert sekisho.stop() == 0
        assert time.monotonic() - began < 3
    assert "unanswered=1" in sekisho.log_text()


def test_a_server_without_clients_says_that_its_door_is_shut(start: Start) -> None:
    sekisho = start("# nobody yet\n")
    assert "no [[radius.clients]] are configured: the RADIUS door stays shut" in sekisho.log_text()
    assert "listening" not in sekisho.log_text()
    reload(sekisho, client_table("gateway", "127.0.0.1", "password"))
    sekisho.wait_for_log("the RADIUS door is shut: restart to open it")


def test_a_client_at_risk_is_named_with_the_share_of_its_signed_requests(start: Start) -> None:
    sekisho = start(client_table("old", "127.0.0.1", "password", require_message_authenticator=False))
    one = sekisho.customer(enrolled=False)
    for signed in (True, False, False, False):
        assert heard(radclient(sekisho.port, login(one.contract_id, PASSWORD), signed=signed)) == ACCEPT
    sekisho.stop()
    assert "client at risk: it may leave Message-Authenticator out (CVE-2024-3596)" in sekisho.log_text()
    assert "share_with_message_authenticator=0.25" in sekisho.log_text()


def test_a_challenge_of_one_node_may_be_answered_at_another_and_once(start: Start, tmp_path: Path) -> None:
    sekisho = start(client_table("gateway", "127.0.0.1", "challenge"), listen=(f"127.0.0.1:{free_port()}",))
    one = sekisho.customer()
    with second_node(sekisho, tmp_path) as (_, port):
        (state,) = received(radclient(sekisho.port, login(one.contract_id, PASSWORD)), "State")
        assert heard(radclient(port, login(one.contract_id, oath(one), state))) == ACCEPT
        assert heard(radclient(sekisho.port, login(one.contract_id, oath(one, 1), state))) == REJECT


def test_with_too_many_open_challenges_first_rounds_are_silent_and_answers_are_heard(start: Start) -> None:
    sekisho = start("max_open_challenges = 2\n" + client_table("gateway", "127.0.0.1", "challenge"))
    first, second, third = (sekisho.customer() for _ in range(3))
    printed = [radclient(sekisho.port, login(one.contract_id, PASSWORD)) for one in (first, second)]
    assert [heard(one) for one in printed] == ["Access-Challenge"] * 2
    time.sleep(2.2)  # they are counted once a second
    assert heard(radclient(sekisho.port, login(third.contract_id, PASSWORD), wait=0.5)) == "silence"
    sekisho.wait_for_log("too many open challenges")
    for one, asked in zip((first, second), printed, strict=True):
        answer = login(one.contract_id, oath(one), received(asked, "State")[0])
        assert heard(radclient(sekisho.port, answer)) == ACCEPT
    time.sleep(2.2)
    assert heard(radclient(sekisho.port, login(third.contract_id, PASSWORD))) == "Access-Challenge"


def test_workers_share_the_port_and_each_answers_a_gateway_that_has_one(start: Start) -> None:
    """Whoever has time takes the next request: one gateway's one port is nobody's in particular."""
    sekisho = start(workers=2, listen=(f"127.0.0.1:{free_port()}",))
    names = [sekisho.customer(enrolled=False).contract_id for _ in range(32)]
    with Peers(sekisho.where, sockets=1) as peers:
        for pid in sekisho.workers_pids:
            os.kill(pid, signal.SIGSTOP)
            asked = [access_request(name, PASSWORD, secret=SECRET) for name in names]
            assert [reply and reply.name for reply in peers.ask_all(asked, wait=10)] == [ACCEPT] * 32
            os.kill(pid, signal.SIGCONT)
        assert peers.ask(status_server(secret=SECRET)) is not None
    assert sekisho.stop() == 0
    accepted = [int(count) for count in re.findall(r"'Access-Accept': (\d+)", sekisho.log_text())]
    assert accepted == [32, 32]
