"""The agent with real servers, and with servers that lie, do not answer or die."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path

import pytest

from otp_core.radius.codec import AttributeType, CannotAsk, NotAReply, PacketCode
from otp_core.radius.replies import read_reply, write_reply
from otp_core.radius.requests import (
    read_credentials,
    read_request,
    verify_request,
    write_access_request,
    write_status_server,
)
from otp_core.settings import ConfigProblems
from pam_module.agent_settings import load_agent
from pam_module.frames import Answer, Op, Prompt, ResultCode
from tests.pam.agent import Agent, agent
from tests.pam.host import Host, login, start
from tests.pam.workshop import Machine, Pam, Workshop
from tests.sekisho import PASSWORD, SECRET, Sekisho, client_table, free_port, running


@pytest.fixture(scope="module")
def sekisho(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    more = "[throttle]\nfree_failures = 50\npassword_free_failures = 50\n"
    with running(tmp_path_factory.mktemp("server"), "auto", more=more) as server:
        yield server


def test_a_login_through_a_server_that_is_elsewhere(sekisho: Sekisho, tmp_path: Path) -> None:
    with agent(tmp_path / "a", [sekisho.port]) as web1:
        taro = sekisho.customer()
        went = login(web1.path, taro.contract_id, PASSWORD, taro.code(), rhost="192.0.2.7")
        assert (went.code, went.roles) == (ResultCode.SUCCESS, ["password", "otp"])
        assert sekisho.audit(taro.contract_id)[-1].source == "192.0.2.7"
        assert login(web1.path, taro.contract_id, op=Op.ACCT).code == ResultCode.SUCCESS
        assert login(web1.path, "somebody", op=Op.ACCT).code == ResultCode.UNAVAILABLE
        hanako = sekisho.customer()
        assert login(web1.path, hanako.contract_id, PASSWORD + hanako.code()).code == ResultCode.SUCCESS
        assert login(web1.path, hanako.contract_id, PASSWORD, hanako.code()).code == ResultCode.AUTH_ERR
        assert login(web1.path, "nobody-here", "wrong").code == ResultCode.AUTH_ERR
        assert login(web1.path, hanako.contract_id, "x" * 200).code == ResultCode.AUTH_ERR
        assert PASSWORD not in web1.log_text() and SECRET not in web1.log_text()
        assert web1.stop() == 0
        assert not web1.path.exists()


def test_the_module_itself_logs_in_through_a_server_that_is_elsewhere(
    sekisho: Sekisho, workshop: Workshop, short: Path
) -> None:
    taro = sekisho.customer()
    with agent(short / "a", [sekisho.port], '[[agent.profiles]]\nname = "default"\nlanguage = "en"\n') as web1:
        host = Machine(workshop, short, web1.path)
        host.stack()
        code = taro.code()
        actions = ("authenticate", "acct_mgmt")
        wrong = host.login("wrong", code, user=taro.contract_id)
        right = host.login(PASSWORD, code, user=taro.contract_id, actions=actions)
        again = host.login(PASSWORD, code, user=taro.contract_id)
        sekisho.kill()
        try:
            outage = host.login(PASSWORD, user=taro.contract_id)
        finally:
            sekisho.start()
    assert [one.result for one in (wrong, right, again, outage)] == [
        Pam.AUTH_ERR,
        Pam.SUCCESS,
        Pam.AUTH_ERR,
        Pam.AUTHINFO_UNAVAIL,
    ]
    assert right.results == {"authenticate": Pam.SUCCESS, "acct_mgmt": Pam.SUCCESS}
    assert right.prompts[0] == (False, "Password: ")
    assert outage.errors == ["The login cannot be checked just now. Try again later."]


def test_an_exempt_user_has_an_account_without_a_login(tmp_path: Path) -> None:
    profile = '[[agent.profiles]]\nname = "default"\nmode = "code"\nexempt_users = ["backup"]\n'
    with agent(tmp_path / "a", [free_port()], profile) as web1:
        for op in (Op.AUTH, Op.ACCT):
            assert login(web1.path, "backup", None, op=op).code == ResultCode.SUCCESS
        assert login(web1.path, "somebody", op=Op.ACCT).code == ResultCode.UNAVAILABLE


def test_an_agent_whose_log_nobody_reads_serves_and_ends(sekisho: Sekisho, tmp_path: Path) -> None:
    out, into = os.pipe()
    os.write(into, b"." * fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096))
    one = Agent(tmp_path / "agent", [sekisho.port])
    try:
        one.start(stderr=into)
        taro = sekisho.customer()
        assert login(one.path, taro.contract_id, PASSWORD + taro.code()).code == ResultCode.SUCCESS
        assert one.stop() == 0
    finally:
        if one.process is not None:
            one.stop(signal.SIGKILL)
        os.close(out)
        os.close(into)


def test_systemd_is_told_when_it_serves_that_it_lives_reloads_and_stops(tmp_path: Path) -> None:
    one = Agent(tmp_path / "a", [free_port()])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)

        def heard() -> str:
            while (text := manager.recv(4096).decode()) == "WATCHDOG=1":
                pass
            return text.partition("\n")[0]

        one.start(environment={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "900000"})
        assert one.process is not None
        try:
            assert heard() == "READY=1" and one.path.exists()
            assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            for settings in (one.settings.read_text(), "wrong"):
                one.settings.write_text(settings)
                one.process.send_signal(signal.SIGHUP)
                assert (heard(), heard()) == ("RELOADING=1", "READY=1")
            assert one.stop() == 0
            assert heard() == "STOPPING=1"
        finally:
            if one.process is not None:
                one.stop(signal.SIGKILL)


def test_a_dead_server_is_skipped_until_it_answers_again(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    more = "timeout = 0.5\nretries = 1\ndead_seconds = 0.5\n"
    servers = []
    for number, port in enumerate(ports):
        (tmp_path / f"s{number}").mkdir()
        clients = client_table("web1", "127.0.0.0/8", "auto")
        servers.append(Sekisho(tmp_path / f"s{number}", clients=clients, listen=(f"127.0.0.1:{port}",)).start())
    first, second = servers
    try:
        with agent(tmp_path / "a", ports, more) as web1:
            taro, jiro = first.customer(), second.customer()
            assert login(web1.path, taro.contract_id, PASSWORD + taro.code()).code == ResultCode.SUCCESS
            with Host(web1.path) as host:  # a challenge whose server dies is nobody else's
                hanako = first.customer()
                host.send(start(hanako.contract_id, authtok=PASSWORD.encode()))
                assert isinstance(host.hear(), Prompt)
                first.kill()
                host.send(Answer(hanako.code().encode()))
                found = host.result()
                assert found is not None and found.code == ResultCode.UNAVAILABLE
            assert login(web1.path, jiro.contract_id, PASSWORD + jiro.code()).code == ResultCode.SUCCESS
            web1.wait_for_log(f"server=127.0.0.1:{ports[0]}")
            first.start()
            web1.wait_for_log("a RADIUS server answers again")
            saburo = first.customer()
            assert login(web1.path, saburo.contract_id, PASSWORD + saburo.code()).code == ResultCode.SUCCESS
    finally:
        for one in servers:
            one.close()


def test_an_outage_is_told_to_the_user_and_the_cause_to_the_log(tmp_path: Path) -> None:
    profile = '[[agent.profiles]]\nname = "default"\nlanguage = "en"\n'
    with agent(tmp_path / "a", [free_port()], f"timeout = 0.2\nretries = 1\n{profile}") as web1:
        went = login(web1.path, "taro", "password")
        assert (went.code, went.texts) == (
            ResultCode.UNAVAILABLE,
            ["The login cannot be checked just now. Try again later."],
        )
        web1.wait_for_log("nobody listens there")


def test_a_wrong_secret_is_an_outage_and_named_as_likely(sekisho: Sekisho, tmp_path: Path) -> None:
    with agent(
        tmp_path / "a", [sekisho.port], "timeout = 0.3\nretries = 0\n", secret="another-secret-altogether"
    ) as web1:
        taro = sekisho.customer()
        assert login(web1.path, taro.contract_id, PASSWORD + taro.code()).code == ResultCode.UNAVAILABLE
        web1.wait_for_log("nothing after 1 tries")


# Servers that lie.

Answerer = Callable[[bytes], list[bytes]]


@contextmanager
def lying(answer: Answerer) -> Iterator[tuple[int, list[bytes]]]:
    """A server that says what it likes. Its port, and what it was sent."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.1)
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                try:
                    octets, source = server.recvfrom(5000)
                except TimeoutError:
                    continue
                heard.append(octets)
                for reply in answer(octets):
                    server.sendto(reply, source)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield server.getsockname()[1], heard
        finally:
            stop.set()
            thread.join()


