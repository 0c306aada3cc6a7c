"""`sekisho forecast` beside a real server: what it says of one crowd of customers is what happens to another crowd that
does the same under the other settings.
"""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from otp_core.first_factor.hashes import hash_password
from otp_core.model import TokenSpec
from otp_core.store.unit_of_work import NewCustomer
from sekisho.wiring import cost_of
from tests.journeys.command_line import CommandLine
from tests.journeys.test_explain import everything, in_a_step
from tests.radius_peer import ACCEPT, CHALLENGE, Packet, Peers, access_request
from tests.sekisho import PASSWORD, SECRET, STAFF, Customer, Sekisho, client_table

MODES = ("challenge", "append", "code", "password")
CLIENTS: dict[str, tuple[str, dict[str, object]]] = {
    **{mode: (mode, {"without_token": '"password"'}) for mode in MODES},
    "strict": ("challenge", {"without_token": '"reject"'}),
    "unprotected": ("code", {"require_message_authenticator": False}),
    "comma": ("append", {"separator": '","'}),
}
SOURCES = {name: f"127.0.0.{number}" for number, name in enumerate(CLIENTS, 2)}
NO_DELAYS = "[throttle]\nfree_failures = 100\npassword_free_failures = 100\nstation_free_failures = 1000\n"


class Kind(NamedTuple):
    """Whose login it is, and what is typed. ``code``: False for a wrong one, None for none."""

    state: str = "active"
    password: bool = True
    code: bool | None = True


KINDS = {
    "fine": Kind(),
    "wrong code": Kind(code=False),
    "wrong password": Kind(password=False),
    "never enrolled": Kind("never enrolled"),
    "suspended": Kind("suspended"),
    "lost": Kind("lost"),
    "locked": Kind("locked"),
    "no password held": Kind("no password held"),
}


class Bank:
    """A server, and the command line beside it."""

    def __init__(self, folder: Path, more: str = NO_DELAYS) -> None:
        tables = "".join(client_table(name, SOURCES[name], mode, **more) for name, (mode, more) in CLIENTS.items())
        self.sekisho = Sekisho(folder, clients=tables, more=more)
        self.at = CommandLine(self.sekisho)
        self._numbers = iter(range(1, 10_000))

    def customer(self, name: str, kind: Kind) -> Customer:
        """Whose token is punctual, and whose contract ID begins with the name."""
        number, sekisho = next(self._numbers), self.sekisho
        one = Customer(f"{name} {number}".replace(" ", "-"), PASSWORD, f"VSMT{number:08d}", os.urandom(20))
        sekisho.desk.tokens.import_rows([(one.token_id, one.seed, TokenSpec())], STAFF)
        held = None if kind.state == "no password held" else hash_password(PASSWORD.encode(), cost_of(sekisho.settings))
        with sekisho.store.work() as work:
            token = work.token(one.token_id)
        key = token.key if token and kind.state != "never enrolled" else None
        new = NewCustomer(one.contract_id, held, None, None, None, None, token_key=key)
        sekisho.desk.customers.import_rows([new], [one.token_id if key else None], STAFF)
        match kind.state:
            case "suspended":
                sekisho.desk.enrolment.suspend(one.contract_id, None, STAFF)
            case "lost":
                sekisho.desk.enrolment.report_lost(one.contract_id, STAFF)
            case "locked":
                sekisho.desk.customers.lock(one.contract_id, STAFF)
        return one

    def ask(self, client: str, name: str, text: str, state: bytes | None = None) -> Any:
        with Peers(self.sekisho.where, source=SOURCES[client]) as peers:
            reply = peers.ask(access_request(name, text, secret=SECRET, state=state))
        assert reply is not None
        return reply

    def login(self, client: str, one: Customer, kind: Kind) -> bool:
        """As this gateway asks for it; whether it was let in."""
        in_a_step()
        password = PASSWORD if kind.password else "something else"
        code = one.code() if kind.code else one.code(500)
        behind = "" if kind.state in ("never enrolled", "suspended") else code
        text = {"challenge": password, "append": password + behind, "code": code, "password": password}
        reply = self.ask(client, one.contract_id, text[CLIENTS[client][0]])
        if reply.name == CHALLENGE and kind.code is not None:
            reply = self.ask(client, one.contract_id, code, reply.state)
        return bool(reply.name == ACCEPT)

    def forecast(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.at.run("forecast", *words, "--json").out)
        return found


def kinds_of(found: dict[str, Any], change: str) -> set[str]:
    return {one["contract_id"].rpartition("-")[0].replace("-", " ") for one in found["changes"][change]["customers"]}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    made = Bank(tmp_path_factory.mktemp("forecast"))
    try:
        made.sekisho.start()
        yield made
    finally:
        made.sekisho.close()


