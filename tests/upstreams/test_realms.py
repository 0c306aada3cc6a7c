"""The realm in a user name chooses who checks the password, and the name that goes there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from radius_server.realms import Named, named, same_realm
from tests.core.settings_files import CLIENT, STORE, good, report, warnings
from tests.radius.tools import heard, login, oath, radclient, received
from tests.sekisho import PASSWORD, Sekisho, client_table
from tests.upstreams.freeradius import FreeRadius, freeradius, settings_of
from tests.upstreams.raw import USER_NAME, RawUpstream

ACCEPT, REJECT, CHALLENGE = "Access-Accept", "Access-Reject", "Access-Challenge"

REALMS = """
[[radius.realms]]
name = "bank.example"
first_factor = "core-passwords"
user_name = "strip"
[[radius.realms]]
name = "BRANCH"
first_factor = "other-passwords"
user_name = "{user}@branch.example"
[[radius.realms]]
name = "as-it-is"
first_factor = "other-passwords"
"""


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    with freeradius(tmp_path_factory.mktemp("upstream")) as one:
        yield one


@pytest.fixture(scope="module")
def other() -> Iterator[RawUpstream]:
    with RawUpstream() as one:
        yield one


@pytest.fixture(scope="module")
def sekisho(upstream: FreeRadius, other: RawUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sekisho]:
    names = '["Bank.Example", "branch", "as-it-is"]'
    clients = REALMS + "".join(
        client_table(name, "127.0.0.0/8", "challenge", nas_identifier=f'"{name}"', realm=f'"{realm}"', realms=names)
        for name, realm in (("strips", "strip"), ("keeps", "keep"))
    )
    second = settings_of(other.port).replace('"core"', '"other"').replace("core-passwords", "other-passwords")
    more = settings_of(upstream.port) + second
    one = Sekisho(tmp_path_factory.mktemp("sekisho"), clients=clients, more=more)
    try:
        yield one.start()
    finally:
        one.close()


def ask(sekisho: Sekisho, client: str, user: str, text: str, state: str = "") -> str:
    escaped = user.replace("\\", "\\\\")  # radclient reads it as a string of C
    return radclient(sekisho.port, login(escaped, text, state) + f',NAS-Identifier="{client}"')


@pytest.mark.parametrize("typed", ["{}@bank.example", "{}@BANK.EXAMPLE", "bank.example\\{}", "{}＠bank.example"])
def test_a_realm_is_taken_off_and_its_server_asked(sekisho: Sekisho, upstream: FreeRadius, typed: str) -> None:
    one = sekisho.customer(password="")
    first = ask(sekisho, "strips", typed.format(one.contract_id), PASSWORD)
    assert heard(first) == CHALLENGE
    second = ask(sekisho, "strips", typed.format(one.contract_id), oath(one), received(first, "State")[0])
    assert heard(second) == ACCEPT
    assert len(upstream.asked(one.contract_id)) == 1, "by the name without the realm"


def test_another_realm_goes_to_another_server_under_a_name_of_its_own(
    sekisho: Sekisho, upstream: FreeRadius, other: RawUpstream
) -> None:
    one = sekisho.customer(password="")
    for typed, sent in (("BRANCH\\{}", "{}@branch.example"), ("{}@as-it-is", "{}@as-it-is")):
        before = len(other.logins)
        assert heard(ask(sekisho, "strips", typed.format(one.contract_id), "whatever")) == CHALLENGE
        (asked,) = other.logins[before:]
        assert asked.values(USER_NAME) == [sent.format(one.contract_id).encode()]
    assert upstream.asked(one.contract_id) == []


def test_where_the_realm_is_kept_it_is_a_part_of_the_contract_id(sekisho: Sekisho, upstream: FreeRadius) -> None:
    one = sekisho.customer(password="")
    assert heard(ask(sekisho, "keeps", f"{one.contract_id}@bank.example", PASSWORD)) == REJECT
    assert len(upstream.asked(one.contract_id)) == 1, "the password is right there"
    (row,) = sekisho.audit(f"{one.contract_id}@bank.example", "login.")
    assert row.reason == "unknown customer"


def test_a_name_without_a_realm_is_the_clients_own(sekisho: Sekisho, upstream: FreeRadius) -> None:
    one = sekisho.customer()
    assert heard(ask(sekisho, "strips", one.contract_id, PASSWORD)) == CHALLENGE
    assert upstream.asked(one.contract_id) == []


@pytest.mark.parametrize("client", ["strips", "keeps"])
def test_a_realm_that_nobody_serves_is_refused_and_the_log_says_so(sekisho: Sekisho, client: str) -> None:
    one = sekisho.customer()
    assert heard(ask(sekisho, client, f"{one.contract_id}@elsewhere.example", PASSWORD)) == REJECT
    sekisho.wait_for_log("the realm 'elsewhere.example' in a User-Name is none of the client's")
    assert sekisho.audit(one.contract_id, "login.") == []


@pytest.mark.parametrize("client", ["strips", "keeps"])
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("@bank.example", "nothing else"),
        ("branch\\", "nothing else"),
        ("branch\\ ", "nothing else"),
        ("x\\@bank.example", "nothing else"),
        ("branch\\" + "n" * 240, "255 octets"),
    ],
    ids=["empty", "only a realm", "a blank", "two realms", "too long"],
)
def test_a_realm_without_a_name_or_with_one_too_long_is_refused_and_nobody_is_asked(
    sekisho: Sekisho, other: RawUpstream, client: str, typed: str, said: str
) -> None:
    before = len(other.logins)
    assert heard(ask(sekisho, client, typed, PASSWORD)) == REJECT
    sekisho.wait_for_log(said)
    assert len(other.logins) == before


def test_an_explanation_reads_the_realm_as_the_door_does(sekisho: Sekisho) -> None:
    one = sekisho.customer(password="")

    def explained(name: str) -> str:
        command = [sys.executable, "-m", "sekisho", "--config", str(sekisho.config), "explain", "login", name]
        done = subprocess.run([*command, "--client", "strips"], capture_output=True, timeout=60, check=False)
        return (done.stdout + done.stderr).decode()

    assert one.contract_id in explained(f"{one.contract_id}@bank.example")
    assert "none of the client's" in explained(f"{one.contract_id}@elsewhere.example")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("taro", Named("taro", None)),
        ("taro@bank", Named("taro", "bank")),
        ("BANK\\taro", Named("taro", "BANK")),
        ("BANK¥taro", Named("taro", "BANK")),
        ("BANK\\taro@bank.example", Named("taro", "bank.example")),
        ("taro@a@b", Named("taro@a", "b")),
        ("@bank", Named("", "bank")),
        ("\\taro", Named("taro", "")),
    ],
)
def test_the_parts_of_a_name(name: str, parts: Named) -> None:
    assert named(name) == parts
    assert parts.realm is None or same_realm(parts.realm.upper()) == same_realm(parts.realm)


A = '[[radius.realms]]\nname = "a"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            CLIENT + 'realms = ["a"]\n',
            "radius.clients[0].realms[0]: no [[radius.realms]] has the name 'a': nobody would",
        ),
        (CLIENT + 'realms = ["a", "A"]\n' + A, "radius.clients[0].realms[1]: A is given twice"),
        (CLIENT + 'realms = ["a"]\nrealm = "reject"\n' + A, '"reject" refuses every name with a realm'),
        (A + A.replace('"a"', '"A"'), "radius.realms[1].name: a is given twice"),
        (A.replace('"a"', '"@a"'), "radius.realms[0].name: is not a realm"),
        (A + 'user_name = "core"\n', 'write "keep", "strip", or a text with {user}'),
        (
            A + 'first_factor = "x"\n' + CLIENT + 'realms = ["a"]\n',
            "radius.realms[0].first_factor: no [[first_factors]]",
        ),
    ],
)
def test_what_is_wrong_is_said_before_the_start(tmp_path: Path, text: str, said: str) -> None:
    lines = report(tmp_path, STORE + text)
    assert any(said in line for line in lines), lines


def test_what_is_of_no_use_or_dangerous_is_said(tmp_path: Path) -> None:
    nobody = '[[first_factors]]\nname = "gw"\ntype = "none"\n'
    b = '[[radius.realms]]\nname = "b"\nfirst_factor = "gw"\n'
    client = CLIENT + 'realms = ["a", "b"]\nrealm = "strip"\nwithout_password = "code"\n'
    lines = warnings(good(tmp_path, STORE + nobody + A + b + A.replace('"a"', '"c"') + client), tmp_path)
    assert any("with the same name are ONE customer here" in line for line in lines), lines
    assert any("nobody serves c: no client names it in its realms" in line for line in lines), lines
    assert any("NO PASSWORD is checked at vpn (realm b)" in line for line in lines), lines