def right(octets: bytes, code: PacketCode = PacketCode.ACCESS_ACCEPT, secret: bytes = SECRET.encode()) -> bytes:
    request = read_request(octets)
    verify_request(request, SECRET.encode(), required=True, limit_proxy_state=True)
    attributes = [(int(AttributeType.STATE), b"s" * 16)] if code is PacketCode.ACCESS_CHALLENGE else []
    return write_reply(request, code, attributes, secret)


def without_authenticator(octets: bytes) -> bytes:
    head = bytes((2, octets[1], 0, 20))
    return head + md5(head + octets[4:20] + SECRET.encode()).digest()  # noqa: S324


STATE = int(AttributeType.STATE)
LIES: dict[str, Answerer] = {
    "another secret": lambda octets: [right(octets, secret=b"another-secret-1")],
    "no Message-Authenticator": lambda octets: [without_authenticator(octets)],
    "another identifier": lambda octets: [bytes((2, octets[1] ^ 1)) + right(octets)[2:]],
    "a code that was changed": lambda octets: [b"\x02" + right(octets, PacketCode.ACCESS_REJECT)[1:]],
    "one octet that was changed": lambda octets: [right(octets)[:-1] + bytes((right(octets)[-1] ^ 1,))],
    "cut short": lambda octets: [right(octets)[:-1]],
    "the request itself": lambda octets: [octets],
    "nothing much": lambda octets: [b"", b"\x02", bytes(4096), b"\xff" * 20],
    "a challenge without State": lambda octets: [
        write_reply(read_request(octets), PacketCode.ACCESS_CHALLENGE, [], SECRET.encode())
    ],
    "a challenge with two States": lambda octets: [
        write_reply(
            read_request(octets), PacketCode.ACCESS_CHALLENGE, [(STATE, b"one"), (STATE, b"two")], SECRET.encode()
        )
    ],
}