CHANGES = [
    *(
        (was, would, ("--mode", would, "--without-token", "password"))
        for was in MODES
        for would in MODES
        if was != would
    ),
    ("challenge", "strict", ("--without-token", "reject")),
    ("strict", "challenge", ("--without-token", "password")),
]


@pytest.mark.parametrize(("was", "would", "words"), CHANGES)
def test_what_is_forecast_for_a_client_is_what_happens_at_one_that_is_set_so(
    bank: Bank, was: str, would: str, words: tuple[str, ...]
) -> None:
    let_in, would_be = {}, {}
    for name, kind in KINDS.items():
        let_in[name] = bank.login(was, bank.customer(name, kind), kind)
        would_be[name] = bank.login(would, bank.customer(name, kind), kind)
    before = everything(bank.sekisho, meta=False)
    found = bank.forecast("client", was, *words, "--days", "1")
    assert everything(bank.sekisho, meta=False) == before, "a forecast changed something"
    assert found["complete"] and found["logins"] >= len(KINDS)
    untold = kinds_of(found, "cannot-be-told")
    if was == "code":  # no password was looked at: each is taken to be right, and said to be
        assert "password-taken-as-right" in {one["note"] for one in found["notes"]}
        untold |= {"wrong password"}
    told = [name for name in KINDS if name not in untold]
    assert kinds_of(found, "would-be-refused") - untold == {n for n in told if let_in[n] and not would_be[n]}
    assert kinds_of(found, "would-be-let-in") - untold == {n for n in told if would_be[n] and not let_in[n]}
    # Where a code was looked at, all is told but what another mode would be the first to look at.
    assert was == "password" or would == "code" or untold <= {"wrong password"}
    assert {"never enrolled", "suspended", "lost", "locked"} <= set(told)


def test_customers_count_as_they_were_and_not_as_they_are(bank: Bank) -> None:
    one = bank.customer("later enrolled", KINDS["never enrolled"])
    assert bank.login("challenge", one, KINDS["never enrolled"])
    bank.sekisho.desk.enrolment.enrol(one.contract_id, one.token_id, one.previous_code(), STAFF)
    other = bank.customer("later suspended", KINDS["fine"])
    assert bank.login("challenge", other, KINDS["fine"])
    bank.sekisho.desk.enrolment.suspend(other.contract_id, None, STAFF)
    refused = kinds_of(bank.forecast("client", "challenge", "--without-token", "reject"), "would-be-refused")
    assert "later enrolled" in refused and "later suspended" not in refused


def test_who_sends_no_message_authenticator_is_told_where_all_or_none_of_five_minutes_had_one(bank: Bank) -> None:
    one = bank.customer("bare", KINDS["fine"])
    with Peers(bank.sekisho.where, source=SOURCES["unprotected"]) as peers:
        in_a_step()
        signed = access_request(one.contract_id, one.code(), secret=SECRET)
        length = struct.pack("!H", len(signed.octets) - 18)  # the Message-Authenticator comes first
        bare = signed.octets[:2] + length + signed.octets[4:20] + signed.octets[38:]
        reply = peers.ask(Packet(bare, signed.secret))
    assert reply is not None and reply.name == ACCEPT
    end = time.monotonic() + 20
    while time.monotonic() < end:  # the figures are written every few seconds
        found = bank.forecast("client", "unprotected", "--require-message-authenticator")
        if kinds_of(found, "would-be-refused") == {"bare"}:
            return
        assert kinds_of(found, "cannot-be-told") == {"bare"}
        time.sleep(0.5)
    raise AssertionError(found)


# The rules of all logins

SEQUENCES: dict[str, tuple[int | None, ...]] = {
    "twice wrong": (None, None, 0),
    "three times wrong": (None, None, None, 0),
    "wrong in between": (None, 0, None, None),
    "punctual": (0,),
    "one late": (-1,),
    "three late": (-3,),
    "three late, three times": (-3, -3, -3, 0),
    "five late": (-5, 0),
    "two early": (2, 0),
}
"""The codes of each kind of customer, in steps from now; None: a wrong one."""


def played(folder: Path, login: str) -> tuple[Bank, dict[str, list[bool]]]:
    """The sequences on a server of these rules; which codes were let in."""
    bank = Bank(folder, f"[login]\n{login}\n{NO_DELAYS}")
    try:
        bank.sekisho.start()
        said: dict[str, list[bool]] = {}
        for name, codes in SEQUENCES.items():
            one, said[name] = bank.customer(name, Kind()), []
            for away in codes:
                in_a_step()
                text = one.code(500) if away is None else one.code(away)
                said[name].append(bank.ask("code", one.contract_id, text).name == ACCEPT)
        bank.sekisho.stop()  # what is remarked is written at the end
    finally:
        bank.sekisho.close()
    return bank, said


WAS = "lock_after = 4\ncode_window = 1"


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bank, dict[str, list[bool]]]:
    return played(tmp_path_factory.mktemp("past"), WAS)


