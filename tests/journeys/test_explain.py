"""`sekisho explain login` beside a real server: what it says is what a gateway then hears, and it leaves no trace."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import insert, select, update

from otp_core.first_factor.hashes import hash_password
from otp_core.login.table import FINDING_TEXT, Finding
from otp_core.model import TokenSpec
from otp_core.store.schema import challenge, metadata, token
from otp_core.store.unit_of_work import NewCustomer
from sekisho.wiring import cost_of
from tests.ahead import ahead
from tests.journeys.command_line import CommandLine
from tests.radius_peer import ACCEPT, CHALLENGE, REJECT, Peers, Reply, access_request
from tests.sekisho import PASSWORD, SECRET, STAFF, Customer, Sekisho, client_table

MORE = """
[login]
tokens_per_customer = 2
lock_after = 3
[throttle]
free_failures = 0
first_delay = 20
password_free_failures = 100
"""


class Client(NamedTuple):
    """How this gateway writes a login, and its settings. ``writes``: user name, and password and code in one."""

    mode: str
    name: Callable[[str], str] = str
    together: Callable[[str, str], str] = lambda password, code: password + code
    options: dict[str, object] = {}  # noqa: RUF012  a table's row


CLIENTS = {
    "challenge": Client("challenge"),
    "append": Client("append"),
    "auto": Client("auto"),
    "code": Client("code"),
    "password": Client("password"),
    "strict": Client("code", options={"without_token": '"reject"'}),
    "lenient": Client("append", options={"lost": '"password"', "without_password": '"code"'}),
    "comma": Client(
        "append",
        together=lambda password, code: f"{code},{password}",
        options={"separator": '","', "code_position": '"before"'},
    ),
    "windows": Client(
        "challenge", lambda name: f"BANK\\{name.upper()}", options={"realm": '"strip"', "fold_case": True}
    ),
    "joining": Client("code", options={"repeated_login_seconds": 30}),
}
SOURCES = {name: f"127.0.0.{number}" for number, name in enumerate(CLIENTS, 2)}

CODES: tuple[int | str, ...] = (0, 1, -4, "12345")
"""Steps away from now, or what is typed."""

STATES = dict.fromkeys(("active", "two tokens", "too soon", "code used", "no password held"), CODES) | dict.fromkeys(
    ("suspended", "lost", "reissue permitted", "never enrolled", "locked", "unknown"), CODES[:1]
)
"""What is typed by customers in each state."""


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    tables = "".join(
        client_table(name, SOURCES[name], client.mode, **client.options) for name, client in CLIENTS.items()
    )
    sekisho = Sekisho(tmp_path_factory.mktemp("explain"), clients=tables, more=MORE)
    try:
        yield CommandLine(sekisho.start())
    finally:
        sekisho.close()


def in_a_step() -> None:
    """Until there is time enough for both, before the codes change."""
    if (left := 30 - time.time() % 30) < 4:
        time.sleep(left + 0.01)


def customer(sekisho: Sekisho, state: str, number: int) -> Customer:
    """Somebody new in this state, whose token is punctual."""
    one = Customer(f"c{number}", PASSWORD, f"VSMT{number:08d}", os.urandom(20))
    if state == "unknown":
        return one
    held = None if state == "no password held" else hash_password(PASSWORD.encode(), cost_of(sekisho.settings))
    sekisho.desk.tokens.import_rows([(one.token_id, one.seed, TokenSpec())], STAFF)
    with sekisho.store.work() as work:
        token = work.token(one.token_id)
    assert token is not None
    key = None if state == "never enrolled" else token.key
    new = NewCustomer(one.contract_id, held, None, None, None, None, token_key=key)
    sekisho.desk.customers.import_rows([new], [one.token_id if key else None], STAFF)
    brought_to(sekisho, one, state)
    return one


def brought_to(sekisho: Sekisho, one: Customer, state: str) -> None:
    enrolment = sekisho.desk.enrolment
    match state:
        case "two tokens":
            other = f"{one.token_id}B"
            sekisho.desk.tokens.import_rows([(other, os.urandom(20), TokenSpec(digits=8))], STAFF)
            with sekisho.store.work() as work:
                record, token = work.login_record(one.contract_id), work.token(other)
                assert record is not None and token is not None
                work.bind_tokens([token.key], shared=False)
                work.bind(record.customer_key, token.key, int(time.time() * 1000))
        case "suspended":
            enrolment.suspend(one.contract_id, None, STAFF)
        case "lost" | "reissue permitted":
            enrolment.report_lost(one.contract_id, STAFF)
            if state == "reissue permitted":
                enrolment.permit_reissue(one.contract_id, STAFF)
        case "locked":
            sekisho.desk.customers.lock(one.contract_id, STAFF)
        case "too soon" | "code used":
            text = one.code(-6) if state == "too soon" else one.code()
            assert asked(sekisho, "joining", one.contract_id, text).name == (REJECT if state == "too soon" else ACCEPT)


def asked(sekisho: Sekisho, client: str, name: str, text: str, state: bytes | None = None) -> Reply:
    with Peers(sekisho.where, source=SOURCES[client]) as peers:
        reply = peers.ask(access_request(name, text, secret=SECRET, state=state))
    assert reply is not None
    return reply


def logged_in(sekisho: Sekisho, client: str, one: Customer, code: str) -> Reply:
    """The last reply to a login, as this gateway asks for it."""
    mode, writes = CLIENTS[client].mode, CLIENTS[client]
    name = writes.name(one.contract_id)
    if mode in ("append", "auto"):
        return asked(sekisho, client, name, writes.together(PASSWORD, code))
    if mode == "code":
        return asked(sekisho, client, name, code)
    reply = asked(sekisho, client, name, PASSWORD)
    return asked(sekisho, client, name, code, reply.state) if reply.name == CHALLENGE else reply


def explained(at: CommandLine, name: str, client: str, *more: str, user_password: str = "") -> dict[str, Any]:
    words = ("explain", "login", name, "--client", client, "--json", *more)
    found: dict[str, Any] = json.loads(at.run(*words, user_password=user_password).out)
    return found


_WRITTEN_LATER = ("client_", "login_remark", "node")
"""Tables to which a server adds every few seconds what it has answered before, and that it is there."""


def everything(sekisho: Sekisho, *, meta: bool = True) -> dict[str, Any]:
    """Every row of the store, the audit trail's too, and the counts of wrong passwords beside it. ``meta``: also where
    a server notes the time."""
    with sekisho.store.read() as connection:
        rows: dict[str, object] = {
            table.name: sorted(map(repr, connection.execute(select(table))))
            for table in metadata.sorted_tables
            if (meta or table.name != "meta") and not table.name.startswith(_WRITTEN_LATER)
        }
    beside = sekisho.store.beside
    failures = beside.with_name(f"{beside.name}-failures")
    return {**rows, "failures": failures.read_bytes() if failures.exists() else b""}


NUMBERS = iter(range(1, 10_000_000))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("client", CLIENTS)
def test_what_is_explained_is_what_the_gateway_hears(at: CommandLine, client: str, state: str) -> None:
    for away in STATES[state]:
        in_a_step()
        one = customer(at.sekisho, state, next(NUMBERS))
        code = one.code(away) if isinstance(away, int) else away
        name = CLIENTS[client].name(one.contract_id)
        before = everything(at.sekisho, meta=False)
        said = explained(at, name, client, "--password-stdin", "--code", "-", user_password=f"{PASSWORD}\n{code}\n")
        guessed = explained(at, name, client, "--code", "-", user_password=f"{code}\n")
        after = everything(at.sekisho, meta=False)
        before["challenge"] = [row for row in before["challenge"] if row in after["challenge"]]  # others were swept
        assert after == before, "an explanation changed something"
        reply = logged_in(at.sekisho, client, one, code)
        last = at.sekisho.audit(event="login.")[-1]
        assert (said["answer"], FINDING_TEXT[Finding(said["finding"])]) == (reply.name, last.reason), (away, said)
        assert (guessed["answer"], guessed["finding"]) == (said["answer"], said["finding"])


def test_wrong_passwords_are_told_by_customer_and_station_as_the_server_counts_them(at: CommandLine) -> None:
    one, station, gateway = customer(at.sekisho, "active", next(NUMBERS)), "198.51.100.9", SOURCES["challenge"]
    with Peers(at.sekisho.where, source=gateway) as peers:
        for sent in ("", station, station, gateway):
            more = [(31, sent.encode())] if sent else []
            reply = peers.ask(access_request(one.contract_id, "wrong", secret=SECRET, more=more))
            assert reply is not None and reply.name == REJECT

    def counted(*more: str) -> object:
        return explained(at, one.contract_id, "challenge", *more)["wrong_passwords"]

    assert (counted(), counted("--calling-station-id", station)) == (1, 2)
    assert counted("--calling-station-id", f"{station}:4711") == 2
    assert counted("--calling-station-id", "198.51.100.10") == 0


# What it takes, and how it ends


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[CommandLine]:
    """Without a server."""
    tables = "".join(client_table(name, SOURCES[name], one.mode, **one.options) for name, one in CLIENTS.items())
    tables += client_table("realms", "127.0.1.1", "code", realm='"reject"')
    tables += client_table("japanese", "127.0.1.2", "challenge", charset='"cp932"')
    sekisho = Sekisho(tmp_path, clients=tables, more=MORE)
    yield CommandLine(sekisho)
    sekisho.close()


def test_nothing_at_all_is_written_beside_the_answer(quiet: CommandLine) -> None:
    one = customer(quiet.sekisho, "active", 1)
    for _ in range(2):  # the first one makes the files that every command makes
        before, files = everything(quiet.sekisho), sorted(path.name for path in quiet.folder.iterdir())
        for client in CLIENTS:
            given = f"{PASSWORD}\n{one.code(-4)}\n"
            explained(quiet, one.contract_id, client, "--password-stdin", "--code", "-", user_password=given)
    assert everything(quiet.sekisho) == before
    assert sorted(path.name for path in quiet.folder.iterdir()) == files


def test_an_unknown_client_is_told_which_there_are(quiet: CommandLine) -> None:
    told = quiet.run("explain", "login", "c1", "--client", "nowhere", code=2).err
    assert all(name in told for name in CLIENTS)


def test_a_person_reads_the_answer_the_rule_the_state_and_the_next_command(quiet: CommandLine) -> None:
    in_a_step()
    one = customer(quiet.sekisho, "active", 1)
    out = quiet.run("explain", "login", one.contract_id, "--client", "append", "--code", one.code(-4)).out
    facts = dict(line.split(":", 1) for line in out.splitlines() if ":" in line)
    assert facts["answer"].strip() == REJECT
    assert facts["why"].strip() == "wrong code: correct code, 4 steps late"
    assert facts["wrong codes"].strip() == "0 of 3"
    assert facts["a login would"].strip() == "count a wrong code: 1 of 3"
    assert f"      sekisho resync {one.contract_id}" in out.splitlines()


@pytest.mark.parametrize("name", ["it's; rm *", "-x"])
def test_a_command_that_it_names_can_be_pasted_whatever_the_contract_id_holds(quiet: CommandLine, name: str) -> None:
    quiet.run("customer", "add", "--", name)
    quiet.run("customer", "lock", "--", name)
    found = json.loads(quiet.run("explain", "login", "--client", "code", "--json", "--", name).out)
    (command,) = found["commands"]
    quiet.run(*shlex.split(command)[1:])
    assert quiet.sekisho.audit(name)[-1].event == "customer.unlocked"


def test_a_name_is_read_as_the_gateways_own_spelling(quiet: CommandLine) -> None:
    one = customer(quiet.sekisho, "active", 1)
    assert explained(quiet, " ｃ１ ", "code")["customer"] == one.contract_id
    refused = explained(quiet, "c1@bank.example", "realms")
    assert (refused["answer"], refused["finding"], refused["why"]) == (REJECT, None, "a User-Name with a realm")
    assert explained(quiet, "c1@bank.example", "code")["finding"] == "unknown-customer"
    folded = explained(quiet, "BANK\\C1", "windows")
    assert (folded["finding"], folded["customer"], len(folded["tokens"])) == ("code-due", one.contract_id, 1)


def test_what_no_gateway_can_send_is_refused(quiet: CommandLine) -> None:
    for name, client, given, told in (
        ("c1", "japanese", "한국어", "cannot be written in cp932"),
        ("c1", "append", "p" * 129, "at most 128 octets"),
        ("山" * 100, "code", "p", "at most 253 octets"),
        ("c" * 257, "code", "p", "as the gateway sends it"),
        ("", "code", "p", "as the gateway sends it"),
    ):
        words = ("explain", "login", name, "--client", client, "--password-stdin")
        said = quiet.run(*words, user_password=f"{given}\n", code=2)
        assert told in " ".join(said.err.split())
        assert given not in said.err or len(given) == 1
    long = f"{'p' * 125}\n123456\n"
    both = ("explain", "login", "c1", "--client", "append", "--password-stdin", "--code", "-")
    assert "the code included" in " ".join(quiet.run(*both, user_password=long, code=2).err.split())


def test_neither_password_nor_code_is_told_again(quiet: CommandLine) -> None:
    one = customer(quiet.sekisho, "active", 1)
    wrong = "so-geheim-wie-nie"
    for client in CLIENTS:
        for password, code in ((PASSWORD, one.code()), (wrong, one.code(-4)), (PASSWORD, "98765432")):
            words = ("explain", "login", one.contract_id, "--client", client, "--password-stdin", "--code", "-")
            for form in ((), ("--json",)):
                said = quiet.run(*words, *form, user_password=f"{password}\n{code}\n")
                assert not any(secret in said.out + said.err for secret in (password, code))
    assert all(PASSWORD not in row.reason and row.event != "login.rejected" for row in quiet.sekisho.audit())


def test_at_a_terminal_they_are_asked_for_without_echo(quiet: CommandLine) -> None:
    one = customer(quiet.sekisho, "active", 1)
    words = ("explain", "login", one.contract_id, "--client", "append", "--password-stdin", "--code", "-", "--json")
    master, slave = os.openpty()
    process = subprocess.Popen(
        quiet.command(*words), stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    os.close(slave)
    assert process.stderr is not None
    for prompt, typed in ((b"Login password: ", PASSWORD), (b"Code: ", one.code())):
        assert process.stderr.read(len(prompt)) == prompt
        os.write(master, f"{typed}\n".encode())
        assert process.stderr.read(1) == b"\n"
    out, err = process.communicate(timeout=30)
    os.close(master)
    assert (json.loads(out)["answer"], err) == (ACCEPT, b"")


def test_a_clock_that_was_set_back_is_silence(quiet: CommandLine) -> None:
    one = customer(quiet.sekisho, "active", 1)
    ahead(quiet.sekisho.settings, 9000)
    found = explained(quiet, one.contract_id, "code", "--code", "-", user_password=f"{one.code()}\n")
    assert (found["answer"], found["finding"]) == ("silence", None)
    assert "the clock was set back" in found["why"]
    assert found["commands"] == ["sekisho doctor"]


def test_a_seed_that_does_not_open_is_silence_and_no_log_line_spoils_the_json(quiet: CommandLine) -> None:
    one = customer(quiet.sekisho, "active", 1)
    with quiet.sekisho.store.work() as work:
        work.connection.execute(update(token).values(seed=bytes(60)))
    for client in ("code", "append", "challenge"):
        found = explained(quiet, one.contract_id, client, "--code", "-", user_password=f"{one.code()}\n")
        assert (found["answer"], found["commands"]) == ("silence", ["sekisho doctor"])


def test_too_many_open_challenges_are_silence_where_one_may_be_needed(tmp_path: Path) -> None:
    sekisho = Sekisho(
        tmp_path, clients="max_open_challenges = 1\n" + client_table("challenge", "127.0.0.1", "challenge")
    )
    at, one = CommandLine(sekisho), customer(sekisho, "active", 1)
    assert explained(at, one.contract_id, "challenge")["answer"] == CHALLENGE
    with sekisho.store.work() as work:
        until = int(time.time() * 1000) + 60_000
        another = {"customer_key": 1, "client": "challenge", "expires_at": until, "tries_left": 3}
        work.connection.execute(insert(challenge).values(state=os.urandom(16), **another))
    found = explained(at, one.contract_id, "challenge")
    assert (found["answer"], found["why"]) == ("silence", "too many open challenges")
    sekisho.close()