@pytest.mark.parametrize("lie", LIES)
def test_a_forged_reply_is_ignored_and_the_wait_goes_on(tmp_path: Path, lie: str) -> None:
    with lying(LIES[lie]) as (port, _), agent(tmp_path / "a", [port], "timeout = 0.3\nretries = 0\n") as web1:
        assert login(web1.path, "taro", "password").code == ResultCode.UNAVAILABLE
    then_right = lying(lambda octets: [*LIES[lie](octets), right(octets)])
    with then_right as (port, _), agent(tmp_path / "b", [port], "timeout = 20\nretries = 0\n") as web1:
        assert login(web1.path, "taro", "password").code == ResultCode.SUCCESS


def test_a_retransmission_is_the_same_octets_and_the_next_request_is_not(tmp_path: Path) -> None:
    def on_the_third(octets: bytes) -> list[bytes]:
        return [right(octets)] if heard.count(octets) == 3 else []

    heard: list[bytes]
    with lying(on_the_third) as (port, heard), agent(tmp_path / "a", [port], "timeout = 0.5\nretries = 4\n") as web1:
        assert login(web1.path, "taro", "password").code == ResultCode.SUCCESS
        assert login(web1.path, "taro", "password").code == ResultCode.SUCCESS
        assert len(heard) == 6 and len(set(heard)) == 2
        assert heard[0][4:20] != heard[-1][4:20]


def test_challenge_rounds_go_to_the_server_that_asks(tmp_path: Path) -> None:
    def ask_then_accept(octets: bytes) -> list[bytes]:
        state = read_request(octets).found.get(AttributeType.STATE)
        return [right(octets, PacketCode.ACCESS_ACCEPT if state == b"s" * 16 else PacketCode.ACCESS_CHALLENGE)]

    with lying(ask_then_accept) as (port, heard), agent(tmp_path / "a", [port, free_port()]) as web1:
        went = login(web1.path, "taro", "password", "123456")
        assert (went.code, went.roles, len(heard)) == (ResultCode.SUCCESS, ["password", "otp"], 2)
        asked = read_credentials(read_request(heard[1]), SECRET.encode())
        assert (asked.user_name, asked.password) == (b"taro", b"123456")