@pytest.mark.parametrize(("lock_after", "code_window"), [(2, 1), (3, 1), (4, 3), (4, 5), (4, 0), (2, 5)])
def test_what_is_forecast_for_the_rules_is_what_happens_on_a_server_that_has_them(
    past: tuple[Bank, dict[str, list[bool]]], tmp_path: Path, lock_after: int, code_window: int
) -> None:
    bank, was = past
    other, would = played(tmp_path, f"lock_after = {lock_after}\ncode_window = {code_window}")
    found = bank.forecast("policy", "--lock-after", str(lock_after), "--code-window", str(code_window))
    untold = kinds_of(found, "cannot-be-told")
    changed = {
        change: {
            name
            for name in SEQUENCES
            if any(one is here and other is not here for one, other in zip(was[name], would[name], strict=True))
        }
        for change, here in (("would-be-refused", True), ("would-be-let-in", False))
    }
    for change, names in changed.items():
        assert kinds_of(found, change) - untold == names - untold, change
    with other.sekisho.store.read() as connection:
        locked = {
            row[0].rpartition("-")[0].replace("-", " ")
            for row in connection.exec_driver_sql("SELECT contract_id FROM customer WHERE locked_at IS NOT NULL")
        }
    assert kinds_of(found, "would-be-locked") - untold == locked - untold
    if code_window >= 1:
        assert not untold
        assert found["changes"]["would-be-refused"]["customers"] or code_window > 1


# What it takes, and how it ends


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Bank]:
    """Without a server."""
    made = Bank(tmp_path)
    yield made
    made.sekisho.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("client", "nowhere", "--mode", "code"), "they have: challenge, append"),
        (("client", "code"), "nothing of this differs"),
        (("client", "code", "--mode", "code"), "nothing of this differs"),
        (("client", "code", "--mode", "maybe"), "'maybe' is not one of"),
        (("client", "append", "--separator", "12"), "1 to 3 printable characters"),
        (("client", "append", "--separator", "----"), "1 to 3 printable characters"),
        (("client", "code", "--mode", "append", "--days", "8"), "'--days': Input should be less than or equal to 7"),
        (("client", "code", "--mode", "append", "--days", "0"), "'--days': Input should be greater than or equal to 1"),
        (("client", "code", "--without-token", "perhaps"), "'perhaps' is not one of"),
        (("policy",), "nothing of this differs"),
        (("policy", "--lock-after", "0"), "lock_after is 1 to 100, not 0"),
        (("policy", "--lock-after", "101"), "lock_after is 1 to 100, not 101"),
        (("policy", "--code-window", "11"), "code_window is 0 to 10, not 11"),
        (("policy", "--code-window", "x"), "'--code-window': Input should be a valid integer"),
        (("policy", "--lock-after", "5", "--json", "--csv"), "choose one of them"),
    ],
)
def test_what_cannot_be_tried_is_said_with_what_would_be_right(quiet: Bank, words: tuple[str, ...], said: str) -> None:
    told = " ".join(quiet.at.run("forecast", *words, code=2).err.replace("│", " ").split())
    assert said in told, told


def test_an_empty_past_says_so_and_a_missing_store_is_no_traceback(quiet: Bank) -> None:
    assert "nobody would have fared otherwise" in quiet.at.run("forecast", "policy", "--lock-after", "5").out
    found = quiet.forecast("client", "append", "--separator", ",")
    assert found["logins"] == 0 and not found["changes"]["cannot-be-told"]["customers"]
    with quiet.sekisho.store.database.write() as connection:  # as if there were none
        connection.exec_driver_sql("ALTER TABLE alembic_version RENAME TO away")
    assert "run `sekisho init` first" in quiet.at.run("forecast", "policy", "--lock-after", "5", code=4).err


def test_a_person_reads_numbers_and_names_and_a_spreadsheet_gets_all_of_them(
    past: tuple[Bank, dict[str, list[bool]]],
) -> None:
    bank, _ = past
    said = bank.at.run("forecast", "policy", "--lock-after", "2")
    assert "lock_after:  4 -> 2" in said.out and "customers who would be locked: " in said.out
    assert "Note: Who would have been locked stays locked to the end" in said.err
    rows = list(csv.DictReader(io.StringIO(bank.at.run("forecast", "policy", "--lock-after", "2", "--csv").out)))
    assert {row["change"] for row in rows} >= {"would-be-locked", "would-be-refused"}
    assert all(row["customer"] and int(row["number"]) > 0 for row in rows)


def test_the_commands_of_the_operations_page_are_right(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    lines = [line.split() for line in page.splitlines() if line.startswith("    sekisho forecast ")]
    table = client_table("gateway", "127.0.0.0/8", "challenge", require_message_authenticator=False)
    sekisho = Sekisho(tmp_path, clients=table)
    try:
        assert len(lines) == 5
        for words in lines:
            assert CommandLine(sekisho).run(*words[1:]).out
    finally:
        sekisho.close()