# Packets.


def test_the_door_reads_what_the_client_writes() -> None:
    for user_password in ("", "x", "p" * 16, "パスワード", "p" * 128):
        request = write_access_request(
            "taro",
            user_password,
            SECRET.encode(),
            identifier=7,
            authenticator=os.urandom(16),
            nas_identifier="web1",
            calling_station_id="::1",
            state=b"s",
        )
        read = read_request(request.octets)
        verify_request(read, SECRET.encode(), required=True, limit_proxy_state=True)
        asked = read_credentials(read, SECRET.encode())
        assert (asked.user_name, asked.password.decode(), asked.state) == (b"taro", user_password, b"s")
    for user, user_password in (("", "x"), ("t" * 254, "x"), ("taro", "p" * 129)):
        with pytest.raises(CannotAsk):
            write_access_request(user, user_password, SECRET.encode(), identifier=0, authenticator=bytes(16))


def test_a_status_is_only_ever_an_acceptance() -> None:
    request = write_status_server(SECRET.encode(), identifier=1, authenticator=os.urandom(16), nas_identifier="web1")
    read_reply(request, write_reply(read_request(request.octets), PacketCode.ACCESS_ACCEPT, [], SECRET.encode()))
    with pytest.raises(NotAReply):
        read_reply(request, write_reply(read_request(request.octets), PacketCode.ACCESS_REJECT, [], SECRET.encode()))


# Settings.


def test_settings_that_are_wrong_are_told_with_file_and_line(tmp_path: Path) -> None:
    profiles = '[[agent.profiles]]\nname = "a"\noffline = "codes"\n[[agent.profiles]]\nname = "a"\nmoed = 1\n'
    one = Agent(tmp_path / "a", [1812], profiles)
    with pytest.raises(ConfigProblems) as caught:
        load_agent(one.settings, environment={})
    assert str(caught.value).replace(f"{one.folder}/", "").splitlines() == [
        'agent.toml:9: agent.profiles[0].offline: needs mode = "code": passwords cannot be checked without a server',
        "agent.toml:11: agent.profiles[1].name: a is given twice; the first is at agent.toml:8",
        "agent.toml:12: agent.profiles[1].moed: unknown key; did you mean mode?",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[agent]\nservers = []\nsecret = "0123456789-abcdefgh"\n', "agent.servers"),
        ('[agent]\nservers = ["127.0.0.1:0"]\nsecret = "0123456789-abcdefgh"\n', "needs its port"),
        ('[agent]\nservers = ["127.0.0.1:1812"]\n', "agent.secret: is missing: give secret or secret_file"),
        ('[agent]\nservers = ["127.0.0.1:1812"]\nsecret_file = "none"\n', "agent.secret_file"),
        ('[agent]\nservers = ["127.0.0.1:1812"]\nsecret = "short"\n', "too short"),
        ("[agnet]\n", "unknown key; did you mean agent?"),
    ],
)
def test_each_mistake_has_its_words(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(text)
    with pytest.raises(ConfigProblems) as caught:
        load_agent(path, environment={})
    assert told in str(caught.value) and "short" not in str(caught.value).replace("too short", "")


def test_the_example_is_good_and_the_command_checks_it(tmp_path: Path) -> None:
    example = (Path(__file__).parents[2] / "config" / "pam-agent.toml").read_text()
    (tmp_path / "agent.toml").write_text(example)
    (tmp_path / "sekisho.secret").write_text(SECRET)
    (tmp_path / "sekisho.secret").chmod(0o600)
    command = [sys.executable, "-m", "sekisho", "pam-agent", "--check", "--settings", str(tmp_path / "agent.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "is right" in done.stdout) == (0, True), done.stderr


def test_new_profiles_hold_after_a_reload(sekisho: Sekisho, tmp_path: Path) -> None:
    with agent(tmp_path / "a", [sekisho.port]) as web1:
        assert login(web1.path, "taro", "x", profile="new").code == ResultCode.PERM_DENIED
        web1.settings.write_text(web1.settings.read_text() + '[[agent.profiles]]\nname = "new"\n')
        assert web1.process is not None
        web1.process.send_signal(signal.SIGHUP)
        web1.wait_for_log("reloaded")
        assert login(web1.path, "taro", "x", profile="new").code == ResultCode.AUTH_ERR
